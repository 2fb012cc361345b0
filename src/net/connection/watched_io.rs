//! How does the connection state follow the bytes of a client?

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::connection::frame_progress::FrameWatch;
use crate::net::connection::handle::Connection;
use crate::net::connection::state::{ConnectionState, State};
use crate::net::connection::transport::Transport;

/// A transport that reports to the connection state. It holds the connection, so that a connection that
/// switches protocols stays registered.
#[derive(Debug)]
pub(crate) struct WatchedIo {
    transport: Transport,
    /// Bytes that were read before and are read again first.
    again: Bytes,
    connection: Arc<Connection>,
    /// The position among the frames of HTTP/2.
    frames: Option<FrameWatch>,
    /// Whether the client has ended its side.
    ended: bool,
}

impl WatchedIo {
    pub(crate) fn http1(transport: Transport, again: Bytes, connection: Arc<Connection>) -> Self {
        if !again.is_empty() {
            connection
                .registered
                .state
                .enter(State::Head, connection.tick());
        }
        Self {
            transport,
            again,
            connection,
            frames: None,
            ended: false,
        }
    }

    pub(crate) fn http2(transport: Transport, connection: Arc<Connection>) -> Self {
        Self {
            transport,
            again: Bytes::new(),
            connection,
            frames: Some(FrameWatch::new()),
            ended: false,
        }
    }

    /// The transport, for another use.
    pub(crate) fn into_transport(self) -> Transport {
        self.transport
    }

    fn state(&self) -> &ConnectionState {
        &self.connection.registered.state
    }

    fn tick(&self) -> u64 {
        self.connection.tick()
    }

    fn read(&mut self, bytes: &[u8]) {
        let registered = &self.connection.registered;
        let state = &registered.state;
        if let Some(frames) = &mut self.frames {
            state.frame_received(registered.tick());
            let seen = frames.see(bytes);
            if seen.progress && state.is(State::New) {
                state.enter(State::Waiting, registered.tick());
            }
            if !seen.partial {
                state.set_partial_since(0);
            } else if seen.progress || !state.is_partial() {
                state.set_partial_since(registered.tick().max(1));
            }
            return;
        }
        state.last_bytes.received(bytes);
        if state.is(State::Waiting) || state.is(State::New) {
            state.enter(State::Head, registered.tick());
        }
    }

    fn wrote<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &result {
            Poll::Pending => self.state().write_stalled(self.tick()),
            Poll::Ready(_) => self.state().write_continued(),
        }
        result
    }
}

impl AsyncRead for WatchedIo {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.again.is_empty() {
            let now = this.again.len().min(buffer.remaining());
            buffer.put_slice(&this.again.split_to(now));
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.transport).poll_read(task, buffer);
        let came = buffer.filled().get(before..).unwrap_or_default();
        if !came.is_empty() {
            this.read(came);
        } else if polled.is_ready() && !this.ended {
            // The end is reported one poll later. Otherwise hyper would drop a request that arrived together
            // with it and has not begun; whether it begins must not depend on the load.
            this.ended = true;
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
        polled
    }
}

impl AsyncWrite for WatchedIo {
    fn poll_write(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.transport).poll_write(task, bytes);
        this.wrote(polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.transport).poll_write_vectored(task, slices);
        this.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.transport).poll_flush(task);
        this.wrote(polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_shutdown(task)
    }
}
