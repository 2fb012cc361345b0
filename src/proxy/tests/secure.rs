//! TLS towards upstreams: which certificates are accepted, which one is sent, and which protocol is used?

use http::{Method, Request};
use http_body_util::Full;
use rustls::HandshakeKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::tls_server::{
    Authority, BOTH, HTTP1, Server, believing, beside, reasons, refused, secured,
};
use super::{HELLO, LIMIT, arrived, get, send, text};
use crate::proxy::{Proxy, Tls, UpstreamError};
use crate::tls::client;

#[tokio::test]
async fn http_2_is_used_when_the_upstream_selects_it() {
    let authority = Authority::new();
    let (port, kinds) = Server::new(authority.sign("localhost", |_| {}), BOTH)
        .start()
        .await;
    let proxy = Proxy::new(&secured("localhost", port, believing(&authority))).unwrap();
    for _ in 0..3 {
        let response = send(&proxy, get("/")).await.unwrap();
        assert_eq!(text(response).await.unwrap(), "HTTP/2.0 0");
    }
    assert_eq!(kinds.lock().len(), 1);
}

#[tokio::test]
async fn http_1_1_is_used_when_the_upstream_selects_it() {
    let authority = Authority::new();
    for protocols in [HTTP1, &[]] {
        let server = Server::new(authority.sign("localhost", |_| {}), protocols);
        let (port, kinds) = server.start().await;
        let proxy = Proxy::new(&secured("localhost", port, believing(&authority))).unwrap();
        // Session tickets come with the first answer. The connection stays usable, also for requests that
        // cannot be sent again.
        for method in [Method::GET, Method::POST, Method::GET, Method::POST] {
            let body = if method == Method::POST { "abc" } else { "" };
            let expected = format!("HTTP/1.1 {}", body.len());
            let mut request = Request::new(Full::from(body));
            *request.method_mut() = method;
            let response = send(&proxy, request).await.unwrap();
            assert_eq!(text(response).await.unwrap(), expected);
        }
        assert_eq!(kinds.lock().len(), 1);
        let stats = proxy.stats();
        assert_eq!((stats.created, stats.idle), (1, 1));
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_not_used() {
    let authority = Authority::new();
    let server = Server::new(authority.sign("localhost", |_| {}), HTTP1);
    let acceptor = server.acceptor();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, mut told) = tokio::sync::mpsc::channel(4);
    beside(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = acceptor.accept(stream).await.unwrap();
            let mut head = [0; 4096];
            assert!(stream.read(&mut head).await.unwrap() > 0);
            stream.write_all(HELLO.as_bytes()).await.unwrap();
            // It sends close_notify and does not close the socket.
            stream.shutdown().await.unwrap();
            tell.send(stream).await.unwrap();
        }
    });
    let proxy = Proxy::new(&secured("localhost", port, believing(&authority))).unwrap();
    let mut held = Vec::new();
    for number in 1..=3 {
        let request = Request::post("/").body(Full::from("")).unwrap();
        let response = send(&proxy, request).await.unwrap();
        assert_eq!(text(response).await.unwrap(), "hello");
        let closed = tokio::time::timeout(LIMIT, told.recv()).await;
        held.push(closed.expect("in time").unwrap());
        arrived(port);
        let stats = proxy.stats();
        assert_eq!((stats.created, stats.retried), (number, 0));
    }
}

#[tokio::test]
async fn megabytes_pass_both_ways_over_tls() {
    let authority = Authority::new();
    for protocols in [BOTH, HTTP1] {
        let server = Server::new(authority.sign("localhost", |_| {}), protocols);
        let (port, _) = server.start().await;
        let proxy = Proxy::new(&secured("localhost", port, believing(&authority))).unwrap();
        let size = 8 * 1024 * 1024;
        let request = Request::post("/").body(Full::from(vec![b'x'; size]));
        let response = send(&proxy, request.unwrap()).await.unwrap();
        let told = text(response).await.unwrap();
        assert!(told.ends_with(&format!(" {size}")), "{told}");
    }
}

#[tokio::test]
async fn tls_sessions_are_resumed() {
    let authority = Authority::new();
    let server = Server::new(authority.sign("localhost", |_| {}), HTTP1);
    let (port, kinds) = server.start().await;
    let mut settings = secured("localhost", port, believing(&authority));
    settings.idle_timeout = std::time::Duration::ZERO;
    let proxy = Proxy::new(&settings).unwrap();
    for _ in 0..4 {
        text(send(&proxy, get("/")).await.unwrap()).await.unwrap();
    }
    let kinds = kinds.lock().clone();
    assert!(kinds.contains(&HandshakeKind::Resumed), "{kinds:?}");
}

