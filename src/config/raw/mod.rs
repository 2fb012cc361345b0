//! The whole configuration file as serde structs: the one place where keys and defaults are listed.
//!
//! `config.toml` at the root of the repository says the same in words, and a test holds the two
//! together.

mod access;
mod accounts;
mod network;
mod secret;

use serde::{Deserialize, Serialize};
use toml::Table;

pub(crate) use access::{Cookies, Headers, Limits, Mount, Policy, Rule, Tenancy, Tenant};
pub(crate) use accounts::{Audit, Login, Mail, Passwords, Sessions, Signup, Store, Tokens};
pub(crate) use network::{
    Admin, Certificate, Geoip, Log, PathPrefix, Paths, Rpc, Server, Tls, Upstream, UpstreamTls,
};

/// The file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Raw {
    /// `[server]`.
    pub(crate) server: Server,
    /// `[admin]`.
    pub(crate) admin: Admin,
    /// `[upstream]`.
    pub(crate) upstream: Upstream,
    /// `[paths]`.
    pub(crate) paths: Paths,
    /// `[store]`.
    pub(crate) store: Store,
    /// `[audit]`.
    pub(crate) audit: Audit,
    /// `[tokens]`.
    pub(crate) tokens: Tokens,
    /// `[sessions]`.
    pub(crate) sessions: Sessions,
    /// `[cookies]`.
    pub(crate) cookies: Cookies,
    /// `[signup]`.
    pub(crate) signup: Signup,
    /// `[passwords]`.
    pub(crate) passwords: Passwords,
    /// `[login]`.
    pub(crate) login: Login,
    /// `[mail]`.
    pub(crate) mail: Mail,
    /// `[headers]`.
    pub(crate) headers: Headers,
    /// `[policy]`.
    pub(crate) policy: Policy,
    /// `[[rule]]`, in order.
    pub(crate) rule: Vec<Rule>,
    /// `[[mount]]`.
    pub(crate) mount: Vec<Mount>,
    /// `[tenancy]`.
    pub(crate) tenancy: Tenancy,
    /// `[[tenant]]`.
    pub(crate) tenant: Vec<Tenant>,
    /// `[limits]`.
    pub(crate) limits: Limits,
    /// `[geoip]`.
    pub(crate) geoip: Geoip,
    /// `[log]`.
    pub(crate) log: Log,
    /// `[rpc]`.
    pub(crate) rpc: Rpc,
}

impl Raw {
    /// Every key there is, with a value of its type: the defaults, and one entry in each list of
    /// tables.
    pub(crate) fn template() -> Result<Table, toml::ser::Error> {
        let mut raw = Self::default();
        raw.server.tls.certificate.push(Certificate::default());
        raw.paths.prefix.push(PathPrefix::default());
        raw.rule.push(Rule::default());
        raw.mount.push(Mount::default());
        raw.tenant.push(Tenant::default());
        Table::try_from(raw)
    }
}
