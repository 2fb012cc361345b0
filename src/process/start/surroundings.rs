//! Which clock, randomness and store does a process use, and what may a start create?

use std::sync::Arc;

use crate::store::AnyStore;
use crate::store::identity::Founding;
use crate::types::random::{Random, SystemRandom};
use crate::types::time::{Clock, SystemClock};

/// What the parts stand on: the real world, or a test's.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// A store that is open already; else the configured one is opened.
    pub store: Option<Arc<AnyStore>>,
    /// What may be made where there is no store, or where the keys are not its own.
    pub start: Beginning,
}

/// What may be made at a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beginning {
    /// Whether a store may be founded.
    pub founding: Founding,
    /// Whether keys that do not know the store are taken for its own.
    pub new_keys: bool,
}

impl Default for Beginning {
    /// A first start founds a store; anything that was lost stops it.
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
