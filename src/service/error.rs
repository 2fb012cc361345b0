//! Why can a use case fail? The public words for each error are chosen elsewhere, in one table. Several
//! errors have the same public answer on purpose.

use std::time::Duration;

use crate::limits::{Exceeded, Refused};
use crate::rules::names::BadName;
use crate::rules::password::Weakness;
use crate::service::password::{Busy, PasswordError};
use crate::store::StoreError;
use crate::types::login::LoginKind;

/// An error of a use case.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuthError {
    /// Unknown account, wrong password, locked, disabled: one answer for all.
    #[error("log-in refused")]
    InvalidCredentials,
    /// The refresh token is malformed, unknown, used up, expired: one answer for all.
    #[error("refresh refused")]
    InvalidRefreshToken,
    /// Sign-up is closed.
    #[error("sign-up is closed")]
    SignupClosed,
    /// A login name of a new account is in use.
    #[error("the {0} is taken")]
    LoginTaken(LoginKind),
    /// A new account cannot have this username.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// A new password is too weak.
    #[error(transparent)]
    WeakPassword(#[from] Weakness),
    /// The user has the greatest number of sessions, and the settings refuse one more.
    #[error("too many sessions")]
    TooManySessions,
    /// There is no such session, or it belongs to another user.
    #[error("no such session")]
    SessionNotFound,
    /// The account of a valid token was deleted or disabled.
    #[error("the account is closed")]
    AccountClosed,
    /// A rate limit refused the request.
    #[error("too many requests")]
    RateLimited(Exceeded),
    /// All password hashers are busy and the queue is full.
    #[error("busy")]
    Busy {
        /// The time after which a retry may succeed.
        retry_after: Duration,
    },
    /// The store returned no outcome.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An unexpected state. The text is written to the log only.
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
