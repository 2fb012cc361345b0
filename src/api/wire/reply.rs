//! How is a response written?

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;

use crate::api::error::ApiError;
use crate::service::AuthError;

/// A response of the API: a whole body, never a stream.
pub type Answer = Response<Full<Bytes>>;

/// A JSON response with `Cache-Control: no-store`.
pub fn json(status: StatusCode, body: &impl Serialize) -> Result<Answer, ApiError> {
    let bytes = serde_json::to_vec(body)
        .map_err(|error| ApiError::Auth(AuthError::Internal(error.to_string())))?;
    let mut answer = json_bytes(Bytes::from(bytes));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

/// A JSON document that is the same for all clients.
pub fn json_bytes(body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    answer
}

/// A response without a body.
pub fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
