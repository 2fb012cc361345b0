//! What does forwarding cost alone? hyper's server and the proxy layer with an anonymous permit, without
//! admission, path rules, tokens, access log and metrics.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;

use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sidegate::config::{self, Config, Sources};
use sidegate::guard::{Decision, Guard, Permit};
use sidegate::policy::RouteTable;
use sidegate::proxy::{self, Body, Earlier, Proxy, Via};
use sidegate::service::first_sight::FirstSights;
use sidegate::service::liveness::Liveness;
use sidegate::store::testing;
use sidegate::telemetry::metrics::Events;
use sidegate::tokens::Verifier;
use sidegate::tokens::keys::Keys;
use sidegate::types::net::Scheme;
use sidegate::types::path::{Allowances, CleanPath};
use sidegate::types::random::SystemRandom;
use sidegate::types::time::{Clock as _, SystemClock, Timestamp};
use tokio::net::TcpListener;
use tokio::task::spawn_local;

use crate::Outcome;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Starts the forwarder on a free port.
pub(crate) async fn start(upstream: SocketAddr) -> Outcome<SocketAddr> {
    let forwarder = Arc::new(Forwarder::new(upstream)?);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Not required; improves the figures.
            drop(stream.set_nodelay(true));
            let forwarder = Arc::clone(&forwarder);
            let service = service_fn(move |request| {
                let forwarder = Arc::clone(&forwarder);
                async move { forwarder.forward(request).await }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            spawn_local(connection);
        }
    });
    Ok(address)
}

struct Forwarder {
    guard: Guard,
    proxy: Proxy,
}

impl Forwarder {
    fn new(upstream: SocketAddr) -> Outcome<Self> {
        let keys = tempfile::tempdir()?;
        let text = format!(
            "upstream.url = \"http://{upstream}\"\nstore.url = \"memory:\"\n\
             policy.default = \"public\"\ntokens.keys_dir = \"{}\"\n",
            keys.path().display()
        );
        let config = configuration(text)?;
        let clock = Arc::new(SystemClock::default());
        let (keys, _) = Keys::open(&config.tokens, clock.now(), &SystemRandom)?;
        // Not used for decisions: every route is public.
        let (store, _) = testing::memory(clock.clone());
        let sights = FirstSights::new(Arc::new(store), clock, Arc::new(Events::default()), 0);
        let guard = Guard::new(
            &config.guard,
            Arc::new(Verifier::new(Arc::new(keys), &config.tokens)),
            Arc::new(Liveness::new()),
            Arc::new(sights),
            Arc::new(RouteTable::new(config.policy)?),
            &SystemRandom,
        )?;
        let managed = guard.identity_headers().managed();
        let settings = proxy::Settings {
            managed,
            ..config.proxy
        };
        Ok(Self {
            guard,
            proxy: Proxy::new(&settings)?,
        })
    }

    async fn forward(&self, request: Request<Incoming>) -> Result<Response<Body>, Failure> {
        let via = Via {
            client: Ipv4Addr::LOCALHOST.into(),
            is_shared: false,
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            scheme: Scheme::Http,
            subject: None,
            host: request.headers().get(header::HOST).cloned(),
            request_id: HeaderValue::from_static("0"),
            earlier: Earlier::default(),
        };
        let permit = self.permit(&request)?;
        Ok(self.proxy.forward(permit, request, &via).await?)
    }

    /// Only a guard creates permits; this one admits every request.
    fn permit(&self, request: &Request<Incoming>) -> Result<Permit, Failure> {
        let (method, headers) = (request.method(), request.headers());
        let path = CleanPath::parse(request.uri().path(), &Allowances::default())?;
        match self
            .guard
            .authorize(method, headers, "", &path, Timestamp::default())
        {
            Decision::Allow(permit) => Ok(permit),
            Decision::Deny(_) | Decision::Unseen(_) => Err("a public route was refused".into()),
        }
    }
}

fn configuration(text: String) -> Outcome<Config> {
    let sources = Sources {
        file: Some(("bench".into(), text)),
        env: Vec::new(),
        read: &|path| std::fs::read(path),
        cores: NonZeroUsize::MIN,
    };
    Ok(config::load(&sources).map_err(|problems| problems.to_string())?)
}
