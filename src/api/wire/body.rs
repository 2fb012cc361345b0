//! Reading a request body: at most so many bytes in so much time, only JSON, one object.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::Body;
use http_body_util::BodyExt as _;

use crate::api::error::ApiError;
use crate::api::wire::fields::Fields;

/// How long a body may take to arrive: our calls are small.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads a JSON object. An empty body without a content type is an empty object where `optional`.
pub async fn object<B>(
    headers: &HeaderMap,
    body: B,
    limit: usize,
    presence: Presence,
) -> Result<Fields, ApiError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let reading = tokio::time::timeout(PATIENCE, read(body, limit));
    let bytes = reading.await.map_err(|_| ApiError::BodyTimeout)??;
    if bytes.is_empty() && presence == Presence::Optional {
        return Ok(Fields::default());
    }
    if !is_json(headers) {
        return Err(ApiError::UnsupportedMediaType);
    }
    Fields::parse(&bytes)
}

/// Whether a call may come without a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// No body is fine.
    Optional,
    /// There must be one.
    Required,
}

async fn read<B>(mut body: B, limit: usize) -> Result<Bytes, ApiError>
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

/// Exactly one Content-Type, `application/json`, with parameters or without.
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (types.next(), types.next()) else {
        return false;
    };
    let Ok(text) = value.to_str() else {
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

    /// A body that has begun and never goes on.
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

    fn json() -> HeaderMap {
        let kind = HeaderValue::from_static("application/json; charset=utf-8");
        HeaderMap::from_iter([(header::CONTENT_TYPE, kind)])
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_coming_is_given_up() {
        let body = Stalled(Some(Bytes::from_static(b"{")));
        let read = object(&json(), body, 100, Presence::Required).await;
        assert!(matches!(read, Err(ApiError::BodyTimeout)), "{read:?}");
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_before_it_is_parsed() {
        let body = Full::new(Bytes::from_static(b"{\"a\":\"0123456789\"}"));
        let read = object(&json(), body, 10, Presence::Required).await;
        assert!(
            matches!(read, Err(ApiError::BodyTooLarge { limit: 10 })),
            "{read:?}"
        );
    }

    #[tokio::test]
    async fn no_body_is_an_empty_object_where_it_may_be_missing() {
        let nothing = || Full::new(Bytes::new());
        let headers = HeaderMap::new();
        let read = object(&headers, nothing(), 10, Presence::Optional).await;
        assert!(read.is_ok_and(|fields| fields.finish().is_ok()));
        let read = object(&headers, nothing(), 10, Presence::Required).await;
        assert!(
            matches!(read, Err(ApiError::UnsupportedMediaType)),
            "{read:?}"
        );
    }
}
