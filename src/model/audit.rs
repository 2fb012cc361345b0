//! Audit records: actor, action, address and outcome. Append-only.

use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::types::ids::{SessionId, TenantId, UserId};
use crate::types::time::Timestamp;

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// When.
    pub at: Timestamp,
    /// The action.
    pub action: AuditAction,
    /// The outcome; for a refusal, the reason, which the caller does not receive.
    pub outcome: String,
    /// The tenant.
    pub tenant: TenantId,
    /// The account concerned, when known.
    pub user: Option<UserId>,
    /// The session concerned, when there is one.
    pub session: Option<SessionId>,
    /// The actor.
    pub actor: Actor,
    /// The client address.
    pub address: Option<IpAddr>,
    /// The request's id, to find its access-log line.
    pub request_id: Option<String>,
    /// The number of actions in a summary. Absent in records of the store, which earlier versions
    /// wrote.
    #[serde(skip)]
    pub count: Option<u64>,
}

/// The actor of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// The person at the other end of a request.
    Caller,
    /// An operator at the command line.
    Operator,
    /// Sidegate itself.
    System,
}

/// The kind of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each name is the whole story")]
pub enum AuditAction {
    SignUp,
    Login,
    Refresh,
    Reuse,
    SessionEnd,
    PasswordChange,
    Lock,
    Unlock,
    RolesChange,
    AccountEnable,
    AccountDisable,
    AccountDelete,
    KeyRotate,
    AddressesVerify,
    AccountsImport,
    MailFail,
}

impl Actor {
    /// The word used in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Operator => "operator",
            Self::System => "system",
        }
    }
}

impl AuditAction {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::SignUp,
        Self::Login,
        Self::Refresh,
        Self::Reuse,
        Self::SessionEnd,
        Self::PasswordChange,
        Self::Lock,
        Self::Unlock,
        Self::RolesChange,
        Self::AccountEnable,
        Self::AccountDisable,
        Self::AccountDelete,
        Self::KeyRotate,
        Self::AddressesVerify,
        Self::AccountsImport,
        Self::MailFail,
    ];

    /// The word used in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignUp => "sign_up",
            Self::Login => "login",
            Self::Refresh => "refresh",
            Self::Reuse => "reuse",
            Self::SessionEnd => "session_end",
            Self::PasswordChange => "password_change",
            Self::Lock => "lock",
            Self::Unlock => "unlock",
            Self::RolesChange => "roles_change",
            Self::AccountEnable => "account_enable",
            Self::AccountDisable => "account_disable",
            Self::AccountDelete => "account_delete",
            Self::KeyRotate => "key_rotate",
            Self::AddressesVerify => "addresses_verify",
            Self::AccountsImport => "accounts_import",
            Self::MailFail => "mail_fail",
        }
    }
}

impl FromStr for AuditAction {
    type Err = UnknownAction;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|action| action.as_str() == text);
        known.ok_or(UnknownAction)
    }
}

/// The word is not the name of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no record is of this type; there are {}", AuditAction::ALL.map(AuditAction::as_str).join(", "))]
pub struct UnknownAction;
