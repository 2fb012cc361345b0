//! Does a dialect need more than its own file? The dialect here has its own routes and shapes of refusals.

use std::num::NonZeroUsize;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};

use super::*;
use crate::api::dialect::{Refused, Route};
use crate::api::problem::{Code, Extra, Problem};
use crate::config::{self, Sources};
use crate::gateway::answer::{Refusal, ReplyFormat, problem, respond};
use crate::guard::{Denial, Guard};
use crate::process::Surroundings;
use crate::process::start::shared::Shared;
use crate::service::Caller;
use crate::service::activity::Activity;
use crate::tokens::verify::Verifier;
use crate::types::random::SeededRandom;

/// A dialect whose responses are in upper case.
#[derive(Debug)]
struct Upper;

impl Dialect for Upper {
    fn routes(&self) -> &'static [Route] {
        &[
            Route {
                method: "POST",
                path: "/echo",
                handler: |call| {
                    Box::pin(async move {
                        let text = String::from_utf8_lossy(&call.body).to_uppercase();
                        Ok(Response::new(Full::new(Bytes::from(text))))
                    })
                },
            },
            Route {
                method: "GET",
                path: "/items/{id}",
                handler: |call| Box::pin(async move { Ok(whole(call.path)) }),
            },
            Route {
                method: "GET",
                path: "/ask",
                handler: |_| Box::pin(async { Err(Denial::missing().into()) }),
            },
        ]
    }

    fn check_path(&self) -> Option<&'static str> {
        Some("/ask")
    }

    fn refuse(&self, refused: &Refused<'_>) -> Answer {
        let scope = refused.scope;
        let code = refused.problem.code.as_str().to_uppercase();
        let mut answer = whole(format!("{scope:?} {code}"));
        *answer.status_mut() = StatusCode::CREATED;
        answer
    }
}

fn whole(text: String) -> Answer {
    Response::new(Full::new(Bytes::from(text)))
}

/// An API whose only mount, `/auth`, has the dialect above.
struct Site {
    api: Api,
    guard: Arc<Guard>,
    activity: Activity,
    _home: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let keys = home.path().join("keys");
        let text = format!(
            "[upstream]\nurl = \"http://127.0.0.1:1\"\n[store]\nurl = \"memory:\"\n\
             [tokens]\nkeys_dir = \"{}\"\n[policy]\ndefault = \"user\"\n",
            keys.display()
        );
        let sources = Sources {
            file: Some((home.path().join("config.toml"), text)),
            env: Vec::new(),
            read: &|path| std::fs::read(path),
            cores: NonZeroUsize::MIN,
        };
        let config = config::load(&sources).unwrap();
        let shared = Shared::build(config, Surroundings::real()).unwrap();
        let service = shared.service.load_full();
        let config = &shared.config;
        let verifier = Verifier::new(Arc::clone(&shared.keys), &config.tokens);
        let guard = Guard::new(
            &config.guard,
            Arc::new(verifier),
            Arc::clone(service.liveness()),
            Arc::clone(service.first_sights()),
            Arc::clone(&shared.rules),
            &SeededRandom::new(1),
        );
        Self {
            guard: Arc::new(guard.unwrap()),
            activity: shared.activity,
            api: Api::new(service, shared.keys, config.api.clone(), |_| &Upper),
            _home: home,
        }
    }

    /// The status and body of the response to a call of the mount.
    async fn call(&self, method: Method, path: &str, body: &'static str) -> (u16, String) {
        let (mounted, below) = self.api.mount(path).unwrap();
        let call = Call {
            state: Arc::clone(self.api.state()),
            guard: Arc::clone(&self.guard),
            mount: Arc::clone(&mounted.mount),
            method,
            path: below.to_owned(),
            query: None,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            caller: Caller::default(),
            origin: "http://app".parse().unwrap(),
            activity: self.activity.clone(),
        };
        match dispatch::answer(mounted.dialect, call, Full::from(body)).await {
            Ok(answer) => (answer.status().as_u16(), text(answer).await),
            Err(error) => self.refused(path, error.into()).await,
        }
    }

    /// The status and body of the response to a refused request.
    async fn refused(&self, path: &str, refusal: Refusal) -> (u16, String) {
        let problem = problem(&refusal);
        let (dialect, scope) = self.api.dialect_of(path);
        let scope = match refusal {
            Refusal::Check(_) => Scope::Check,
            _ => scope,
        };
        let id = HeaderValue::from_static("r1");
        let answer = respond(&problem, &ReplyFormat::default(), dialect, scope, &id);
        assert_eq!(answer.headers()["x-request-id"], "r1");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        (answer.status().as_u16(), text(answer).await)
    }
}

