//! What is remembered of a request while it is answered, and the one line and the numbers it leaves
//! behind when its last byte is sent, or when the client goes away before that.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::guard::Identity;
use crate::proxy::{self, UpstreamError};
use crate::server::access_log::{AccessLog, Line};
use crate::server::connection::Paced;
use crate::server::context::Context;
use crate::server::leash::{self, Closing, Judged, Kind, Leash, Over, Tie};
use crate::server::lifecycle::Lifecycle;
use crate::server::problem::{Code, Problem, Refusal};
use crate::service::streams::Desk;
use crate::telemetry::metrics::{RouteClass, WorkerMetrics};

/// What the log shows as the status of a request whose client did not wait for the answer.
const HUNG_UP: u16 = 499;

/// A response body.
#[derive(Debug)]
pub enum Body {
    /// Ours.
    Whole(Full<Bytes>),
    /// The upstream's, streamed.
    Upstream(proxy::Body<Paced<Incoming>>),
}

/// The story of one request.
#[derive(Debug)]
pub struct Record {
    context: Context,
    method: Method,
    uri: Uri,
    metrics: Arc<WorkerMetrics>,
    log: Arc<AccessLog>,
    class: RouteClass,
    refusal: Option<Code>,
    caller: Option<Arc<Identity>>,
    /// What ends the answer with its caller's session.
    leash: Option<Box<Leash>>,
    upstream: Duration,
    status: u16,
    bytes: u64,
    sending: Sending,
}

/// How far the answer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    /// Some of it is to be sent, or the client did not wait for it.
    Underway,
    /// All of it was sent.
    Complete,
    /// It broke off, and nothing makes it complete again.
    Broken,
}

impl Record {
    /// Begins with the request's head.
    pub fn begin<B>(
        context: Context,
        request: &Request<B>,
        metrics: &Arc<WorkerMetrics>,
        log: &Arc<AccessLog>,
    ) -> Self {
        Self {
            context,
            method: request.method().clone(),
            uri: request.uri().clone(),
            metrics: Arc::clone(metrics),
            log: Arc::clone(log),
            class: RouteClass::Refused,
            refusal: None,
            caller: None,
            leash: None,
            upstream: Duration::ZERO,
            status: 0,
            bytes: 0,
            sending: Sending::Underway,
        }
    }

    /// The facts about the request.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The facts about the request, to be used up.
    pub fn context_mut(&mut self) -> &mut Context {
        &mut self.context
    }

    /// The request's id.
    pub fn request_id(&self) -> &HeaderValue {
        &self.context.request_id
    }

    /// It is a question about another request, which the log names instead.
    pub fn about(&mut self, method: &Method, target: &PathAndQuery) {
        self.method = method.clone();
        self.uri = Uri::from(target.clone());
    }

    /// The kind of route it went.
    pub fn routed(&mut self, class: RouteClass) {
        self.class = class;
    }

    /// Who was calling.
    pub fn identified(&mut self, identity: &Arc<Identity>) {
        self.caller = Some(Arc::clone(identity));
    }

    /// Who was calling, if that is known.
    pub fn caller(&self) -> Option<&Arc<Identity>> {
        self.caller.as_ref()
    }

    /// Ties an answer to its caller's session, of which the revocations said nothing at this epoch; and
    /// one that its client asks for anew when it ends, to the process. That is an event stream asked
    /// for by GET: others have an end that matters.
    pub fn leash(
        &mut self,
        answer: &Response<proxy::Body<Paced<Incoming>>>,
        desk: &Arc<Desk>,
        lifecycle: &Lifecycle,
        epoch: u64,
    ) {
        let comes_again = self.method == Method::GET;
        let closing = || comes_again.then(|| Closing::of(lifecycle));
        let caller = self
            .caller
            .as_ref()
            .map(|identity| Judged { identity, epoch });
        self.leash = Leash::of(answer, desk, caller, closing);
    }

    /// How long the upstream took to its response head.
    pub fn upstream_took(&mut self, span: Duration) {
        self.upstream = span;
        self.metrics.upstream(span);
    }

    /// It was refused. What the caller is not told goes to the process log.
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

    /// The answer, whose end will end the story.
    pub fn finish(mut self, response: Response<Body>) -> Response<Outgoing> {
        self.answered(response.status());
        response.map(|body| Outgoing {
            body,
            record: Some(self),
        })
    }

