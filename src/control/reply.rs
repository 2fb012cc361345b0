//! What does a reply to an operator contain? Texts that are ready to be displayed. No view has a field for a
//! token, a hash or a salt.

use serde::{Deserialize, Serialize};

use crate::model::session::SessionKey;
use crate::types::time::Timestamp;

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The request was executed; one sentence about the result.
    Done(String),
    /// Whether the server accepts requests.
    Health {
        /// Ready or not.
        ready: bool,
        /// The reason if it is not ready, otherwise its state in one word.
        detail: String,
    },
    /// One account.
    User(Box<UserView>),
    /// A page of accounts.
    Users {
        /// The accounts.
        users: Vec<UserView>,
        /// The value of `after` for the next page; absent when this was the last page.
        next: Option<String>,
    },
    /// The outcome for the accounts of one request of an import.
    UsersImported(ImportedView),
    /// Live sessions.
    Sessions {
        /// The sessions.
        sessions: Vec<SessionView>,
        /// The value of `after` for the next page; absent when this was the last page.
        next: Option<SessionKey>,
    },
    /// The number of sessions that ended.
    Ended(u64),
    /// All sessions have ended; the progress of the removal of their records.
    Ending(EndingView),
    /// A backup has begun.
    BackupBegun(BackupView),
    /// Records of a backup.
    BackupPage {
        /// The records, in base64.
        data: String,
        /// Whether these are the last records.
        last: bool,
    },
    /// Signing keys.
    Keys(Vec<KeyView>),
    /// Audit records, newest first.
    Audit {
        /// The records.
        records: Vec<AuditView>,
        /// The damaged and missing lines in the files that were read.
        faults: Vec<String>,
    },
    /// The result of the check of the audit files.
    AuditVerified(AuditFiles),
    /// The request was not executed; the reason, for the operator.
    Failed(String),
}

/// One account.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserView {
    /// Id.
    pub id: String,
    /// Tenant.
    pub tenant: String,
    /// Chosen name.
    pub username: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// Whether it was verified or entered by an operator.
    #[serde(default)]
    pub email_verified: bool,
    /// Mobile number.
    pub mobile: Option<String>,
    /// Whether it was verified or entered by an operator.
    #[serde(default)]
    pub mobile_verified: bool,
    /// The person's name.
    pub name: Option<String>,
    /// Roles, first one first.
    pub roles: Vec<String>,
    /// `enabled` or `disabled`.
    pub status: String,
    /// Until when log-in is locked, ISO 8601.
    pub locked_until: Option<String>,
    /// When it was made, ISO 8601.
    pub created_at: String,
    /// When it was last changed, ISO 8601.
    pub updated_at: String,
}

/// The outcome for some accounts of an import.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportedView {
    /// How many were added, or would be.
    pub imported: u64,
    /// How many exist already and were left unchanged.
    pub skipped: u64,
    /// The others.
    pub refused: Vec<RefusedLine>,
}

/// A line of an import that was refused. Contains nothing of the line.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedLine {
    /// The number of the line.
    pub line: u64,
    /// The reason as a word: `line`, `username`, `email`, `mobile`, `name`, `roles`, `hash_unknown`,
    /// `hash_damaged`, `hash_too_expensive`, `hash_variety`, `duplicate` or `taken`.
    pub reason: String,
    /// The reason as a text.
    pub detail: String,
}

/// One live session.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    /// Id.
    pub id: String,
    /// The account's id.
    pub user_id: String,
    /// The name of the account.
    pub username: Option<String>,
    /// `desktop`, `mobile`, …
    pub device_type: String,
    /// The name that the user gave to the device, or the one in its User-Agent.
    pub device_name: Option<String>,
    /// Address last seen.
    pub ip_address: Option<String>,
    /// The authentication method.
    pub auth_method: String,
    /// Whether the log-in asked to be remembered.
    pub remembered: bool,
    /// Log-in, ISO 8601.
    pub created_at: String,
    /// Last activity, ISO 8601.
    pub last_active_at: String,
    /// When it ends without further activity, ISO 8601.
    pub expires_at: String,
}

/// The end of all sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndingView {
    /// The number of records at the start.
    pub found: u64,
    /// How many have been removed.
    pub removed: u64,
    /// How many of those were live sessions.
    pub ended: u64,
    /// Whether none is left.
    pub complete: bool,
}

/// A backup that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupView {
    /// Its id.
    pub id: u64,
    /// When it was begun.
    pub at: Timestamp,
    /// The id of the store.
    pub store: Option<String>,
    /// The number of the last commit that it holds.
    pub commit: u64,
    /// How many sessions there are.
    pub sessions: u64,
    /// How many accounts there are.
    pub users: u64,
}

/// One signing key, without the key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyView {
    /// The key id, as in `kid`.
    pub id: String,
    /// Its purpose: `access` tokens or `refresh` tokens.
    pub purpose: String,
    /// Algorithm.
    pub algorithm: String,
    /// `next` (verifies), `active` (signs and verifies) or `old` (verifies).
    pub state: String,
    /// When it was made, ISO 8601.
    pub created_at: String,
}

/// The audit files.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditFiles {
    /// How many there are.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records in them.
    pub records: u64,
    /// How many places are damaged or missing.
    pub fault_count: u64,
    /// The first of them, as text.
    pub faults: Vec<String>,
}

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditView {
    /// When, ISO 8601.
    pub at: String,
    /// The action.
    pub action: String,
    /// The outcome.
    pub outcome: String,
    /// The account's id.
    pub user_id: Option<String>,
    /// The session's id.
    pub session_id: Option<String>,
    /// `caller`, `operator` or `system`.
    pub actor: String,
    /// The client address.
    pub ip_address: Option<String>,
    /// The request's id in the access log.
    pub request_id: Option<String>,
    /// The number of actions in a summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}
