//! How is a gRPC call refused? With a response of headers only, whose HTTP status is 200, as gRPC requires. The
//! result of the call is in `grpc-status` and `grpc-message`; without them a client would have to derive it
//! from the HTTP status. `WWW-Authenticate` is left out.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body_util::Full;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::api::problem::{Code, Extra, Problem};

/// The response to a refused call.
pub(crate) fn respond(problem: &Problem, request_id: &HeaderValue) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::default());
    let headers = answer.headers_mut();
    let kind = HeaderValue::from_static("application/grpc");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert("grpc-status", HeaderValue::from(status(problem.code)));
    if let Some(message) = message(&problem.detail) {
        headers.insert("grpc-message", message);
    }
    headers.insert("x-request-id", request_id.clone());
    extra(problem, headers);
    answer
}

fn extra(problem: &Problem, headers: &mut HeaderMap) {
    match &problem.extra {
        Extra::None | Extra::Allow(_) | Extra::Authenticate(_) => {}
        Extra::Close | Extra::RetryAfter(_) | Extra::Limited(_) => problem.write_headers(headers),
    }
}

/// The gRPC status of a code. It is more precise than the mapping from HTTP statuses in the gRPC specification.
fn status(code: Code) -> u16 {
    match code {
        Code::WeakPassword
        | Code::MalformedBody
        | Code::UnknownField
        | Code::MissingField
        | Code::InvalidField
        | Code::TwoCredentials => INVALID_ARGUMENT,
        Code::RequestTimeout | Code::UpstreamTimeout => DEADLINE_EXCEEDED,
        Code::SessionNotFound => NOT_FOUND,
        Code::LoginTaken => ALREADY_EXISTS,
        Code::MissingRole
        | Code::Forbidden
        | Code::UntrustedGateway
        | Code::CrossSite
        | Code::SignupClosed => PERMISSION_DENIED,
        Code::RateLimited | Code::BodyTooLarge | Code::TooManySessions => RESOURCE_EXHAUSTED,
        Code::NotFound | Code::MethodNotAllowed | Code::UnsupportedMediaType => UNIMPLEMENTED,
        Code::BadRequest | Code::UriTooLong | Code::ExpectationFailed | Code::Internal => INTERNAL,
        Code::Busy
        | Code::StoreUnavailable
        | Code::UpstreamUnreachable
        | Code::UpstreamBadResponse
        | Code::UpstreamOverloaded => UNAVAILABLE,
        Code::MissingToken
        | Code::InvalidToken
        | Code::TokenExpired
        | Code::SessionEnded
        | Code::TokenStale
        | Code::InvalidCredentials
        | Code::InvalidRefreshToken => UNAUTHENTICATED,
    }
}

/// The text of `grpc-message`. The percent sign and everything but printable ASCII are percent-encoded.
fn message(text: &str) -> Option<HeaderValue> {
    HeaderValue::try_from(utf8_percent_encode(text, NOT_PRINTABLE).to_string()).ok()
}

/// ASCII characters that are percent-encoded in a message.
const NOT_PRINTABLE: &AsciiSet = &CONTROLS.add(b'%');

const INVALID_ARGUMENT: u16 = 3;
const DEADLINE_EXCEEDED: u16 = 4;
const NOT_FOUND: u16 = 5;
const ALREADY_EXISTS: u16 = 6;
const PERMISSION_DENIED: u16 = 7;
const RESOURCE_EXHAUSTED: u16 = 8;
const UNIMPLEMENTED: u16 = 12;
const INTERNAL: u16 = 13;
const UNAVAILABLE: u16 = 14;
const UNAUTHENTICATED: u16 = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_code_has_a_grpc_status() {
        let told = |code: Code| format!("{} {}", status(code), code.as_str());
        let table: Vec<String> = Code::EACH.iter().map(|code| told(*code)).collect();
        let table = table.join("\n");
        insta::assert_snapshot!(table, @r"
        13 bad_request
        12 method_not_allowed
        13 uri_too_long
        13 expectation_failed
        16 missing_token
        16 invalid_token
        16 token_expired
        16 session_ended
        16 token_stale
        3 two_credentials
        7 missing_role
        7 forbidden
        7 untrusted_gateway
        12 not_found
        12 unsupported_media_type
        8 body_too_large
        4 request_timeout
        3 malformed_body
        3 unknown_field
        3 missing_field
        3 invalid_field
        7 cross_site
        16 invalid_credentials
        16 invalid_refresh_token
        7 signup_closed
        6 login_taken
        3 weak_password
        8 too_many_sessions
        5 session_not_found
        8 rate_limited
        14 busy
        14 store_unavailable
        13 internal
        14 upstream_unreachable
        14 upstream_bad_response
        4 upstream_timeout
        14 upstream_overloaded
        ");
    }

    #[test]
    fn a_message_is_percent_encoded() {
        for (text, encoded) in [
            ("an access token is needed", "an access token is needed"),
            ("100%", "100%25"),
            ("é\n~", "%C3%A9%0A~"),
            ("\u{0}\u{11}", "%00%11"),
        ] {
            assert_eq!(message(text).unwrap(), encoded);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_message_survives_a_round_trip(text in "\\PC{0,40}|[\\x00-\\x7f]{0,40}") {
            let value = message(&text).unwrap();
            let mut bytes = value.as_bytes().iter();
            let mut read = Vec::new();
            while let Some(byte) = bytes.next() {
                if *byte != b'%' {
                    read.push(*byte);
                    continue;
                }
                let digits = [*bytes.next().unwrap(), *bytes.next().unwrap()];
                let digits = std::str::from_utf8(&digits).unwrap().to_owned();
                read.push(u8::from_str_radix(&digits, 16).unwrap());
            }
            prop_assert_eq!(read, text.as_bytes());
        }
    }
}
