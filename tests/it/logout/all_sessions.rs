//! The end of all sessions at once, with thousands of them, and with the real program.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sidegate::control::reply::Reply;
use sidegate::control::request::{Request, SessionsToEnd};
use sidegate::control::wire;
use sidegate::model::session::{Generation, Proof, Session, SessionKey};
use sidegate::model::user::UserKey;
use sidegate::store::settings::{Engine, Settings};
use sidegate::store::{AnyStore, Cap, Lifecycle as _, SessionStore as _, WhenFull};
use sidegate::types::device::Device;
use sidegate::types::ids::{SessionId, TenantId, UserId};
use sidegate::types::random::SeededRandom;
use sidegate::types::time::{Clock as _, SystemClock};
use tokio::task::JoinSet;

use crate::support::client::DEADLINE;
use crate::support::program::{PASSWORD, Program};
use crate::support::wait::released;

/// More than one step of the removal handles.
const MANY: u64 = 4_000;

/// Adds sessions of as many users to the store of a program that does not run.
async fn fill(store: &Path, sessions: u64) {
    let settings = Settings {
        engine: Engine::Sled {
            path: store.to_owned(),
            cache: 16 << 20,
        },
        deadline: DEADLINE,
        revocation_life: Duration::from_secs(930),
        audit_life: Duration::from_secs(3_600),
        lock_wait: Duration::ZERO,
    };
    let opened = AnyStore::open(&settings, Arc::new(SystemClock::default())).expect("a store");
    let opened = Arc::new(opened);
    let mut callers = JoinSet::new();
    for caller in 0..64 {
        let opened = Arc::clone(&opened);
        callers.spawn(async move {
            let random = SeededRandom::new(caller);
            for _ in (caller..sessions).step_by(64) {
                let cap = Cap {
                    max: 50,
                    when_full: WhenFull::EndOldest,
                };
                let made = opened.create(session(&random), cap, None).await;
                made.expect("a session");
            }
        });
    }
    callers.join_all().await;
    opened.close().await.expect("closed");
    released(store).await;
}

fn session(random: &SeededRandom) -> Session {
    let now = SystemClock::default().now();
    Session {
        key: SessionKey {
            owner: UserKey {
                tenant: TenantId::default(),
                user: UserId::generate(now, random),
            },
            id: SessionId::generate(now, random),
        },
        generation: Generation::default(),
        salt: [7; 16],
        rotated_at: now,
        created_at: now,
        last_active_at: now,
        expires_at: now.plus(Duration::from_secs(86_400)),
        idle_expires_at: now.plus(Duration::from_secs(86_400)),
        idle_limit: Duration::from_secs(86_400),
        remembered: false,
        proof: Proof::password(now),
        device_id: None,
        device_label: None,
        device: Device::from_user_agent(""),
        first_address: None,
        last_address: None,
    }
}

#[tokio::test]
async fn thousands_of_sessions_end_at_once_while_log_ins_continue() {
    let program = Program::with_ann();
    fill(&program.home().join("data"), MANY).await;
    let server = program.serve().await;
    let ann = server.anon().login("ann", PASSWORD).await;
    assert_eq!(ann.get("/orders").await.status, 200);
    let listed = program.run(&["sessions", "list", "--limit", "10000", "--json"]);
    let listed = listed.json().as_array().map(|list| list.len() as u64);
    assert_eq!(listed, Some(MANY + 1), "by as many pages as it takes");

    let ran = program.run(&["sessions", "end", "--all", "--json"]);
    assert_eq!(ran.json()["ended"], MANY + 1);
    let first = ran.err.lines().next().unwrap_or_default();
    assert_eq!(
        first,
        format!("all {} sessions are over; removing their records", MANY + 1)
    );
    let over = (401, "session_ended".to_owned());
    assert_eq!(ann.get("/orders").await.refusal(), over);
    assert_eq!(ann.try_refresh().await.status, 401);
    let ann = server.anon().login("ann", PASSWORD).await;
    assert_eq!(ann.get("/orders").await.status, 200);
    assert_eq!(
        program
            .run(&["sessions", "list", "--json"])
            .json()
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    let audit = program.run(&["audit", "list", "--json"]).json().to_string();
    assert!(audit.contains(&format!("all ({})", MANY + 1)), "{audit}");
}

#[tokio::test]
async fn an_interrupted_end_of_all_sessions_survives_a_kill_and_is_completed() {
    let program = Program::with_ann();
    fill(&program.home().join("data"), MANY).await;
    let server = program.serve().await;
    let ann = server.anon().login("ann", PASSWORD).await;
    let socket = program.home().join("data/control.sock");
    let request = Request::SessionsEnd(SessionsToEnd::All);
    let reply = wire::call(&socket, &request, DEADLINE)
        .await
        .expect("a reply");
    assert!(
        matches!(reply, Reply::Ending(all) if !all.complete),
        "{reply:?}"
    );
    // The command was interrupted here, and then the server was killed.
    server.signal("KILL");
    server.ended().await;
    let server = program.serve().await;
    let mut ann = ann;
    ann.to = server.address;
    let over = (401, "session_ended".to_owned());
    assert_eq!(ann.get("/orders").await.refusal(), over);
    assert_eq!(ann.try_refresh().await.status, 401);
    let fresh = server.anon().login("ann", PASSWORD).await;
    // A second run continues the count, and ends sessions that began in between.
    let ran = program.run(&["sessions", "end", "--all", "--json"]);
    assert_eq!(ran.json()["ended"], MANY + 2);
    assert_eq!(fresh.get("/orders").await.status, 401);
    assert_eq!(program.run(&["sessions", "list", "--json"]).out, "[]\n");
}

#[tokio::test]
async fn without_a_server_all_steps_use_one_opened_store() {
    let program = Program::with_ann();
    fill(&program.home().join("data"), MANY).await;
    let ran = program.run(&["sessions", "end", "--all"]);
    assert_eq!(
        (ran.code, ran.out),
        (Some(0), format!("{MANY} sessions ended\n"))
    );
    assert_eq!(program.run(&["sessions", "list", "--json"]).out, "[]\n");
}
