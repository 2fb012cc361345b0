//! For which reasons is a connection or stream cut without a response from the gateway?

/// A reason of [`WorkerMetrics::dropped`](super::WorkerMetrics::dropped).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// All `server.max_connections` were taken.
    Full,
    /// All `server.max_connections_per_address` of the client's address were taken.
    AddressFull,
    /// A trusted peer sent no PROXY header that could be read.
    ProxyHeader,
    /// No TLS within `server.tls.handshake_timeout`.
    SlowHandshake,
    /// No byte within `server.header_timeout`.
    Silent,
    /// A request head, or an HTTP/2 frame, that did not end within `server.header_timeout`.
    SlowHead,
    /// The client accepted nothing of a response for a minute. Over HTTP/2 only that stream is cut.
    SlowReader,
    /// The client reset many more HTTP/2 streams than it let end.
    Resets,
}

impl Dropped {
    pub(super) const ALL: [Self; 8] = [
        Self::Full,
        Self::AddressFull,
        Self::ProxyHeader,
        Self::SlowHandshake,
        Self::Silent,
        Self::SlowHead,
        Self::SlowReader,
        Self::Resets,
    ];

    /// The label's value.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::AddressFull => "address_full",
            Self::ProxyHeader => "proxy_header",
            Self::SlowHandshake => "slow_handshake",
            Self::Silent => "silent",
            Self::SlowHead => "slow_head",
            Self::SlowReader => "slow_reader",
            Self::Resets => "resets",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter() {
        for (index, reason) in Dropped::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }
}
