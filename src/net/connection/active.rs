//! Which HTTP/2 streams keep a connection from counting as idle?

use std::sync::Arc;

use crate::net::connection::h2_streams::{H2Stream, Remaining};
use crate::net::connection::handle::Connection;
use crate::net::connection::state::State;
use crate::telemetry::metrics::Dropped;

/// One open stream of a connection; removed from it on drop.
#[derive(Debug)]
pub(crate) struct H2StreamGuard {
    pub(crate) connection: Arc<Connection>,
    pub(crate) stream: Arc<H2Stream>,
    /// Whether its response was sent to the end, or failed at the upstream. If not, the client has reset it.
    pub(crate) is_answered: bool,
}

impl H2StreamGuard {
    pub(crate) fn begin(connection: &Arc<Connection>) -> Self {
        let registered = &connection.registered;
        registered.state.enter(State::Busy, registered.tick());
        Self {
            connection: Arc::clone(connection),
            stream: registered.state.h2_streams.begin(),
            is_answered: false,
        }
    }
}

impl Drop for H2StreamGuard {
    fn drop(&mut self) {
        let registered = &self.connection.registered;
        let state = &registered.state;
        match state.h2_streams.end(&self.stream, self.is_answered) {
            Remaining::None => state.enter(State::Waiting, registered.tick()),
            Remaining::TooManyResets if state.cut() => registered.dropped(Dropped::Resets),
            Remaining::Some | Remaining::TooManyResets => {}
        }
    }
}

/// While this value exists, its connection does not count as idle. A tunnel over an HTTP/2 stream holds one,
/// because the task that answered the stream's request has ended.
#[derive(Debug)]
pub struct ActiveGuard {
    _stream: H2StreamGuard,
}

impl ActiveGuard {
    /// Marks this connection as active.
    pub fn of(connection: &Arc<Connection>) -> Self {
        let mut stream = H2StreamGuard::begin(connection);
        // Its handshake was answered, so the client has not reset the request.
        stream.is_answered = true;
        Self { _stream: stream }
    }
}
