//! Which requests are gRPC calls, and how long may a call take?

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

use crate::types::header::exactly_once;

/// Whether a request is a gRPC call: its first content type is `application/grpc`, with or without a codec
/// (`+proto`) and parameters. gRPC-Web is ordinary HTTP and does not count.
pub fn is_call(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(is_grpc)
}

/// Whether this is the content type of gRPC.
pub fn is_grpc(kind: &HeaderValue) -> bool {
    let kind = kind.as_bytes();
    let (Some(start), rest) = (kind.get(..KIND.len()), kind.get(KIND.len()..)) else {
        return false;
    };
    start.eq_ignore_ascii_case(KIND)
        && matches!(rest.and_then(<[u8]>::first), None | Some(b'+' | b';'))
}

/// The timeout of the caller. A header that is repeated or malformed is ignored.
pub(super) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    parse(exactly_once(headers, "grpc-timeout")?.as_bytes())
}

/// Parses up to eight digits and a unit.
fn parse(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = (digits.iter()).fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

const KIND: &[u8] = b"application/grpc";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn calls_are_recognised_by_their_content_type() {
        for (kind, call) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("Application/GRPC+json", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/grp", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(is_grpc(&HeaderValue::from_static(kind)), call, "{kind}");
        }
        assert!(!is_call(&HeaderMap::new()));
    }

    #[test]
    fn a_timeout_is_up_to_eight_digits_and_a_unit() {
        for (text, seconds) in [
            ("1H", Some(3600.0)),
            ("2M", Some(120.0)),
            ("00000003S", Some(3.0)),
            ("1500m", Some(1.5)),
            ("250000u", Some(0.25)),
            ("500000n", Some(0.0005)),
            ("99999999H", Some(99_999_999.0 * 3600.0)),
            ("100000000S", None),
            ("S", None),
            ("", None),
            ("1", None),
            ("1s", None),
            ("-1S", None),
            ("+1S", None),
            ("1 S", None),
        ] {
            let span = parse(text.as_bytes()).map(|span| span.as_secs_f64());
            assert_eq!(span, seconds, "{text}");
        }
        let mut twice = HeaderMap::new();
        twice.append("grpc-timeout", HeaderValue::from_static("1S"));
        assert_eq!(timeout(&twice), Some(Duration::from_secs(1)));
        twice.append("grpc-timeout", HeaderValue::from_static("1S"));
        assert_eq!(timeout(&twice), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_grpc_timeout_parses_without_a_panic(text in proptest::collection::vec(any::<u8>(), 0..12)) {
            let plain = text.len() >= 2
                && text.len() <= 9
                && text[..text.len() - 1].iter().all(u8::is_ascii_digit)
                && b"HMSmun".contains(&text[text.len() - 1]);
            prop_assert_eq!(parse(&text).is_some(), plain);
        }
    }
}
