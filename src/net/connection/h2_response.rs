//! How is a response sent on a stream of HTTP/2?
//!
//! Data is handed to h2 only when the client's windows have room for it, so that h2 buffers no more than it
//! can send, and a client that accepts nothing is seen by the connection's sweep.

use std::error::Error;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderName, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;

use crate::net::connection::active::H2StreamGuard;
use crate::net::handler::ResponseBody;

/// Headers that belong to one connection of HTTP/1.1 (RFC 9113, 8.2.2).
const CONNECTION_HEADERS: [HeaderName; 5] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TRANSFER_ENCODING,
    UPGRADE,
    TE,
];

/// Prepares the head of a response: no header of HTTP/1.1, and a date (RFC 9110, 6.6.1).
pub(crate) fn prepare(headers: &mut HeaderMap, date: impl FnOnce() -> HeaderValue) {
    for name in &CONNECTION_HEADERS {
        headers.remove(name);
    }
    if let Some(named) = headers.remove(CONNECTION)
        && let Ok(names) = named.to_str()
    {
        for name in names.split(',') {
            headers.remove(name.trim());
        }
    }
    headers.entry(DATE).or_insert_with(date);
}

/// Sends a response to its end, or until the client resets the stream.
pub(crate) async fn send<B: ResponseBody>(
    response: Response<B>,
    mut respond: SendResponse<Bytes>,
    guard: &mut H2StreamGuard,
) -> Result<(), h2::Error> {
    let (head, body) = response.into_parts();
    let mut head = Response::from_parts(head, ());
    if body.is_end_stream() {
        respond.send_response(head, true)?;
        guard.is_answered = true;
        return Ok(());
    }
    if let Some(length) = body.size_hint().exact() {
        let length = || HeaderValue::from(length);
        head.headers_mut()
            .entry(CONTENT_LENGTH)
            .or_insert_with(length);
    }
    let stream = respond.send_response(head, false)?;
    Sending { stream, guard }.send(body).await
}

struct Sending<'a> {
    stream: SendStream<Bytes>,
    guard: &'a mut H2StreamGuard,
}

/// The next part of a body.
enum Next<E> {
    Frame(Frame<Bytes>),
    End,
    Failed(E),
}

impl Sending<'_> {
    async fn send<B: ResponseBody>(mut self, mut body: B) -> Result<(), h2::Error> {
        loop {
            match self.next(&mut body).await? {
                Next::Frame(frame) => match frame.into_data() {
                    Ok(data) => {
                        let is_last = body.is_end_stream();
                        self.send_data(data, is_last).await?;
                        if is_last {
                            self.guard.is_answered = true;
                            return Ok(());
                        }
                    }
                    Err(frame) => {
                        let Ok(trailers) = frame.into_trailers() else {
                            continue;
                        };
                        self.stream.reserve_capacity(0);
                        self.stream.send_trailers(trailers)?;
                        self.guard.is_answered = true;
                        return Ok(());
                    }
                },
                Next::End => {
                    self.stream.send_data(Bytes::new(), true)?;
                    self.guard.is_answered = true;
                    return Ok(());
                }
                Next::Failed(error) => {
                    // The client has not caused this.
                    self.guard.is_answered = true;
                    // h2 drops unsent frames of a stream that is reset. The connection's task sends the
                    // head before this one continues.
                    tokio::task::yield_now().await;
                    self.stream.send_reset(reason(&*error.into()));
                    return Ok(());
                }
            }
        }
    }

    async fn next<B: ResponseBody>(&mut self, body: &mut B) -> Result<Next<B::Error>, h2::Error> {
        poll_fn(|task| {
            if let Poll::Ready(reset) = self.stream.poll_reset(task) {
                return Poll::Ready(Err(reset.map_or_else(|error| error, h2::Error::from)));
            }
            Pin::new(&mut *body).poll_frame(task).map(|frame| {
                Ok(match frame {
                    Some(Ok(frame)) => Next::Frame(frame),
                    Some(Err(error)) => Next::Failed(error),
                    None => Next::End,
                })
            })
        })
        .await
    }

    /// Hands data to h2, as fast as the client's windows permit.
    async fn send_data(&mut self, mut data: Bytes, is_last: bool) -> Result<(), h2::Error> {
        if data.is_empty() {
            return if is_last {
                self.stream.send_data(data, true)
            } else {
                Ok(())
            };
        }
        while !data.is_empty() {
            self.stream.reserve_capacity(data.len());
            let room = match self.stream.capacity() {
                0 => self.wait_for_room().await?,
                room => room,
            };
            let piece = data.split_to(room.min(data.len()));
            let is_last = is_last && data.is_empty();
            self.stream.send_data(piece, is_last)?;
        }
        Ok(())
    }

    async fn wait_for_room(&mut self) -> Result<usize, h2::Error> {
        self.guard.stream.handed(self.guard.connection.tick());
        let room = poll_fn(|task| {
            if let Poll::Ready(reset) = self.stream.poll_reset(task) {
                return Poll::Ready(Err(reset.map_or_else(|error| error, h2::Error::from)));
            }
            loop {
                match self.stream.poll_capacity(task) {
                    Poll::Ready(Some(Ok(0))) => {}
                    Poll::Ready(Some(room)) => return Poll::Ready(room),
                    Poll::Ready(None) => {
                        return Poll::Ready(Err(h2::Error::from(Reason::STREAM_CLOSED)));
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
        self.guard.stream.has_room();
        room
    }
}

/// The reason to reset a stream whose response failed: that of the upstream's stream, if it was reset.
fn reason(error: &(dyn Error + 'static)) -> Reason {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(reason) = error
            .downcast_ref::<h2::Error>()
            .and_then(h2::Error::reason)
        {
            return reason;
        }
        next = error.source();
    }
    Reason::INTERNAL_ERROR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_http1_are_removed_and_a_date_is_added() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("upgrade", "h2c"),
            ("x-kept", "1"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        prepare(&mut headers, || HeaderValue::from_static("now"));
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["date", "x-kept"]);
        prepare(&mut headers, || HeaderValue::from_static("later"));
        assert_eq!(headers[DATE], "now", "a date of the upstream is kept");
    }

    #[test]
    fn the_reason_of_an_upstream_stream_is_passed_on() {
        #[derive(Debug, thiserror::Error)]
        #[error("the upstream failed")]
        struct Failed(#[source] h2::Error);
        let failed = Failed(h2::Error::from(Reason::ENHANCE_YOUR_CALM));
        assert_eq!(reason(&failed), Reason::ENHANCE_YOUR_CALM);
        assert_eq!(reason(&std::fmt::Error), Reason::INTERNAL_ERROR);
    }
}
