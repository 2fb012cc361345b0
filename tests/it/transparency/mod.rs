//! The application and its callers cannot detect that Sidegate is between them: every exchange is the same with
//! and without it, except for the headers that the manual names.
//!
//! - [`wire`]: bytes of HTTP/1.1; [`compare`] compares them.
//! - [`matrix`]: every exchange of the [`table`], from every client ([`clients`]) to every kind of
//!   application ([`applications`], [`http1_application`]); [`message`] compares the results.
//! - [`manual`]: the differences that the manual names.

mod applications;
mod clients;
mod compare;
mod http1_application;
mod manual;
mod matrix;
mod message;
mod table;
mod wire;
