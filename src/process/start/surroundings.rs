//! Which clock, randomness and store does a process use, and what may a start create?

use std::sync::Arc;

use crate::store::AnyStore;
use crate::store::identity::Founding;
use crate::types::random::{Random, SystemRandom};
use crate::types::time::{Clock, SystemClock};

/// The clock, the randomness and the store that all parts use. A test provides its own.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// A store that is open already; else the configured one is opened.
    pub store: Option<Arc<AnyStore>>,
    /// The permissions of the start, for the case that there is no store or that the keys do not belong to it.
    pub start: Beginning,
}

/// The permissions of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beginning {
    /// Whether a new store may be created.
    pub founding: Founding,
    /// Whether keys that are not bound to the store are accepted as its own.
    pub new_keys: bool,
}

impl Default for Beginning {
    /// The first start creates a store. If a store or keys were lost, the start fails.
    fn default() -> Self {
        Self {
            founding: Founding::First,
            new_keys: false,
        }
    }
}

impl Surroundings {
    /// The machine's clock and randomness.
    pub fn real() -> Self {
        Self {
            clock: Arc::new(SystemClock::default()),
            random: Arc::new(SystemRandom),
            store: None,
            start: Beginning::default(),
        }
    }
}
