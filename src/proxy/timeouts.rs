//! How long may an exchange with the upstream be silent, and which error follows?
//!
//! An exchange measures how long nothing has moved in either direction, and compares it with these limits:
//!
//! | phase | it waits for | limit |
//! |---|---|---|
//! | head | the upstream's answer; the request is sent | `response_timeout` |
//! | head | more of the client's body, or the upstream to take more of it | idle limit, 60 s |
//! | body of known length, or a client that still sends | any byte | idle limit, 60 s |
//! | body of unknown length | any byte | `stream_idle_timeout` |
//! | gRPC call, head | the upstream's answer | `grpc-timeout`, at most `stream_idle_timeout` |
//! | gRPC call, body | any byte | `stream_idle_timeout` |
//! | connection that has switched protocols | any byte | `stream_idle_timeout` |
//!
//! The exchanges apply the limit in their `poll_silence` (`exchange` for HTTP/1.1, `http2::exchange`).

use std::time::Duration;

use crate::proxy::error::{ClientFault, UpstreamError};
use crate::proxy::settings::Settings;

/// The longest silence in both directions while a body of known length is on its way. nginx, HAProxy and
/// Apache have the same default.
pub(super) const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// The party that the sending half of an exchange waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// None: the request is sent, or the upstream takes no more of it.
    Done,
    /// The client, to send more.
    Client,
    /// The upstream, to take more.
    Upstream,
}

/// How long the parts of an exchange may be silent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    /// From the last byte of the request to the head of the answer; `None` = no limit.
    response: Option<Duration>,
    idle: Duration,
    /// For answers of unknown length, gRPC calls and switched connections; `None` = no limit.
    stream: Option<Duration>,
}

impl Timeouts {
    /// Those of the settings, with this idle limit. A zero in the settings means no limit.
    pub(super) fn new(settings: &Settings, idle: Duration) -> Self {
        let limit = |limit: Duration| Some(limit).filter(|limit| !limit.is_zero());
        Self {
            response: limit(settings.response_timeout),
            idle,
            stream: limit(settings.stream_idle_timeout),
        }
    }

    /// Until the head of the answer.
    pub(super) const fn head(&self, waiting: Waiting) -> Option<Duration> {
        match waiting {
            Waiting::Done => self.response,
            Waiting::Client | Waiting::Upstream => Some(self.idle),
        }
    }

    /// While the body of the answer is on its way.
    pub(super) const fn body(&self, waiting: Waiting, has_length: bool) -> Option<Duration> {
        match waiting {
            Waiting::Client => Some(self.idle),
            Waiting::Upstream | Waiting::Done if has_length => Some(self.idle),
            Waiting::Upstream | Waiting::Done => self.stream,
        }
    }

    /// Until the head of a gRPC call's answer whose caller still waits for `left`. The operator's limit
    /// also holds for a caller that would wait longer.
    pub(super) fn call_head(&self, left: Option<Duration>) -> Option<Duration> {
        match (left, self.stream) {
            (Some(left), Some(limit)) => Some(left.min(limit)),
            (left, limit) => left.or(limit),
        }
    }

    /// For answers of unknown length, gRPC calls and switched connections.
    pub(super) const fn stream(&self) -> Option<Duration> {
        self.stream
    }

    pub(super) const fn idle(&self) -> Duration {
        self.idle
    }
}

/// The error after a silence that was too long.
pub(super) fn expired(waiting: Waiting) -> UpstreamError {
    match waiting {
        Waiting::Client => ClientFault::Stalled.into(),
        Waiting::Upstream | Waiting::Done => UpstreamError::Timeout,
    }
}
