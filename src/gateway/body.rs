//! What is sent as the body of a response, and when is its log line written?

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::Full;

use crate::api::problem::Code;
use crate::gateway::record::RequestLog;
use crate::gateway::session_bound::{Cut, EndedBy, SessionBoundBody};
use crate::net::connection::response_watch::ResponseWatch;
use crate::net::handler::ResponseBody;

/// A response body.
#[derive(Debug)]
pub enum Body {
    /// Sidegate's own.
    Whole(Full<Bytes>),
    /// The upstream's, streamed.
    Upstream(SessionBoundBody),
}

/// A body that is being sent. The log line of its request is written when it is dropped.
#[derive(Debug)]
pub struct LoggedBody {
    body: Body,
    /// None for the response to an upgrade, whose log line is written when the tunnel ends.
    log: Option<Box<RequestLog>>,
}

impl LoggedBody {
    /// The response to a request. The log line is written when its body ends.
    pub(crate) fn respond(mut log: Box<RequestLog>, response: Response<Body>) -> Response<Self> {
        log.answered(response.status());
        response.map(|body| Self {
            body,
            log: Some(log),
        })
    }

    /// The response to an upgrade, which is in progress until its tunnel ends.
    pub(crate) fn respond_to_upgrade(
        log: &mut RequestLog,
        response: Response<Body>,
    ) -> Response<Self> {
        log.answered(response.status());
        response.map(|body| Self { body, log: None })
    }

    fn ended(&self) -> bool {
        match &self.body {
            Body::Whole(body) => body.is_end_stream(),
            Body::Upstream(body) => body.is_end_stream(),
        }
    }

    fn poll_body(&mut self, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match &mut self.body {
            Body::Whole(body) => Pin::new(body)
                .poll_frame(task)
                .map_err(|never| match never {}),
            Body::Upstream(body) => {
                let polled = body.poll_frame(task);
                if let Some(by) = body.take_ended_by()
                    && let Some(log) = &mut self.log
                {
                    log.cut();
                    if by == EndedBy::Session {
                        log.ended_with(Code::SessionEnded);
                    }
                }
                polled
            }
        }
    }
}

impl http_body::Body for LoggedBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        let polled = this.poll_body(task);
        let Some(log) = &mut this.log else {
            return polled;
        };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                log.sent(frame.data_ref().map_or(0, Bytes::len) as u64);
            }
            Poll::Ready(Some(Err(Cut::Upstream(error)))) => log.failed(error),
            Poll::Ready(None) => log.completed(),
            Poll::Ready(Some(Err(Cut::SessionEnded))) | Poll::Pending => {}
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

impl ResponseBody for LoggedBody {
    fn watch(&self) -> Option<Arc<dyn ResponseWatch>> {
        match &self.body {
            Body::Whole(_) => None,
            Body::Upstream(body) => body.watch(),
        }
    }
}

impl Drop for LoggedBody {
    fn drop(&mut self) {
        // An empty body is not polled.
        if self.ended()
            && let Some(log) = &mut self.log
        {
            log.completed();
        }
    }
}
