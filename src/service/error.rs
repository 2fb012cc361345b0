//! Why a use case did not do what was asked. What the caller is told is decided elsewhere, in one
//! table; several of these read the same from outside on purpose.

use std::time::Duration;

use crate::limits::{Exceeded, Refused};
use crate::rules::names::BadName;
use crate::rules::password::Weakness;
use crate::service::password::{Busy, PasswordError};
use crate::store::StoreError;
use crate::types::login::LoginKind;

/// A use case's refusal.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuthError {
    /// Unknown account, wrong password, locked, disabled: one answer for all.
    #[error("log-in refused")]
    InvalidCredentials,
    /// The refresh token is malformed, unknown, used up, expired: one answer for all.
    #[error("refresh refused")]
    InvalidRefreshToken,
    /// Sign-up is not open.
    #[error("sign-up is closed")]
    SignupClosed,
    /// A login name of a new account is in use.
    #[error("the {0} is taken")]
    LoginTaken(LoginKind),
    /// A new account cannot have this username.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// A new password is not good enough.
    #[error(transparent)]
    WeakPassword(#[from] Weakness),
    /// The user holds as many sessions as allowed, and the newest does not push one out.
    #[error("too many sessions")]
    TooManySessions,
    /// No such session, or it is somebody else's.
    #[error("no such session")]
    SessionNotFound,
    /// The account behind a valid token is gone or disabled.
    #[error("the account is closed")]
    AccountClosed,
    /// Too often.
    #[error("too many requests")]
    RateLimited(Exceeded),
    /// All password hashers are busy and the queue is full.
    #[error("busy")]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The store gave no outcome.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something that cannot happen did; the text goes to the log only.
    #[error("internal: {0}")]
    Internal(String),
}

impl From<Exceeded> for AuthError {
    fn from(exceeded: Exceeded) -> Self {
        Self::RateLimited(exceeded)
    }
}

impl From<Refused> for AuthError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Exceeded(exceeded) => Self::RateLimited(exceeded),
            Refused::Busy => Busy.into(),
        }
    }
}

impl From<PasswordError> for AuthError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy(busy) => busy.into(),
            PasswordError::Stored(_) => Self::Internal(error.to_string()),
        }
    }
}

impl From<Busy> for AuthError {
    fn from(_: Busy) -> Self {
        Self::Busy {
            retry_after: Duration::from_secs(1),
        }
    }
}
