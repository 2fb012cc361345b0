//! Permission as a value. Only this module tree can make a [`Permit`], and the proxy forwards
//! nothing without one, so a request that was not authorized cannot reach the upstream: the types do
//! not fit.

use std::sync::Arc;

use http::HeaderMap;

use crate::guard::caching;
use crate::guard::denial::{Denial, Reason};
use crate::guard::identity::Identity;
use crate::policy::settings::Storage;
use crate::types::role::Role;
use crate::types::time::Timestamp;

/// The right to forward one request, and its caller.
#[derive(Debug)]
#[must_use = "a permit is spent by forwarding the request it was given for"]
pub struct Permit {
    caller: Caller,
    storage: Storage,
}

/// The known facts about the caller.
#[derive(Debug)]
enum Caller {
    /// The request has a valid token.
    Known(Arc<Identity>),
    /// The request has no token, and the route is optional.
    Unknown,
    /// Not checked: a public route.
    NotAsked,
}

impl Permit {
    /// A permit for a known caller with one of the required roles, if any.
    pub(super) fn of(
        roles: &[Role],
        identity: Arc<Identity>,
        storage: Storage,
        now: Timestamp,
    ) -> Result<Self, Denial> {
        if !roles.is_empty() && !roles.iter().any(|role| identity.roles.has(role)) {
            return Err(Denial::new(Reason::MissingRole));
        }
        identity.assert(now)?;
        Ok(Self::identified(identity, storage))
    }

    /// A permit for a request whose caller is known.
    fn identified(identity: Arc<Identity>, storage: Storage) -> Self {
        Self {
            caller: Caller::Known(identity),
            storage,
        }
    }

    /// A permit for a request on an optional route that shows no token.
    pub(super) fn unknown(storage: Storage) -> Self {
        Self {
            caller: Caller::Unknown,
            storage,
        }
    }

    /// A permit for a request on a public route.
    pub(super) fn anonymous() -> Self {
        Self {
            caller: Caller::NotAsked,
            storage: Storage::Application,
        }
    }

    /// A permit for tests of forwarding.
    #[cfg(test)]
    pub(crate) fn for_tests(identity: Option<Arc<Identity>>) -> Self {
        identity.map_or_else(Self::anonymous, |identity| {
            Self::identified(identity, Storage::Private)
        })
    }

    /// The caller, if known.
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

    /// Writes into the head of the answer which caches may store it. No shared cache may store an
    /// answer that depends on the caller, since it would serve it to others without a check. On an
    /// optional route, the answer to an anonymous caller is not for known ones.
    pub fn limit_storage(&self, answer: &mut HeaderMap) {
        match (&self.caller, self.storage) {
            (Caller::Known(_), Storage::Private) => caching::restrict(answer),
            (Caller::Unknown, Storage::Private) => caching::vary(answer),
            (Caller::NotAsked, _) | (_, Storage::Application) => {}
        }
    }

    /// Whether the answer depends on the caller and the caller is unknown.
    pub fn lacks_identity(&self) -> bool {
        matches!(self.caller, Caller::Unknown)
    }
}
