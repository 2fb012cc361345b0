//! Why did forwarding fail, and is it the fault of the upstream or of the client?

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

/// Why there is no answer, or why it is incomplete. The gateway turns it into an error answer; as the error of
/// a body it ends the client's connection or stream.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No connection, or a connection that ended before an answer began: 502.
    #[error("the upstream cannot be reached")]
    Unreachable(#[source] io::Error),
    /// The upstream sent a malformed answer: 502.
    #[error("the upstream sent a bad answer")]
    BadResponse(#[from] Fault),
    /// HTTP/2 to the upstream failed, or the upstream reset the stream: 502. During the body of an answer the
    /// client's stream is reset with the same reason.
    #[error(transparent)]
    Http2(#[from] BrokenOff),
    /// The upstream was silent for too long: 504.
    #[error("the upstream did not answer in time")]
    Timeout,
    /// All connections are in use, and none came free in time: 503.
    #[error("all connections to the upstream are in use")]
    Overloaded {
        /// The value of `Retry-After`.
        retry_after: Duration,
    },
    /// The client did not send the announced body: 400.
    #[error("the client's request body is bad")]
    ClientBody(#[from] ClientFault),
}

/// A failure of HTTP/2. Boxed, because results are moved often and errors are rare. Its source is the library's
/// error, which has the reason with which a server resets its own stream.
#[derive(Debug)]
pub struct BrokenOff(Box<h2::Error>);

impl BrokenOff {
    /// The library's error.
    pub(super) fn cause(&self) -> &h2::Error {
        &self.0
    }
}

impl From<h2::Error> for BrokenOff {
    fn from(error: h2::Error) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the upstream broke off")
    }
}

impl Error for BrokenOff {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

impl UpstreamError {
    /// All permits are in use. `Retry-After` is one second.
    pub(super) const fn overloaded() -> Self {
        Self::Overloaded {
            retry_after: Duration::from_secs(1),
        }
    }

    /// Why a stream or its connection failed before there was an answer.
    pub(super) fn of_http2(error: h2::Error) -> Self {
        match error.get_io() {
            Some(io) => Self::Unreachable(io::Error::new(io.kind(), io.to_string())),
            None => Self::Http2(error.into()),
        }
    }
}

/// The fault in an answer of the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The head is not HTTP/1.0 or 1.1.
    #[error("the head is malformed")]
    Head,
    /// The head does not end within 64 KiB.
    #[error("the head is too large")]
    HeadTooLarge,
    /// More than 100 header lines.
    #[error("the head has too many headers")]
    TooManyHeaders,
    /// `Content-Length` is not one plain number (RFC 9112, 6.3).
    #[error("the content length is malformed or given twice")]
    ContentLength,
    /// `Transfer-Encoding` is not exactly `chunked`, or came with HTTP/1.0 (RFC 9112, 6.1).
    #[error("the transfer encoding is not plain chunked")]
    TransferEncoding,
    /// Both `Content-Length` and `Transfer-Encoding`.
    #[error("the body is framed in two ways")]
    TwoFramings,
    /// 101 to a request that asked for no upgrade.
    #[error("the upstream switched protocols unasked")]
    SwitchedProtocols,
    /// A success that does not switch protocols, where the client could not distinguish it from one that does.
    #[error("the upstream answered a handshake with a success and did not switch protocols")]
    NotSwitched,
    /// More than 16 interim answers.
    #[error("too many interim answers")]
    TooManyInterim,
    /// A chunk is not framed as RFC 9112, 7.1 requires.
    #[error("a chunk is malformed")]
    Chunk,
    /// The framing of the chunks is too large for their data.
    #[error("the chunks carry too much overhead")]
    ChunkOverhead,
    /// The trailer section is malformed or too large.
    #[error("the trailers are malformed or too large")]
    Trailers,
    /// The connection ended inside the answer.
    #[error("the answer was cut short")]
    CutShort,
}

/// The fault in the request body of the client.
#[derive(Debug, thiserror::Error)]
pub enum ClientFault {
    /// It could not be read: it is malformed, or the client closed the connection.
    #[error("the body could not be read")]
    Unreadable(#[source] Box<dyn Error + Send + Sync>),
    /// It is longer than its `Content-Length`.
    #[error("the body is longer than declared")]
    TooLong,
    /// It ended before its `Content-Length`.
    #[error("the body is shorter than declared")]
    TooShort,
    /// No more of it was received in time.
    #[error("no more of the body was received in time")]
    Stalled,
}
