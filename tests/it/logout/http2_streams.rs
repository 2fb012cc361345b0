//! Event streams and gRPC calls over HTTP/2 end with their session.

use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use sidegate::service::accounts::Named;
use sidegate::types::role::Roles;

use crate::support::actors::Actor;
use crate::support::h2_app::{MESSAGE, app_before, play};
use crate::support::h2_client::{BodyPart, H2Answer, H2Client};
use crate::support::harness::TestApp;
use crate::support::hyper_app::application;
use crate::support::wait::until;

/// Opens a stream of each kind; returns their further parts.
async fn all_kinds(
    client: &mut H2Client,
    ann: &Actor,
) -> (Vec<crate::support::hyper_app::BodySender>, [H2Answer; 3]) {
    let mut events = client.get(ann, "/events").await;
    assert_eq!(events.next().await, BodyPart::Data("data: 1\n\n".into()));
    let mut calls = Vec::new();
    let mut feeders = Vec::new();
    for path in ["/svc/Watch", "/svc/Chat"] {
        let (feeder, request) = client.call(ann, path);
        let mut received = H2Answer(client.send(request).await);
        assert_eq!(received.0.status(), 200);
        assert_eq!(
            received.next().await,
            BodyPart::Data(MESSAGE.into()),
            "{path}"
        );
        calls.push(received);
        feeders.push(feeder);
    }
    let chat = calls.pop().expect("a call");
    let watch = calls.pop().expect("a call");
    (feeders, [events, watch, chat])
}

fn is_unauthenticated(next: &BodyPart) -> bool {
    matches!(next, BodyPart::Trailers(t) if t.get("grpc-status").is_some_and(|s| s == "16"))
}

/// Asserts the end of each kind after its session has ended.
async fn all_end([events, watch, chat]: &mut [H2Answer; 3]) {
    assert_eq!(events.next().await, BodyPart::End);
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
    let mut client = H2Client::open(app.address).await;
    let (_feeders, mut mine) = all_kinds(&mut client, &ann).await;
    let (feeders, mut others) = all_kinds(&mut client, &other).await;
    until(|| (app.service().streams().len() == 6).then_some(())).await;
    assert_eq!(ann.sessions().await[0]["openStreams"], 3);
    assert_eq!(ann.logout().await.status, 204);
    all_end(&mut mine).await;
    let message = Frame::data(Bytes::from_static(MESSAGE));
    feeders[1].send(message).expect("a call");
    assert_eq!(others[2].next().await, BodyPart::Data(MESSAGE.into()));
    let log = app
        .access_log(|log| log.matches("session_ended").count() == 3)
        .await;
    assert_eq!(log.matches("/events").count(), 1, "{log}");
}

#[tokio::test]
async fn s30_a_call_without_a_head_ends_with_trailers_only() {
    let app = app("").await;
    let ann = app.user("ann").await;
    let mut client = H2Client::open(app.address).await;
    let (_feeder, request) = client.call(&ann, "/svc/Silent");
    let ending = async {
        until(|| (app.service().streams().len() == 1).then_some(())).await;
        assert_eq!(ann.sessions().await[0]["openStreams"], 1);
        assert_eq!(ann.logout().await.status, 204);
    };
    let (answer, ()) = tokio::join!(client.send(request), ending);
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["grpc-status"], "16");
    assert_eq!(H2Answer(answer).next().await, BodyPart::End);
    let log = app.access_log(|log| log.contains("/svc/Silent")).await;
    assert_eq!(log.matches("session_ended").count(), 1, "{log}");
}

#[tokio::test]
async fn s30_streams_over_http2_end_when_the_session_expires_and_not_at_a_refresh() {
    let app = app("[sessions]\nlifetime = \"2h\"\n").await;
    let mut ann = app.user("ann").await;
    let mut client = H2Client::open(app.address).await;
    let (feeders, mut open) = all_kinds(&mut client, &ann).await;
    for _ in 0..3 {
        app.clock.advance(Duration::from_secs(1_200));
        ann.refresh().await;
        let message = Frame::data(Bytes::from_static(MESSAGE));
        feeders[1].send(message).expect("a call");
        assert_eq!(open[2].next().await, BodyPart::Data(MESSAGE.into()));
    }
    app.clock.advance(Duration::from_secs(3_601));
    all_end(&mut open).await;
}

#[tokio::test]
async fn changed_roles_end_streams_over_http2() {
    let app = app("").await;
    let ann = app.user("ann").await;
    let mut client = H2Client::open(app.address).await;
    let (_feeders, mut open) = all_kinds(&mut client, &ann).await;
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
    let mut client = H2Client::open(app.address).await;
    let (_feeder, request) = client.call(&ann, "/svc/Whole");
    let mut received = H2Answer(client.send(request).await);
    assert_eq!(received.next().await, BodyPart::Data(MESSAGE.into()));
    let BodyPart::Trailers(trailers) = received.next().await else {
        panic!("no trailers");
    };
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(ann.sessions().await[0]["openStreams"], 0);
}
