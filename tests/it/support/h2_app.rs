//! Which streams does an application in HTTP/2 offer, and how is Sidegate put in front of it?

use std::collections::VecDeque;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::body::Incoming;

use crate::support::harness::TestApp;
use crate::support::hyper_app::{AnswerBody, ChannelBody};

/// Sidegate in front of an application in HTTP/2.
pub(crate) async fn app_before(port: u16, extra: &str) -> TestApp {
    TestApp::with(&format!(
        "[upstream]\nurl = \"h2c://127.0.0.1:{port}\"\n{extra}"
    ))
    .await
}

/// A gRPC message.
pub(crate) const MESSAGE: &[u8] = b"\0\0\0\0\x02hi";

/// Answers according to the path: events, calls, or endless bytes.
pub(crate) async fn play(request: Request<Incoming>) -> Response<AnswerBody> {
    let (parts, body) = request.into_parts();
    let (kind, played) = match parts.uri.path() {
        "/events" => {
            let first = Bytes::from_static(b"data: 1\n\n");
            (
                "text/event-stream",
                AnswerBody::Waiting(VecDeque::from([first])),
            )
        }
        "/svc/Watch" => {
            let first = Bytes::from_static(MESSAGE);
            (
                "application/grpc",
                AnswerBody::Waiting(VecDeque::from([first])),
            )
        }
        "/svc/Chat" => ("application/grpc+proto", AnswerBody::Echo(body)),
        "/svc/Silent" => std::future::pending().await,
        "/svc/Whole" => {
            let status = [(
                http::HeaderName::from_static("grpc-status"),
                HeaderValue::from_static("0"),
            )];
            let fed = ChannelBody::now(
                &[Bytes::from_static(MESSAGE)],
                Some(HeaderMap::from_iter(status)),
            );
            ("application/grpc", AnswerBody::ChannelBody(fed))
        }
        _ => (
            "text/plain",
            AnswerBody::EndlessApp(Bytes::from(vec![b'x'; 16_384])),
        ),
    };
    let mut answer = Response::new(played);
    let kind = HeaderValue::from_static(kind);
    answer.headers_mut().insert("content-type", kind);
    answer
}
