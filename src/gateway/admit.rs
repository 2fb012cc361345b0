//! Phases 2 and 4: is the request well-formed, and does its path have one reading?
//!
//! A known method, a plain target, one valid `Host`, unambiguous framing (RFC 9112, 3.2 and 6). hyper
//! would pass most of what is refused here.
//!
//! Afterwards an HTTP/2 request looks like any other: the host is that of its `:authority`, with which a
//! `Host` line has to agree, and the parts of its cookie are one line (RFC 9113, 8.2.3 and 8.3.1).

use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, header};

use crate::gateway::bad_request::{BadRequest, MAX_TARGET};
use crate::gateway::host::{Host, Hosts, authority, single_host};
use crate::net::upgrade::Protocol;
use crate::types::header::at_most_once;
use crate::types::path::{Allowances, CleanPath};

/// The configured conditions for a request.
#[derive(Debug, Clone)]
pub struct Admission {
    /// The hosts that are served.
    pub hosts: Hosts,
    /// The methods that are served.
    pub methods: Vec<Method>,
    /// The ambiguous forms of paths that are allowed.
    pub paths: Allowances,
}

/// A well-formed request, as far as the later phases need it.
#[derive(Debug)]
pub struct Admitted {
    /// The host it is for.
    pub host: Host,
    /// Its target; the path is not checked yet.
    pub uri: Uri,
}

impl Admission {
    /// Admits a request.
    ///
    /// # Errors
    ///
    /// The first condition that the request does not meet.
    pub fn admit<B>(&self, request: &mut Request<B>) -> Result<Admitted, BadRequest> {
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
        let uri = request.uri().clone();
        Ok(Admitted { host, uri })
    }

    /// The checked path, which rules are matched on and which the upstream receives byte for byte.
    ///
    /// # Errors
    ///
    /// When the path can be read in more than one way.
    pub fn clean<'a>(&self, uri: &'a Uri) -> Result<CleanPath<'a>, BadRequest> {
        CleanPath::parse(uri.path(), &self.paths).map_err(BadRequest::Path)
    }
}

/// Joins the parts that HTTP/2 allows a cookie to be split into: later phases read one line, as from
/// HTTP/1.1.
fn whole_cookie(headers: &mut HeaderMap) -> Result<(), BadRequest> {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return Ok(());
    }
    let parts: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let whole = HeaderValue::from_bytes(&parts.join(&b"; "[..]));
    headers.insert(header::COOKIE, whole.map_err(|_| BadRequest::Framing)?);
    Ok(())
}

/// Whether this requests a WebSocket over HTTP/2 (RFC 8441). Any other CONNECT would make Sidegate an open
/// proxy.
fn is_websocket<B>(request: &Request<B>) -> bool {
    request.method() == Method::CONNECT
        && request.version() == Version::HTTP_2
        && (request.extensions().get::<Protocol>())
            .is_some_and(|protocol| protocol.as_str() == "websocket")
}

/// Accepts the origin form, and the absolute form if it names the host of the `Host` header. Any other absolute
/// form would give the request two destinations.
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

fn framing(headers: &HeaderMap, version: Version) -> Result<(), BadRequest> {
    let coding = at_most_once(headers, header::TRANSFER_ENCODING);
    if let Some(coding) = coding.map_err(|_| BadRequest::Framing)? {
        let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
        if !chunked || version != Version::HTTP_11 {
            return Err(BadRequest::Framing);
        }
    }
    match at_most_once(headers, header::EXPECT) {
        Ok(None) => Ok(()),
        Ok(Some(one)) if one.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(()),
        _ => Err(BadRequest::Expectation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> Admission {
        Admission {
            hosts: Hosts::default(),
            methods: vec![Method::GET, Method::POST],
            paths: Allowances::default(),
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

    fn refused(method: &str, target: &str, headers: &[(&'static str, &str)]) -> Option<BadRequest> {
        let mut request = request(method, target, headers);
        admission().admit(&mut request).err()
    }

    #[test]
    fn a_plain_request_is_admitted() {
        assert_eq!(refused("GET", "/a?b", &[("host", "app:8080")]), None);
        assert_eq!(refused("GET", "http://app/a", &[("host", "APP")]), None);
        assert_eq!(refused("GET", "/", &[("host", "[::1]:80")]), None);
    }

    #[test]
    fn invalid_methods_and_targets_are_refused() {
        let host = [("host", "app")];
        for method in ["CONNECT", "TRACE", "get", "BREW"] {
            assert_eq!(
                refused(method, "/", &host),
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
                refused("GET", target, &host),
                Some(BadRequest::Target),
                "{target}"
            );
        }
        let long = format!("/{}", "a".repeat(MAX_TARGET));
        assert_eq!(
            refused("GET", &long, &host),
            Some(BadRequest::TargetTooLong)
        );
    }

    #[test]
    fn there_is_exactly_one_valid_host() {
        assert_eq!(refused("GET", "/", &[]), Some(BadRequest::Host));
        assert_eq!(
            refused("GET", "/", &[("host", "a"), ("host", "a")]),
            Some(BadRequest::Host)
        );
        for bad in [
            "", "a@b", "a, b", "a b", "a\\c", "a:b", "a:", "a:99999", "[::1", "[g]", "ü",
        ] {
            let found = refused("GET", "/", &[("host", bad)]);
            assert_eq!(found, Some(BadRequest::Host), "{bad}");
        }
    }

    #[test]
    fn hosts_outside_of_the_list_are_refused() {
        let admission = Admission {
            hosts: Hosts::new(vec!["app.example.org".to_owned()]),
            ..admission()
        };
        let asked = |host| {
            admission
                .admit(&mut request("GET", "/", &[("host", host)]))
                .is_ok()
        };
        assert!(asked("App.Example.org:8080"));
        assert!(!asked("evil.example.org"));
    }

    #[test]
    fn framing_has_one_reading() {
        let with = |value| refused("POST", "/", &[("host", "a"), ("transfer-encoding", value)]);
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
        assert_eq!(refused("POST", "/", &twice), Some(BadRequest::Framing));
        let mut old = request(
            "POST",
            "/",
            &[("host", "a"), ("transfer-encoding", "chunked")],
        );
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(admission().admit(&mut old).err(), Some(BadRequest::Framing));
    }

    #[test]
    fn only_100_continue_can_be_expected() {
        assert_eq!(
            refused("POST", "/", &[("host", "a"), ("expect", "100-Continue")]),
            None
        );
        let odd = [("host", "a"), ("expect", "200-maybe")];
        assert_eq!(refused("POST", "/", &odd), Some(BadRequest::Expectation));
    }

    /// The host and the cookie line of an admitted HTTP/2 request.
    fn admitted2(
        target: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<(String, Option<String>), BadRequest> {
        let mut request = request("GET", target, headers);
        *request.version_mut() = Version::HTTP_2;
        let host = admission().admit(&mut request)?.host;
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
    fn the_parts_of_a_cookie_are_one_line() {
        let parts = [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2; c=3")];
        let (_, cookie) = admitted2("https://app/", &parts).unwrap();
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
            admission().admit(&mut request).err()
        };
        assert_eq!(asked(Some("websocket"), Version::HTTP_2), None);
        assert_eq!(asked(None, Version::HTTP_2), Some(BadRequest::Method));
        let other = asked(Some("connect-udp"), Version::HTTP_2);
        assert_eq!(other, Some(BadRequest::Method));
        let old = asked(Some("websocket"), Version::HTTP_11);
        assert_eq!(old, Some(BadRequest::Method));
    }
}
