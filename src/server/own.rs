//! What Sidegate answers itself: the calls under its mounts, and its public keys.
//!
//! What always holds: a call that changes something comes to its end, whatever its caller does.

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;

use crate::api::settings::Mount;
use crate::api::wire::cors::Cors;
use crate::api::{Answer, Api, ApiError, Call, CheckRoute};
use crate::server::intake::Host;
use crate::server::pipeline::{Besides, Pipeline};
use crate::server::problem::Refusal;
use crate::server::record::{Body, Record};
use crate::server::tasks;
use crate::service::AuthError;
use crate::telemetry::metrics::RouteClass;

/// What of ours lives at a path.
#[derive(Debug, Clone, Copy)]
pub(super) enum Own<'a> {
    Jwks,
    Mount { mount: &'a Mount, path: &'a str },
}

impl<'a> Own<'a> {
    /// The route of checks, if this is one.
    pub(super) fn check(self) -> Option<CheckRoute<'a>> {
        match self {
            Self::Jwks => None,
            Self::Mount { mount, path } => Api::check(mount, path),
        }
    }
}

impl Pipeline {
    /// What of ours lives at a path.
    pub(super) fn own_route<'a>(&'a self, path: &'a str) -> Option<Own<'a>> {
        if path == "/.well-known/jwks.json" {
            return Some(Own::Jwks);
        }
        self.api
            .mount(path)
            .map(|(mount, path)| Own::Mount { mount, path })
    }

    /// Answers what of ours was asked for.
    pub(super) async fn answer(
        &self,
        own: Own<'_>,
        request: Request<Incoming>,
        host: &Host,
        record: &mut Record,
        besides: &mut Besides,
    ) -> Result<Response<Body>, Refusal> {
        record.routed(RouteClass::Api);
        let (mount, path) = match own {
            Own::Jwks => {
                let answer = self.api.well_known_jwks(request.method())?;
                return Ok(answer.map(Body::Whole));
            }
            Own::Mount { mount, path } => (mount, path),
        };
        let call = Call {
            mount: mount.clone(),
            path: path.to_owned(),
            caller: self.caller(request.headers(), record.context()),
            scheme: self.scheme(record.context()),
            host: host.value.to_str().unwrap_or_default().to_owned(),
            activity: self.activity.clone(),
        };
        besides.cors = Some(Cors::of(&call, request.headers()));
        let answer = if request.method().is_safe() {
            self.api.handle(&self.guard, call, request).await?
        } else {
            self.finish_call(call, request).await?
        };
        Ok(answer.map(Body::Whole))
    }

    /// Answers a call that changes something, to its end also when the caller hangs up: what is
    /// durable by then must be in the audit log as well. Dropping this future leaves the task behind,
    /// and its answer goes nowhere.
    async fn finish_call(
        &self,
        call: Call,
        request: Request<Incoming>,
    ) -> Result<Answer, ApiError> {
        let (api, guard) = (Arc::clone(&self.api), Arc::clone(&self.guard));
        let answering = tasks::spawn(async move {
            let answer = api.handle(&guard, call, request).await;
            api.service().audit_settled().await;
            answer
        });
        let panicked = |_| ApiError::Auth(AuthError::Internal("a call panicked".to_owned()));
        answering.await.map_err(panicked)?
    }
}
