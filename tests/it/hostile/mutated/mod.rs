//! Thousands of damaged conversations over HTTP/1.1 and HTTP/2, with and without a session. For any
//! input, requests that reach the application are well-formed, permitted, and carry only the identity of
//! the session; answers are well-formed; nothing panics, and the next valid request is answered.
//!
//! Conversations are generated from seeds. A failure prints its seed, or the request as it was received.
//! `PROPTEST_CASES` generates more, as for the property tests.

mod answers;
mod frames;
mod requests;
mod strict_app;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::strict_app::{Head, StrictApp};
use crate::support::actors::Actor;
use crate::support::client::{DEADLINE, TestRequest};
use crate::support::dice::Dice;
use crate::support::harness::TestApp;
use crate::support::scripted::public_upstream;
use crate::support::spellings::MANAGED;

/// Conversations of each kind, for one case of the property tests.
const EACH: u64 = 4;

/// The number of parallel conversations.
const AT_ONCE: usize = 16;

/// After this silence, and the time of one valid request, the server is assumed to be finished. If that
/// is too short, the test checks less.
const QUIET: Duration = Duration::from_millis(25);

/// The number of conversations of each kind.
fn number() -> u64 {
    EACH * u64::from(proptest::test_runner::Config::default().cases)
}

/// Sends everything and returns the received bytes.
async fn client(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).await.expect("a connection");
    let mut received = Vec::new();
    let talking = async {
        // The server may close the connection at any time; the bytes before that count.
        drop(stream.write_all(bytes).await);
        loop {
            match timeout(QUIET, stream.read_buf(&mut received)).await {
                Ok(Ok(1..)) => continue,
                Ok(_) => break,
                Err(_) => TestRequest::new("GET", "/auth/health").send(to).await,
            };
            // On a busy machine both take longer.
            let Ok(Ok(1..)) = timeout(QUIET, stream.read_buf(&mut received)).await else {
                break;
            };
        }
        drop(stream.shutdown().await);
        drop(stream.read_to_end(&mut received).await);
    };
    timeout(DEADLINE, talking).await.expect("an end in time");
    received
}

/// A header name as the most lenient parser reads it.
fn folded(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
        .to_lowercase()
}

/// The identity headers of a request.
fn identity(head: &Head) -> Vec<(String, String)> {
    let is_managed = |name: &String| MANAGED.iter().any(|known| folded(known) == *name);
    let headers = head.headers.iter();
    let mut all: Vec<_> = headers
        .map(|(name, value)| (folded(name), value.clone()))
        .filter(|(name, _)| is_managed(name))
        .collect();
    all.sort();
    all
}

/// Asserts the invariants of every request that reached the application. `own` is the identity of the
/// session.
fn assert_honest(heads: &[Head], own: &[(String, String)]) {
    for head in heads {
        let received = identity(head);
        assert!(received.is_empty() || received == own, "{head:?}");
        let path = head.target.split('?').next().unwrap_or_default();
        let path = path.to_lowercase().replace("%2e", ".");
        let is_open = path == "/open" || path.starts_with("/open/");
        assert!(is_open || !received.is_empty(), "not permitted: {head:?}");
        assert!(!path.split('/').any(|part| part == ".."), "{head:?}");
    }
}

/// Runs conversations of one kind, and checks the bytes received on both sides.
async fn converse(
    make: fn(&mut Dice, Option<&str>) -> Vec<u8>,
    judged: fn(&[u8]) -> Result<usize, String>,
) {
    let application = StrictApp::start();
    let open = "[[rule]]\npath = \"/open/**\"\naccess = \"public\"\n";
    let closed = public_upstream(application.address).replace("public", "user");
    let app = TestApp::with(&format!("{closed}{open}")).await;
    let ann = app.user("ann").await;
    let next = Arc::new(AtomicU64::new(0));
    for actor in [app.anon(), ann.clone()] {
        let own = own(&app, &application, &actor).await;
        let end = next.load(Ordering::Relaxed) + number();
        let mut talking = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (next, actor, to) = (Arc::clone(&next), actor.clone(), app.address);
            talking.spawn(async move {
                let mut answers = 0;
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return answers;
                    }
                    let token = Some(actor.access.as_str()).filter(|token| !token.is_empty());
                    let received = client(to, &make(&mut Dice::new(seed), token)).await;
                    answers +=
                        judged(&received).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
                }
            });
        }
        let answers: usize = talking.join_all().await.into_iter().sum();
        let read = application.take();
        assert_eq!(read.faults, Vec::<String>::new());
        assert_honest(&read.heads, &own);
        // Enough requests were valid for the test to be meaningful.
        let least = usize::try_from(number() / 8).expect("a number");
        assert!(
            answers > least && read.heads.len() > least,
            "{answers} answers, {} requests",
            read.heads.len()
        );
        next.store(end, Ordering::Relaxed);
    }
    own(&app, &application, &ann).await;
    let page = app.admin_get("/metrics").await.text();
    assert!(page.contains("sidegate_panics_total 0\n"), "{page}");
}

/// The identity that a valid request carries to the application.
async fn own(app: &TestApp, application: &StrictApp, actor: &Actor) -> Vec<(String, String)> {
    application.take();
    let is_known = !actor.access.is_empty();
    let target = if is_known { "/honest" } else { "/open/honest" };
    let status = actor.get(target).await.status;
    assert_ne!(status, 401);
    assert_eq!(app.anon().get("/honest").await.status, 401);
    // Requests of an earlier damaged conversation may still arrive.
    let heads = application.take().heads;
    let mut valid = heads.iter().filter(|head| head.target == target);
    let (Some(only), None) = (valid.next(), valid.next()) else {
        panic!("not one request: {heads:?}");
    };
    let received = identity(only);
    assert_eq!(received.is_empty(), !is_known, "{only:?}");
    received
}

#[tokio::test]
async fn s51_no_damaged_request_gets_anything_past_the_guard() {
    converse(requests::conversation, |received| {
        answers::statuses(received).map(|all| all.len())
    })
    .await;
}

#[tokio::test]
async fn s51_no_damaged_frames_get_anything_past_the_guard() {
    converse(frames::conversation, |received| {
        frames::streams(received).map(|all| all.len())
    })
    .await;
}
