//! Connections to the upstream: one kind for TCP and Unix sockets, and how one is made.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

use crate::proxy::error::UpstreamError;
use crate::proxy::settings::Address;

/// A connected socket.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Connects within `limit`. A name that has several addresses is tried address by address, each
/// with its share of the time that is left, so that one that swallows packets does not hide the
/// next.
///
/// # Errors
///
/// `Timeout` when the time is over, `Unreachable` with the last reason otherwise.
pub(super) async fn dial(address: &Address, limit: Duration) -> Result<Stream, UpstreamError> {
    let deadline = Instant::now() + limit;
    match address {
        Address::Unix(path) => match timeout_at(deadline, UnixStream::connect(path)).await {
            Ok(stream) => stream.map(Stream::Unix).map_err(UpstreamError::Unreachable),
            Err(_) => Err(UpstreamError::Timeout),
        },
        Address::Tcp { host, port } => {
            let lookup = timeout_at(deadline, lookup_host((host.as_str(), *port))).await;
            let found = lookup.map_err(|_| UpstreamError::Timeout)?;
            let found: Vec<_> = found.map_err(UpstreamError::Unreachable)?.collect();
            dial_first(&found, deadline).await
        }
    }
}

async fn dial_first(found: &[SocketAddr], deadline: Instant) -> Result<Stream, UpstreamError> {
    let nothing = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut last = UpstreamError::Unreachable(nothing);
    for (tried, address) in found.iter().enumerate() {
        let left = u32::try_from(found.len() - tried).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream
                    .set_nodelay(true)
                    .map_err(UpstreamError::Unreachable)?;
                return Ok(Stream::Tcp(stream));
            }
            Ok(Err(error)) => last = UpstreamError::Unreachable(error),
            Err(_) => last = UpstreamError::Timeout,
        }
    }
    Err(last)
}

impl Stream {
    /// Whether an idle connection is what it should be: open and silent. Asks the runtime, which
    /// costs no system call and knows what the kernel had told it when this turn began.
    pub(super) fn is_quiet(&self) -> bool {
        let mut byte = [0];
        let read = match self {
            Self::Tcp(stream) => stream.try_read(&mut byte),
            Self::Unix(stream) => stream.try_read(&mut byte),
        };
        is_would_block(read)
    }

    /// The same, but asks the kernel: for requests that cannot be sent a second time.
    pub(super) fn is_quiet_for_certain(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let socket = match self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Unix(stream) => SockRef::from(stream),
        };
        is_would_block(socket.peek(&mut byte))
    }
}

fn is_would_block(read: io::Result<usize>) -> bool {
    matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    /// Sockets have nothing to flush.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Socket, Type};

    use super::*;

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_refuses() {
        // Bound and not listening: the port refuses, and no other test can get it.
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        bound
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        let refusing = bound.local_addr().unwrap().as_socket().unwrap();
        let open = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let good = open.local_addr().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        assert!(dial_first(&[refusing, good], deadline).await.is_ok());
        let error = dial_first(&[refusing], deadline).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Unreachable(_)));
        let error = dial_first(&[], deadline).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Unreachable(_)));
    }

    #[tokio::test]
    async fn a_missing_unix_socket_is_unreachable() {
        let folder = tempfile::tempdir().unwrap();
        let address = Address::Unix(folder.path().join("none.sock"));
        let error = dial(&address, Duration::from_secs(10)).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Unreachable(_)));
    }
}
