//! Why may a request not pass? The answer is made in one place, with all others.

use crate::guard::extract::BadCredential;
use crate::guard::headers::TooLong;
use crate::tokens::Refusal;

/// A refused request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a denial has to be answered"]
pub struct Denial {
    reason: Reason,
    detail: &'static str,
}

/// The reason. A caller gets this information and no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// There is no token, and one is needed.
    Missing,
    /// The token, or our cookie, is invalid.
    Invalid,
    /// The token has expired: refresh.
    Expired,
    /// The session has ended: log in.
    Ended,
    /// The account's claims changed since the token was issued: refresh.
    Stale,
    /// The token is new to this worker, and the store that has to confirm its session does not answer.
    Unavailable,
    /// Two different tokens in one request.
    TwoCredentials,
    /// The caller has none of the required roles.
    MissingRole,
    /// The rule denies every request.
    Forbidden,
    /// The assertion about the caller cannot be signed.
    Unsigned,
}

impl Denial {
    /// A refusal of a request without a token, for our own routes.
    pub const fn missing() -> Self {
        Self::new(Reason::Missing)
    }

    /// A refusal because the session ended while its request was being answered.
    pub const fn ended() -> Self {
        Self::new(Reason::Ended)
    }

    /// A refusal for this reason, for tests without a guard.
    #[cfg(test)]
    pub(crate) const fn for_tests(reason: Reason) -> Self {
        Self::new(reason)
    }

    pub(super) const fn new(reason: Reason) -> Self {
        Self {
            reason,
            detail: reason.as_str(),
        }
    }

    /// Selects the refusal of two copies of a token: one that a refresh can fix has priority.
    pub(super) fn or_better(self, other: Self) -> Self {
        let worth = |denial: Self| match denial.reason {
            Reason::Expired | Reason::Stale => 2,
            Reason::Ended => 1,
            _ => 0,
        };
        if worth(other) > worth(self) {
            other
        } else {
            self
        }
    }

    /// The reason.
    pub const fn reason(self) -> Reason {
        self.reason
    }

    /// The precise cause, one word, for logs and metrics. It is not sent to callers.
    pub const fn detail(self) -> &'static str {
        self.detail
    }
}

impl Reason {
    /// The stable code of the reason, for answers, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "token_missing",
            Self::Invalid => "token_invalid",
            Self::Expired => "token_expired",
            Self::Ended => "session_ended",
            Self::Stale => "token_stale",
            Self::Unavailable => "session_unconfirmed",
            Self::TwoCredentials => "two_credentials",
            Self::MissingRole => "role_missing",
            Self::Forbidden => "forbidden",
            Self::Unsigned => "assertion_unsigned",
        }
    }
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Self {
        let reason = match refusal {
            Refusal::Expired => Reason::Expired,
            Refusal::TooLong
            | Refusal::Malformed
            | Refusal::Header
            | Refusal::Key
            | Refusal::Signature
            | Refusal::Claims
            | Refusal::Issuer
            | Refusal::Audience
            | Refusal::Lifetime
            | Refusal::NotYet => Reason::Invalid,
        };
        Self {
            reason,
            detail: refusal.as_str(),
        }
    }
}

impl From<BadCredential> for Denial {
    fn from(bad: BadCredential) -> Self {
        let (reason, detail) = match bad {
            BadCredential::Two => (Reason::TwoCredentials, "two_credentials"),
            BadCredential::Authorization => (Reason::Invalid, "authorization"),
            BadCredential::Cookie => (Reason::Invalid, "cookie"),
            BadCredential::Copies => (Reason::Invalid, "cookie_copies"),
            BadCredential::TooMany => (Reason::Invalid, "cookie_limit"),
        };
        Self { reason, detail }
    }
}

impl From<TooLong> for Denial {
    fn from(_: TooLong) -> Self {
        Self {
            reason: Reason::Invalid,
            detail: "identity_too_long",
        }
    }
}