async fn text(answer: Answer) -> String {
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_dialect_has_its_own_routes() {
    let site = Site::new();
    let call = |method, path, body| site.call(method, path, body);
    let echo = call(Method::POST, "/auth/echo", "hello").await;
    assert_eq!(echo, (200, "HELLO".to_owned()));
    let item = call(Method::HEAD, "/auth/items/7", "").await;
    assert_eq!(item, (200, "/items/7".to_owned()));
    let options = call(Method::OPTIONS, "/auth/items/7", "").await;
    assert_eq!(options, (204, String::new()));
    // A route of the native dialect.
    let login = call(Method::POST, "/auth/login", "{}").await;
    assert_eq!(login, (201, "Mount NOT_FOUND".to_owned()));
    assert!(CheckRoute::of(site.api.mount("/auth").unwrap().0, "/verify").is_none());
}

#[tokio::test]
async fn a_dialect_gives_the_refusals_of_its_mount_their_shape() {
    let site = Site::new();
    let wrong = site.call(Method::GET, "/auth/echo", "").await;
    assert_eq!(wrong, (201, "Mount METHOD_NOT_ALLOWED".to_owned()));
    let large = "x".repeat(1 << 20).leak();
    let large = site.call(Method::POST, "/auth/echo", large).await;
    assert_eq!(large, (201, "Mount BODY_TOO_LARGE".to_owned()));
}

#[tokio::test]
async fn a_dialect_gives_the_refusals_of_the_guard_their_shape() {
    let site = Site::new();
    let denied = || Refusal::Denied(Denial::missing());
    let forwarded = site.refused("/orders", denied()).await;
    assert_eq!(forwarded, (201, "Application MISSING_TOKEN".to_owned()));
    // A gateway takes a success for a permission, so the status of a check is not the dialect's.
    let asked = Refusal::Check(Box::new(denied()));
    let check = site.refused("/orders", asked).await;
    assert_eq!(check, (401, "Check MISSING_TOKEN".to_owned()));
}

/// The question of a gateway that is not trusted is about its own request, but it also takes a success for a
/// permission.
#[tokio::test]
async fn no_dialect_turns_a_refusal_of_the_check_route_into_a_success() {
    let site = Site::new();
    let call = |method, path| site.call(method, path, "");
    let refused = call(Method::GET, "/auth/ask").await;
    assert_eq!(refused, (401, "Check MISSING_TOKEN".to_owned()));
    let options = call(Method::OPTIONS, "/auth/ask").await;
    assert_eq!(options, (405, "Check METHOD_NOT_ALLOWED".to_owned()));
    let below = call(Method::GET, "/auth/ask/orders").await;
    assert_eq!(below, (404, "Check NOT_FOUND".to_owned()));
    let beside = call(Method::GET, "/auth/asks").await;
    assert_eq!(beside, (201, "Mount NOT_FOUND".to_owned()));
}

#[tokio::test]
async fn the_body_of_a_get_is_not_read() {
    let site = Site::new();
    let large = "x".repeat(1 << 20).leak();
    let item = site.call(Method::GET, "/auth/items/7", large).await;
    assert_eq!(item, (200, "/items/7".to_owned()));
}

#[test]
fn a_dialect_cannot_omit_the_headers_of_a_refusal() {
    let problem = Problem::new(400, Code::BadRequest, "no").with(Extra::Close);
    let format = ReplyFormat::default();
    let id = HeaderValue::from_static("r1");
    let answer = respond(&problem, &format, &Upper, Scope::Mount, &id);
    assert_eq!(answer.headers()["connection"], "close");
}
