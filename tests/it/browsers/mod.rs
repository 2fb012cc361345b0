//! A browser keeps its tokens in cookies that scripts cannot read and that no other site can use.
//! A page of another site cannot write with them, log a browser in, or read an answer.
//!
//! - [`cookies`]: attributes and names, which cookies are accepted, what log-out clears.
//! - [`copies`]: several cookies of one name, after a change of domain or from a neighbouring host.
//! - [`pages`]: proof of origin for writes, CORS for reads.

mod cookies;
mod copies;
mod pages;
