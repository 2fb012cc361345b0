//! How are a request and its reply sent over the control socket? As one line of JSON each, of bounded length
//! and within a deadline. Input is not trusted: a malformed request gets an error as its reply.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::control::reply::Reply;
use crate::control::request::Request;
use crate::files;

/// The longest request, in bytes, its line end included.
pub const MAX_REQUEST: usize = 1 << 20;
/// The longest reply, in bytes. The lists of a server are much shorter.
pub const MAX_REPLY: usize = 16 << 20;

/// Sends a request to a running server of root or of this process's own user. The deadline covers everything
/// from connecting to the complete reply.
///
/// # Errors
/// [`CallError::NoServer`] when no process listens; otherwise why there was no reply. If the future is dropped,
/// the request may or may not be executed, as with any [`CallError`] after connecting.
pub async fn call(
    socket: &Path,
    request: &Request,
    deadline: Duration,
) -> Result<Reply, CallError> {
    call_of(socket, request, deadline, None).await
}

/// The same, and a server of one other user is accepted: the owner of the store. Nothing is sent to a server of
/// any other user, because the request may contain a password.
///
/// # Errors
/// As [`call`].
pub async fn call_of(
    socket: &Path,
    request: &Request,
    deadline: Duration,
    owner: Option<u32>,
) -> Result<Reply, CallError> {
    let exchange = async {
        let mut stream = UnixStream::connect(socket).await.map_err(connect_error)?;
        let listens = stream.peer_cred().map_err(CallError::Connect)?.uid();
        if !is_trusted(listens) && Some(listens) != owner {
            return Err(CallError::Stranger(listens));
        }
        write(&mut stream, request, MAX_REQUEST).await?;
        Ok(read(&mut stream, MAX_REPLY).await?)
    };
    timeout(deadline, exchange)
        .await
        .unwrap_or(Err(CallError::Silent(deadline)))
}

/// Reads the one request of a connection; for the server. The deadline keeps a silent client from
/// holding the connection.
///
/// # Errors
/// Why the request could not be read; [`refuse`] makes the reply for the client.
pub async fn receive<S: AsyncRead + Unpin>(
    stream: &mut S,
    deadline: Duration,
) -> Result<Request, WireError> {
    timeout(deadline, read(stream, MAX_REQUEST))
        .await
        .unwrap_or(Err(WireError::Slow))
}

/// Sends the reply and closes the sending side of the connection; for the server. A reply that is too long is
/// replaced by an error that states this.
///
/// # Errors
/// When the client has disconnected or does not read.
pub async fn answer<S: AsyncWrite + Unpin>(
    stream: &mut S,
    reply: &Reply,
    deadline: Duration,
) -> Result<(), WireError> {
    let send = async {
        match write(stream, reply, MAX_REPLY).await {
            Err(WireError::TooLong(_)) => {
                let short = Reply::Failed("the answer is too long; ask for less".to_owned());
                write(stream, &short, MAX_REPLY).await
            }
            other => other,
        }
    };
    timeout(deadline, send)
        .await
        .unwrap_or(Err(WireError::Slow))
}

/// The reply to a request that could not be read.
pub fn refuse(error: &WireError) -> Reply {
    Reply::Failed(format!("the request was not understood: {error}"))
}

/// Encodes one message as a line. The buffer is wiped when it is dropped, because a request may contain a
/// password.
///
/// # Errors
/// When the line would be longer than `max` bytes.
pub fn encode<T: Serialize>(message: &T, max: usize) -> Result<Zeroizing<Vec<u8>>, WireError> {
    // The capacity is enough for every request: a vector that grows leaves copies behind that are not wiped.
    let mut line = Zeroizing::new(Vec::with_capacity(FIRST_BUFFER));
    serde_json::to_writer(&mut *line, message).map_err(|_| WireError::Garbage)?;
    line.push(b'\n');
    if line.len() > max {
        return Err(WireError::TooLong(max));
    }
    Ok(line)
}

/// Decodes one line, without its line end, as a message.
///
/// # Errors
/// When it is not a message. The error does not contain the line, which may hold a password.
pub fn decode<T: DeserializeOwned>(line: &[u8]) -> Result<T, WireError> {
    serde_json::from_slice(line).map_err(|_| WireError::Garbage)
}

async fn write<T: Serialize, S: AsyncWrite + Unpin>(
    stream: &mut S,
    message: &T,
    max: usize,
) -> Result<(), WireError> {
    let line = encode(message, max)?;
    stream.write_all(&line).await?;
    stream.flush().await?;
    Ok(())
}

async fn read<T: DeserializeOwned, S: AsyncRead + Unpin>(
    stream: &mut S,
    max: usize,
) -> Result<T, WireError> {
    let mut line = Zeroizing::new(Vec::with_capacity(FIRST_BUFFER));
    let mut chunk = Zeroizing::new([0; 4096]);
    loop {
        let count = stream.read(chunk.as_mut_slice()).await?;
        let got = chunk.get(..count).unwrap_or_default();
        if got.is_empty() {
            return Err(WireError::Cut);
        }
        let end = got.iter().position(|b| *b == b'\n');
        line.extend_from_slice(got.get(..end.unwrap_or(count)).unwrap_or_default());
        if line.len() >= max {
            return Err(WireError::TooLong(max));
        }
        if end.is_some() {
            return decode(&line);
        }
    }
}

/// Whether the process at the other end of a control socket is trusted: one of root, or of the user that this
/// process acts as.
pub fn is_trusted(user: u32) -> bool {
    user == 0 || user == files::effective_user()
}

fn connect_error(error: io::Error) -> CallError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => CallError::NoServer,
        _ => CallError::Connect(error),
    }
}

/// Why a message could not be sent or understood.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Longer than the limit.
    #[error("a line of more than {0} bytes")]
    TooLong(usize),
    /// Not a message.
    #[error("not a message of this version")]
    Garbage,
    /// The other side closed the connection within a line.
    #[error("the connection ended in the middle of a line")]
    Cut,
    /// The other side took too long.
    #[error("the other side was too slow")]
    Slow,
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why a request to a running server has no reply.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No process listens on the socket; nothing was sent.
    #[error("no server is running")]
    NoServer,
    /// The socket exists and cannot be used, most likely because permission is missing.
    #[error("the control socket cannot be used: {0}")]
    Connect(#[source] io::Error),
    /// A process of another user listens on the socket; nothing was sent.
    #[error(
        "the control socket belongs to user {0}, who is neither root, nor this user, nor the owner of the store: nothing was sent"
    )]
    Stranger(u32),
    /// There was no reply in time. The request may or may not be executed.
    #[error("the server did not answer within {0:?}")]
    Silent(Duration),
    /// The reply did not arrive completely. The request may or may not be executed.
    #[error("the server's answer did not arrive: {0}")]
    Broken(#[from] WireError),
}

/// The initial capacity, which is enough for every request in practice.
const FIRST_BUFFER: usize = 16 << 10;
