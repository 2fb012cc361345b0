//! Fifty reloads while clients send requests over every protocol: no request fails, and each has one
//! configuration from its beginning to its end.

use std::sync::Arc;

use sidegate::control::reply::Reply;
use sidegate::control::request::Request;
use sidegate::control::wire;

use super::reload::reloaded;
use crate::support::answer::Answer;
use crate::support::certificates::Site;
use crate::support::client::{DEADLINE, TestRequest};
use crate::support::harness::{PASSWORD, TestApp};
use crate::support::load::{Load, Target, Upload};
use crate::support::received::received;
use crate::support::wait::until;
use crate::support::websocket::{echo, handshake, send_handshake};

/// Two configurations that differ in rule, preset, mount and cookie. An answer shows which one applied.
fn configuration(n: usize) -> String {
    let (preset, tag) = [("native", "even"), ("oauth2-proxy", "odd")][n % 2];
    format!(
        "[headers]\npreset = \"{preset}\"\n[limits]\nlists = \"{}/s\"\n\
         [[rule]]\npath = \"/{tag}\"\naccess = \"public\"\n\
         [[mount]]\nprefix = \"/auth\"\ndialect = \"sidegate\"\n\
         [[mount]]\nprefix = \"/{tag}-auth\"\ndialect = \"sidegate\"\n",
        100_000 + n,
    )
}

/// The identity is written by one of the two presets.
fn of_one_configuration(answer: &Answer) {
    let native = received(answer, "x-user-id");
    let other = received(answer, "x-forwarded-user");
    assert!(
        native.is_some() != other.is_some(),
        "half of each: {}",
        answer.text()
    );
}

/// Clients of every protocol send requests and uploads during fifty reloads.
async fn exchange(site: Option<&Site>) {
    let tls = site.map(Site::section).unwrap_or_default();
    let text = |n| format!("{}{tls}", configuration(n));
    let app = TestApp::with(&text(0)).await;
    app.account("ann", &["user"]).await;
    let target = Target::new(app.address, site);
    let crowd = Load {
        target: target.clone(),
        actor: target.login("ann", PASSWORD).await,
        progress: Arc::default(),
        check: of_one_configuration,
    };
    let mut clients = tokio::task::JoinSet::new();
    crowd.press(&mut clients);
    for n in 1..=50 {
        let mut uploads = Vec::new();
        if n % 10 == 0 {
            for is_http2 in [false, true] {
                let path = format!("/through/{n}/{is_http2}");
                uploads.push(Upload::begin(&target, &crowd.actor, &path, is_http2).await);
                until(|| app.upstream.saw(&path).then_some(())).await;
            }
        }
        app.rewrite(&text(n));
        // By the control socket, so that clients continue meanwhile.
        let socket = app.home().join("control.sock");
        let reply = wire::call(&socket, &Request::Reload, DEADLINE).await;
        assert!(matches!(reply.expect("a reply"), Reply::Done(_)));
        // The next request gets the new configuration completely.
        let (there, gone) = [("even", "odd"), ("odd", "even")][n % 2];
        for (path, status) in [
            (format!("/{there}"), 200),
            (format!("/{gone}"), 401),
            (format!("/{there}-auth/health"), 200),
            (format!("/{gone}-auth/health"), 401),
        ] {
            let answer = target.request(&TestRequest::new("GET", &path)).await;
            assert_eq!(answer.status, status, "{path}");
        }
        for upload in uploads {
            of_one_configuration(&upload.finish().await.expect("an answer"));
        }
    }
    crowd.progress.more(50).await;
    crowd.progress.stop();
    while let Some(client) = clients.join_next().await {
        client.expect("no failed request");
    }
    assert_eq!(app.metric("sidegate_config_generation").await, 51);
}

#[tokio::test]
async fn no_request_fails_during_fifty_reloads() {
    exchange(None).await;
}

#[tokio::test]
async fn no_request_over_tls_fails_during_fifty_reloads() {
    exchange(Some(&Site::new())).await;
}

#[tokio::test]
async fn a_reload_does_not_reset_the_count_of_switched_connections() {
    let upstream = echo();
    let limited = |name: &str| {
        format!(
            "[server]\nthreads = 1\n[headers]\npreset = \"{name}\"\n\
             [upstream]\nurl = \"http://{upstream}\"\nmax_upgraded = 1\n"
        )
    };
    let app = TestApp::with(&limited("native")).await;
    let ann = app.user("ann").await;
    let (_open, answer) = send_handshake(&ann, handshake()).await;
    assert_eq!(answer.status, 101);
    reloaded(&app, &limited("oauth2-proxy"));
    let second = ann.send(handshake()).await;
    assert_eq!(second.refusal(), (503, "upstream_overloaded".to_owned()));
}
