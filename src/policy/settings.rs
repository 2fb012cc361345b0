//! Rules as the configuration states them.

use crate::types::role::Role;

/// The rules, and the defaults if no rule matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Rules in order; the first match wins.
    pub rules: Vec<Rule>,
    /// The access if no rule matches.
    pub default: Access,
    /// The caching of answers if no rule matches.
    pub storage: Storage,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Path pattern: exact, `*` for one segment, a trailing `/**` for any depth.
    pub path: String,
    /// Methods it is about, upper case; none = all.
    pub methods: Vec<String>,
    /// The host it is about, lower case, without port; empty = all.
    pub host: String,
    /// The required access.
    pub access: Access,
    /// Any of these is needed; none = no role is needed. Only with [`Access::User`].
    pub roles: Vec<Role>,
    /// Which caches may store the answers.
    pub storage: Storage,
}

/// Which caches may store an answer that depends on the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Storage {
    /// Only the client's own cache, unless the application forbids that, too.
    #[default]
    Private,
    /// As the application's headers say.
    Application,
}

/// The callers that a rule admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody. Tokens are ignored.
    Public,
    /// Everybody. A valid token gives identity headers; an invalid one is refused.
    Optional,
    /// Logged-in users.
    User,
    /// No caller.
    Deny,
}
