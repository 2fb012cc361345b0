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
