//! Every key of the configuration, declared once: one file for each top-level section.
//!
//! A declaration states path, type, default, bounds, reload class and documentation. The constant's
//! name is the path below the section: `server.tls.cert` is `server::TLS_CERT`. A builder in
//! `config::build` reads the value with `reader.get(&server::TLS_CERT)`.
//!
//! To add a key, declare it in its section's file and read it in the builder. To add a section, add
//! its file here and its tables to [`TABLES`].

pub(crate) mod admin;
pub(crate) mod audit;
pub(crate) mod cookies;
pub(crate) mod geoip;
pub(crate) mod headers;
pub(crate) mod limits;
pub(crate) mod log;
pub(crate) mod login;
pub(crate) mod mail;
pub(crate) mod mount;
pub(crate) mod passwords;
pub(crate) mod paths;
pub(crate) mod policy;
pub(crate) mod rpc;
pub(crate) mod rule;
pub(crate) mod server;
pub(crate) mod sessions;
pub(crate) mod signup;
pub(crate) mod store;
pub(crate) mod tenancy;
pub(crate) mod tenant;
pub(crate) mod tokens;
pub(crate) mod upstream;

#[cfg(test)]
mod tests;

use crate::config::key::{Declaration, Table};

/// Every table, in the order of `config.toml`.
pub(crate) static TABLES: &[&Table] = &[
    &server::SERVER,
    &server::TLS,
    &server::TLS_CERTIFICATE,
    &admin::ADMIN,
    &upstream::UPSTREAM,
    &upstream::TLS,
    &paths::PATHS,
    &paths::PREFIX,
    &store::STORE,
    &audit::AUDIT,
    &tokens::TOKENS,
    &sessions::SESSIONS,
    &cookies::COOKIES,
    &signup::SIGNUP,
    &mail::MAIL,
    &passwords::PASSWORDS,
    &login::LOGIN,
    &headers::HEADERS,
    &headers::CUSTOM,
    &policy::POLICY,
    &rule::RULE,
    &mount::MOUNT,
    &tenancy::TENANCY,
    &tenant::TENANT,
    &limits::LIMITS,
    &geoip::GEOIP,
    &log::LOG,
    &rpc::RPC,
];

/// Every key, in the order of `config.toml`.
pub(crate) fn all() -> impl Iterator<Item = &'static Declaration> {
    TABLES.iter().flat_map(|table| table.keys.iter().copied())
}
