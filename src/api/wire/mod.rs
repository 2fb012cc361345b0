//! What do all dialects share?
//!
//! Reading bodies, writing responses, cookies, and the proof that a call comes from a page of ours.

pub mod body;
pub mod cookie;
pub mod copies;
pub mod cors;
pub mod csrf;
pub mod fields;
pub mod problem_document;
pub mod reply;
