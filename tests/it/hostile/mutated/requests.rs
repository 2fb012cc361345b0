//! HTTP/1.1 conversations of valid and invalid parts, then damaged.

use crate::support::dice::Dice;
use crate::support::spellings::{MANAGED, spellings};

/// A forged identity value.
pub(super) const FORGED: &str = "forged-root";

pub(super) const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

const TARGETS: &[&str] = &[
    "/open/x",
    "/open/a/b?q=1",
    "/open/c",
    "/open/d?x=%00",
    "/x",
    "/orders/7",
    "/auth/session",
    "/auth/health",
    "/open/../x",
    "/open/%2e%2e/x",
    "/open/.%2E/x",
    "/open//x",
    "/open/..;/x",
    "/open/x;y=../../x",
    "/open/%2fx",
    "/open\\..\\x",
    "/OPEN/x",
    "http://app/open/x",
    "http://app/x",
    "//app/x",
    "*",
];

const LINES: &[&str] = &[
    "Accept: */*",
    "Cookie: a=b; sidegate_access=x.y.z",
    "Cookie: __Host-sidegate_access=",
    "Connection: keep-alive",
    "Connection: close",
    "Connection: X-User-Id, Host, Content-Length",
    "Connection: upgrade",
    "Upgrade: websocket",
    "Upgrade: h2c",
    "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    "TE: trailers",
    "Trailer: X-User-Id",
    "Expect: 100-continue",
    "Host: other",
    "Host: app",
    "X-Forwarded-For: 127.0.0.1",
    "X-HTTP-Method-Override: DELETE",
    "Content-Type: application/grpc",
    "Content-Type: application/json",
    "Origin: http://evil",
    "Authorization: Basic YTpi",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: xchunked",
    "Content-Length: 5",
    "Content-Length: +5",
    "Folded: a\r\n b",
];

/// A target; half of the time a public one.
pub(super) fn target(dice: &mut Dice) -> &'static str {
    let among = if dice.once_in(2) { 4 } else { TARGETS.len() };
    TARGETS[dice.below(among)]
}

/// A managed header name, in one of its spellings.
pub(super) fn forged_name(dice: &mut Dice) -> String {
    let name = dice.pick(MANAGED);
    dice.pick(&spellings(name)).clone()
}

/// The bytes of one client on one connection, with `token` in some of the requests.
pub(super) fn conversation(dice: &mut Dice, token: Option<&str>) -> Vec<u8> {
    let mut all = Vec::new();
    for _ in 0..=dice.below(3) {
        let mut one = request(dice, token);
        if dice.once_in(2) {
            for _ in 0..=dice.below(3) {
                dice.damage(&mut one);
            }
        }
        all.extend(one);
    }
    all.extend_from_slice(b"GET /open/last HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n");
    all
}

fn request(dice: &mut Dice, token: Option<&str>) -> Vec<u8> {
    let (method, target) = (dice.pick(METHODS), target(dice));
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: app\r\n");
    let mut line = |text: &str| {
        head.push_str(text);
        head.push_str("\r\n");
    };
    if let Some(token) = token
        && !dice.once_in(4)
    {
        line(&format!("Authorization: Bearer {token}"));
    }
    for _ in 0..dice.below(4) {
        line(&format!("{}: {FORGED}", forged_name(dice)));
    }
    for _ in 0..dice.below(3) {
        line(LINES[dice.below(LINES.len())]);
    }
    let hidden = format!("GET /hidden HTTP/1.1\r\nHost: app\r\nX-User-Id: {FORGED}\r\n\r\n");
    let length = hidden.len();
    let body = match dice.below(6) {
        0 => {
            line(&format!("Content-Length: {length}"));
            hidden
        }
        1 => {
            line(&format!("Content-Length: {}", length - 1));
            hidden
        }
        2 => {
            line("Transfer-Encoding: chunked");
            format!("{length:x}\r\n{hidden}\r\n0\r\n\r\n")
        }
        3 => {
            line("Transfer-Encoding: chunked");
            format!("{length:x};a=\"b\"\r\n{hidden}\r\n0\r\nX-User-Id: {FORGED}\r\n\r\n")
        }
        _ => String::new(),
    };
    format!("{head}\r\n{body}").into_bytes()
}
