//! How long may the phases of a connection take?

use std::time::Duration;

/// The deadlines that the configuration sets.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// A complete request head, from its first byte; for the first request also from the accept.
    pub header: Duration,
    /// A TLS handshake.
    pub handshake: Duration,
}

/// How long a client may accept no byte of a response that is ready.
pub(crate) const WRITE_STALL: Duration = Duration::from_secs(60);

/// The same when the session of the response has ended. Long enough for a client that reads to receive the
/// reason.
pub(crate) const ENDED_STALL: Duration = Duration::from_millis(500);
