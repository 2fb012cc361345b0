//! Requests hidden behind a WebSocket handshake are not executed.

use crate::support::client::{Connection, TestRequest};
use crate::support::harness::TestApp;
use crate::support::websocket::{app_before, echo, handshake, send_handshake};

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: app\r\nX-User-Name: root\r\n\r\n";

#[tokio::test]
async fn s9_bytes_after_a_handshake_are_not_read_as_a_request() {
    let app = TestApp::with("[[rule]]\npath = \"/open\"\naccess = \"public\"\n").await;
    let ann = app.user("ann").await;
    let length = format!("Content-Length: {}\r\n", SMUGGLED.len());
    let chunked = "Transfer-Encoding: chunked\r\n".to_owned();
    let chunk = format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len());
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    for (version, lines, body) in [
        ("1.1", format!("{upgrade}{length}"), SMUGGLED),
        ("1.1", format!("{upgrade}{chunked}"), chunk.as_str()),
        ("1.1", format!("{upgrade}{chunked}{length}"), chunk.as_str()),
        ("1.1", format!("{upgrade}Upgrade: websocket\r\n"), SMUGGLED),
        ("1.1", format!("{upgrade}Upgrade: h2c\r\n"), SMUGGLED),
        ("1.1", format!("{upgrade}Content-Length: 0\r\n"), SMUGGLED),
        ("1.1", format!("{upgrade}Content-Length: 00\r\n"), SMUGGLED),
        (
            "1.1",
            "Connection: Upgrade, X-User-Name\r\nUpgrade: websocket\r\n".to_owned(),
            SMUGGLED,
        ),
        (
            "1.1",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
                .to_owned(),
            SMUGGLED,
        ),
        (
            "1.1",
            format!("{upgrade}Expect: 100-continue\r\n{length}"),
            SMUGGLED,
        ),
        ("1.0", upgrade.to_owned(), SMUGGLED),
        ("1.0", format!("{upgrade}{length}"), SMUGGLED),
    ] {
        let head = format!(
            "GET /open HTTP/{version}\r\nHost: app\r\nX-User-Name: root\r\n{lines}\
             Authorization: Bearer {}\r\n\r\n{body}",
            ann.access
        );
        let mut connection = Connection::open(app.address).await;
        connection.write(head.as_bytes()).await;
        let first = connection.answer("GET").await;
        assert!(
            first.status == 200 || first.status == 400,
            "{lines}: {}",
            first.status
        );
        drop(connection);
        for head in app.upstream.take_heads() {
            let head = String::from_utf8_lossy(&head).to_lowercase();
            assert!(!head.starts_with("get /smuggled"), "{lines}: {head}");
            assert!(!head.contains("x-user-name: root"), "{lines}: {head}");
            assert!(
                !head.contains("h2c") && !head.contains("http2-settings"),
                "{head}"
            );
            assert!(head.matches("x-user-name:").count() <= 1, "{head}");
        }
    }
}

#[tokio::test]
async fn s5_no_other_method_opens_a_websocket_that_is_closed_to_get() {
    let open = "[[rule]]\npath = \"/**\"\nmethods = [\"OPTIONS\", \"HEAD\", \"POST\"]\naccess = \"public\"\n";
    let app = app_before(echo(), open).await;
    assert_eq!(app.anon().send(handshake()).await.status, 401);
    for method in ["OPTIONS", "HEAD", "POST", "PATCH"] {
        let request = TestRequest {
            method: method.to_owned(),
            ..handshake()
        };
        let (_, answer) = send_handshake(&app.anon(), request).await;
        assert_ne!(answer.status, 101, "{method}");
    }
}
