//! Each thing that Sidegate leans on is taken away, one at a time: no protected request passes that
//! should not, what can go on goes on, and what cannot is told so at once.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use serde_json::json;
use sidegate::app::Beginning;
use sidegate::store::identity::Founding;
use sidegate::types::time::ManualClock;

use crate::actors::Actor;
use crate::client::{Ask, Connection};
use crate::harness::{BEGIN, PASSWORD, TestApp};
use crate::scripted::{Held, Refusing, in_front_of};
use crate::upstream::Raw;

/// Every call that must ask or write the store.
async fn writes(app: &TestApp, ann: &Actor) -> Vec<(&'static str, crate::client::Answer)> {
    let change = json!({"current": PASSWORD, "new": "a quite different passphrase"});
    vec![
        ("login", app.anon().try_login("ann", PASSWORD).await),
        (
            "wrong login",
            app.anon().try_login("ann", "not this one").await,
        ),
        (
            "unknown login",
            app.anon().try_login("nobody", "not this one").await,
        ),
        ("refresh", ann.try_refresh().await),
        ("logout", ann.logout().await),
        ("logout all", ann.poke("/auth/logout/all").await),
        (
            "end",
            ann.delete(&format!("/auth/sessions/{}", ann.session)).await,
        ),
        ("password", ann.post("/auth/password", change).await),
    ]
}

