//! Why is a valid access token refused before it expires?

use serde::{Deserialize, Serialize};

use crate::model::session::Generation;
use crate::model::user::AccountVersion;
use crate::types::ids::SessionId;
use crate::types::time::Timestamp;

/// One entry of the revocation log. It is kept until `until`, when the last access token that it concerns has
/// expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The session it is about.
    pub session: SessionId,
    /// Its content.
    pub effect: RevocationEffect,
    /// When the entry may be removed.
    pub until: Timestamp,
}

/// The effect of a revocation on the access tokens of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RevocationEffect {
    /// The session is over: no token of it passes.
    Ended,
    /// As [`RevocationEffect::Stale`], written by releases whose tokens did not carry the account's version:
    /// a token without one must be refreshed first. Read from their stores, and never written.
    StaleGeneration(Generation),
    /// Roles or names changed: tokens made from an earlier version of the account must be refreshed
    /// first. Tokens issued after the change have this version or a later one, in any generation of
    /// the session.
    Stale(AccountVersion),
}

impl RevocationEffect {
    /// Whether a token made from this version of the account is still accepted; none = the token carries no
    /// version.
    pub fn admits(self, version: Option<AccountVersion>) -> bool {
        match self {
            Self::Ended => false,
            Self::StaleGeneration(_) => version.is_some(),
            Self::Stale(least) => version.is_some_and(|version| version >= least),
        }
    }

    /// Both together: an end is final, the later staleness wins.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Ended, _) | (_, Self::Ended) => Self::Ended,
            (Self::Stale(a), Self::Stale(b)) => Self::Stale(a.max(b)),
            // Stricter than the other: a token without a version counts as one of an early
            // version.
            (stale @ Self::Stale(_), Self::StaleGeneration(_))
            | (Self::StaleGeneration(_), stale @ Self::Stale(_)) => stale,
            (Self::StaleGeneration(a), Self::StaleGeneration(b)) => Self::StaleGeneration(a.max(b)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_an_earlier_version_is_stale_and_one_of_the_change_is_not() {
        let stale = RevocationEffect::Stale(AccountVersion(3));
        for (version, passes) in [
            (None, false),
            (Some(2), false),
            (Some(3), true),
            (Some(4), true),
        ] {
            assert_eq!(
                stale.admits(version.map(AccountVersion)),
                passes,
                "{version:?}"
            );
            assert!(!RevocationEffect::Ended.admits(version.map(AccountVersion)));
        }
    }

    #[test]
    fn an_entry_of_an_earlier_release_refuses_the_tokens_of_that_release() {
        let old = RevocationEffect::StaleGeneration(Generation(7));
        assert!(!old.admits(None));
        assert!(old.admits(Some(AccountVersion(0))));
    }

    #[test]
    fn two_entries_together_admit_what_both_admit() {
        let entries = [
            RevocationEffect::Ended,
            RevocationEffect::StaleGeneration(Generation(1)),
            RevocationEffect::StaleGeneration(Generation(2)),
            RevocationEffect::Stale(AccountVersion(0)),
            RevocationEffect::Stale(AccountVersion(2)),
        ];
        for a in entries {
            for b in entries {
                for version in [None, Some(0), Some(1), Some(2)] {
                    let version = version.map(AccountVersion);
                    let both = a.admits(version) && b.admits(version);
                    assert_eq!(
                        a.and(b).admits(version),
                        both,
                        "{a:?} and {b:?}: {version:?}"
                    );
                }
            }
        }
    }
}
