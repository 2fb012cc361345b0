//! The store fails: writes are refused and change nothing, and no request passes that depends on a read.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use serde_json::json;
use sidegate::process::Beginning;
use sidegate::store::identity::Founding;
use sidegate::types::time::ManualClock;

use crate::support::actors::Actor;
use crate::support::harness::{BEGIN, PASSWORD, TestApp};

/// Every call that must read or write the store.
async fn writes(app: &TestApp, ann: &Actor) -> Vec<(&'static str, crate::support::answer::Answer)> {
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
        ("logout all", ann.post_empty("/auth/logout/all").await),
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
            answer.refusal(),
            (503, "store_unavailable".to_owned()),
            "{name}"
        );
        assert!(answer.header("retry-after").is_some(), "{name}");
    }
    assert_eq!(
        ann.get("/x").await.status,
        200,
        "a cached token is accepted"
    );
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
async fn s58_requests_that_need_a_read_are_refused_when_the_store_cannot_read() {
    let (app, faults) = TestApp::with_faults("").await;
    let ann = app.user("ann").await;
    assert_eq!(ann.get("/x").await.status, 200, "seen before");
    faults.fail_reads(true);
    for (name, answer) in writes(&app, &ann).await {
        assert_eq!(
            answer.refusal(),
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
async fn s58_a_store_that_hangs_fails_at_its_deadline() {
    // The deadline also applies to the calls that must succeed.
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
    assert_eq!(login.refusal(), (503, "store_unavailable".to_owned()));
    assert_eq!(refresh.status, 503);
    assert_eq!(
        logout.status, 503,
        "an end that is not certain is not claimed"
    );
    assert_eq!(me.status, 503);
    assert_eq!(bob.get("/x").await.code(), "session_ended");
    assert_eq!(app.anon().get("/x").await.status, 401);
    faults.stall(false);
    // A pending write may take effect now. A new log-in works in any case.
    let ann = app.login("ann").await;
    assert_eq!(ann.get("/x").await.status, 200);
}

#[tokio::test]
async fn a_store_outage_shows_in_readyz_and_cached_sessions_are_still_served() {
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
    let deadline = tokio::time::Instant::now() + crate::support::client::DEADLINE;
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
async fn s46_an_unusable_directory_stops_the_start_with_a_message() {
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
async fn e2_a_store_that_is_removed_in_use_acknowledges_no_further_write() {
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
        let deadline = tokio::time::Instant::now() + crate::support::client::DEADLINE;
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
async fn e2_a_start_with_keys_and_without_their_store_is_refused() {
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
