//! Permission as a value. Only this module tree can make a [`Permit`], and the proxy forwards
//! nothing without one, so a request that was not judged cannot reach the upstream: the types do
//! not fit.

use std::sync::Arc;

use crate::guard::identity::Identity;

/// The right to forward one request, and on whose behalf.
#[derive(Debug)]
#[must_use = "a permit is spent by forwarding the request it was given for"]
pub struct Permit {
    caller: Caller,
}

/// What is known about who is calling.
#[derive(Debug)]
enum Caller {
    /// They showed a good token.
    Known(Arc<Identity>),
    /// They could have shown one and did not: an optional route.
    Unknown,
    /// Nobody looked: a public route.
    NotAsked,
}

impl Permit {
    /// A permit for a request whose caller is known.
    pub(super) fn identified(identity: Arc<Identity>) -> Self {
        Self {
            caller: Caller::Known(identity),
        }
    }

    /// A permit for a request on an optional route that shows no token.
    pub(super) fn unknown() -> Self {
        Self {
            caller: Caller::Unknown,
        }
    }

    /// A permit for a request on a public route.
    pub(super) fn anonymous() -> Self {
        Self {
            caller: Caller::NotAsked,
        }
    }

    /// A permit for tests of what is forwarded.
    #[cfg(test)]
    pub(crate) fn for_tests(identity: Option<Arc<Identity>>) -> Self {
        identity.map_or_else(Self::anonymous, Self::identified)
    }

    /// Who is calling, if known.
    pub fn identity(&self) -> Option<&Identity> {
        match &self.caller {
            Caller::Known(identity) => Some(identity),
            Caller::Unknown | Caller::NotAsked => None,
        }
    }

    /// The same, to be kept for longer than the permit.
    pub fn shared(&self) -> Option<&Arc<Identity>> {
        match &self.caller {
            Caller::Known(identity) => Some(identity),
            Caller::Unknown | Caller::NotAsked => None,
        }
    }

    /// Whether it would matter who is calling, and nobody knows.
    pub fn lacks_identity(&self) -> bool {
        matches!(self.caller, Caller::Unknown)
    }
}
