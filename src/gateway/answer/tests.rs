//! Which status and code does each refusal get?

use std::num::NonZeroU32;

use http::{HeaderValue, Method, Request, header};

use super::*;
use crate::api::dialect::Scope;
use crate::api::native::Native;
use crate::gateway::bad_request::Unclear;
use crate::limits::{Exceeded, Quota};
use crate::rules::password::Weakness;
use crate::store::StoreError;
use crate::types::login::LoginKind;
use crate::types::path::BadPath;

fn told(fault: impl Into<Refusal>) -> String {
    let problem = problem(&fault.into());
    let id = HeaderValue::from_static("r1");
    let answer = respond(
        &problem,
        &ReplyFormat::default(),
        &Native,
        Scope::Application,
        &id,
    );
    let notable = ["www-authenticate", "allow", "retry-after", "connection"];
    let headers: Vec<String> = notable
        .iter()
        .filter_map(|name| {
            Some(format!(
                "{name}: {}",
                answer.headers().get(*name)?.to_str().ok()?
            ))
        })
        .collect();
    let line = format!(
        "{} {} {}",
        problem.status.as_u16(),
        problem.code.as_str(),
        headers.join(" ")
    );
    line.trim_end().to_owned()
}

fn denied(reason: Reason) -> Refusal {
    Refusal::Denied(Denial::for_tests(reason))
}

fn auth(error: AuthError) -> Refusal {
    Refusal::Api(ApiError::Auth(error))
}

