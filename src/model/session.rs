//! A session: one log-in of one user on one device.
//!
//! ```text
//! active ── user signs out ───────────────→ ended
//! active ── another session, admin, reuse,
//!           password change ──────────────→ revoked
//! active ── newer log-in, cap reached ────→ replaced
//! active ── expires_at or idle_expires_at → expired
//! ```
//!
//! An ended session is deleted from the store, and its id is written to the revocation log, where it is kept
//! until every access token of the session has expired. `pending`, `removed` and `abandoned` belong to dialects
//! that show them; the native one never uses them.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::user::UserKey;
use crate::types::device::Device;
use crate::types::ids::{DeviceId, SessionId};
use crate::types::time::Timestamp;

/// The key of a session.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SessionKey {
    /// The owner of the session.
    pub owner: UserKey,
    /// The session.
    pub id: SessionId,
}

/// How often a session was refreshed: 0 after log-in. The refresh token of generation `g` is exchanged for that
/// of `g + 1`, which is always the same.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Generation(pub u32);

impl Generation {
    /// The next generation; stops at the largest, which can then never be rotated again.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// One session as stored. `Debug` leaves the salt out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Owner and id.
    pub key: SessionKey,
    /// Current refresh generation.
    pub generation: Generation,
    /// Sixteen random bytes that the refresh token's MAC covers; they never leave the server.
    pub salt: [u8; 16],
    /// When the current generation was made.
    pub rotated_at: Timestamp,
    /// Log-in.
    pub created_at: Timestamp,
    /// Last refresh or coalesced request.
    pub last_active_at: Timestamp,
    /// Absolute end.
    pub expires_at: Timestamp,
    /// End without further activity; [`Timestamp::MAX`] when there is no idle limit.
    pub idle_expires_at: Timestamp,
    /// The idle limit this session was made with; zero = none.
    pub idle_limit: Duration,
    /// Whether the log-in asked to be remembered.
    pub remembered: bool,
    /// The authentication methods.
    pub proof: Proof,
    /// The device's own id, when it has one.
    pub device_id: Option<DeviceId>,
    /// The user's name for the device, at most 128 characters.
    pub device_label: Option<String>,
    /// The information from the User-Agent.
    pub device: Device,
    /// Address at log-in.
    pub first_address: Option<IpAddr>,
    /// Address last seen.
    pub last_address: Option<IpAddr>,
}

impl Session {
    /// Whether the session has expired.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now >= self.expires_at || now >= self.idle_expires_at
    }

    /// When the session ends without further activity.
    pub fn ends_at(&self) -> Timestamp {
        self.expires_at.min(self.idle_expires_at)
    }

    /// Records activity at `now`. Times only move forward.
    pub fn touch(&mut self, now: Timestamp, address: Option<IpAddr>) {
        self.last_active_at = self.last_active_at.max(now);
        if !self.idle_limit.is_zero() {
            let slid = now.plus(self.idle_limit).min(self.expires_at);
            self.idle_expires_at = self.idle_expires_at.max(slid);
        }
        if address.is_some() {
            self.last_address = address;
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("key", &self.key)
            .field("generation", &self.generation)
            .field("created_at", &self.created_at)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// The authentication method (RFC 8176 defines the values of `amr`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// `password`; other ways to log in have their own words.
    pub method: String,
    /// The outside provider, if any.
    pub provider: Option<String>,
    /// Authentication methods references, e.g. `["pwd"]`.
    pub amr: Vec<String>,
    /// When it happened.
    pub at: Timestamp,
}

impl Proof {
    /// The user was authenticated by a password.
    pub fn password(at: Timestamp) -> Self {
        Self {
            method: "password".to_owned(),
            provider: None,
            amr: vec!["pwd".to_owned()],
            at,
        }
    }
}

/// Why a session ended. The words are kept in the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The user logged out.
    LoggedOut,
    /// The user ended it from another session, or all of them.
    Revoked,
    /// An operator ended it.
    Operator,
    /// A newer log-in replaced it, because the user had the greatest number of sessions.
    Evicted,
    /// A refresh token that had been used before was presented again.
    Reused,
    /// The password changed.
    PasswordChanged,
    /// The account was disabled or deleted.
    AccountClosed,
    /// It expired.
    Expired,
}

impl EndReason {
    /// The word used in the audit log and in numbers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LoggedOut => "logged_out",
            Self::Revoked => "revoked",
            Self::Operator => "operator",
            Self::Evicted => "evicted",
            Self::Reused => "reused",
            Self::PasswordChanged => "password_changed",
            Self::AccountClosed => "account_closed",
            Self::Expired => "expired",
        }
    }
}
