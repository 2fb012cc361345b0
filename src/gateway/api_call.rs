//! After phase 4: how does Sidegate answer a request of its own API?

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};

use crate::api::dialect::Dialect;
use crate::api::wire::cors::Cors;
use crate::api::{Answer, Api, ApiError, Call, Mounted, dispatch};
use crate::gateway::answer::Refusal;
use crate::gateway::bad_request::BadRequest;
use crate::gateway::body::Body;
use crate::gateway::caller::caller;
use crate::gateway::context::Context;
use crate::gateway::host::Host;
use crate::gateway::reply::{Refused, Reply, ResponseExtras};
use crate::guard::Guard;
use crate::net::body::Incoming;
use crate::net::tasks;
use crate::service::AuthError;
use crate::service::activity::Activity;
use crate::types::net::Scheme;
use crate::types::origin::Origin;

/// Answers calls of the API.
#[derive(Debug)]
pub struct ApiCalls {
    /// The API.
    pub api: Arc<Api>,
    /// The guard of the same worker.
    pub guard: Arc<Guard>,
    /// Reports that a session is in use.
    pub activity: Activity,
}

/// A call below a mount.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MountedCall<'a> {
    pub(crate) mounted: &'a Mounted,
    /// The path below the mount.
    pub(crate) path: &'a str,
    pub(crate) host: &'a Host,
    pub(crate) scheme: Scheme,
}

impl ApiCalls {
    /// The public keys.
    pub(crate) fn jwks(&self, request: &Request<Incoming>) -> Result<Response<Body>, Refusal> {
        let response = self.api.well_known_jwks(request.method())?;
        Ok(response.map(Body::Whole))
    }

    /// Answers a call below a mount.
    pub(crate) async fn answer(
        &self,
        called: MountedCall<'_>,
        request: Request<Incoming>,
        context: &Context,
    ) -> Result<Reply, Refused> {
        let mount = &called.mounted.mount;
        let cors = Cors::of(mount, request.headers());
        let Some(origin) = origin(called) else {
            return Err(BadRequest::Host.into());
        };
        let caller = caller(&self.api, request.headers(), context);
        let (parts, body) = request.into_parts();
        let call = Call {
            state: Arc::clone(self.api.state()),
            guard: Arc::clone(&self.guard),
            mount: Arc::clone(mount),
            path: called.path.to_owned(),
            query: parts.uri.query().map(str::to_owned),
            method: parts.method,
            headers: parts.headers,
            body: Bytes::new(),
            caller,
            origin,
            activity: self.activity.clone(),
        };
        let dialect = called.mounted.dialect;
        let answer = if call.method.is_safe() {
            dispatch::answer(dialect, call, body).await
        } else {
            complete(dialect, call, body).await
        };
        let extras = Some(Box::new(ResponseExtras {
            cors: Some(cors),
            ..ResponseExtras::default()
        }));
        match answer {
            Ok(answer) => Ok(Reply {
                response: answer.map(Body::Whole),
                extras,
            }),
            Err(error) => Err(Refused {
                refusal: error.into(),
                extras,
            }),
        }
    }
}

/// The origin that the client called.
fn origin(called: MountedCall<'_>) -> Option<Origin> {
    let host = called.host.value.to_str().ok()?;
    Origin::new(called.scheme, host).ok()
}

/// Answers a call that changes something, even if the client disconnects: durable changes must be in the audit
/// log. The task continues when this future is dropped.
async fn complete(
    dialect: &'static dyn Dialect,
    call: Call,
    body: Incoming,
) -> Result<Answer, ApiError> {
    let state = Arc::clone(&call.state);
    let answering = tasks::spawn(async move {
        let answer = dispatch::answer(dialect, call, body).await;
        state.service.audit_settled().await;
        answer
    });
    let panicked = |_| ApiError::Auth(AuthError::Internal("a call panicked".to_owned()));
    answering.await.map_err(panicked)?
}
