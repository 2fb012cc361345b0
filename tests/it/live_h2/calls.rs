//! Event streams and gRPC, from HTTP/2 to HTTP/2.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use hyper::body::Incoming;
use sidegate::service::accounts::Named;
use sidegate::types::role::Roles;

use super::talk::{Heard, Next, Talk, app_before};
use crate::actors::Actor;
use crate::harness::{TestApp, until};
use crate::served::{Fed, Played, application};

const MESSAGE: &[u8] = b"\0\0\0\0\x02hi";

/// Plays what the path says.
pub(crate) async fn play(request: Request<Incoming>) -> Response<Played> {
    let (parts, body) = request.into_parts();
    let (kind, played) = match parts.uri.path() {
        "/events" => {
            let first = Bytes::from_static(b"data: 1\n\n");
            (
                "text/event-stream",
                Played::Waiting(VecDeque::from([first])),
            )
        }
        "/svc/Watch" => {
            let first = Bytes::from_static(MESSAGE);
            ("application/grpc", Played::Waiting(VecDeque::from([first])))
        }
        "/svc/Chat" => ("application/grpc+proto", Played::Echo(body)),
        "/svc/Silent" => std::future::pending().await,
        "/svc/Whole" => {
            let status = [(
                http::HeaderName::from_static("grpc-status"),
                HeaderValue::from_static("0"),
            )];
            let fed = Fed::now(
                &[Bytes::from_static(MESSAGE)],
                Some(HeaderMap::from_iter(status)),
            );
            ("application/grpc", Played::Fed(fed))
        }
        _ => (
            "text/plain",
            Played::Pouring(Bytes::from(vec![b'x'; 16_384])),
        ),
    };
    let mut answer = Response::new(played);
    let kind = HeaderValue::from_static(kind);
    answer.headers_mut().insert("content-type", kind);
    answer
}

/// Opens each kind of stream; gives what is heard of each from here on.
async fn all_kinds(talk: &mut Talk, ann: &Actor) -> (Vec<crate::served::Feeder>, [Heard; 3]) {
    let mut events = talk.get(ann, "/events").await;
    assert_eq!(events.next().await, Next::Data("data: 1\n\n".into()));
    let mut calls = Vec::new();
    let mut feeders = Vec::new();
    for path in ["/svc/Watch", "/svc/Chat"] {
        let (feeder, request) = talk.call(ann, path);
        let mut heard = Heard(talk.send(request).await);
        assert_eq!(heard.0.status(), 200);
        assert_eq!(heard.next().await, Next::Data(MESSAGE.into()), "{path}");
        calls.push(heard);
        feeders.push(feeder);
    }
    let chat = calls.pop().expect("a call");
    let watch = calls.pop().expect("a call");
    (feeders, [events, watch, chat])
}

fn is_unauthenticated(next: &Next) -> bool {
    matches!(next, Next::Trailers(t) if t.get("grpc-status").is_some_and(|s| s == "16"))
}

/// What each kind says when its session is over.
async fn all_end([events, watch, chat]: &mut [Heard; 3]) {
    assert_eq!(events.next().await, Next::End);
    for call in [watch, chat] {
        let next = call.next().await;
        assert!(is_unauthenticated(&next), "{next:?}");
    }
}

async fn app(extra: &str) -> TestApp {
    app_before(application(None, play), extra).await
}

#[tokio::test]
async fn s30_streams_of_every_kind_end_with_their_session_over_http2() {
    let app = app("").await;
    let ann = app.user("ann").await;
    let other = app.login("ann").await;
    let mut talk = Talk::open(app.address).await;
    let (_feeders, mut mine) = all_kinds(&mut talk, &ann).await;
    let (feeders, mut others) = all_kinds(&mut talk, &other).await;
    until(|| (app.service().streams().len() == 6).then_some(())).await;
    assert_eq!(ann.sessions().await[0]["openStreams"], 3);
    assert_eq!(ann.logout().await.status, 204);
    all_end(&mut mine).await;
    let said = Frame::data(Bytes::from_static(MESSAGE));
    feeders[1].send(said).expect("a call");
    assert_eq!(others[2].next().await, Next::Data(MESSAGE.into()));
    let log = app
        .access_log(|log| log.matches("session_ended").count() == 3)
        .await;
    assert_eq!(log.matches("/events").count(), 1, "{log}");
}

#[tokio::test]
async fn s30_a_call_without_a_head_ends_with_trailers_only() {
    let app = app("").await;
    let ann = app.user("ann").await;
    let mut talk = Talk::open(app.address).await;
    let (_feeder, request) = talk.call(&ann, "/svc/Silent");
    let ending = async {
        until(|| (app.service().streams().len() == 1).then_some(())).await;
        assert_eq!(ann.sessions().await[0]["openStreams"], 1);
        assert_eq!(ann.logout().await.status, 204);
    };
    let (answer, ()) = tokio::join!(talk.send(request), ending);
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["grpc-status"], "16");
    assert_eq!(Heard(answer).next().await, Next::End);
    let log = app.access_log(|log| log.contains("/svc/Silent")).await;
    assert_eq!(log.matches("session_ended").count(), 1, "{log}");
}

#[tokio::test]
async fn s30_streams_over_http2_end_when_the_sessions_time_is_over_and_not_by_a_refresh() {
    let app = app("[sessions]\nlifetime = \"2h\"\n").await;
    let mut ann = app.user("ann").await;
    let mut talk = Talk::open(app.address).await;
    let (feeders, mut open) = all_kinds(&mut talk, &ann).await;
    for _ in 0..3 {
        app.clock.advance(Duration::from_secs(1_200));
        ann.refresh().await;
        let said = Frame::data(Bytes::from_static(MESSAGE));
        feeders[1].send(said).expect("a call");
        assert_eq!(open[2].next().await, Next::Data(MESSAGE.into()));
    }
    app.clock.advance(Duration::from_secs(3_601));
    all_end(&mut open).await;
}

#[tokio::test]
async fn changed_roles_end_streams_over_http2() {
    let app = app("").await;
    let ann = app.user("ann").await;
    let mut talk = Talk::open(app.address).await;
    let (_feeders, mut open) = all_kinds(&mut talk, &ann).await;
    until(|| (app.service().streams().len() == 3).then_some(())).await;
    let named = Named::parse("ann").expect("a name");
    let roles = Roles::new([]).expect("roles");
    let set = app.service().operator_set_roles(&named, roles).await;
    set.expect("a change");
    all_end(&mut open).await;
}

#[tokio::test]
async fn a_call_that_ends_by_itself_keeps_its_own_status() {
    let app = app("").await;
    let ann = app.user("ann").await;
    let mut talk = Talk::open(app.address).await;
    let (_feeder, request) = talk.call(&ann, "/svc/Whole");
    let mut heard = Heard(talk.send(request).await);
    assert_eq!(heard.next().await, Next::Data(MESSAGE.into()));
    let Next::Trailers(trailers) = heard.next().await else {
        panic!("no trailers");
    };
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(ann.sessions().await[0]["openStreams"], 0);
}
