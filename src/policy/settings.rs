//! Rules as the configuration states them.

use crate::types::role::Role;

/// The rule list and what holds when no rule matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Rules in order; the first match wins.
    pub rules: Vec<Rule>,
    /// What holds when none matches.
    pub default: Access,
    /// Who may store answers when none matches.
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
    /// Who may pass.
    pub access: Access,
    /// Any of these is needed; none = no role is needed. Only with [`Access::User`].
    pub roles: Vec<Role>,
    /// Who may store the answers.
    pub storage: Storage,
}

/// Who may store an answer that was given because of who is calling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Storage {
    /// The client, if the application does not say less.
    #[default]
    Private,
    /// As the application says.
    Application,
}

/// Who may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody; a token is not looked at.
    Public,
    /// Everybody; who shows a good token is named to the upstream. A bad token is refused.
    Optional,
    /// Whoever is logged in.
    User,
    /// Nobody.
    Deny,
}