#[test]
fn a_check_is_answered_with_401_403_or_a_server_error() {
    let asked = |fault: Refusal| told(Refusal::Check(Box::new(fault)));
    let bad = |bad| asked(Refusal::Bad(bad));
    let table = [
        bad(BadRequest::Path(BadPath::DotSegment)),
        bad(BadRequest::Original(Unclear::Disagree)),
        bad(BadRequest::Gateway),
        bad(BadRequest::Method),
        bad(BadRequest::TargetTooLong),
        asked(denied(Reason::TwoCredentials)),
        asked(denied(Reason::Missing)),
        asked(denied(Reason::MissingRole)),
        asked(auth(AuthError::Store(StoreError::Indeterminate))),
    ];
    insta::assert_snapshot!(table.join("\n"), @r#"
    403 bad_request
    403 bad_request
    403 untrusted_gateway
    403 method_not_allowed
    403 uri_too_long
    403 two_credentials www-authenticate: Bearer error="invalid_request"
    401 missing_token www-authenticate: Bearer
    403 missing_role www-authenticate: Bearer error="insufficient_scope"
    503 store_unavailable retry-after: 1
    "#);
}

#[test]
fn every_denial_has_its_own_answer() {
    let reasons = [
        Reason::Missing,
        Reason::Invalid,
        Reason::Expired,
        Reason::Ended,
        Reason::Stale,
        Reason::TwoCredentials,
        Reason::MissingRole,
        Reason::Forbidden,
    ];
    let table = reasons.map(|reason| told(denied(reason))).join("\n");
    insta::assert_snapshot!(table, @r#"
    401 missing_token www-authenticate: Bearer
    401 invalid_token www-authenticate: Bearer error="invalid_token"
    401 token_expired www-authenticate: Bearer error="invalid_token"
    401 session_ended www-authenticate: Bearer error="invalid_token"
    401 token_stale www-authenticate: Bearer error="invalid_token"
    400 two_credentials www-authenticate: Bearer error="invalid_request"
    403 missing_role www-authenticate: Bearer error="insufficient_scope"
    403 forbidden
    "#);
}

#[test]
fn every_refusal_of_the_service_has_its_answer() {
    let quota = Quota {
        count: NonZeroU32::MIN,
        period: Duration::from_secs(60),
    };
    let exceeded = Exceeded {
        retry_after: Duration::from_millis(1500),
        quota,
    };
    let second = Duration::from_secs(1);
    let table = [
        told(auth(AuthError::InvalidCredentials)),
        told(auth(AuthError::InvalidRefreshToken)),
        told(auth(AuthError::SignupClosed)),
        told(auth(AuthError::LoginTaken(LoginKind::Email))),
        told(auth(AuthError::WeakPassword(Weakness::Common))),
        told(auth(AuthError::TooManySessions)),
        told(auth(AuthError::SessionNotFound)),
        told(auth(AuthError::AccountClosed)),
        told(auth(AuthError::RateLimited(exceeded))),
        told(auth(AuthError::Busy {
            retry_after: second,
        })),
        told(auth(AuthError::Store(StoreError::Indeterminate))),
        told(auth(AuthError::Internal("secret detail".to_owned()))),
    ]
    .join("\n");
    insta::assert_snapshot!(table, @r#"
    401 invalid_credentials
    401 invalid_refresh_token
    403 signup_closed
    409 login_taken
    400 weak_password
    409 too_many_sessions
    404 session_not_found
    401 session_ended www-authenticate: Bearer error="invalid_token"
    429 rate_limited retry-after: 2
    503 busy retry-after: 1
    503 store_unavailable retry-after: 1
    500 internal
    "#);
}

#[test]
fn invalid_requests_and_upstream_errors_have_their_answers() {
    let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    let second = Duration::from_secs(1);
    let table = [
        told(BadRequest::Method),
        told(BadRequest::Target),
        told(BadRequest::TargetTooLong),
        told(BadRequest::Host),
        told(BadRequest::Framing),
        told(BadRequest::Expectation),
        told(BadRequest::Path(BadPath::DotSegment)),
        told(UpstreamError::Unreachable(refused())),
        told(Refusal::from(UpstreamError::Unreachable(refused())).while_draining()),
        told(UpstreamError::BadResponse(crate::proxy::Fault::Chunk)),
        told(UpstreamError::Http2(
            h2::Error::from(h2::Reason::CANCEL).into(),
        )),
        told(UpstreamError::Timeout),
        told(UpstreamError::Overloaded {
            retry_after: second,
        }),
        told(UpstreamError::ClientBody(ClientFault::TooShort)),
    ]
    .join("\n");
    insta::assert_snapshot!(table, @r#"
    405 method_not_allowed allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS
    400 bad_request
    414 uri_too_long connection: close
    400 bad_request
    400 bad_request connection: close
    417 expectation_failed connection: close
    400 bad_request
    502 upstream_unreachable
    503 upstream_unreachable retry-after: 1
    502 upstream_bad_response
    502 upstream_bad_response
    504 upstream_timeout
    503 upstream_overloaded retry-after: 1
    400 bad_request connection: close
    "#);
}

#[test]
fn internal_errors_are_not_shown() {
    let problem = problem(&auth(AuthError::Internal("secret detail".to_owned())));
    assert!(!problem.detail.contains("secret"));
    let problem = super::problem(&auth(AuthError::Store(StoreError::Corrupt(
        "row".to_owned(),
    ))));
    assert!(!problem.detail.contains("row"));
}

#[test]
fn a_browser_gets_a_sentence_and_a_program_gets_json() {
    let problem = problem(&denied(Reason::Missing));
    let id = HeaderValue::from_static("r1");
    let kind = |accept: &'static str| {
        let request = Request::get("/").header(header::ACCEPT, accept);
        let asked = ReplyFormat::of(&request.body(()).unwrap(), |_| false);
        respond(&problem, &asked, &Native, Scope::Application, &id)
            .headers()
            .get(header::CONTENT_TYPE)
            .cloned()
            .unwrap()
    };
    assert_eq!(
        kind("text/html,application/xhtml+xml"),
        "text/plain; charset=utf-8"
    );
    assert_eq!(kind("*/*"), "application/problem+json");
    assert_eq!(
        kind("text/html, application/json"),
        "application/problem+json"
    );
}

#[test]
fn a_grpc_client_gets_a_grpc_status() {
    let id = HeaderValue::from_static("r1");
    let answer = |kind: &'static str, method: Method| {
        let request = Request::builder()
            .method(method)
            .header(header::CONTENT_TYPE, kind)
            .header(header::ACCEPT, "text/html");
        let asked = ReplyFormat::of(&request.body(()).unwrap(), |_| false);
        respond(
            &problem(&denied(Reason::Missing)),
            &asked,
            &Native,
            Scope::Application,
            &id,
        )
    };
    for kind in ["application/grpc", "application/grpc+proto"] {
        let answer = answer(kind, Method::POST);
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["grpc-status"], "16");
        assert_eq!(
            answer.headers()["grpc-message"],
            "an access token is needed"
        );
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/grpc");
        assert!(!answer.headers().contains_key(header::WWW_AUTHENTICATE));
        assert!(http_body::Body::is_end_stream(answer.body()));
    }
    for (kind, method) in [
        ("application/grpc-web", Method::POST),
        ("application/grpc", Method::GET),
    ] {
        assert_eq!(answer(kind, method).status(), StatusCode::UNAUTHORIZED);
    }
}
