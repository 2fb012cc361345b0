//! How is a request's body read on its way to the upstream?

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::net::connection::body_rate::{BodyRate, TooSlow};
use crate::net::connection::handle::Connection;
use crate::proxy::Proxy;

/// A request body that has to reach a rate, if one is configured.
#[derive(Debug)]
pub struct RequestBody<B> {
    body: B,
    rate: Option<Measured>,
    /// The upstream of a stream. A stream may be silent where HTTP/2 is used on both sides.
    stream_to: Option<Arc<Proxy>>,
}

#[derive(Debug)]
struct Measured {
    rate: Arc<BodyRate>,
    connection: Arc<Connection>,
}

impl<B: Body> RequestBody<B> {
    /// A body that must reach `least` bytes a second; zero = any rate.
    pub fn new(body: B, connection: &Arc<Connection>, least: u64) -> Self {
        let is_measured = least > 0 && !body.is_end_stream();
        Self {
            body,
            rate: is_measured.then(|| Measured {
                rate: Arc::new(BodyRate::new(least)),
                connection: Arc::clone(connection),
            }),
            stream_to: None,
        }
    }

    /// A body without a rate.
    pub fn unlimited(body: B) -> Self {
        Self {
            body,
            rate: None,
            stream_to: None,
        }
    }

    /// A stream, which may be silent while HTTP/2 is used on both sides. The protocol of the upstream is
    /// known when its connection is open, which is before the body is read; until then it may be HTTP/2.
    pub fn stream(
        body: B,
        connection: &Arc<Connection>,
        least: u64,
        upstream: &Arc<Proxy>,
    ) -> Self {
        Self {
            stream_to: Some(Arc::clone(upstream)),
            ..Self::new(body, connection, least)
        }
    }
}

impl Measured {
    /// Whether the body is too slow while its reader waits.
    fn wait(&self, task: &Context<'_>) -> bool {
        let wait = self.rate.wait(task.waker(), self.connection.tick());
        if wait.is_first {
            self.connection.watch_body(&self.rate);
        }
        wait.is_slow
    }

    fn received(&self, bytes: usize) -> bool {
        self.rate.received(bytes as u64, self.connection.tick())
    }
}

impl<B> Body for RequestBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(task);
        let is_stream =
            (this.stream_to.as_ref()).is_some_and(|upstream| upstream.may_speak_http2());
        if let Some(rate) = this.rate.as_ref().filter(|_| !is_stream) {
            let is_slow = match &polled {
                Poll::Pending => rate.wait(task),
                Poll::Ready(Some(Ok(frame))) => {
                    rate.received(frame.data_ref().map_or(0, Bytes::len))
                }
                Poll::Ready(_) => false,
            };
            if is_slow {
                return Poll::Ready(Some(Err(TooSlow.into())));
            }
        }
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
