//! Thousands of damaged conversations through the whole of Sidegate, over HTTP/1.1 and HTTP/2, by somebody
//! without a session and by somebody with one. Whatever a client sends: what reaches the application is
//! well-formed, permitted, and says nothing about who is calling but what the session says; what comes
//! back is well-formed; nothing panics, and the next honest request is answered.
//!
//! The conversations are made from seeds; a bad answer is told with its seed, a bad request as it came.
//! `PROPTEST_CASES` makes more of them, as it does for the property tests.

mod answers;
mod dice;
mod frames;
mod judge;
mod requests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::dice::Dice;
use self::judge::{Head, Judge};
use crate::actors::Actor;
use crate::client::{Ask, DEADLINE};
use crate::harness::TestApp;
use crate::scripted::in_front_of;
use crate::spoofing::MANAGED;

/// Conversations of each kind, for one case of the property tests.
const EACH: u64 = 4;

/// How many are held at once.
const AT_ONCE: usize = 16;

/// Who says nothing for so long, and then for as long as an honest request takes, has said everything.
/// Where that is too short, less is seen.
const QUIET: Duration = Duration::from_millis(25);

/// How many conversations of each kind there are.
fn number() -> u64 {
    EACH * u64::from(proptest::test_runner::Config::default().cases)
}

/// Says everything and hears what comes back.
async fn talk(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).await.expect("a connection");
    let mut heard = Vec::new();
    let talking = async {
        // A server may hang up in the middle; what it said before counts.
        drop(stream.write_all(bytes).await);
        loop {
            match timeout(QUIET, stream.read_buf(&mut heard)).await {
                Ok(Ok(1..)) => continue,
                Ok(_) => break,
                Err(_) => Ask::new("GET", "/auth/health").send(to).await,
            };
            // A machine with much to do takes longer for both.
            let Ok(Ok(1..)) = timeout(QUIET, stream.read_buf(&mut heard)).await else {
                break;
            };
        }
        drop(stream.shutdown().await);
        drop(stream.read_to_end(&mut heard).await);
    };
    timeout(DEADLINE, talking).await.expect("an end in time");
    heard
}

/// A name as the most lenient reader takes it.
fn folded(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
        .to_lowercase()
}

/// What a request says about who is calling.
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

/// What must be true of everything that reached the application. `own` is what the caller's session says.
fn assert_honest(heads: &[Head], own: &[(String, String)]) {
    for head in heads {
        let told = identity(head);
        assert!(told.is_empty() || told == own, "{head:?}");
        let path = head.target.split('?').next().unwrap_or_default();
        let path = path.to_lowercase().replace("%2e", ".");
        let is_open = path == "/open" || path.starts_with("/open/");
        assert!(is_open || !told.is_empty(), "not permitted: {head:?}");
        assert!(!path.split('/').any(|part| part == ".."), "{head:?}");
    }
}

/// Holds conversations of one kind, and checks all that was heard on both sides.
async fn converse(
    make: fn(&mut Dice, Option<&str>) -> Vec<u8>,
    judged: fn(&[u8]) -> Result<usize, String>,
) {
    let judge = Judge::start();
    let open = "[[rule]]\npath = \"/open/**\"\naccess = \"public\"\n";
    let closed = in_front_of(judge.address).replace("public", "user");
    let app = TestApp::with(&format!("{closed}{open}")).await;
    let ann = app.user("ann").await;
    let next = Arc::new(AtomicU64::new(0));
    for who in [app.anon(), ann.clone()] {
        let own = own(&app, &judge, &who).await;
        let end = next.load(Ordering::Relaxed) + number();
        let mut talking = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (next, who, to) = (Arc::clone(&next), who.clone(), app.address);
            talking.spawn(async move {
                let mut answers = 0;
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return answers;
                    }
                    let token = Some(who.access.as_str()).filter(|token| !token.is_empty());
                    let heard = talk(to, &make(&mut Dice::new(seed), token)).await;
                    answers +=
                        judged(&heard).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
                }
            });
        }
        let answers: usize = talking.join_all().await.into_iter().sum();
        let read = judge.take();
        assert_eq!(read.faults, Vec::<String>::new());
        assert_honest(&read.heads, &own);
        // Enough was understood for this to mean something.
        let least = usize::try_from(number() / 8).expect("a number");
        assert!(
            answers > least && read.heads.len() > least,
            "{answers} answers, {} requests",
            read.heads.len()
        );
        next.store(end, Ordering::Relaxed);
    }
    own(&app, &judge, &ann).await;
    let page = app.admin_get("/metrics").await.text();
    assert!(page.contains("sidegate_panics_total 0\n"), "{page}");
}

/// What an honest request of theirs tells the application.
async fn own(app: &TestApp, judge: &Judge, who: &Actor) -> Vec<(String, String)> {
    judge.take();
    let is_known = !who.access.is_empty();
    let target = if is_known { "/honest" } else { "/open/honest" };
    let status = who.get(target).await.status;
    assert_ne!(status, 401);
    assert_eq!(app.anon().get("/honest").await.status, 401);
    // What is left of a damaged conversation may still come beside it.
    let heads = judge.take().heads;
    let mut honest = heads.iter().filter(|head| head.target == target);
    let (Some(only), None) = (honest.next(), honest.next()) else {
        panic!("not one request: {heads:?}");
    };
    let told = identity(only);
    assert_eq!(told.is_empty(), !is_known, "{only:?}");
    told
}

#[tokio::test]
async fn s51_no_damaged_request_gets_anything_past_the_guard() {
    converse(requests::conversation, |heard| {
        answers::statuses(heard).map(|all| all.len())
    })
    .await;
}

#[tokio::test]
async fn s51_no_damaged_frames_get_anything_past_the_guard() {
    converse(frames::conversation, |heard| {
        frames::streams(heard).map(|all| all.len())
    })
    .await;
}
