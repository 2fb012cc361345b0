//! What is the body of a request, whichever version of HTTP carries it?

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http_body::{Body, Frame, SizeHint};

/// The body of a request.
#[derive(Debug)]
pub enum Incoming {
    /// None.
    Empty,
    /// From HTTP/1.1.
    Http1(hyper::body::Incoming),
    /// From a stream of HTTP/2.
    Http2(H2Body),
}

/// The body on a stream of HTTP/2.
#[derive(Debug)]
pub struct H2Body {
    stream: RecvStream,
    /// The bytes that are left of the declared length.
    length: Option<u64>,
    has_data_ended: bool,
}

/// Why a body could not be read.
#[derive(Debug)]
pub enum BodyError {
    /// HTTP/1.1 failed.
    Http1(hyper::Error),
    /// HTTP/2 failed.
    Http2(h2::Error),
}

impl Incoming {
    /// The body on this stream, with the declared length.
    pub(crate) fn http2(stream: RecvStream, length: Option<u64>) -> Self {
        Self::Http2(H2Body {
            stream,
            length,
            has_data_ended: false,
        })
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Http1(body) => Pin::new(body).poll_frame(task).map_err(BodyError::Http1),
            Self::Http2(body) => body.poll_frame(task),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body
                .length
                .map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

impl H2Body {
    fn poll_frame(
        &mut self,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.has_data_ended {
            match ready!(self.stream.poll_data(task)) {
                Some(Ok(data)) => {
                    self.release(data.len());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                // The stream was reset because its response is complete (RFC 9113, 8.1).
                Some(Err(error)) if error.reason() == Some(Reason::NO_ERROR) => {
                    return Poll::Ready(None);
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(BodyError::Http2(error)))),
                None => self.has_data_ended = true,
            }
        }
        match ready!(self.stream.poll_trailers(task)) {
            Ok(Some(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Ok(None) => Poll::Ready(None),
            Err(error) => Poll::Ready(Some(Err(BodyError::Http2(error)))),
        }
    }

    /// The client may send as many bytes again.
    fn release(&mut self, bytes: usize) {
        // An error means that the stream is closed: there is no window to enlarge.
        self.stream.flow_control().release_capacity(bytes).ok();
        if let Some(length) = &mut self.length {
            *length = length.saturating_sub(bytes as u64);
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http1(error) => error.fmt(f),
            Self::Http2(error) => error.fmt(f),
        }
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Http1(error) => error.source(),
            Self::Http2(error) => error.source(),
        }
    }
}
