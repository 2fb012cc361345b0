//! Tokens that verified and were never compared with the store, and the choice between several.

use std::sync::Arc;

use crate::guard::denial::{Denial, Reason};
use crate::guard::extract::BadCredential;
use crate::guard::identity::Identity;
use crate::guard::permit::Permit;
use crate::policy::RuleMatch;
use crate::policy::settings::Storage;
use crate::types::role::Role;
use crate::types::time::Timestamp;

/// A request whose authorization waits for the first sight of a token. Only
/// [`Guard::first_sight`](crate::guard::Guard::first_sight) makes a permit of it.
#[derive(Debug)]
#[must_use = "the request is neither permitted nor denied yet"]
pub struct Unseen {
    pub(super) proofs: Proofs,
    pub(super) demand: Demand,
}

/// The requirements of a rule, and its caching of the answer.
#[derive(Debug)]
pub(super) struct Demand {
    /// One of these roles; none = no role is needed.
    roles: Vec<Role>,
    storage: Storage,
    /// When the request was made.
    at: Timestamp,
}

impl Demand {
    pub(super) fn of(rule: &RuleMatch<'_>, at: Timestamp) -> Self {
        Self {
            roles: rule.roles.to_vec(),
            storage: rule.storage,
            at,
        }
    }

    pub(super) fn permit(self, identity: Arc<Identity>) -> Result<Permit, Denial> {
        Permit::of(&self.roles, identity, self.storage, self.at)
    }
}

/// The tokens of a request.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    /// The one in `Authorization`.
    pub(super) bearer: Option<Proof>,
    /// The copies of our cookie.
    pub(super) copies: Vec<Proof>,
}

/// The state of a token.
#[derive(Debug)]
pub(super) enum Proof {
    /// It passes.
    Known(Arc<Identity>),
    /// It verified, and has to be compared with the store.
    New(Candidate),
    /// It does not pass.
    Bad(Denial),
}

/// A token with a valid signature and valid times, and the identity made from it.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) token: Box<[u8]>,
    pub(super) identity: Arc<Identity>,
    pub(super) not_before: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) keys_epoch: u64,
}

impl Proof {
    /// A token that was compared.
    pub(super) fn of(compared: Result<Arc<Identity>, Denial>) -> Self {
        compared.map_or_else(Self::Bad, Self::Known)
    }

    /// A token that is still to be compared does not pass.
    fn outcome(self) -> Result<Arc<Identity>, Denial> {
        match self {
            Self::Known(identity) => Ok(identity),
            Self::Bad(denial) => Err(denial),
            Self::New(_) => Err(Denial::new(Reason::Unavailable)),
        }
    }
}

impl Proofs {
    /// The only token of a request.
    pub(super) fn one(candidate: Candidate) -> Self {
        Self {
            bearer: Some(Proof::New(candidate)),
            copies: Vec::new(),
        }
    }

    /// Whether none is left to be compared with the store.
    pub(super) fn are_seen(&self) -> bool {
        let mut all = self.bearer.iter().chain(&self.copies);
        all.all(|proof| !matches!(proof, Proof::New(_)))
    }

    /// The caller. A bearer token must be valid. Of the copies of our cookie the valid one counts,
    /// however many others there are: a neighbouring host can set them, and a browser keeps those
    /// of an earlier `cookies.domain`. Tokens of different sessions are refused, since nothing
    /// shows which one is meant. A token is also refused if its state is unknown because the store
    /// does not answer.
    pub(super) fn choose(self) -> Result<Arc<Identity>, Denial> {
        let has_bearer = self.bearer.is_some();
        let mut chosen = self.bearer.map(Proof::outcome).transpose()?;
        let mut refusal = Denial::from(BadCredential::Cookie);
        for proof in self.copies {
            match (proof.outcome(), &chosen) {
                (Ok(other), Some(known)) if other.session != known.session => {
                    return Err(Denial::from(BadCredential::Two));
                }
                (Ok(other), Some(known)) if !has_bearer && other.expires_at > known.expires_at => {
                    chosen = Some(other);
                }
                (Ok(_), Some(_)) => {}
                (Ok(only), None) => chosen = Some(only),
                (Err(denial), _) if denial.reason() == Reason::Unavailable => return Err(denial),
                (Err(denial), _) => refusal = denial.or_better(refusal),
            }
        }
        chosen.ok_or(refusal)
    }
}
