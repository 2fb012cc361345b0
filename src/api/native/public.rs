//! `GET /openapi.json`, `GET /health`.

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;

use crate::api::Answer;
use crate::api::error::ApiError;
use crate::api::wire::reply;

/// The contract of this dialect, kept by hand and held to the code by tests.
pub(super) const OPENAPI: &str = include_str!("../../../docs/openapi.json");

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

pub(super) fn openapi() -> Answer {
    reply::json_bytes(Bytes::from_static(OPENAPI.as_bytes()))
}

/// Says that the process answers; it tells nothing else to strangers.
pub(super) fn health() -> Result<Answer, ApiError> {
    reply::json(StatusCode::OK, &Health { status: "ok" })
}
