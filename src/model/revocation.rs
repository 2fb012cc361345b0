//! What makes a valid access token worthless before it expires.

use serde::{Deserialize, Serialize};

use crate::model::session::Generation;
use crate::types::ids::SessionId;
use crate::types::time::Timestamp;

/// One entry of the revocation log. It is kept until no access token it speaks of can be alive:
/// `until` is the end of the longest-lived one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The session it is about.
    pub session: SessionId,
    /// What holds for it.
    pub verdict: Verdict,
    /// When the entry may be forgotten.
    pub until: Timestamp,
}

/// What a revocation says about a session's access tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The session is over: no token of it passes.
    Ended,
    /// Roles or names changed: tokens up to this generation must be refreshed first.
    Stale(Generation),
}

impl Verdict {
    /// Whether a token of this generation may still pass.
    pub fn admits(self, generation: Generation) -> bool {
        match self {
            Self::Ended => false,
            Self::Stale(last) => generation > last,
        }
    }

    /// Both together: an end is final, the later staleness wins.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Stale(a), Self::Stale(b)) => Self::Stale(a.max(b)),
            _ => Self::Ended,
        }
    }
}
