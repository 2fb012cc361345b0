//! Permission as a value. Only this module tree can make a [`Permit`], and the proxy forwards
//! nothing without one, so a request that was not judged cannot reach the upstream: the types do
//! not fit.

use std::sync::Arc;

use crate::guard::identity::Identity;

/// The right to forward one request, and on whose behalf.
#[derive(Debug)]
#[must_use = "a permit is spent by forwarding the request it was given for"]
pub struct Permit {
    identity: Option<Arc<Identity>>,
}

impl Permit {
    /// A permit for a request whose caller is known.
    pub(super) fn identified(identity: Arc<Identity>) -> Self {
        Self {
            identity: Some(identity),
        }
    }

    /// A permit for a request whose caller is not known: a public route.
    pub(super) fn anonymous() -> Self {
        Self { identity: None }
    }

    /// A permit for the proxy's own tests.
    #[cfg(test)]
    pub(crate) fn for_tests(identity: Option<Arc<Identity>>) -> Self {
        Self { identity }
    }

    /// Who is calling, if known.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_deref()
    }
}
