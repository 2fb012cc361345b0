//! What a request must be like before anything else looks at it: a known method, a plain target, one
//! valid `Host`, unambiguous framing (RFC 9112, 3.2 and 6). hyper forwards most of what is refused
//! here as it came.
//!
//! An HTTP/2 request comes out of here like any other: the host is that of its `:authority`, with which
//! a `Host` line has to agree, and the crumbs of its cookie are one line (RFC 9113, 8.2.3 and 8.3.1).

use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, header};
use hyper::ext::Protocol;

use crate::server::original::Unclear;
use crate::types::path::BadPath;

/// The longest request target, in bytes.
pub const MAX_TARGET: usize = 8 * 1024;

/// Why a request is refused before it is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// CONNECT, TRACE, or a method that is not in the list.
    #[error("this method is not served")]
    Method,
    /// Not origin form, and not absolute form for this host.
    #[error("the request target must be a path on this host")]
    Target,
    /// A target over [`MAX_TARGET`].
    #[error("the request target is too long")]
    TargetTooLong,
    /// Missing, doubled, malformed, or not a host of ours.
    #[error("one valid Host header is needed")]
    Host,
    /// A transfer coding other than `chunked`, or one where HTTP/1.0 knows none.
    #[error("the request's framing is ambiguous")]
    Framing,
    /// An `Expect` other than `100-continue`.
    #[error("only 100-continue can be expected")]
    Expectation,
    /// The path has more than one reading, or none.
    #[error(transparent)]
    Path(BadPath),
    /// A gateway that is not trusted asks about another request.
    #[error("only a trusted proxy may ask about another request")]
    Gateway,
    /// What a gateway says about the request it asks about has no single reading.
    #[error(transparent)]
    Original(Unclear),
}

/// What a request must fit.
#[derive(Debug, Clone)]
pub struct Intake {
    /// Hosts we answer for.
    pub hosts: Hosts,
    /// Methods that are served.
    pub methods: Vec<Method>,
}

/// The hosts we answer for; none = any.
#[derive(Debug, Clone, Default)]
pub struct Hosts(Vec<String>);

/// The host a request is for.
#[derive(Debug, Clone)]
pub struct Host {
    /// As the client sent it.
    pub value: HeaderValue,
    /// Lower case, without port, for rules.
    pub name: HostName,
}

/// A host name for rules: borrowed text would tie it to the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName(String);

/// The same host, in whatever case and with whatever port it is asked for.
impl PartialEq for Host {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl HostName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Intake {
    /// Admits a request or says why not.
    pub fn admit<B>(&self, request: &mut Request<B>) -> Result<Host, BadRequest> {
        if !self.methods.contains(request.method()) && !is_websocket(request) {
            return Err(BadRequest::Method);
        }
        if request.version() == Version::HTTP_2 {
            whole_cookie(request.headers_mut())?;
        }
        let headers = request.headers();
        framing(headers, request.version())?;
        let value = match request.version() {
            Version::HTTP_2 => authority(request.uri(), headers)?,
            _ => single_host(headers)?.ok_or(BadRequest::Host)?.clone(),
        };
        let host = self.hosts.host_of(value)?;
        target(request.uri(), &host.value)?;
        Ok(host)
    }
}

impl Hosts {
    /// These, in lower case and without port.
    pub fn new(names: Vec<String>) -> Self {
        Self(names)
    }

    /// The host that a header names, if it is a valid one of ours.
    pub fn host_of(&self, value: HeaderValue) -> Result<Host, BadRequest> {
        let text = value.to_str().map_err(|_| BadRequest::Host)?;
        let name = host_name(text)
            .ok_or(BadRequest::Host)?
            .to_ascii_lowercase();
        if self.0.is_empty() || self.0.contains(&name) {
            Ok(Host {
                value,
                name: HostName(name),
            })
        } else {
            Err(BadRequest::Host)
        }
    }
}

/// The `Host` line, of which there is at most one.
fn single_host(headers: &HeaderMap) -> Result<Option<&HeaderValue>, BadRequest> {
    let mut values = headers.get_all(header::HOST).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(BadRequest::Host),
    }
}

/// The host of an HTTP/2 request: its `:authority`, with which a `Host` line has to agree; a `Host`
/// line alone where a gateway knew no authority.
fn authority(uri: &Uri, headers: &HeaderMap) -> Result<HeaderValue, BadRequest> {
    match (uri.authority(), single_host(headers)?) {
        (None, None) => Err(BadRequest::Host),
        (None, Some(host)) => Ok(host.clone()),
        (Some(authority), host) => {
            let authority = authority.as_str().as_bytes();
            if host.is_some_and(|host| !host.as_bytes().eq_ignore_ascii_case(authority)) {
                return Err(BadRequest::Host);
            }
            HeaderValue::from_bytes(authority).map_err(|_| BadRequest::Host)
        }
    }
}

