//! When must a response end early, although its client accepts no bytes?

use std::fmt::Debug;

/// Decides whether a response that is not being polled has to be cut.
pub trait ResponseWatch: Debug + Send + Sync {
    /// Whether the response must end now.
    fn is_over(&self) -> bool;
}
