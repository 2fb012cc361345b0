//! Which heads are sent in both directions over HTTP/2?

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, Empty, Full};
use parking_lot::Mutex;
use proptest::prelude::*;

use super::{Asked, call, multiplexed, proxy, serving};
use crate::guard::Permit;
use crate::proxy::tests::{ann, get, send, text, via};
use crate::proxy::{Fault, Proxy, UpstreamError};

type Heads = Arc<Mutex<Vec<Parts>>>;

/// A server that records the heads of its requests.
async fn keeping() -> (u16, Heads) {
    let heads = Heads::default();
    let kept = Arc::clone(&heads);
    let port = serving(100, move |asked: Asked| {
        let heads = Arc::clone(&kept);
        async move {
            let (mut parts, ()) = Request::new(()).into_parts();
            parts.uri = asked.request.uri().clone();
            parts.headers = asked.request.headers().clone();
            heads.lock().push(parts);
            asked.answer(Response::new(()), "hello");
        }
    })
    .await;
    (port, heads)
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    let values = headers.get_all(name).iter();
    values.map(|value| value.to_str().unwrap()).collect()
}

#[tokio::test]
async fn identity_headers_are_protected_in_the_same_order_as_in_http_1_1() {
    let (port, heads) = keeping().await;
    let request = Request::get("/a%2Fb?q=1;2")
        .header("connection", "x-user-id, x-hop, te")
        .header("x-hop", "1")
        .header("x_user_id", "root")
        .header("x-user-id", "root")
        .header("X-Forwarded-For", "6.6.6.6")
        .header("transfer_encoding", "chunked")
        .header("upgrade", "h2c")
        .header("te", "gzip")
        .header("host", "evil")
        .header("cookie", "a=1; sidegate_access=t; b=2")
        .header("cookie", "sidegate_refresh=t")
        .header("accept", "text/html")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let permit = Permit::for_tests(Some(ann()));
    let response = proxy(port).forward(permit, request, &via()).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "hello");
    let parts = heads.lock().pop().unwrap();
    assert_eq!(parts.uri.to_string(), "http://app.example.org/a%2Fb?q=1;2");
    let mut told: Vec<_> = parts.headers.iter().collect();
    told.sort_by_key(|(name, _)| name.as_str());
    let told: Vec<_> = told
        .into_iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    accept: text/html
    cookie: a=1; b=2
    x-forwarded-for: 203.0.113.9
    x-forwarded-host: app.example.org
    x-forwarded-port: 80
    x-forwarded-proto: http
    x-request-id: request-1
    x-user-id: ann
    x-user-role: user
    ");
}

#[tokio::test]
async fn the_authority_is_that_of_the_client_or_of_the_upstream() {
    let (port, heads) = keeping().await;
    let mut settings = multiplexed(port);
    settings.preserve_host = false;
    let proxy = Proxy::new(&settings).unwrap();
    send(&proxy, get("/")).await.unwrap();
    let parts = heads.lock().pop().unwrap();
    let authority = parts.uri.authority().unwrap();
    assert_eq!(authority.as_str(), format!("127.0.0.1:{port}"));
}

#[tokio::test]
async fn te_and_content_length_are_translated_from_http_1_1() {
    let (port, heads) = keeping().await;
    let proxy = proxy(port);
    send(&proxy, call(Full::from("abc"))).await.unwrap();
    let empty = Request::post("/").body(Empty::<Bytes>::new()).unwrap();
    send(&proxy, empty).await.unwrap();
    send(&proxy, get("/")).await.unwrap();
    let heads = heads.lock();
    let told = |name: &str| -> Vec<Vec<String>> {
        heads
            .iter()
            .map(|parts| values(&parts.headers, name))
            .map(|values| values.into_iter().map(str::to_owned).collect())
            .collect()
    };
    assert_eq!(told("te"), [vec!["trailers".to_owned()], vec![], vec![]]);
    let lengths = told("content-length");
    assert_eq!(
        lengths,
        [vec!["3".to_owned()], vec!["0".to_owned()], vec![]]
    );
}

#[tokio::test]
async fn the_head_of_an_answer_is_cleaned_and_has_the_body_length() {
    let port = serving(100, |asked: Asked| async move {
        let answer = Response::builder()
            .header("content-length", "5")
            .header("proxy-authenticate", "Basic")
            .header("set-cookie", "a=1")
            .header("set-cookie", "b=2");
        asked.answer(answer.body(()).unwrap(), "hello");
    })
    .await;
    let response = send(&proxy(port), get("/")).await.unwrap();
    assert_eq!(response.body().size_hint().exact(), Some(5));
    assert!(!response.headers().contains_key("proxy-authenticate"));
    assert_eq!(values(response.headers(), "set-cookie"), ["a=1", "b=2"]);
    assert_eq!(text(response).await.unwrap(), "hello");
}

