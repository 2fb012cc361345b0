//! What the server answers an operator. Views hold texts that are ready to be shown; none of them
//! has a place for a token, a hash or a salt.

use serde::{Deserialize, Serialize};

use crate::model::session::SessionKey;
use crate::types::time::Timestamp;

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It is done; one sentence about it.
    Done(String),
    /// Whether the server takes requests.
    Health {
        /// Ready or not.
        ready: bool,
        /// Why not, or a word about how it is.
        detail: String,
    },
    /// One account.
    User(Box<UserView>),
    /// A page of accounts.
    Users {
        /// The accounts.
        users: Vec<UserView>,
        /// What to ask for next (`after`); absent when this was the last page.
        next: Option<String>,
    },
    /// Live sessions.
    Sessions {
        /// The sessions.
        sessions: Vec<SessionView>,
        /// What to ask for next (`after`); absent when this was the last page.
        next: Option<SessionKey>,
    },
    /// So many sessions ended.
    Ended(u64),
    /// All sessions are over; how far the removal of their records has come.
    Ending(EndingView),
    /// A backup has begun.
    BackupBegun(BackupView),
    /// Records of a backup.
    BackupPage {
        /// The records, in base64.
        data: String,
        /// Whether these are the last.
        last: bool,
    },
    /// Signing keys.
    Keys(Vec<KeyView>),
    /// Audit records, newest first.
    Audit {
        /// The records.
        records: Vec<AuditView>,
        /// What is damaged or missing in the files that were read.
        faults: Vec<String>,
    },
    /// What the audit files are like.
    AuditVerified(AuditFiles),
    /// It was not done, and why, in words for the operator.
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

/// One live session.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    /// Id.
    pub id: String,
    /// The account's id.
    pub user_id: String,
    /// What the account is called.
    pub username: Option<String>,
    /// `desktop`, `mobile`, …
    pub device_type: String,
    /// What the user called the device, or what its browser says.
    pub device_name: Option<String>,
    /// Address last seen.
    pub ip_address: Option<String>,
    /// How the user proved who they are.
    pub auth_method: String,
    /// Whether the log-in asked to be remembered.
    pub remembered: bool,
    /// Log-in, ISO 8601.
    pub created_at: String,
    /// Last activity, ISO 8601.
    pub last_active_at: String,
    /// When it ends if nothing more happens, ISO 8601.
    pub expires_at: String,
}

/// The end of all sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndingView {
    /// How many records there were to begin with.
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
    /// Its name.
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
    /// What it is for: `access` tokens or `refresh` tokens.
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
    /// The first of them, in words.
    pub faults: Vec<String>,
}

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditView {
    /// When, ISO 8601.
    pub at: String,
    /// What was done.
    pub action: String,
    /// How it went.
    pub outcome: String,
    /// The account's id.
    pub user_id: Option<String>,
    /// The session's id.
    pub session_id: Option<String>,
    /// `caller`, `operator` or `system`.
    pub actor: String,
    /// From where.
    pub ip_address: Option<String>,
    /// The request's id in the access log.
    pub request_id: Option<String>,
    /// How many acts a summary stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}