/// Joins the crumbs that HTTP/2 allows a cookie to be broken into: everything later reads one line, as
/// from HTTP/1.1.
fn whole_cookie(headers: &mut HeaderMap) -> Result<(), BadRequest> {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return Ok(());
    }
    let crumbs: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let whole = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]));
    headers.insert(header::COOKIE, whole.map_err(|_| BadRequest::Framing)?);
    Ok(())
}

/// Whether this asks for a WebSocket over HTTP/2 (RFC 8441). CONNECT for anything else would make a
/// proxy for anywhere of us.
fn is_websocket<B>(request: &Request<B>) -> bool {
    request.method() == Method::CONNECT
        && request.version() == Version::HTTP_2
        && (request.extensions().get::<Protocol>())
            .is_some_and(|protocol| protocol.as_str() == "websocket")
}

/// Origin form; or absolute form that names the very host of the `Host` header, so that there is
/// one reading of where the request goes.
fn target(uri: &Uri, host: &HeaderValue) -> Result<(), BadRequest> {
    let Some(path) = uri.path_and_query() else {
        return Err(BadRequest::Target);
    };
    if path.as_str().len() > MAX_TARGET {
        return Err(BadRequest::TargetTooLong);
    }
    if !path.as_str().starts_with('/') {
        return Err(BadRequest::Target);
    }
    match (uri.scheme_str(), uri.authority()) {
        (None, None) => Ok(()),
        (Some("http" | "https"), Some(authority))
            if authority
                .as_str()
                .as_bytes()
                .eq_ignore_ascii_case(host.as_bytes()) =>
        {
            Ok(())
        }
        _ => Err(BadRequest::Target),
    }
}

/// The name in `name`, `name:port`, `[v6]:port`; `None` when it is anything else.
fn host_name(text: &str) -> Option<&str> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')?;
            let inside = rest.get(..end)?;
            inside.parse::<std::net::Ipv6Addr>().ok()?;
            (text.get(..end + 2)?, rest.get(end + 1..)?)
        }
        None => match text.find(':') {
            Some(at) => (text.get(..at)?, text.get(at..)?),
            None => (text, ""),
        },
    };
    let port_ok = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => {
            digits.len() <= 5
                && digits.bytes().all(|b| b.is_ascii_digit())
                && digits.parse::<u16>().is_ok()
        }
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let name_ok =
        name.starts_with('[') || (!name.is_empty() && name.len() <= 253 && name.bytes().all(plain));
    (port_ok && name_ok).then_some(name)
}

