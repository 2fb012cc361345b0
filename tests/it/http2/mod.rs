//! HTTP/2 is the same product: sessions, rules and limits hold as over HTTP/1.1, from the client and
//! towards the application.
//!
//! - [`requests`]: sessions, hosts, cookies and headers over HTTP/2.
//! - [`limits`]: floods of frames, headers and streams.
//! - [`applications`]: applications that speak HTTP/2, in the clear and over TLS.

mod applications;
mod limits;
mod requests;
