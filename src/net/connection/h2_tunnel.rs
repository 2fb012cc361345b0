//! How are the bytes of another protocol carried on a stream of HTTP/2 (RFC 8441)?

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Both directions of a stream, as bytes.
#[derive(Debug)]
pub struct H2Tunnel {
    send: SendStream<Bytes>,
    receive: RecvStream,
    /// Bytes that were received and not read.
    received: Bytes,
    is_shut: bool,
}

impl H2Tunnel {
    pub(crate) fn new(send: SendStream<Bytes>, receive: RecvStream) -> Self {
        Self {
            send,
            receive,
            received: Bytes::new(),
            is_shut: false,
        }
    }

    fn shut(&mut self) -> io::Result<()> {
        if self.is_shut {
            return Ok(());
        }
        self.is_shut = true;
        self.send.send_data(Bytes::new(), true).map_err(io_error)
    }
}

impl AsyncRead for H2Tunnel {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.received.is_empty() {
            match ready!(this.receive.poll_data(task)) {
                None => return Poll::Ready(Ok(())),
                Some(Ok(data)) => this.received = data,
                Some(Err(error)) => {
                    let is_end = matches!(error.reason(), Some(Reason::NO_ERROR | Reason::CANCEL));
                    return Poll::Ready(if is_end { Ok(()) } else { Err(io_error(error)) });
                }
            }
        }
        let now = this.received.len().min(buffer.remaining());
        buffer.put_slice(this.received.get(..now).unwrap_or_default());
        this.received.advance(now);
        // An error means that the stream is closed: there is no window to enlarge.
        this.receive.flow_control().release_capacity(now).ok();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for H2Tunnel {
    fn poll_write(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if let Poll::Ready(reason) = this.send.poll_reset(task) {
            let error = reason.map_or_else(|error| error, h2::Error::from);
            return Poll::Ready(Err(io_error(error)));
        }
        this.send.reserve_capacity(bytes.len());
        while this.send.capacity() == 0 {
            match ready!(this.send.poll_capacity(task)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let now = this.send.capacity().min(bytes.len());
        let piece = Bytes::copy_from_slice(bytes.get(..now).unwrap_or_default());
        Poll::Ready(match this.send.send_data(piece, false) {
            Ok(()) => Ok(now),
            Err(error) => Err(io_error(error)),
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection's task writes what was handed to h2.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_mut().shut())
    }
}

impl Drop for H2Tunnel {
    /// Ends the direction to the client in order, unless it was ended before.
    fn drop(&mut self) {
        self.shut().ok();
    }
}

fn io_error(error: h2::Error) -> io::Error {
    if error.is_io() {
        error
            .into_io()
            .unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())
    } else {
        io::Error::other(error)
    }
}