#[tokio::test]
async fn answers_without_a_body_end_with_their_head() {
    let port = serving(100, |asked: Asked| async move {
        let status = asked.request.uri().path()[1..].parse::<u16>().unwrap();
        let mut answer = Response::builder().status(status);
        if asked.request.method() == Method::HEAD {
            answer = answer.header("content-length", "1000");
        }
        asked.answer(answer.body(()).unwrap(), "");
    })
    .await;
    let proxy = proxy(port);
    for (method, path) in [("HEAD", "/200"), ("GET", "/204"), ("GET", "/304")] {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let response = send(&proxy, request).await.unwrap();
        assert!(response.body().is_end_stream(), "{method} {path}");
        let length = values(response.headers(), "content-length");
        assert_eq!(length.is_empty(), method != "HEAD");
    }
    assert_eq!(proxy.stats().created, 1);
}

#[tokio::test]
async fn interim_answers_are_skipped_up_to_a_limit() {
    let port = serving(100, |mut asked: Asked| async move {
        let count: usize = asked.request.uri().path()[1..].parse().unwrap();
        for _ in 0..count {
            let mut early = Response::new(());
            *early.status_mut() = StatusCode::EARLY_HINTS;
            asked.respond.send_informational(early).unwrap();
        }
        asked.answer(Response::new(()), "hello");
    })
    .await;
    let proxy = proxy(port);
    let response = send(&proxy, get("/16")).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "hello");
    let error = send(&proxy, get("/17")).await.unwrap_err();
    let expected = UpstreamError::BadResponse(Fault::TooManyInterim);
    assert_eq!(error.to_string(), expected.to_string(), "{error:?}");
}

#[tokio::test]
async fn a_head_beyond_the_limits_is_refused() {
    let port = serving(100, |asked: Asked| async move {
        let mut answer = Response::new(());
        let (count, size) = match asked.request.uri().path() {
            "/many" => (101, 1),
            "/large" => (9, 8 * 1024),
            _ => (100, 1),
        };
        for number in 0..count {
            let name = format!("x-{number}").parse::<http::HeaderName>().unwrap();
            let value = "v".repeat(size).parse().unwrap();
            answer.headers_mut().append(name, value);
        }
        asked.answer(answer, "hello");
    })
    .await;
    let proxy = proxy(port);
    assert!(send(&proxy, get("/fits")).await.is_ok());
    for path in ["/many", "/large"] {
        let error = send(&proxy, get(path)).await.unwrap_err();
        let refused = matches!(
            error,
            UpstreamError::BadResponse(Fault::TooManyHeaders) | UpstreamError::Http2(_)
        );
        assert!(refused, "{path}: {error:?}");
    }
}

#[tokio::test]
async fn two_lengths_are_refused() {
    let port = serving(100, |asked: Asked| async move {
        let answer = Response::builder()
            .header("content-length", "5")
            .header("content-length", "5");
        asked.answer(answer.body(()).unwrap(), "hello");
    })
    .await;
    let error = send(&proxy(port), get("/")).await.unwrap_err();
    let refused = matches!(error, UpstreamError::BadResponse(Fault::ContentLength));
    assert!(refused, "{error:?}");
}

#[tokio::test]
async fn an_early_answer_is_forwarded_and_the_rest_of_the_request_is_not_read() {
    let port = serving(100, |asked: Asked| async move {
        let answer = Response::builder().status(413);
        asked.answer(answer.body(()).unwrap(), "too large");
    })
    .await;
    let (_pieces, body) = super::fed();
    let proxy = proxy(port);
    let request = Request::post("/").body(body).unwrap();
    let response = send(&proxy, request).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "too large");
    assert_eq!(proxy.stats().idle, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_headers_make_a_head_with_another_identity(
        headers in proptest::collection::vec(
            ("(x|X)[-_.](user|USER)[-_.](id|role)|connection|te|cookie|x-other", "[ -~]{0,20}"),
            0..12,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (port, heads) = keeping().await;
            let mut request = get("/");
            for (name, value) in &headers {
                let name = name.parse::<http::HeaderName>().unwrap();
                request.headers_mut().append(name, value.parse().unwrap());
            }
            let permit = Permit::for_tests(Some(ann()));
            proxy(port).forward(permit, request, &via()).await.unwrap();
            let parts = heads.lock().pop().unwrap();
            let ours = |name: &str| {
                let folded = name.replace(['_', '.'], "-").to_ascii_lowercase();
                folded.starts_with("x-user-")
            };
            let told: Vec<_> = parts.headers.iter().filter(|(name, _)| ours(name.as_str())).collect();
            assert_eq!(told.len(), 2);
            assert_eq!(parts.headers["x-user-id"], "ann");
            assert_eq!(parts.headers["x-user-role"], "user");
        });
    }
}
