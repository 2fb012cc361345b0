//! Store, tokens, sessions, accounts: the keys about people and what is remembered of them.
//!
//! Values are as written; `build` gives them meaning.

use serde::{Deserialize, Serialize};

use crate::config::raw::secret::Secret;

/// `store`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Store {
    /// `sled:PATH` or `memory:`.
    pub(crate) url: String,
    /// Page cache of sled.
    pub(crate) cache: String,
    /// How long a request waits for the store.
    pub(crate) deadline: String,
    /// How long the start waits for the store's lock.
    pub(crate) lock_wait: String,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            url: "sled:./data".to_owned(),
            cache: "32MiB".to_owned(),
            deadline: "2s".to_owned(),
            lock_wait: "60s".to_owned(),
        }
    }
}

/// `audit`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Audit {
    /// Where the files are.
    pub(crate) dir: String,
    /// How long records are kept.
    pub(crate) keep: String,
    /// The most bytes of all files.
    pub(crate) max_size: String,
    /// One record for each refresh.
    pub(crate) refreshes: bool,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            dir: "./data/audit".to_owned(),
            keep: "90d".to_owned(),
            max_size: "256MiB".to_owned(),
            refreshes: false,
        }
    }
}

/// `tokens`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tokens {
    /// The claim `iss`.
    pub(crate) issuer: String,
    /// The claim `aud`.
    pub(crate) audience: Vec<String>,
    /// Signature algorithm.
    pub(crate) algorithm: String,
    /// Where keys live.
    pub(crate) keys_dir: String,
    /// The shared secret of HS256.
    pub(crate) secret: Secret,
    /// A file that holds it.
    pub(crate) secret_file: String,
    /// Life of an access token.
    pub(crate) access_ttl: String,
    /// How long a used refresh token gets the same answer again.
    pub(crate) rotation_grace: String,
    /// How far clocks may differ.
    pub(crate) leeway: String,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            issuer: "sidegate".to_owned(),
            audience: Vec::new(),
            algorithm: "EdDSA".to_owned(),
            keys_dir: "./data/keys".to_owned(),
            secret: Secret::default(),
            secret_file: String::new(),
            access_ttl: "15m".to_owned(),
            rotation_grace: "30s".to_owned(),
            leeway: "5s".to_owned(),
        }
    }
}

/// `sessions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sessions {
    /// Absolute life.
    pub(crate) lifetime: String,
    /// Since the last activity; 0 = none.
    pub(crate) idle_timeout: String,
    /// Life of remembered sessions.
    pub(crate) remember_lifetime: String,
    /// Sessions of one user.
    pub(crate) max_per_user: i64,
    /// `end_oldest` or `refuse`.
    pub(crate) when_full: String,
    /// Addresses in session lists: `masked` or `full`.
    pub(crate) ip: String,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            lifetime: "7d".to_owned(),
            idle_timeout: "24h".to_owned(),
            remember_lifetime: "30d".to_owned(),
            max_per_user: 50,
            when_full: "end_oldest".to_owned(),
            ip: "masked".to_owned(),
        }
    }
}

/// `signup`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Signup {
    /// `closed` or `open`.
    pub(crate) mode: String,
    /// Roles of who signs up.
    pub(crate) roles: Vec<String>,
    /// Names that nobody may sign up with, nor with what looks like them.
    pub(crate) reserved: Vec<String>,
}

impl Default for Signup {
    fn default() -> Self {
        Self {
            mode: "closed".to_owned(),
            roles: vec!["user".to_owned()],
            reserved: [
                "admin",
                "root",
                "administrator",
                "system",
                "support",
                "sidegate",
                "null",
            ]
            .map(str::to_owned)
            .to_vec(),
        }
    }
}

/// `passwords`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Passwords {
    /// Characters of a fresh password.
    pub(crate) min_length: i64,
    /// Memory of one hash.
    pub(crate) memory: String,
    /// Passes.
    pub(crate) iterations: i64,
    /// Lanes.
    pub(crate) parallelism: i64,
    /// Hashes at once.
    pub(crate) max_concurrent: i64,
    /// Admits hashes weaker than the recommended minimum.
    pub(crate) danger_weak_hash: bool,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            min_length: 8,
            memory: "19MiB".to_owned(),
            iterations: 2,
            parallelism: 1,
            max_concurrent: 2,
            danger_weak_hash: false,
        }
    }
}

/// `login`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Login {
    /// What the log-in field may hold.
    pub(crate) identifiers: Vec<String>,
    /// When a second factor is asked for.
    pub(crate) second_factor: String,
    /// Failures that lock; 0 = never.
    pub(crate) max_failures: i64,
    /// How long a lock holds.
    pub(crate) lock_for: String,
    /// Life of a one-time code.
    pub(crate) otp_ttl: String,
    /// Attempts at one code.
    pub(crate) otp_attempts: i64,
}

impl Default for Login {
    fn default() -> Self {
        Self {
            identifiers: ["username", "email", "mobile"].map(str::to_owned).to_vec(),
            second_factor: "off".to_owned(),
            max_failures: 7,
            lock_for: "60m".to_owned(),
            otp_ttl: "5m".to_owned(),
            otp_attempts: 5,
        }
    }
}

/// `mail`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Mail {
    /// How mails leave.
    pub(crate) transport: String,
    /// Their sender.
    pub(crate) from: String,
}

impl Default for Mail {
    fn default() -> Self {
        Self {
            transport: "log".to_owned(),
            from: "Sidegate <no-reply@localhost>".to_owned(),
        }
    }
}
