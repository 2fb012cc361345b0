//! The wall clock is set while Sidegate runs, and between two runs: limits, locks and lifetimes follow
//! real time, and no ended session or refused token becomes valid again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sidegate::service::upkeep::Upkeep;
use sidegate::types::time::{Clock as _, ManualReadings, TimeLine};
use tokio::time::{Instant, sleep};

use crate::support::answer::Answer;
use crate::support::client::DEADLINE;
use crate::support::harness::{BEGIN, PASSWORD, TestApp};

const HOUR: i64 = 3_600_000;
const YEAR: i64 = 365 * 24 * HOUR;

/// A machine, and the time of the process that runs on it.
struct Machine {
    readings: ManualReadings,
    time: Arc<TimeLine<ManualReadings>>,
}

impl Machine {
    fn new() -> Self {
        Self::with(ManualReadings::new(BEGIN))
    }

    fn with(readings: ManualReadings) -> Self {
        let time = Arc::new(TimeLine::new(readings.clone()));
        Self { readings, time }
    }

    async fn start(&self, disk: Option<&Path>, extra: &str) -> TestApp {
        TestApp::on_time(self.time.clone(), disk, extra).await
    }

    /// Advances the time; the process compares its clocks each second.
    fn pass(&self, seconds: u64) {
        for _ in 0..seconds {
            self.readings.advance(Duration::from_secs(1));
            self.time.look();
        }
    }

    /// The same machine after the process has exited.
    fn next(self) -> Self {
        Self::with(self.readings)
    }
}

