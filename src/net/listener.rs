//! How is the public listener bound?
//!
//! Each worker has a socket of its own on the same address (`SO_REUSEPORT`): the kernel distributes connections,
//! and no worker waits for another. A Unix socket is shared by the workers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, UnixListener};

use crate::net::settings::Listen;
use crate::net::stream::Stream;

/// How many connections the kernel may hold before they are accepted.
const BACKLOG: i32 = 1024;

/// When the kernel probes an idle client, and how often before it closes the connection.
pub(crate) const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(10))
    .with_retries(6);

/// Bound sockets, one per worker, not yet in a runtime.
#[derive(Debug)]
pub struct Bound {
    sockets: Vec<BoundSocket>,
    address: Option<SocketAddr>,
    is_inherited: bool,
}

/// One bound socket.
#[derive(Debug)]
pub enum BoundSocket {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// Unix.
    Unix(StdUnixListener),
}

/// A listener inside a worker's runtime.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// Unix.
    Unix(UnixListener),
}

impl Bound {
    /// Binds `count` sockets. With port 0 all get the port the first one was given.
    pub fn bind(listen: &Listen, count: usize) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => {
                alone(*address)?;
                let mut sockets = vec![tcp(*address)?];
                let address = sockets
                    .first()
                    .map_or(Ok(*address), std::net::TcpListener::local_addr)?;
                for _ in 1..count {
                    sockets.push(tcp(address)?);
                }
                let sockets = sockets.into_iter().map(BoundSocket::Tcp).collect();
                Ok(Self {
                    sockets,
                    address: Some(address),
                    is_inherited: false,
                })
            }
            Listen::Unix(path) => {
                let first = unix(path)?;
                let mut sockets = Vec::with_capacity(count);
                for _ in 1..count {
                    sockets.push(BoundSocket::Unix(first.try_clone()?));
                }
                sockets.push(BoundSocket::Unix(first));
                Ok(Self {
                    sockets,
                    address: None,
                    is_inherited: false,
                })
            }
        }
    }

    /// One inherited socket, shared by `count` workers. Additional sockets on the same address would lose the
    /// connections in their queues when this process ends.
    pub fn inherited(socket: BoundSocket, count: usize) -> io::Result<Self> {
        let address = match &socket {
            BoundSocket::Tcp(socket) => Some(socket.local_addr()?),
            BoundSocket::Unix(_) => None,
        };
        let mut sockets = Vec::with_capacity(count);
        for _ in 1..count {
            sockets.push(socket.try_clone()?);
        }
        sockets.push(socket);
        Ok(Self {
            sockets,
            address,
            is_inherited: true,
        })
    }

    /// Whether the socket stays open after this process has ended. Connections that were not accepted then
    /// wait for the next process.
    pub fn is_inherited(&self) -> bool {
        self.is_inherited
    }

    /// The TCP address, with the port that the system chose.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The sockets.
    pub fn into_sockets(self) -> Vec<BoundSocket> {
        self.sockets
    }
}

impl BoundSocket {
    fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(socket) => socket.try_clone().map(Self::Tcp),
            Self::Unix(socket) => socket.try_clone().map(Self::Unix),
        }
    }

    /// Registers the socket with the current runtime.
    pub fn listen(self) -> io::Result<Listener> {
        match self {
            Self::Tcp(socket) => TcpListener::from_std(socket).map(Listener::Tcp),
            Self::Unix(socket) => UnixListener::from_std(socket).map(Listener::Unix),
        }
    }
}

impl Listener {
    /// The next connection and the address of its peer. The peer of a Unix socket is on this machine, so its
    /// address is loopback.
    pub async fn accept(&self) -> io::Result<(Stream, IpAddr)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Stream::Tcp(stream), peer.ip().to_canonical()))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), IpAddr::V4(Ipv4Addr::LOCALHOST)))
            }
        }
    }
}

/// Refuses an address that another process listens on: with `SO_REUSEPORT` the kernel would let two
/// of one user share it, and distribute requests between them.
fn alone(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

fn tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    // Accepted connections inherit it: no system call per connection.
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Binds a Unix socket. A socket file that does not accept connections is left over from a killed process and is
/// replaced. If it accepts connections, or is not a socket, this fails.
pub fn unix(path: &Path) -> io::Result<StdUnixListener> {
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            let text = format!("{} exists and is not a socket", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        if StdUnixStream::connect(path).is_ok() {
            let text = format!("another process listens on {}", path.display());
            return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
        }
        std::fs::remove_file(path)?;
    }
    let listener = StdUnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_never_shared_with_another_process() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let first = Bound::bind(&Listen::Tcp(any), 2).unwrap();
        let taken = first.address().unwrap();
        let second = Bound::bind(&Listen::Tcp(taken), 2).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
    }
}
