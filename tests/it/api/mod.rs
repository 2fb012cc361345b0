//! The routes below `/auth` are exactly those of the OpenAPI document and of the manual, and every error
//! code is listed there. A route accepts one kind of body, of known fields and bounded size.
//!
//! - [`routes`]: routes, methods and codes, compared with the documents.
//! - [`bodies`]: which bodies are accepted, shown with the log-in.

mod bodies;
mod routes;
