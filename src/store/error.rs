//! How can a store operation fail? Absence and conflict are outcomes, not errors.

/// A store operation without an outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Not applied. A retry is safe.
    #[error("the store cannot be reached or cannot write: {0}")]
    Unavailable(String),
    /// Accepted, but no answer came in time: the operation may or may not be applied. Every operation is
    /// safe to repeat.
    #[error("the store did not answer in time")]
    Indeterminate,
    /// A stored record does not decode. Never treated as absent.
    #[error("a stored record is damaged: {0}")]
    Corrupt(String),
    /// The store holds less than what was acknowledged, or something else. It is not used until an
    /// operator decides.
    #[error("{0}")]
    Damaged(String),
    /// The files of the store were removed, or replaced by others. Only a restart helps.
    #[error("{0}")]
    Lost(String),
    /// A record larger than [`MAX_RECORD`](super::MAX_RECORD).
    #[error("a record of {0} bytes is too large to store")]
    TooLarge(usize),
    /// Another process holds the store.
    #[error("{0}")]
    Locked(String),
    /// The store cannot be used as it is configured or found. The process must not start.
    #[error("{0}")]
    Config(String),
}
