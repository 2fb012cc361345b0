//! Where is a client of the redirect listener sent, and with which response?

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;

use crate::config::Config;
use crate::gateway::bad_request::MAX_TARGET;
use crate::gateway::host::Hosts;
use crate::net::settings::Listen;
use crate::types::header::exactly_once;
use crate::types::net::Scheme;
use crate::types::origin::Origin;
use crate::types::trusted_proxies::TrustedProxies;

/// The site that clients are sent to. A reload exchanges it.
#[derive(Debug)]
pub(crate) struct Target {
    /// `server.public_url`, if it is https; `None` keeps the host of the request.
    pub(crate) origin: Option<Origin>,
    /// The port that is added to the host of the request; `None` for 443.
    pub(crate) port: Option<u16>,
    /// The hosts of this site.
    pub(crate) hosts: Hosts,
    /// Peers that forward for many clients: the limit per address does not apply to them.
    pub(crate) trusted: TrustedProxies,
}

impl Target {
    /// The target of a configuration.
    pub(crate) fn new(config: &Config) -> Self {
        let server = &config.server;
        let origin = config.api.public_origin.as_ref();
        let https = origin.filter(|origin| origin.scheme() == Scheme::Https);
        let port = match &server.listen {
            Listen::Tcp(address) if ![0, 443].contains(&address.port()) => Some(address.port()),
            _ => None,
        };
        Self {
            origin: https.cloned(),
            port,
            hosts: Hosts::new(server.hosts.clone()),
            trusted: server.trusted_proxies.clone(),
        }
    }

    /// The https URL of a request; `None` when its host is unclear or not of this site.
    fn url<B>(&self, request: &Request<B>) -> Option<HeaderValue> {
        let host = exactly_once(request.headers(), header::HOST)?;
        let host = self.hosts.host_of(host.clone()).ok()?.name;
        let path = request.uri().path_and_query()?.as_str();
        if !path.starts_with('/') || path.len() > MAX_TARGET {
            return None;
        }
        let url = match (&self.origin, self.port) {
            (Some(origin), _) => format!("{origin}{path}"),
            (None, Some(port)) => format!("https://{}:{port}{path}", host.as_str()),
            (None, None) => format!("https://{}{path}", host.as_str()),
        };
        HeaderValue::try_from(url).ok()
    }

    pub(crate) fn respond<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let url = self.url(request);
        let (status, words) = match url {
            Some(_) => (StatusCode::PERMANENT_REDIRECT, "this site is on https\n"),
            None => (StatusCode::BAD_REQUEST, "one valid Host header is needed\n"),
        };
        let mut response = Response::new(Full::new(Bytes::from_static(words.as_bytes())));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, plain);
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        if let Some(url) = url {
            headers.insert(header::LOCATION, url);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(authority: Option<&str>, port: Option<u16>, hosts: &[&str]) -> Target {
        Target {
            origin: authority.map(|host| Origin::new(Scheme::Https, host).unwrap()),
            port,
            hosts: Hosts::new(hosts.iter().map(|&host| host.to_owned()).collect()),
            trusted: TrustedProxies::default(),
        }
    }

    fn url(target: &Target, uri: &str, hosts: &[&str]) -> Option<String> {
        let mut request = Request::get(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        let url = target.url(&request.body(()).unwrap())?;
        Some(url.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_redirect_keeps_the_requested_host() {
        let any = target(None, None, &[]);
        let found = |uri, hosts: &[&str]| url(&any, uri, hosts);
        let plain = found("/a?b=c", &["app.example.org:80"]);
        assert_eq!(plain.unwrap(), "https://app.example.org/a?b=c");
        let doubled = found("//evil.example.org/", &["app"]);
        assert_eq!(doubled.unwrap(), "https://app//evil.example.org/");
        assert_eq!(found("http://evil/x", &["app"]).unwrap(), "https://app/x");
        for hosts in [&[][..], &["a", "a"], &["a@b"], &["a/b"], &[""], &["a\\b"]] {
            assert_eq!(found("/", hosts), None, "{hosts:?}");
        }
    }

    #[test]
    fn the_redirect_uses_the_public_url() {
        let site = target(Some("www.example.org"), None, &[]);
        let found = url(&site, "/a", &["example.org"]).unwrap();
        assert_eq!(found, "https://www.example.org/a");
        let other_port = target(None, Some(8443), &[]);
        let found = url(&other_port, "/a", &["[::1]:8080"]).unwrap();
        assert_eq!(found, "https://[::1]:8443/a");
    }

    #[test]
    fn s2_the_redirect_never_names_a_host_that_is_not_configured() {
        for authority in [None, Some("app.example.org")] {
            let ours = target(authority, None, &["app.example.org"]);
            let found = url(&ours, "/a", &["App.Example.Org:80"]).unwrap();
            assert_eq!(found, "https://app.example.org/a");
            assert_eq!(url(&ours, "/a", &["evil.example.org"]), None);
        }
    }
}