#[tokio::test]
async fn s28_a_store_that_cannot_write_refuses_writes_and_changes_nothing() {
    let (app, faults) = TestApp::with_faults("").await;
    let ann = app.user("ann").await;
    let bob = app.user("bob").await;
    assert_eq!(bob.logout().await.status, 204);
    faults.fail_writes(true);
    for (name, answer) in writes(&app, &ann).await {
        assert_eq!(
            answer.verdict(),
            (503, "store_unavailable".to_owned()),
            "{name}"
        );
        assert!(answer.header("retry-after").is_some(), "{name}");
    }
    assert_eq!(ann.get("/x").await.status, 200, "a valid token goes on");
    assert_eq!(
        bob.get("/x").await.code(),
        "session_ended",
        "what ended stays ended"
    );
    assert_eq!(app.anon().get("/x").await.status, 401);
    faults.fail_writes(false);
    assert_eq!(ann.sessions().await.len(), 1, "nothing was changed");
    assert_eq!(ann.try_refresh().await.status, 200);
    assert_eq!(app.anon().try_login("ann", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn s58_a_store_that_cannot_read_refuses_what_has_to_ask_it() {
    let (app, faults) = TestApp::with_faults("").await;
    let ann = app.user("ann").await;
    assert_eq!(ann.get("/x").await.status, 200, "seen before");
    faults.fail_reads(true);
    for (name, answer) in writes(&app, &ann).await {
        assert_eq!(
            answer.verdict(),
            (503, "store_unavailable".to_owned()),
            "{name}"
        );
    }
    for path in ["/auth/me", "/auth/sessions"] {
        assert_eq!(ann.get(path).await.status, 503, "{path}");
    }
    assert_eq!(ann.get("/x").await.status, 200);
    faults.fail_reads(false);
    assert_eq!(ann.get("/auth/me").await.status, 200);
}

#[tokio::test]
async fn s58_a_store_that_hangs_is_given_up_after_its_deadline() {
    // The deadline holds for the honest part as well, which must not miss it.
    let (app, faults) = TestApp::with_faults("[store]\ndeadline = \"15s\"\n").await;
    let ann = app.user("ann").await;
    let bob = app.user("bob").await;
    assert_eq!(bob.logout().await.status, 204);
    faults.stall(true);
    let anon = app.anon();
    let (login, refresh, logout, me) = tokio::join!(
        anon.try_login("ann", PASSWORD),
        ann.try_refresh(),
        ann.logout(),
        ann.get("/auth/me"),
    );
    assert_eq!(login.verdict(), (503, "store_unavailable".to_owned()));
    assert_eq!(refresh.status, 503);
    assert_eq!(
        logout.status, 503,
        "an end that is not certain is not claimed"
    );
    assert_eq!(me.status, 503);
    assert_eq!(bob.get("/x").await.code(), "session_ended");
    assert_eq!(app.anon().get("/x").await.status, 401);
    faults.stall(false);
    // What was asked before may take effect now; a fresh log-in works in any case.
    let ann = app.login("ann").await;
    assert_eq!(ann.get("/x").await.status, 200);
}

#[tokio::test]
async fn a_store_outage_is_told_by_readyz_and_does_not_send_everybody_away() {
    let (app, faults) = TestApp::with_faults("").await;
    faults.fail_writes(true);
    readyz(&app, "degraded").await;
    let answer = app.admin_get("/readyz").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json(),
        json!({"status": "degraded", "reasons": ["store"]})
    );
    assert_eq!(app.admin_get("/livez").await.status, 200);
    faults.fail_writes(false);
    readyz(&app, "ready").await;
}

async fn readyz(app: &TestApp, word: &str) {
    let deadline = tokio::time::Instant::now() + crate::client::DEADLINE;
    loop {
        let answer = app.admin_get("/readyz").await;
        if answer.json()["status"] == word {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{}", answer.text());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_application_that_is_not_there_is_502_in_the_form_the_caller_reads() {
    let nobody = Refusing::new();
    let address = nobody.address;
    let app = TestApp::with(&in_front_of(address)).await;
    let answer = app.anon().get("/x").await;
    assert_eq!(answer.verdict(), (502, "upstream_unreachable".to_owned()));
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    assert!(
        !answer.text().contains(&address.to_string()),
        "the inside stays inside"
    );
    for accept in ["text/html,application/xhtml+xml,*/*;q=0.8", "text/plain"] {
        let answer = app.anon().with_header("Accept", accept).get("/x").await;
        assert_eq!(answer.status, 502);
        assert_eq!(
            answer.header("content-type"),
            Some("text/plain; charset=utf-8")
        );
        assert!(
            answer.text().starts_with("502 Bad Gateway: "),
            "{}",
            answer.text()
        );
    }
    let both = app
        .anon()
        .with_header("Accept", "text/html, application/json")
        .get("/x")
        .await;
    assert_eq!(both.code(), "upstream_unreachable");
    let head = app.anon().send(Ask::new("HEAD", "/x")).await;
    assert_eq!((head.status, head.body.len()), (502, 0));
}

#[tokio::test]
async fn an_application_that_says_nothing_is_504() {
    let upstream = Held::start();
    let settings = in_front_of(upstream.address) + "response_timeout = \"100ms\"\n";
    let app = TestApp::with(&settings).await;
    let mut connection = Connection::open(app.address).await;
    let answer = connection.ask(&Ask::new("GET", "/x")).await;
    assert_eq!(answer.verdict(), (504, "upstream_timeout".to_owned()));
    let answer = connection.ask(&Ask::new("GET", "/auth/health")).await;
    assert_eq!(answer.status, 200, "the client's connection goes on");
}

#[tokio::test]
async fn an_application_that_does_not_speak_http_is_502_and_is_not_asked_twice() {
    for script in [
        &b"<html>hello</html>"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nX-A : 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\n folded\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 99 Odd\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-",
    ] {
        let upstream = Raw::start(vec![script.to_vec()]);
        let app = TestApp::with(&in_front_of(upstream.address)).await;
        let words = String::from_utf8_lossy(script).into_owned();
        let answer = app.anon().poke("/x").await;
        assert_eq!(
            answer.verdict(),
            (502, "upstream_bad_response".to_owned()),
            "{words}"
        );
        assert!(!answer.text().contains("hello"), "{words}");
        assert_eq!(upstream.take_heads().len(), 1, "{words}");
    }
}

#[tokio::test]
async fn s17_bytes_behind_an_answer_never_reach_the_next_caller() {
    let upstream = Raw::start(vec![
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"
            .to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine".to_vec(),
    ]);
    let app = TestApp::with(&(in_front_of(upstream.address) + "[server]\nthreads = 1\n")).await;
    assert_eq!(app.anon().get("/1").await.text(), "ok");
    assert_eq!(app.anon().get("/2").await.text(), "mine");
}

#[tokio::test]
async fn s46_a_place_that_cannot_be_used_stops_the_start_with_words() {
    let clock = Arc::new(ManualClock::new(BEGIN));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("data"), "not a folder").unwrap();
    let refused = TestApp::try_on_disk(folder.path(), "", &clock)
        .await
        .unwrap_err();
    let words = format!("{refused}: {refused:?}");
    assert!(words.contains("data"), "{words}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o500)).unwrap();
    let could_write = std::fs::write(folder.path().join("probe"), "x").is_ok();
    if !could_write {
        let refused = TestApp::try_on_disk(folder.path(), "", &clock).await;
        assert!(refused.is_err(), "a folder that cannot be written");
    }
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
}

#[tokio::test]
async fn s58_keys_that_are_gone_or_damaged_stop_the_start_and_are_not_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let app = TestApp::on_disk(folder.path(), "").await;
    let clock = app.clock.clone();
    app.stop().await;
    let keys = folder.path().join("keys");
    for entry in std::fs::read_dir(&keys).unwrap() {
        let path = entry.unwrap().path();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, b"").unwrap();
        let started = TestApp::try_on_disk(folder.path(), "", &clock).await;
        assert!(
            started.is_err(),
            "started with an emptied {}",
            path.display()
        );
        std::fs::write(&path, whole).unwrap();
    }
    assert!(
        TestApp::try_on_disk(folder.path(), "", &clock)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn s58_keys_that_are_gone_make_old_tokens_worthless() {
    let folder = tempfile::tempdir().unwrap();
    let app = TestApp::on_disk(folder.path(), "").await;
    let ann = app.user("ann").await;
    let clock = app.clock.clone();
    app.stop().await;
    std::fs::remove_dir_all(folder.path().join("keys")).unwrap();
    let refused = TestApp::try_on_disk(folder.path(), "", &clock).await;
    let words = refused.unwrap_err().to_string();
    assert!(words.contains("--new-keys"), "{words}");
    let new_keys = Beginning {
        new_keys: true,
        ..Beginning::default()
    };
    let app = TestApp::try_beginning(folder.path(), new_keys, &clock)
        .await
        .unwrap();
    let ann = ann.at(&app);
    assert_eq!(ann.get("/x").await.status, 401);
    assert_eq!(ann.try_refresh().await.status, 401);
}

#[tokio::test]
async fn e2_a_store_that_is_removed_while_it_is_used_acknowledges_nothing_any_more() {
    for act in ["removed", "moved", "replaced"] {
        let folder = tempfile::tempdir().unwrap();
        let app = TestApp::on_disk(folder.path(), "").await;
        let ann = app.user("ann").await;
        let data = folder.path().join("data");
        match act {
            "removed" => std::fs::remove_dir_all(&data).unwrap(),
            "moved" => std::fs::rename(&data, folder.path().join("elsewhere")).unwrap(),
            _ => {
                std::fs::rename(data.join("db"), data.join("db.old")).unwrap();
                std::fs::copy(data.join("db.old"), data.join("db")).unwrap();
            }
        }
        let refused = ann.try_refresh().await;
        assert_eq!(refused.status, 503, "{act}: {}", refused.text());
        let status = app.anon().try_login("ann", PASSWORD).await.status;
        assert_eq!(status, 503, "{act}: reads do not go on either");
        let deadline = tokio::time::Instant::now() + crate::client::DEADLINE;
        loop {
            let ready = app.admin_get("/readyz").await;
            if ready.status == 503 && ready.text().contains("store lost") {
                break;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{act}: {}",
                ready.text()
            );
        }
    }
}

#[tokio::test]
async fn e2_kept_keys_and_a_lost_store_do_not_start_by_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let app = TestApp::on_disk(folder.path(), "").await;
    app.user("ann").await;
    let clock = app.clock.clone();
    app.stop().await;
    std::fs::remove_dir_all(folder.path().join("data")).unwrap();
    let refused = TestApp::try_on_disk(folder.path(), "", &clock).await;
    let words = refused.unwrap_err().to_string();
    assert!(words.contains("there is no store in"), "{words}");
    for way_out in ["store.url", "sidegate restore", "serve --new-store"] {
        assert!(words.contains(way_out), "{way_out}: {words}");
    }
    let new_store = Beginning {
        founding: Founding::Again,
        ..Beginning::default()
    };
    let app = TestApp::try_beginning(folder.path(), new_store, &clock)
        .await
        .unwrap();
    let status = app.anon().try_login("ann", PASSWORD).await.status;
    assert_eq!(status, 401, "it begins empty");
}

#[tokio::test]
async fn s48_no_jump_of_the_clock_lets_an_old_token_pass() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    app.clock.advance(std::time::Duration::from_secs(3_600));
    assert_eq!(ann.get("/x").await.code(), "token_expired");
    app.clock
        .advance(std::time::Duration::from_secs(40 * 86_400));
    assert_eq!(ann.get("/x").await.status, 401);
    assert_eq!(ann.try_refresh().await.status, 401);
    assert_eq!(app.upstream.count(), 0);
}
