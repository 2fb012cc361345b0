//! WebSocket handshakes under every kind of rule, over HTTP/1.1 and HTTP/2, and with an expired access
//! cookie.

use std::time::Duration;

use http::StatusCode;

use crate::support::answer::Answer;
use crate::support::client::TestRequest;
use crate::support::h2_client::{H2Client, Socket};
use crate::support::harness::{PASSWORD, TestApp};
use crate::support::scripted::ManualApp;
use crate::support::websocket::{SWITCHED, app_before, echo, handshake, send_handshake};

const HI: &[u8] = b"\x82\x82\0\0\0\0hi";

/// A handshake over HTTP/1.1: the answer as text.
async fn over_http1(app: &TestApp, access: &str, cookie: &str) -> u16 {
    let mut actor = app.anon().with_access(access);
    if !cookie.is_empty() {
        actor = actor.with_header("Cookie", cookie);
        actor = actor.with_header("Origin", &format!("http://{}", app.address));
    }
    let (mut socket, answer) = send_handshake(&actor, handshake()).await;
    if answer.status == 101 {
        socket.write(HI).await;
        assert_eq!(socket.read(HI.len()).await, HI);
    }
    answer.status
}

/// The same over HTTP/2; an open tunnel is shown as 101 as well.
async fn over_http2(app: &TestApp, access: &str, cookie: &str) -> u16 {
    let actor = app.anon().with_access(access);
    let mut client = H2Client::open(app.address).await;
    let own = format!("http://{}", app.address);
    let headers = [("cookie", cookie), ("origin", own.as_str())];
    let headers = if cookie.is_empty() { &[] } else { &headers[..] };
    let answer = client.open_websocket(&actor, headers).await;
    if answer.status() != StatusCode::OK {
        return answer.status().as_u16();
    }
    Socket::of(answer).await.echoes(HI).await;
    101
}

#[tokio::test]
async fn a_handshake_has_the_rule_of_its_path_in_both_versions() {
    let upstream = echo();
    // The rule, and the answers to an anonymous client, to ann without the role, and to root with it.
    for (rule, nobody, ann_is, root_is) in [
        ("access = \"public\"", 101, 101, 101),
        ("access = \"optional\"", 101, 101, 101),
        ("access = \"user\"", 401, 101, 101),
        ("roles = [\"admin\"]", 401, 403, 101),
        ("access = \"deny\"", 403, 403, 403),
    ] {
        let extra = format!("[[rule]]\npath = \"/ws\"\n{rule}\n");
        let app = app_before(upstream, &extra).await;
        let ann = app.user("ann").await.access;
        let root = app.user_with_roles("root", &["admin"]).await.access;
        for (access, expected) in [("", nobody), (ann.as_str(), ann_is), (&root, root_is)] {
            let cookie = format!("sidegate_access={access}");
            let is_known = !access.is_empty();
            assert_eq!(over_http1(&app, access, "").await, expected, "{rule}");
            assert_eq!(over_http2(&app, access, "").await, expected, "{rule}");
            if is_known {
                assert_eq!(over_http1(&app, "", &cookie).await, expected, "{rule}");
                assert_eq!(over_http2(&app, "", &cookie).await, expected, "{rule}");
            }
        }
        let bad = over_http1(&app, "nonsense", "").await;
        assert_eq!(bad, over_http2(&app, "nonsense", "").await, "{rule}");
        let admits_nobody = nobody != 101;
        let is_optional = rule.contains("optional");
        assert_eq!(bad != 101, admits_nobody || is_optional, "{rule}: {bad}");
    }
}

#[tokio::test]
async fn a_handshake_carries_the_identity_and_no_forged_headers() {
    for (access, is_told) in [("public", false), ("optional", true), ("user", true)] {
        let upstream = ManualApp::start();
        let rule = format!("[[rule]]\npath = \"/ws\"\naccess = {access:?}\n");
        let app = app_before(upstream.address, &rule).await;
        let ann = app.user("ann").await;
        let switched = String::from_utf8_lossy(SWITCHED).into_owned();
        let forged = ann.with_header("X-User-Name", "root");
        upstream.answer(&switched);
        assert_eq!(send_handshake(&forged, handshake()).await.1.status, 101);
        let mut client = H2Client::open(app.address).await;
        upstream.answer(&switched);
        let headers = [("x-user-name", "root"), ("x_user_name", "root")];
        let answer = client.open_websocket(&ann, &headers).await;
        assert_eq!(answer.status(), StatusCode::OK);
        for _ in 0..2 {
            let head = upstream.next_request().await.to_lowercase();
            assert!(!head.contains("root"), "{access}: {head}");
            let received = head.contains("\r\nx-user-name: ann\r\n");
            assert_eq!(received, is_told, "{access}: {head}");
        }
    }
}

/// Sidegate with cookies, and the answer to ann's log-in an hour ago.
async fn late() -> (TestApp, Answer) {
    let cookies = "[[mount]]\nprefix = \"/auth\"\ndelivery = \"cookies\"\n";
    let app = app_before(echo(), cookies).await;
    app.account("ann", &["user"]).await;
    let received = app.anon().try_login("ann", PASSWORD).await;
    assert_eq!(received.status, 200, "{}", received.text());
    app.clock.advance(Duration::from_secs(3_600));
    (app, received)
}

fn both(received: &Answer) -> String {
    let cookies = ["sidegate_access", "sidegate_refresh"].map(|name| received.cookie_pair(name));
    cookies.join("; ")
}

#[tokio::test]
async fn an_expired_cookie_is_renewed_by_a_handshake() {
    let (app, received) = late().await;
    let page = app
        .anon()
        .with_header("Origin", &format!("http://{}", app.address))
        .with_header("Cookie", &both(&received));
    let (mut socket, answer) = send_handshake(&page, handshake()).await;
    assert_eq!(answer.status, 101);
    socket.write(HI).await;
    assert_eq!(socket.read(HI.len()).await, HI);
    let fresh = answer.cookie_pair("sidegate_access");
    assert_ne!(fresh, received.cookie_pair("sidegate_access"));
    let next = TestRequest::new("GET", "/auth/me").with("Cookie", &fresh);
    assert_eq!(app.anon().send(next).await.status, 200);
    // The WebSocket belongs to the session, not to the used token.
    assert_eq!(app.service().streams().len(), 1);
}

#[tokio::test]
async fn an_expired_cookie_is_renewed_by_a_handshake_over_http2() {
    let (app, received) = late().await;
    let mut client = H2Client::open(app.address).await;
    let own = format!("http://{}", app.address);
    let cookie = both(&received);
    let headers = [("cookie", cookie.as_str()), ("origin", own.as_str())];
    let answer = client.open_websocket(&app.anon(), &headers).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let set: Vec<_> = answer.headers().get_all("set-cookie").iter().collect();
    assert!(set.len() >= 2, "{set:?}");
    Socket::of(answer).await.echoes(HI).await;
}

#[tokio::test]
async fn s34_a_foreign_page_with_an_expired_cookie_opens_no_websocket() {
    let (app, received) = late().await;
    let page = app
        .anon()
        .with_header("Origin", "https://evil.example")
        .with_header("Cookie", &both(&received));
    let refused = page.send(handshake()).await;
    assert_eq!(refused.refusal(), (403, "cross_site".to_owned()));
}
