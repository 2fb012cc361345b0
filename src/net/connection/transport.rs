//! What carries the bytes of a connection? A socket, with TLS or without, whose first bytes may have been
//! inspected before they are read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BufMut as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::net::stream::{Stream, read_and_write_through};

/// The most bytes that are inspected before they are read. The longest PROXY header and the
/// preface of HTTP/2 fit, and so does a common request head, which then needs no second read.
const FIRST: usize = 1024;

/// A stream whose first bytes can be inspected and are read afterwards.
#[derive(Debug)]
pub(crate) struct Replayed<S> {
    first: Vec<u8>,
    at: usize,
    stream: S,
}

/// The transport under HTTP.
#[derive(Debug)]
pub(crate) enum Transport {
    /// The socket.
    Plain(Replayed<Stream>),
    /// TLS.
    Tls(Box<TlsStream<Replayed<Stream>>>),
}

/// The version of HTTP on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HttpVersion {
    /// 1.1 and 1.0.
    Http1,
    /// 2.
    Http2,
}

impl<S> Replayed<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            first: Vec::new(),
            at: 0,
            stream,
        }
    }

    /// The bytes that have arrived and were not read.
    pub(crate) fn seen(&self) -> &[u8] {
        self.first.get(self.at..).unwrap_or_default()
    }

    /// Removes bytes that were inspected.
    pub(crate) fn skip(&mut self, bytes: usize) {
        self.at = self.first.len().min(self.at + bytes);
    }
}

impl<S: AsyncRead + Unpin> Replayed<S> {
    /// Waits for more bytes to inspect; `false` when none will arrive or there is no room for them.
    pub(crate) async fn more(&mut self) -> io::Result<bool> {
        let room = FIRST - self.first.len().min(FIRST);
        if room == 0 {
            return Ok(false);
        }
        self.first.reserve_exact(room);
        let mut into = (&mut self.first).limit(room);
        Ok(self.stream.read_buf(&mut into).await? > 0)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Replayed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let seen = this.first.get(this.at..).unwrap_or_default();
        if seen.is_empty() {
            return Pin::new(&mut this.stream).poll_read(task, buffer);
        }
        let now = seen.len().min(buffer.remaining());
        buffer.put_slice(seen.get(..now).unwrap_or_default());
        this.skip(now);
        if this.seen().is_empty() {
            (this.first, this.at) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Replayed<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(task, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(task, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(task)
    }

    fn poll_shutdown(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(task)
    }
}

impl Transport {
    /// Waits until the socket has something to read, or the end. To be called after a read that found
    /// nothing: what TLS has decrypted already does not make the socket readable.
    pub(crate) fn poll_readable(&self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        };
        socket.stream.poll_readable(task)
    }
}

read_and_write_through!(Transport: Plain, Tls);