#[tokio::test]
async fn no_tls_session_is_resumed_after_its_files_change() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = Server::new(authority.sign("localhost", |_| {}), HTTP1);
    let (port, kinds) = server.start().await;
    let mut settings = secured("localhost", port, believing(&authority));
    settings.idle_timeout = std::time::Duration::ZERO;
    let proxy = Proxy::new(&settings).unwrap();
    for _ in 0..2 {
        proxy.set_tls(&client::config(believing(&authority).files()).unwrap());
        text(send(&proxy, get("/")).await.unwrap()).await.unwrap();
    }
    let kinds = kinds.lock().clone();
    assert!(!kinds.contains(&HandshakeKind::Resumed), "{kinds:?}");
    proxy.set_tls(&client::config(believing(&other).files()).unwrap());
    let error = send(&proxy, get("/")).await.unwrap_err();
    assert!(reasons(&error).contains("UnknownIssuer"), "{error:?}");
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = Server::new(authority.sign("localhost", |_| {}), BOTH);
    let (port, _) = server.start().await;
    for tls in [believing(&other), Tls::default()] {
        let told = refused("localhost", port, tls).await;
        assert_eq!(
            told,
            "the upstream cannot be reached: invalid peer certificate: UnknownIssuer"
        );
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_unless_the_name_is_configured() {
    let authority = Authority::new();
    let server = Server::new(authority.sign("app.internal", |_| {}), BOTH);
    let (port, _) = server.start().await;
    let told = refused("localhost", port, believing(&authority)).await;
    assert!(
        told.contains("certificate not valid for name \"localhost\"")
            && told.contains("app.internal"),
        "{told}"
    );
    let tls = Tls {
        server_name: Some("app.internal".to_owned()),
        ..believing(&authority)
    };
    let proxy = Proxy::new(&secured("localhost", port, tls)).unwrap();
    assert!(send(&proxy, get("/")).await.is_ok());
}

#[tokio::test]
async fn a_certificate_for_an_address_is_accepted() {
    let authority = Authority::new();
    let server = Server::new(authority.sign("127.0.0.1", |_| {}), BOTH);
    let (port, _) = server.start().await;
    let proxy = Proxy::new(&secured("127.0.0.1", port, believing(&authority))).unwrap();
    assert!(send(&proxy, get("/")).await.is_ok());
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let authority = Authority::new();
    let pair = authority.sign("localhost", |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 1);
    });
    let (port, _) = Server::new(pair, BOTH).start().await;
    let told = refused("localhost", port, believing(&authority)).await;
    assert!(told.contains("certificate expired"), "{told}");
}

#[tokio::test]
async fn a_server_that_requests_a_certificate_gets_the_configured_one() {
    let authority = Authority::new();
    for protocols in [BOTH, HTTP1] {
        let server = Server {
            clients: Some(authority.root.clone()),
            ..Server::new(authority.sign("localhost", |_| {}), protocols)
        };
        let (port, _) = server.start().await;
        let told = refused("localhost", port, believing(&authority)).await;
        assert!(told.contains("CertificateRequired"), "{told}");
        let tls = Tls {
            identity: Some(authority.identity()),
            ..believing(&authority)
        };
        let proxy = Proxy::new(&secured("localhost", port, tls)).unwrap();
        assert!(send(&proxy, get("/")).await.is_ok());
    }
}

#[tokio::test]
async fn a_handshake_that_never_ends_counts_as_connecting() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut settings = secured("localhost", port, Tls::default());
    settings.connect_timeout = std::time::Duration::from_millis(20);
    let proxy = Proxy::new(&settings).unwrap();
    let error = send(&proxy, get("/")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Timeout), "{error:?}");
}

#[tokio::test]
async fn an_upstream_that_returns_with_http_2_is_negotiated_again() {
    let authority = Authority::new();
    let server = Server::new(authority.sign("localhost", |_| {}), HTTP1);
    let (port, _) = server.start().await;
    let proxy = Proxy::new(&secured("localhost", port, believing(&authority))).unwrap();
    text(send(&proxy, get("/")).await.unwrap()).await.unwrap();
    proxy.pool.upstream.set_chose_http1(false);
    let response = send(&proxy, get("/")).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "HTTP/1.1 0");
}
