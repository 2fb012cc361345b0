//! How is the body of a call read?
//!
//! [`read`] collects it within a limit and a deadline, before the handler is called. [`object`] parses it as one
//! JSON object.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::Body;
use http_body_util::BodyExt as _;

use crate::api::error::ApiError;
use crate::api::wire::fields::Fields;
use crate::types::header::exactly_once;

/// The deadline for a body. The bodies of calls are small.
const DEADLINE: Duration = Duration::from_secs(10);

/// Reads a body.
///
/// # Errors
///
/// [`ApiError::BodyTooLarge`] over `limit` bytes, [`ApiError::BodyTimeout`] after the deadline,
/// [`ApiError::MalformedBody`] when the connection or the framing fails.
pub async fn read<B>(body: B, limit: usize) -> Result<Bytes, ApiError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let reading = tokio::time::timeout(DEADLINE, collect(body, limit));
    reading.await.map_err(|_| ApiError::BodyTimeout)?
}

async fn collect<B>(mut body: B, limit: usize) -> Result<Bytes, ApiError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let announced = body.size_hint().lower();
    if announced > limit as u64 {
        return Err(ApiError::BodyTooLarge { limit });
    }
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ApiError::MalformedBody(error.to_string()))?;
        if let Ok(data) = frame.into_data() {
            if read.len() + data.len() > limit {
                return Err(ApiError::BodyTooLarge { limit });
            }
            read.extend_from_slice(&data);
        }
    }
    Ok(read.freeze())
}

/// Whether a call may omit its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// An empty body is an empty object.
    Optional,
    /// The body is required.
    Required,
}

/// Parses a body as one JSON object.
///
/// # Errors
///
/// [`ApiError::UnsupportedMediaType`] without the content type of JSON; see also [`Fields::parse`].
pub fn object(headers: &HeaderMap, body: &[u8], presence: Presence) -> Result<Fields, ApiError> {
    if body.is_empty() && presence == Presence::Optional {
        return Ok(Fields::default());
    }
    if !is_json(headers) {
        return Err(ApiError::UnsupportedMediaType);
    }
    Fields::parse(body)
}

/// Whether `Content-Type` occurs once and is `application/json`, with or without parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(text) = exactly_once(headers, header::CONTENT_TYPE).and_then(|v| v.to_str().ok())
    else {
        return false;
    };
    let essence = text.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http::HeaderValue;
    use http_body::{Frame, SizeHint};
    use http_body_util::Full;

    use super::*;

    /// A body that stalls after its first frame.
    struct Stalled(Option<Bytes>);

    impl Body for Stalled {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
            match self.0.take() {
                Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
                None => Poll::Pending,
            }
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_is_an_error() {
        let body = Stalled(Some(Bytes::from_static(b"{")));
        let read = read(body, 100).await;
        assert!(matches!(read, Err(ApiError::BodyTimeout)), "{read:?}");
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused() {
        let body = Full::new(Bytes::from_static(b"{\"a\":\"0123456789\"}"));
        let read = read(body, 10).await;
        assert!(
            matches!(read, Err(ApiError::BodyTooLarge { limit: 10 })),
            "{read:?}"
        );
    }

    #[test]
    fn a_missing_body_is_an_empty_object_where_it_is_optional() {
        let headers = HeaderMap::new();
        let read = object(&headers, b"", Presence::Optional);
        assert!(read.is_ok_and(|fields| fields.finish().is_ok()));
        let read = object(&headers, b"", Presence::Required);
        assert!(
            matches!(read, Err(ApiError::UnsupportedMediaType)),
            "{read:?}"
        );
    }

    #[test]
    fn the_content_type_must_be_json_and_occur_once() {
        let json = || HeaderValue::from_static("Application/JSON ; charset=utf-8");
        let mut headers = HeaderMap::from_iter([(header::CONTENT_TYPE, json())]);
        assert!(object(&headers, b"{}", Presence::Required).is_ok());
        headers.append(header::CONTENT_TYPE, json());
        assert!(object(&headers, b"{}", Presence::Required).is_err());
    }
}
