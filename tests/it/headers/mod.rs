//! The application reads the identity of the verified session in its headers, or none: a client cannot
//! forge it in any spelling. Answers that depend on the caller are stored by no shared cache.
//!
//! - [`identity`]: forged identity headers, and requests that share a connection.
//! - [`presets`]: the headers that each kind of application reads.
//! - [`assertion`]: a signed statement about the caller, for the application.
//! - [`hop_by_hop`]: `Connection`, upgrades and trailers.
//! - [`addresses`]: the client's address behind proxies and without them.
//! - [`credentials`]: tokens stay with Sidegate.
//! - [`proxy_protocol`]: the client's address from a trusted load balancer.
//! - [`caching`]: `Cache-Control` on answers that depend on the caller.

mod addresses;
mod assertion;
mod caching;
mod credentials;
mod hop_by_hop;
mod identity;
mod presets;
mod proxy_protocol;

/// Public and optional paths beside the protected rest.
const RULES: &str = "[[rule]]\npath = \"/public/**\"\naccess = \"public\"\n\
                     [[rule]]\npath = \"/optional/**\"\naccess = \"optional\"\n";
