//! Cookies, headers, rules, mounts, limits: the keys about who may do what, and how it is told.
//!
//! Values are as written; `build` gives them meaning.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `cookies`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Cookies {
    /// The names' beginning.
    pub(crate) name_prefix: String,
    /// `auto`, true or false.
    pub(crate) secure: String,
    /// `Lax`, `Strict` or `None`.
    pub(crate) same_site: String,
    /// `Domain`; empty = this host only.
    pub(crate) domain: String,
    /// Admits cookies without `Secure` on an https origin.
    pub(crate) danger_insecure: bool,
}

impl Default for Cookies {
    fn default() -> Self {
        Self {
            name_prefix: "sidegate".to_owned(),
            secure: "auto".to_owned(),
            same_site: "Lax".to_owned(),
            domain: String::new(),
            danger_insecure: false,
        }
    }
}

/// `headers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Headers {
    /// A preset's name, or `custom`.
    pub(crate) preset: String,
    /// Whether the caller's own `Authorization` is handed on.
    pub(crate) pass_authorization: bool,
    /// Whether a signed assertion is sent.
    pub(crate) assertion: bool,
    /// Claim to header name.
    pub(crate) custom: BTreeMap<String, String>,
}

impl Default for Headers {
    fn default() -> Self {
        Self {
            preset: "native".to_owned(),
            pass_authorization: false,
            assertion: false,
            custom: BTreeMap::new(),
        }
    }
}

/// `policy`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Policy {
    /// What holds when no rule matches.
    pub(crate) default: String,
    /// When revocation news cannot be had.
    pub(crate) stale: String,
    /// Who may store answers that are given because of who is calling.
    pub(crate) cache: String,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            default: "user".to_owned(),
            stale: "bounded".to_owned(),
            cache: "private".to_owned(),
        }
    }
}

/// `[[rule]]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Rule {
    /// Path pattern.
    pub(crate) path: String,
    /// Methods; none = all.
    pub(crate) methods: Vec<String>,
    /// Host; empty = all.
    pub(crate) host: String,
    /// Who may pass.
    pub(crate) access: String,
    /// Any of these is needed.
    pub(crate) roles: Vec<String>,
    /// Overrides `policy.stale`.
    pub(crate) stale: String,
    /// Overrides `policy.cache`.
    pub(crate) cache: String,
}

/// `[[mount]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Mount {
    /// The path prefix.
    pub(crate) prefix: String,
    /// Which API is spoken.
    pub(crate) dialect: String,
    /// How tokens travel.
    pub(crate) delivery: String,
    /// Browser pages.
    pub(crate) pages: bool,
    /// Other origins that may call.
    pub(crate) allowed_origins: Vec<String>,
    /// Whether a gateway's check renews cookies.
    pub(crate) verify_renews: bool,
    /// Status codes of the nest dialect.
    pub(crate) status_mode: String,
}

impl Default for Mount {
    fn default() -> Self {
        Self {
            prefix: "/auth".to_owned(),
            dialect: "sidegate".to_owned(),
            delivery: "json".to_owned(),
            pages: true,
            allowed_origins: Vec::new(),
            verify_renews: false,
            status_mode: "wire".to_owned(),
        }
    }
}

/// `tenancy`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tenancy {
    /// How a tenant is told.
    pub(crate) mode: String,
    /// The header that names it.
    pub(crate) header: String,
}

impl Default for Tenancy {
    fn default() -> Self {
        Self {
            mode: "off".to_owned(),
            header: "x-tenant-id".to_owned(),
        }
    }
}

/// `[[tenant]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tenant {
    /// The tenant.
    pub(crate) name: String,
    /// Whether it is served.
    pub(crate) state: String,
    /// Its hosts.
    pub(crate) hosts: Vec<String>,
}

impl Default for Tenant {
    fn default() -> Self {
        Self {
            name: String::new(),
            state: "active".to_owned(),
            hosts: Vec::new(),
        }
    }
}

/// `limits`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// Log-ins.
    pub(crate) login: String,
    /// Sign-ups.
    pub(crate) signup: String,
    /// Refreshes.
    pub(crate) refresh: String,
    /// Session lists and ends of the native API.
    pub(crate) lists: String,
    /// Session lists of the biore dialect.
    pub(crate) sessions: String,
    /// Bytes of a request body under a mount.
    pub(crate) body: String,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            login: "20/h".to_owned(),
            signup: "10/h".to_owned(),
            refresh: "60/m".to_owned(),
            lists: "120/m".to_owned(),
            sessions: "30/h".to_owned(),
            body: "64KiB".to_owned(),
        }
    }
}
