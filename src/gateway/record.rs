//! Phase 8: what is recorded about a request?
//!
//! One line in the access log and its counts, written when its last byte is sent, or when the client
//! disconnects before that.

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, StatusCode, Uri};

use crate::api::problem::{Code, Problem};
use crate::gateway::access_log::AccessLog;
use crate::gateway::answer::Refusal;
use crate::gateway::context::Context;
use crate::gateway::log_line::Line;
use crate::guard::Identity;
use crate::proxy::UpstreamError;
use crate::telemetry::metrics::{RouteClass, WorkerMetrics};

/// The status in the log for a request whose client did not wait for the response.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// The log line of one request, written on drop.
#[derive(Debug)]
pub struct RequestLog {
    context: Context,
    method: Method,
    uri: Uri,
    metrics: Arc<WorkerMetrics>,
    log: Arc<AccessLog>,
    class: RouteClass,
    refusal: Option<Code>,
    caller: Option<Arc<Identity>>,
    upstream: Duration,
    status: u16,
    bytes: u64,
    sending: Sending,
}

/// How much of the response was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    /// Not all, or the client did not wait for it.
    Underway,
    /// All.
    Complete,
    /// It was cut, and is not complete whatever follows.
    Broken,
}

impl RequestLog {
    /// Begins when the head of the request is complete. Boxed, because the response carries it through every
    /// layer, and it is large.
    pub fn begin<B>(
        context: Context,
        request: &Request<B>,
        metrics: &Arc<WorkerMetrics>,
        log: &Arc<AccessLog>,
    ) -> Box<Self> {
        Box::new(Self {
            context,
            method: request.method().clone(),
            uri: request.uri().clone(),
            metrics: Arc::clone(metrics),
            log: Arc::clone(log),
            class: RouteClass::Refused,
            refusal: None,
            caller: None,
            upstream: Duration::ZERO,
            status: 0,
            bytes: 0,
            sending: Sending::Underway,
        })
    }

    /// The facts about the request.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The facts about the request, some of which are moved out.
    pub fn context_mut(&mut self) -> &mut Context {
        &mut self.context
    }

    /// The request's id.
    pub fn request_id(&self) -> &HeaderValue {
        &self.context.request_id
    }

    /// The request is a question about another one, which the line names instead.
    pub fn about(&mut self, method: &Method, target: &PathAndQuery) {
        self.method = method.clone();
        self.uri = Uri::from(target.clone());
    }

    /// The path of the request, or of the original request of a question.
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// Sets the kind of route.
    pub fn routed(&mut self, class: RouteClass) {
        self.class = class;
    }

    /// Sets the caller.
    pub fn identified(&mut self, identity: &Arc<Identity>) {
        self.caller = Some(Arc::clone(identity));
    }

    /// Sets how long the upstream took until its response head.
    pub fn upstream_took(&mut self, span: Duration) {
        self.upstream = span;
        self.metrics.upstream(span);
    }

    /// The request was refused. The process log gets the details that the caller does not.
    pub fn refused(&mut self, problem: &Problem, refusal: &Refusal) {
        self.refusal = Some(problem.code);
        self.metrics.refusal(problem.code as usize);
        let id = self.context.request_id();
        let code = problem.code.as_str();
        if problem.status.is_server_error() {
            tracing::warn!(request_id = id, code, cause = ?Why(refusal), "refused");
        } else {
            tracing::debug!(request_id = id, code, cause = ?Why(refusal), "refused");
        }
    }

    /// Bytes were sent.
    pub(crate) fn sent(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// All bytes were sent.
    pub(crate) fn completed(&mut self) {
        if self.sending == Sending::Underway {
            self.sending = Sending::Complete;
        }
    }

    /// The response was ended early.
    pub(crate) fn cut(&mut self) {
        self.sending = Sending::Broken;
    }

    /// The upstream failed within its response.
    pub(crate) fn failed(&mut self, error: &UpstreamError) {
        let id = self.context.request_id();
        tracing::warn!(request_id = id, %error, "the answer was cut");
        self.cut();
    }

    /// The response was ended for this reason.
    pub(crate) fn ended_with(&mut self, code: Code) {
        self.refusal = Some(code);
        self.metrics.refusal(code as usize);
    }

    /// The response has this status.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = status.as_u16();
        let total = self.context.watch.elapsed();
        self.metrics.added(total.saturating_sub(self.upstream));
        self.metrics.request(self.class, self.status);
    }

    /// Writes the line, also if the client disconnected before there was a response.
    fn write(&mut self) {
        if self.status == 0 {
            self.status = CLIENT_CLOSED_REQUEST;
            self.metrics.request(self.class, self.status);
        }
        self.metrics.bytes_out(self.bytes);
        let micros = self.context.watch.elapsed().as_micros();
        self.log.write(&Line {
            at: self.context.at,
            request_id: self.context.request_id(),
            client: self.context.client,
            method: self.method.as_str(),
            path: match self.uri.path() {
                "" => "-", // of CONNECT
                path => path,
            },
            status: self.status,
            bytes: self.bytes,
            micros: u64::try_from(micros).unwrap_or(u64::MAX),
            route: self.class.as_str(),
            refusal: self.refusal.map(Code::as_str),
            user: self.caller.as_ref().map(|c| c.session.owner.user),
            session: self.caller.as_ref().map(|c| c.session.id),
            complete: self.sending == Sending::Complete || self.method == Method::HEAD,
        });
    }
}

impl Drop for RequestLog {
    fn drop(&mut self) {
        self.write();
    }
}

/// The cause of a refusal with its sources, for the process log.
struct Why<'a>(&'a Refusal);

impl std::fmt::Debug for Why<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let error: &dyn std::error::Error = match self.0 {
            Refusal::Bad(bad) => bad,
            Refusal::Denied(denial) => return f.write_str(denial.detail()),
            Refusal::Api(error) => error,
            Refusal::Upstream(error) | Refusal::Leaving(error) => error,
            Refusal::Check(refusal) => return Why(refusal).fmt(f),
        };
        write!(f, "{error}")?;
        let mut below = error.source();
        while let Some(cause) = below {
            write!(f, ": {cause}")?;
            below = cause.source();
        }
        Ok(())
    }
}
