//! Which routes need no caller?
//!
//! `GET /openapi.json`, `GET /health`.

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;

use crate::api::error::ApiError;
use crate::api::wire::reply::{self, Answer};

/// The contract of this dialect. It is written by hand; tests compare it with the code.
pub(super) const OPENAPI: &str = include_str!("../../../docs/openapi.json");

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

pub(super) fn openapi() -> Answer {
    reply::json_bytes(Bytes::from_static(OPENAPI.as_bytes()))
}

/// The process answers. Unauthenticated clients learn nothing else.
pub(super) fn health() -> Result<Answer, ApiError> {
    reply::json(StatusCode::OK, &Health { status: "ok" })
}