/// Polls readiness until the clock is among its reasons, or is not.
async fn readiness(app: &TestApp, mentions_clock: bool) -> Answer {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = app.admin_get("/readyz").await;
        if answer.text().contains("\"clock\"") == mentions_clock {
            return answer;
        }
        assert!(Instant::now() < deadline, "{}", answer.text());
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn b3_a_year_ahead_for_five_seconds_changes_nothing() {
    let machine = Machine::new();
    let app = machine.start(None, "[limits]\nlogin = \"3/h\"").await;
    let ann = app.user("ann").await;
    for _ in 0..3 {
        assert_eq!(app.anon().try_login("ann", "wrong").await.status, 401);
    }
    assert_eq!(app.anon().try_login("ann", PASSWORD).await.status, 429);
    machine.readings.set_wall(YEAR);
    machine.pass(5);
    assert_eq!(ann.get("/").await.status, 200, "her token is fresh");
    assert_eq!(app.anon().try_login("ann", PASSWORD).await.status, 429);
    let ready = readiness(&app, true).await;
    assert_eq!(ready.status, 200, "{}", ready.text());
    let page = app.admin_get("/metrics").await.text();
    assert!(
        page.contains("sidegate_clock_jumps_total{direction=\"forward\"} 1"),
        "{page}"
    );
    assert!(
        page.contains("sidegate_clock_offset_seconds 31536000.0"),
        "{page}"
    );
    machine.readings.set_wall(-YEAR);
    machine.pass(5);
    readiness(&app, false).await;
    assert_eq!(ann.get("/").await.status, 200);
    assert_eq!(ann.try_refresh().await.status, 200);
    let page = app.admin_get("/metrics").await.text();
    assert!(page.contains("sidegate_clock_jumps_total{direction=\"backward\"} 1"));
    assert!(page.contains("sidegate_clock_offset_seconds 0.0"), "{page}");
}

#[tokio::test]
async fn b3_with_the_clock_set_back_limits_locks_and_tokens_follow_real_time() {
    let machine = Machine::new();
    let text = "[limits]\nlogin = \"30/m\"\n[login]\nmax_failures = 2\nlock_for = \"10m\"\n\
                [tokens]\naccess_ttl = \"5m\"\nleeway = \"0s\"";
    let app = machine.start(None, text).await;
    let ann = app.user("ann").await;
    app.account("bob", &["user"]).await;
    for _ in 0..2 {
        assert_eq!(app.anon().try_login("bob", "wrong").await.status, 401);
    }
    machine.readings.set_wall(-24 * HOUR);
    machine.pass(290);
    assert_eq!(ann.get("/").await.status, 200);
    machine.pass(15);
    assert_eq!(ann.get("/").await.status, 401, "five minutes are over");
    assert_eq!(app.anon().try_login("bob", PASSWORD).await.status, 401);
    machine.pass(300);
    assert_eq!(
        app.anon().try_login("bob", PASSWORD).await.status,
        200,
        "ten minutes are over"
    );
    for _ in 0..40 {
        app.anon().try_login("eve", "wrong").await;
    }
    assert_eq!(app.anon().try_login("eve", "wrong").await.status, 429);
    machine.pass(60);
    assert_eq!(app.anon().try_login("eve", "wrong").await.status, 401);
    readiness(&app, true).await;
}

#[tokio::test]
async fn e3_a_jump_ahead_removes_no_revocation_that_is_still_needed() {
    let disk = tempfile::tempdir().unwrap();
    let machine = Machine::new();
    let app = machine.start(Some(disk.path()), "").await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    assert_eq!(ann.logout().await.status, 204);
    machine.readings.set_wall(2 * HOUR);
    machine.pass(12);
    app.service().sweep(&Upkeep::default()).await;
    machine.readings.set_wall(-2 * HOUR);
    machine.pass(1);
    app.service().sweep(&Upkeep::default()).await;
    app.stop().await;
    let machine = machine.next();
    let app = machine.start(Some(disk.path()), "").await;
    assert_eq!(ann.at(&app).get("/").await.status, 401);
    assert_eq!(ann.at(&app).try_refresh().await.status, 401);
    assert_eq!(bob.at(&app).get("/").await.status, 200, "hers alone");
    app.stop().await;
}

#[tokio::test]
async fn e3_a_start_with_the_clock_ahead_removes_no_revocation_that_is_still_needed() {
    let disk = tempfile::tempdir().unwrap();
    let machine = Machine::new();
    let app = machine.start(Some(disk.path()), "").await;
    let ann = app.user("ann").await;
    assert_eq!(ann.logout().await.status, 204);
    app.stop().await;
    machine.readings.set_wall(2 * HOUR);
    let machine = machine.next();
    let app = machine.start(Some(disk.path()), "").await;
    machine.pass(12);
    app.service().sweep(&Upkeep::default()).await;
    assert_eq!(ann.at(&app).get("/").await.status, 401);
    app.stop().await;
    machine.readings.set_wall(-2 * HOUR);
    let machine = machine.next();
    let app = machine.start(Some(disk.path()), "").await;
    assert_eq!(ann.at(&app).get("/").await.status, 401);
    assert_eq!(ann.at(&app).try_refresh().await.status, 401);
    app.stop().await;
}

#[tokio::test]
async fn e3_an_expired_session_stays_expired_after_a_restart_with_the_clock_set_back() {
    let disk = tempfile::tempdir().unwrap();
    let machine = Machine::new();
    let app = machine.start(Some(disk.path()), "").await;
    let ann = app.user("ann").await;
    machine.pass(8 * 86_400);
    assert_eq!(ann.get("/").await.status, 401);
    assert_eq!(ann.try_refresh().await.status, 401);
    app.stop().await;
    machine.readings.set_wall(-8 * 24 * HOUR);
    let machine = machine.next();
    let app = machine.start(Some(disk.path()), "").await;
    assert_eq!(ann.at(&app).get("/").await.status, 401);
    assert_eq!(ann.at(&app).try_refresh().await.status, 401);
    let again = app.login("ann").await;
    assert_eq!(again.get("/").await.status, 200, "log-ins work");
    let ready = readiness(&app, true).await;
    assert_eq!(ready.status, 200);
    machine.pass(3_600);
    assert_eq!(again.get("/").await.status, 401, "and end in real time");
    app.stop().await;
}

#[tokio::test]
async fn e3_a_lock_does_not_outlive_its_time_when_the_clock_was_set_back_between_two_runs() {
    let disk = tempfile::tempdir().unwrap();
    let text = "[login]\nmax_failures = 2\nlock_for = \"10m\"";
    let machine = Machine::new();
    let app = machine.start(Some(disk.path()), text).await;
    app.account("ann", &["user"]).await;
    for _ in 0..2 {
        assert_eq!(app.anon().try_login("ann", "wrong").await.status, 401);
    }
    app.stop().await;
    machine.readings.set_wall(-24 * HOUR);
    let machine = machine.next();
    let app = machine.start(Some(disk.path()), text).await;
    assert_eq!(app.anon().try_login("ann", PASSWORD).await.status, 401);
    machine.pass(605);
    assert_eq!(app.anon().try_login("ann", PASSWORD).await.status, 200);
    app.stop().await;
}

#[tokio::test]
async fn b3_a_lasting_jump_is_adopted_and_earlier_tokens_are_expired() {
    let machine = Machine::new();
    let app = machine.start(None, "").await;
    let ann = app.user("ann").await;
    machine.readings.set_wall(2 * HOUR);
    machine.pass(30);
    assert_eq!(ann.get("/").await.status, 200);
    machine.pass(1);
    assert_eq!(ann.get("/").await.status, 401);
    assert_eq!(ann.try_refresh().await.status, 200, "the session lives");
    readiness(&app, false).await;
}

#[tokio::test]
async fn s48_no_jump_of_the_clock_makes_an_expired_token_valid() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    app.clock.advance(Duration::from_secs(3_600));
    assert_eq!(ann.get("/x").await.code(), "token_expired");
    app.clock.advance(Duration::from_secs(40 * 86_400));
    assert_eq!(ann.get("/x").await.status, 401);
    assert_eq!(ann.try_refresh().await.status, 401);
    assert_eq!(app.upstream.count(), 0);
}
