//! Phase 3: does Sidegate answer this path itself?

use crate::api::{Api, CheckRoute, Mounted};

/// The route of a path.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Route<'a> {
    /// The public keys.
    Jwks,
    /// A mount of the API, and the path below it.
    Mount { mounted: &'a Mounted, path: &'a str },
    /// The upstream.
    Upstream,
}

impl<'a> Route<'a> {
    /// Finds the route of a path. The path need not be checked before: a mount's prefix has no ambiguous
    /// character.
    pub(crate) fn of(api: &'a Api, path: &'a str) -> Self {
        if path == "/.well-known/jwks.json" {
            return Self::Jwks;
        }
        match api.mount(path) {
            Some((mounted, path)) => Self::Mount { mounted, path },
            None => Self::Upstream,
        }
    }

    /// Whether Sidegate answers it itself.
    pub(crate) fn is_own(self) -> bool {
        !matches!(self, Self::Upstream)
    }

    /// The route for the questions of gateways, if this is one.
    pub(crate) fn check(self) -> Option<CheckRoute<'a>> {
        match self {
            Self::Jwks | Self::Upstream => None,
            Self::Mount { mounted, path } => CheckRoute::of(mounted, path),
        }
    }
}
