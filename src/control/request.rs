//! Which requests can an operator send?
//!
//! A password is the only secret in a request. It is sent over the socket as plain text, so [`Request`] can be
//! serialised, although secrets otherwise cannot. The line is written only to a Unix socket of mode 0600, and
//! its buffer is wiped. `Debug` never shows the password.

use std::str::FromStr;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize, Serializer};

use crate::control::import::ImportRecord;
use crate::model::session::SessionKey;
use crate::types::duration::parse_duration;
use crate::types::ids::SessionId;
use crate::types::named::Named;
use crate::types::role::Role;
use crate::types::secret::SecretText;
use crate::types::time::Timestamp;

pub use crate::model::audit::AuditAction;

/// One request. Login names and passwords are as they were typed: the part that executes the request parses
/// them, as the API does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Is the server ready? Answer: [`super::Reply::Health`].
    Health,
    /// Reports that the server is not ready and closes connections after their response. Requests are still
    /// answered. Answer: done, at once.
    Drain,
    /// Reads the configuration and keys again. Answer: done, or why the old ones stay in force.
    Reload,
    /// Adds an account. Answer: the user.
    UsersAdd {
        /// The chosen name.
        username: String,
        /// E-mail address.
        email: Option<String>,
        /// Mobile number.
        mobile: Option<String>,
        /// The person's name.
        name: Option<String>,
        /// Roles, first one first.
        roles: Vec<Role>,
        /// The password.
        #[serde(serialize_with = "in_clear")]
        password: SecretText,
    },
    /// Accounts by id. Answer: users, and where the next page begins.
    UsersList {
        /// The last account of the page before.
        after: Option<String>,
        /// The most accounts of this page; the server may give fewer.
        limit: u32,
    },
    /// One account. Answer: the user.
    UsersShow {
        /// Which account.
        user: Named,
    },
    /// Sets a password; the account's sessions end. Answer: done.
    UsersSetPassword {
        /// Which account.
        user: Named,
        /// The password.
        #[serde(serialize_with = "in_clear")]
        password: SecretText,
    },
    /// Replaces the roles. Answer: the user.
    UsersSetRoles {
        /// Which account.
        user: Named,
        /// Roles, first one first; an empty list removes all.
        roles: Vec<Role>,
    },
    /// Permits an account to log in again. Answer: the user.
    UsersEnable {
        /// Which account.
        user: Named,
    },
    /// Ends the account's sessions and refuses further log-ins. Answer: the user.
    UsersDisable {
        /// Which account.
        user: Named,
    },
    /// Resets the counter of failed log-ins. Answer: done.
    UsersUnlock {
        /// Which account.
        user: Named,
    },
    /// Marks the addresses as verified. Answer: the user.
    UsersVerify {
        /// Which account.
        user: Named,
    },
    /// Deletes the account and ends its sessions. Answer: done.
    UsersDelete {
        /// Which account.
        user: Named,
    },
    /// Adds accounts of an import, or only checks them. Answer: [`super::Reply::UsersImported`].
    UsersImport {
        /// The accounts.
        accounts: Vec<ImportRecord>,
        /// Whether nothing is written.
        dry_run: bool,
    },
    /// Records in the audit log that an import begins, or how it ended. Answer: done.
    UsersImportMark {
        /// The numbers at the end; absent at the beginning.
        end: Option<ImportTotals>,
    },
    /// Live sessions: of one account newest first, else in the store's order. Answer: sessions, and
    /// where the next page begins.
    SessionsList {
        /// Of this account only.
        user: Option<Named>,
        /// The last session of the page before.
        after: Option<SessionKey>,
        /// The most sessions of this page; the server may give fewer.
        limit: u32,
    },
    /// Ends sessions. Answer: how many ended; for all of them, [`super::Reply::Ending`] at once.
    SessionsEnd(SessionsToEnd),
    /// Continues to remove the records of sessions after the end of all sessions. Answer: the progress, after a
    /// second at most.
    SessionsClear,
    /// Begins a backup. Answer: [`super::Reply::BackupBegun`].
    BackupBegin,
    /// Reads the next part of a backup. Answer: [`super::Reply::BackupPage`].
    BackupNext {
        /// Which backup.
        id: u64,
    },
    /// Cancels a backup. Answer: done.
    BackupEnd {
        /// Which backup.
        id: u64,
    },
    /// Signing keys. Answer: keys.
    KeysList,
    /// Creates a key, which signs as soon as all verifiers can have read it. Answer: keys.
    KeysRotate,
    /// The audit log, newest first. Answer: audit records.
    AuditList {
        /// About this account only.
        user: Option<Named>,
        /// Of this kind only.
        #[serde(default)]
        action: Option<AuditAction>,
        /// From then on only.
        #[serde(default)]
        since: Option<Since>,
        /// The most records.
        limit: u32,
    },
    /// Checks whether the audit files are complete. Answer: the files that were read, and their faults.
    AuditVerify,
}

/// The beginning of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Since {
    /// From this moment on.
    At(Timestamp),
    /// This number of seconds ago.
    Ago(u64),
}

impl FromStr for Since {
    type Err = BadSince;

    /// A duration, a date or a moment in UTC: `7d`, `2026-11-22`, `2026-11-22T16:07:00Z`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(ago) = parse_duration(text) {
            return Ok(Self::Ago(ago.as_secs()));
        }
        let moment = if text.len() == "2026-11-22".len() {
            format!("{text}T00:00:00Z")
        } else {
            text.to_owned()
        };
        let at = humantime::parse_rfc3339(&moment).map_err(|_| BadSince)?;
        let at = at.duration_since(UNIX_EPOCH).map_err(|_| BadSince)?;
        let millis = u64::try_from(at.as_millis()).map_err(|_| BadSince)?;
        Ok(Self::At(Timestamp::from_millis(millis)))
    }
}

/// The text is neither a duration nor a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "write how long ago (\"7d\"), a date (\"2026-11-22\") or a moment (\"2026-11-22T16:07:00Z\")"
)]
pub struct BadSince;

/// The numbers of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportTotals {
    /// Accounts that were added.
    pub imported: u64,
    /// Accounts that existed already.
    pub skipped: u64,
    /// Lines that were refused.
    pub refused: u64,
}

impl Request {
    /// Whether only a running server can execute it, because it does not concern the store.
    pub const fn needs_server(&self) -> bool {
        matches!(self, Self::Health | Self::Drain | Self::Reload)
    }
}

/// Which sessions to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionsToEnd {
    /// One.
    Id(SessionId),
    /// All of one account.
    User(Named),
    /// All sessions of all users.
    All,
}

/// Only for the control socket; the module documentation gives the reason.
pub(crate) fn in_clear<S: Serializer>(
    secret: &SecretText,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}
