//! The client's bytes, telling the connection's watch what happens on them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::server::connection::frames::FrameWatch;
use crate::server::connection::transport::Transport;
use crate::server::connection::vigil::{State, Vigil};
use crate::server::peer::Peer;

/// A watched transport. It holds the peer: what is upgraded out of a connection stays in the books.
#[derive(Debug)]
pub(super) struct Watched {
    transport: Transport,
    /// Bytes that were read before and are to be read again first.
    again: Bytes,
    peer: Arc<Peer>,
    /// The place in the frames, when HTTP/2 is spoken.
    frames: Option<FrameWatch>,
    /// Whether the client has said that nothing more will come.
    ended: bool,
}

impl Watched {
    pub(super) fn http1(transport: Transport, again: Bytes, peer: Arc<Peer>) -> Self {
        if !again.is_empty() {
            peer.open.vigil.enter(State::Head, peer.open.worker.tick());
        }
        Self {
            transport,
            again,
            peer,
            frames: None,
            ended: false,
        }
    }

    pub(super) fn http2(transport: Transport, peer: Arc<Peer>) -> Self {
        Self {
            transport,
            again: Bytes::new(),
            peer,
            frames: Some(FrameWatch::new()),
            ended: false,
        }
    }

    /// The transport, for another use.
    pub(super) fn into_transport(self) -> Transport {
        self.transport
    }

    fn vigil(&self) -> &Vigil {
        &self.peer.open.vigil
    }

    fn tick(&self) -> u64 {
        self.peer.open.worker.tick()
    }

    fn read(&mut self, bytes: &[u8]) {
        let open = &self.peer.open;
        let vigil = &open.vigil;
        if let Some(frames) = &mut self.frames {
            let seen = frames.see(bytes);
            if seen.progress && vigil.is(State::New) {
                vigil.enter(State::Waiting, open.worker.tick());
            }
            if !seen.partial {
                vigil.partial_since(0);
            } else if seen.progress || !vigil.is_partial() {
                vigil.partial_since(open.worker.tick().max(1));
            }
            return;
        }
        vigil.note_tail(bytes);
        if vigil.is(State::Waiting) || vigil.is(State::New) {
            vigil.enter(State::Head, open.worker.tick());
        }
    }

    fn wrote<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &result {
            Poll::Pending => self.vigil().stalls(self.tick()),
            Poll::Ready(_) => self.vigil().flows(),
        }
        result
    }
}

impl AsyncRead for Watched {
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
            // The end is told a turn later. Told at once, hyper would drop a request that came with it
            // before anybody has begun it; whether one is begun must not hang on the load.
            this.ended = true;
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
        polled
    }
}

impl AsyncWrite for Watched {
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
