//! JSON lines over the control socket: one line there, one line back, both of bounded length and
//! within a deadline. What comes in is not trusted: garbage is answered, never obeyed.

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
/// The longest reply. A server cuts its lists long before.
pub const MAX_REPLY: usize = 16 << 20;

/// Asks a running server of root or of this process's own user. The deadline covers everything from
/// connecting to the whole answer.
///
/// # Errors
/// [`CallError::NoServer`] when nobody listens; else why there was no answer. A dropped future
/// leaves the request done or not done, as with any [`CallError`] after connecting.
pub async fn call(
    socket: &Path,
    request: &Request,
    deadline: Duration,
) -> Result<Reply, CallError> {
    call_of(socket, request, deadline, None).await
}

/// The same, also of a server of one other user: the owner of the store. Anybody else who listens there
/// is sent nothing, which might be a password.
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
/// What was wrong with it; [`refuse`] tells the client.
pub async fn receive<S: AsyncRead + Unpin>(
    stream: &mut S,
    deadline: Duration,
) -> Result<Request, WireError> {
    timeout(deadline, read(stream, MAX_REQUEST))
        .await
        .unwrap_or(Err(WireError::Slow))
}

/// Answers and ends the connection's sending side; for the server. An answer that is too long to
/// send becomes one that says so.
///
/// # Errors
/// When the client is gone or does not read.
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

/// The answer to a request that could not be read.
pub fn refuse(error: &WireError) -> Reply {
    Reply::Failed(format!("the request was not understood: {error}"))
}

/// One message as a line. The buffer is wiped when it is dropped: a request may hold a password.
///
/// # Errors
/// When the line would be longer than `max` bytes.
pub fn encode<T: Serialize>(message: &T, max: usize) -> Result<Zeroizing<Vec<u8>>, WireError> {
    // Room for every request from the start: growing would leave unwiped copies behind.
    let mut line = Zeroizing::new(Vec::with_capacity(FIRST_BUFFER));
    serde_json::to_writer(&mut *line, message).map_err(|_| WireError::Garbage)?;
    line.push(b'\n');
    if line.len() > max {
        return Err(WireError::TooLong(max));
    }
    Ok(line)
}

/// One line, without its end, as a message.
///
/// # Errors
/// When it is none. The words do not repeat it: it may hold a password.
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

/// Whether the other end of a control socket may give orders, or be given them: root, or the user that
/// this process acts as.
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
    /// Longer than it may be.
    #[error("a line of more than {0} bytes")]
    TooLong(usize),
    /// Not a message.
    #[error("not a message of this version")]
    Garbage,
    /// The other side stopped in the middle.
    #[error("the connection ended in the middle of a line")]
    Cut,
    /// The other side took too long.
    #[error("the other side did not keep up")]
    Slow,
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why a running server could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens there; nothing was asked.
    #[error("no server is running")]
    NoServer,
    /// The socket is there and cannot be used, for want of permission most likely.
    #[error("the control socket cannot be used: {0}")]
    Connect(#[source] io::Error),
    /// Somebody else listens there; nothing was sent.
    #[error(
        "the control socket belongs to user {0}, who is neither root, nor this user, nor the owner of the store: nothing was sent"
    )]
    Stranger(u32),
    /// No answer in time; whether it was done is not known.
    #[error("the server did not answer within {0:?}")]
    Silent(Duration),
    /// The exchange broke off; whether it was done is not known.
    #[error("the server's answer did not arrive: {0}")]
    Broken(#[from] WireError),
}

/// Holds every request in practice without growing.
const FIRST_BUFFER: usize = 16 << 10;
