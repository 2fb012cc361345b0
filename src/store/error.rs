//! How a store can fail its caller. Absence and conflict are outcomes, not errors.

/// A store operation that gave no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Certainly not applied: trying again is safe.
    #[error("the store cannot be reached or cannot write: {0}")]
    Unavailable(String),
    /// Taken, but no answer came in time: it may or may not be applied. Every operation is safe to
    /// repeat.
    #[error("the store did not answer in time")]
    Indeterminate,
    /// A stored record does not decode. Never treated as absent.
    #[error("a stored record is damaged: {0}")]
    Corrupt(String),
    /// The store holds less, or something else, than what was acknowledged. It is not used until
    /// somebody decides.
    #[error("{0}")]
    Damaged(String),
    /// The files of the store are gone, or others are in their place; only a restart helps.
    #[error("{0}")]
    Lost(String),
    /// A record over [`super::MAX_RECORD`].
    #[error("a record of {0} bytes is too large to store")]
    TooLarge(usize),
    /// Another process holds the store.
    #[error("{0}")]
    Locked(String),
    /// The store cannot be used as it is configured or found; the process must not start.
    #[error("{0}")]
    Config(String),
}