    /// The answer to a handshake, whose story goes on when it is sent.
    pub(super) fn finish_handshake(&mut self, response: Response<Body>) -> Response<Outgoing> {
        self.answered(response.status());
        response.map(|body| Outgoing { body, record: None })
    }

    /// Bytes that were sent after a handshake.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// All was sent.
    pub(super) fn completed(&mut self) {
        if self.sending == Sending::Underway {
            self.sending = Sending::Complete;
        }
    }

    /// The answer was ended by us.
    pub(super) fn ended_with(&mut self, code: Code) {
        self.refusal = Some(code);
        self.metrics.refusal(code as usize);
    }

    fn answered(&mut self, status: StatusCode) {
        self.status = status.as_u16();
        let total = self.context.watch.elapsed();
        self.metrics.added(total.saturating_sub(self.upstream));
        self.metrics.request(self.class, self.status);
    }

    /// The story's end; also that of a client that hung up before there was an answer.
    fn leave(&mut self) {
        if self.status == 0 {
            self.status = HUNG_UP;
            self.metrics.request(self.class, self.status);
        }
        self.metrics.bytes_out(self.bytes);
        let micros = self.context.watch.elapsed().as_micros();
        self.log.write(&Line {
            at: self.context.at,
            request_id: self.context.request_id(),
            client: self.context.client,
            method: self.method.as_str(),
            path: self.uri.path(),
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

impl Drop for Record {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The cause of a refusal, for the process log: the error and what lies beneath it.
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

/// A body on its way out; when it goes, its request's record is written.
#[derive(Debug)]
pub struct Outgoing {
    body: Body,
    /// None for the answer to a handshake.
    record: Option<Record>,
}

/// Why an answer broke off.
#[derive(Debug, thiserror::Error)]
pub enum Cut {
    /// The upstream's doing.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The session it was given for is over.
    #[error("the session has ended")]
    SessionEnded,
}

impl Outgoing {
    fn ended(&self) -> bool {
        match &self.body {
            Body::Whole(body) => body.is_end_stream(),
            Body::Upstream(body) => body.is_end_stream(),
        }
    }

    /// Ends an answer before its end, as gently as its kind allows.
    fn end(&mut self, over: Over, kind: Kind) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        // The upstream's connection goes with its answer.
        self.body = Body::Whole(Full::default());
        if let Some(record) = &mut self.record {
            record.leash = None;
            record.sending = Sending::Broken;
            if over == Over::Session {
                record.ended_with(Code::SessionEnded);
            }
        }
        Poll::Ready(match kind {
            Kind::Events => None,
            Kind::Grpc => Some(Ok(Frame::trailers(leash::unauthenticated()))),
            Kind::Plain => Some(Err(Cut::SessionEnded)),
        })
    }

    /// What ties it to its caller's session, if anything does.
    pub(super) fn tie(&self) -> Option<&Arc<Tie>> {
        self.record.as_ref()?.leash.as_deref()?.tie()
    }

    fn leash(&mut self) -> Option<&mut Leash> {
        self.record.as_mut()?.leash.as_deref_mut()
    }

    fn poll_body(&mut self, task: &mut Task<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match &mut self.body {
            Body::Whole(body) => Pin::new(body)
                .poll_frame(task)
                .map_err(|never| match never {}),
            Body::Upstream(body) => Pin::new(body).poll_frame(task).map_err(Cut::Upstream),
        }
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        if let Some(leash) = this.leash()
            && let Poll::Ready(over) = leash.poll_over(task)
        {
            let kind = leash.kind();
            return this.end(over, kind);
        }
        let polled = this.poll_body(task);
        if polled.is_pending()
            && let Some(leash) = this.leash()
            && let Poll::Ready(over) = leash.poll_over_while_waiting(task)
        {
            let kind = leash.kind();
            return this.end(over, kind);
        }
        let Some(record) = &mut this.record else {
            return polled;
        };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let sent = frame.data_ref().map_or(0, Bytes::len);
                record.bytes = record.bytes.saturating_add(sent as u64);
            }
            Poll::Ready(Some(Err(error))) => {
                let id = record.context.request_id();
                tracing::warn!(request_id = id, %error, "the answer was cut");
                record.sending = Sending::Broken;
            }
            Poll::Ready(None) => record.completed(),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.ended()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Body::Whole(body) => body.size_hint(),
            Body::Upstream(body) => body.size_hint(),
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // A body without anything in it is not asked for.
        if self.ended()
            && let Some(record) = &mut self.record
        {
            record.completed();
        }
    }
}
