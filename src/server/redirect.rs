//! The listener that only says where the site is: every request is answered `308` to the same path on
//! https, and the connection is closed.
//!
//! It sends nobody to another host than was asked for, unless `server.public_url` says which host the
//! site has, and nobody to a host that is not one of ours. It has a thread and limits of its own:
//! whatever is done to it, requests are served.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener as StdTcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::server::accept;
use crate::server::doorman::Doorman;
use crate::server::intake::{Hosts, MAX_TARGET};
use crate::server::lifecycle::{Lifecycle, Phase};
use crate::server::tasks;
use crate::types::net::TrustedProxies;

/// Connections at once, in all and from one address.
const MAX_CONNECTIONS: usize = 512;
const MAX_PER_ADDRESS: usize = 64;

/// Time for a request head, and for the whole of a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(10);

/// Time for those who were let in before the listeners closed.
const LAST: Duration = Duration::from_secs(2);

/// Where clients are sent, and who is; a reload exchanges it.
#[derive(Debug)]
pub struct Target {
    /// Host and port of `server.public_url`; else the host that was asked for.
    pub authority: Option<String>,
    /// The port that is put behind a host that was asked for; none when it is https's own.
    pub port: Option<u16>,
    /// Which hosts are ours.
    pub hosts: Hosts,
    /// Peers that speak for many clients, and so may have every place.
    pub trusted: TrustedProxies,
}

impl Target {
    /// The URL of what was asked for; none when nobody can say which host that is.
    fn url<B>(&self, request: &Request<B>) -> Option<HeaderValue> {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return None;
        };
        let asked = self.hosts.host_of(host.clone()).ok()?.name;
        let path = request.uri().path_and_query()?.as_str();
        if !path.starts_with('/') || path.len() > MAX_TARGET {
            return None;
        }
        let url = match (&self.authority, self.port) {
            (Some(authority), _) => format!("https://{authority}{path}"),
            (None, Some(port)) => format!("https://{}:{port}{path}", asked.as_str()),
            (None, None) => format!("https://{}{path}", asked.as_str()),
        };
        HeaderValue::try_from(url).ok()
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let url = self.url(request);
        let (status, words) = match url {
            Some(_) => (StatusCode::PERMANENT_REDIRECT, "this site is on https\n"),
            None => (StatusCode::BAD_REQUEST, "one valid Host header is needed\n"),
        };
        let mut answer = Response::new(Full::new(Bytes::from_static(words.as_bytes())));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, plain);
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        if let Some(url) = url {
            headers.insert(header::LOCATION, url);
        }
        answer
    }
}

/// Serves on a thread of its own, until the listeners close and who was let in has an answer.
pub fn start(
    listener: StdTcpListener,
    target: Arc<ArcSwap<Target>>,
    lifecycle: Lifecycle,
) -> io::Result<JoinHandle<io::Result<()>>> {
    let thread = std::thread::Builder::new().name("redirect".to_owned());
    thread.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            let (busy, mut all_gone) = mpsc::channel(1);
            tokio::select! {
                () = serve(listener, target, busy) => {}
                () = lifecycle.reached(Phase::Closing) => {}
            }
            tokio::select! {
                _ = timeout(LAST, all_gone.recv()) => {}
                () = lifecycle.reached(Phase::Stopped) => {}
            }
            Ok(())
        })
    })
}

/// Each connection holds on to `busy` for as long as it lasts.
async fn serve(
    listener: TcpListener,
    target: Arc<ArcSwap<Target>>,
    busy: mpsc::Sender<Infallible>,
) {
    let doorman = Arc::new(Doorman::new(MAX_CONNECTIONS, MAX_PER_ADDRESS));
    loop {
        let (stream, peer) = accept::next("redirect", || listener.accept()).await;
        let target = target.load_full();
        let one_client = !target.trusted.trust(peer.ip());
        let Ok(place) = doorman.enter(one_client.then(|| peer.ip())) else {
            continue;
        };
        let busy = busy.clone();
        tasks::spawn(async move {
            converse(stream, target).await;
            drop((place, busy));
        });
    }
}

async fn converse(stream: TcpStream, target: Arc<Target>) {
    let answering = service_fn(move |request: Request<hyper::body::Incoming>| {
        let answer = target.answer(&request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    builder.keep_alive(false).max_buf_size(16 * 1024);
    let serving = builder.serve_connection(TokioIo::new(stream), answering);
    if let Ok(Err(error)) = timeout(TIMEOUT, serving).await {
        tracing::debug!(%error, "a connection to the redirect listener ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(authority: Option<&str>, port: Option<u16>, hosts: &[&str]) -> Target {
        Target {
            authority: authority.map(str::to_owned),
            port,
            hosts: Hosts::new(hosts.iter().map(|&host| host.to_owned()).collect()),
            trusted: TrustedProxies::default(),
        }
    }

    fn told(target: &Target, uri: &str, hosts: &[&str]) -> Option<String> {
        let mut request = Request::get(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        let url = target.url(&request.body(()).unwrap())?;
        Some(url.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_host_that_was_asked_for_is_kept_and_no_other_is_named() {
        let any = target(None, None, &[]);
        let told = |uri, hosts: &[&str]| told(&any, uri, hosts);
        let plain = told("/a?b=c", &["app.example.org:80"]);
        assert_eq!(plain.unwrap(), "https://app.example.org/a?b=c");
        let doubled = told("//evil.example.org/", &["app"]);
        assert_eq!(doubled.unwrap(), "https://app//evil.example.org/");
        assert_eq!(told("http://evil/x", &["app"]).unwrap(), "https://app/x");
        for hosts in [&[][..], &["a", "a"], &["a@b"], &["a/b"], &[""], &["a\\b"]] {
            assert_eq!(told("/", hosts), None, "{hosts:?}");
        }
    }

    #[test]
    fn a_site_that_has_an_address_is_named_by_it() {
        let site = target(Some("www.example.org"), None, &[]);
        let found = told(&site, "/a", &["example.org"]).unwrap();
        assert_eq!(found, "https://www.example.org/a");
        let other_port = target(None, Some(8443), &[]);
        let found = told(&other_port, "/a", &["[::1]:8080"]).unwrap();
        assert_eq!(found, "https://[::1]:8443/a");
    }

    #[test]
    fn s2_nobody_is_sent_to_a_host_that_is_not_ours() {
        for authority in [None, Some("app.example.org")] {
            let ours = target(authority, None, &["app.example.org"]);
            let found = told(&ours, "/a", &["App.Example.Org:80"]).unwrap();
            assert_eq!(found, "https://app.example.org/a");
            assert_eq!(told(&ours, "/a", &["evil.example.org"]), None);
        }
    }
}
