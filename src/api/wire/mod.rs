//! What all dialects share: reading bodies, writing replies, cookies, and the proofs that a browser
//! gives about where a call comes from.

pub mod body;
pub mod cookie;
pub mod copies;
pub mod cors;
pub mod csrf;
pub mod fields;
pub mod reply;