fn framing(headers: &HeaderMap, version: Version) -> Result<(), BadRequest> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
        if !chunked || codings.next().is_some() || version != Version::HTTP_11 {
            return Err(BadRequest::Framing);
        }
    }
    let mut expectations = headers.get_all(header::EXPECT).iter();
    match (expectations.next(), expectations.next()) {
        (None, _) => Ok(()),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(()),
        _ => Err(BadRequest::Expectation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn intake() -> Intake {
        Intake {
            hosts: Hosts::default(),
            methods: vec![Method::GET, Method::POST],
        }
    }

    fn request(method: &str, target: &str, headers: &[(&'static str, &str)]) -> Request<()> {
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .body(())
            .unwrap();
        for (name, value) in headers {
            request
                .headers_mut()
                .append(*name, HeaderValue::from_str(value).unwrap());
        }
        request
    }

    fn judged(method: &str, target: &str, headers: &[(&'static str, &str)]) -> Option<BadRequest> {
        let mut request = request(method, target, headers);
        intake().admit(&mut request).err()
    }

    #[test]
    fn a_plain_request_is_admitted() {
        assert_eq!(judged("GET", "/a?b", &[("host", "app:8080")]), None);
        assert_eq!(judged("GET", "http://app/a", &[("host", "APP")]), None);
        assert_eq!(judged("GET", "/", &[("host", "[::1]:80")]), None);
    }

    #[test]
    fn odd_methods_and_targets_are_refused() {
        let host = [("host", "app")];
        for method in ["CONNECT", "TRACE", "get", "BREW"] {
            assert_eq!(
                judged(method, "/", &host),
                Some(BadRequest::Method),
                "{method}"
            );
        }
        for target in [
            "*",
            "app:80",
            "http://other/",
            "ftp://app/",
            "http://u@app/",
        ] {
            assert_eq!(
                judged("GET", target, &host),
                Some(BadRequest::Target),
                "{target}"
            );
        }
        let long = format!("/{}", "a".repeat(MAX_TARGET));
        assert_eq!(judged("GET", &long, &host), Some(BadRequest::TargetTooLong));
    }

    #[test]
    fn there_is_exactly_one_valid_host() {
        assert_eq!(judged("GET", "/", &[]), Some(BadRequest::Host));
        assert_eq!(
            judged("GET", "/", &[("host", "a"), ("host", "a")]),
            Some(BadRequest::Host)
        );
        for bad in [
            "", "a@b", "a, b", "a b", "a\\c", "a:b", "a:", "a:99999", "[::1", "[g]", "ü",
        ] {
            let refused = judged("GET", "/", &[("host", bad)]);
            assert_eq!(refused, Some(BadRequest::Host), "{bad}");
        }
    }

    #[test]
    fn a_list_of_hosts_shuts_out_the_rest() {
        let intake = Intake {
            hosts: Hosts::new(vec!["app.example.org".to_owned()]),
            ..intake()
        };
        let asked = |host| {
            intake
                .admit(&mut request("GET", "/", &[("host", host)]))
                .is_ok()
        };
        assert!(asked("App.Example.org:8080"));
        assert!(!asked("evil.example.org"));
    }

    #[test]
    fn framing_has_one_reading() {
        let with = |value| judged("POST", "/", &[("host", "a"), ("transfer-encoding", value)]);
        assert_eq!(with("chunked"), None);
        for bad in [
            "chunked, chunked",
            ",chunked",
            "xchunked",
            "gzip, chunked",
            "identity",
            "",
        ] {
            assert_eq!(with(bad), Some(BadRequest::Framing), "{bad}");
        }
        let twice = [
            ("host", "a"),
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "x"),
        ];
        assert_eq!(judged("POST", "/", &twice), Some(BadRequest::Framing));
        let mut old = request(
            "POST",
            "/",
            &[("host", "a"), ("transfer-encoding", "chunked")],
        );
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(intake().admit(&mut old).err(), Some(BadRequest::Framing));
    }

    #[test]
    fn only_100_continue_can_be_expected() {
        assert_eq!(
            judged("POST", "/", &[("host", "a"), ("expect", "100-Continue")]),
            None
        );
        let odd = [("host", "a"), ("expect", "200-maybe")];
        assert_eq!(judged("POST", "/", &odd), Some(BadRequest::Expectation));
    }

    /// What an HTTP/2 request is admitted as: its host and its cookie line.
    fn admitted2(
        target: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<(String, Option<String>), BadRequest> {
        let mut request = request("GET", target, headers);
        *request.version_mut() = Version::HTTP_2;
        let host = intake().admit(&mut request)?;
        let mut cookies = request.headers().get_all("cookie").iter();
        let cookie = cookies.next().map(|c| c.to_str().unwrap().to_owned());
        assert!(cookies.next().is_none());
        Ok((host.value.to_str().unwrap().to_owned(), cookie))
    }

    #[test]
    fn the_authority_of_http2_is_the_host_and_a_host_line_agrees() {
        let host = |target, headers: &[_]| admitted2(target, headers).map(|(host, _)| host);
        assert_eq!(host("https://app:8/a", &[]).unwrap(), "app:8");
        assert_eq!(host("https://app/", &[("host", "APP")]).unwrap(), "app");
        assert_eq!(host("/", &[("host", "app")]).unwrap(), "app");
        for (target, headers) in [
            ("https://app/", &[("host", "evil")][..]),
            ("https://app/", &[("host", "app"), ("host", "app")]),
            ("https://u@app/", &[]),
            ("/", &[]),
        ] {
            assert_eq!(host(target, headers), Err(BadRequest::Host), "{target}");
        }
    }

    #[test]
    fn the_crumbs_of_a_cookie_are_one_line() {
        let crumbs = [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2; c=3")];
        let (_, cookie) = admitted2("https://app/", &crumbs).unwrap();
        assert_eq!(cookie.as_deref(), Some("a=1; b=2; c=3"));
    }

    #[test]
    fn connect_is_for_websockets_over_http2_only() {
        let asked = |protocol: Option<&'static str>, version| {
            let mut request = request("CONNECT", "https://app/chat", &[]);
            *request.version_mut() = version;
            if let Some(protocol) = protocol {
                let protocol = Protocol::from_static(protocol);
                request.extensions_mut().insert(protocol);
            }
            intake().admit(&mut request).err()
        };
        assert_eq!(asked(Some("websocket"), Version::HTTP_2), None);
        assert_eq!(asked(None, Version::HTTP_2), Some(BadRequest::Method));
        let other = asked(Some("connect-udp"), Version::HTTP_2);
        assert_eq!(other, Some(BadRequest::Method));
        let old = asked(Some("websocket"), Version::HTTP_11);
        assert_eq!(old, Some(BadRequest::Method));
    }

    proptest! {
        #[test]
        fn no_host_is_too_odd(text in "[ -~]{0,40}") {
            if let Some(name) = host_name(&text) {
                prop_assert!(!name.contains(['@', '/', '\\', ',', ' ', '#', '?']));
            }
        }
    }
}
