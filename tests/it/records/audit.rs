//! The audit files: records moved from older stores, aggregated refreshes, and detection of altered
//! lines.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use sidegate::audit::{self, AuditLog, Part, Query};
use sidegate::model::audit::{Actor, AuditAction, AuditRecord};
use sidegate::service::upkeep::Upkeep;
use sidegate::store::settings::{self, Engine};
use sidegate::store::testing;
use sidegate::store::{AnyStore, AuditStore as _, Lifecycle as _};
use sidegate::types::time::{Clock, ManualClock};
use tokio::time::{Instant, sleep};

use crate::support::client::DEADLINE;
use crate::support::harness::{BEGIN, TestApp};
use crate::support::program::Program;
use crate::support::wait::{released, until};

/// A store with 645 audit records and its keys, made by the last version that kept records in the store.
const OLD_STORE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/it/records/golden/store-with-audit.tar.gz"
);
const OLD_RECORDS: usize = 645;

/// Puts the old store into the directory of the program.
fn unpack(program: &Program) {
    let unpacked = Command::new("tar")
        .args(["-xzf", OLD_STORE, "-C"])
        .arg(program.home())
        .status();
    assert!(unpacked.expect("tar").success());
    // The time advances beyond the retention.
    program.configure("[audit]\nkeep = \"3650d\"");
}

/// All records of a list, without those made after the old store.
fn listed(program: &Program) -> Vec<serde_json::Value> {
    let listed = program.run(&["audit", "list", "--json", "--limit", "10000"]);
    let records = listed.json();
    let records = records.as_array().expect("records").clone();
    assert_eq!(listed.err, "", "no faults");
    records
}

#[tokio::test]
async fn records_of_an_older_store_move_to_files_and_none_is_lost_or_duplicated() {
    let program = Program::new();
    unpack(&program);
    let before = listed(&program);
    assert_eq!(before.len(), OLD_RECORDS);
    // It is killed several times; the next start continues.
    for _ in 0..4 {
        let server = program.serve().await;
        server.signal("KILL");
        server.ended().await;
    }
    let server = program.serve().await;
    let carried = || {
        let files = fs::read_dir(program.home().join("data/audit")).ok()?;
        let mut names = files.flatten().map(|file| file.file_name());
        let is_carried = names.any(|name| name.to_string_lossy().starts_with("carried-"));
        is_carried.then_some(())
    };
    until(carried).await;
    let records = listed(&program);
    assert!(records == before, "{} records", records.len());
    server.signal("TERM");
    assert!(server.ended().await.success());
    // The store contains none any more, or they would be listed twice.
    let after = listed(&program);
    assert!(after == before, "{} records", after.len());
    let checked = program.run(&["audit", "verify", "--json"]).json();
    assert_eq!(checked["faultCount"], 0, "{checked}");
}

fn record(number: usize) -> AuditRecord {
    AuditRecord {
        at: BEGIN.minus(Duration::from_secs(3_600)),
        action: AuditAction::Login,
        outcome: format!("old {number}"),
        tenant: "default".parse().unwrap(),
        user: None,
        session: None,
        actor: Actor::Caller,
        address: None,
        request_id: None,
        count: None,
    }
}

/// The state after a kill: 1,200 records in the store, of which 500 are in the files as well.
async fn leave_half_moved(data: &Path, clock: &Arc<ManualClock>) {
    let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(clock);
    let settings = settings::Settings {
        engine: Engine::Sled {
            path: data.to_owned(),
            cache: 16 << 20,
        },
        deadline: DEADLINE,
        revocation_life: Duration::from_secs(930),
        audit_life: Duration::from_secs(1 << 30),
        lock_wait: Duration::ZERO,
    };
    let store = AnyStore::open(&settings, Arc::clone(&clock)).expect("a store");
    for page in 0..3 {
        let records = (page * 400..(page + 1) * 400).map(record).collect();
        testing::append_audit(&store, records).await.unwrap();
    }
    let settings = audit::Settings {
        dir: Some(data.join("audit")),
        keep: Duration::from_secs(1 << 30),
        max_size: 1 << 30,
        refreshes: false,
    };
    let log = AuditLog::open(&settings, clock).expect("audit files");
    let page = store.old_audit(500).await.unwrap();
    assert!(log.carry(page).await.unwrap());
    log.close();
    store.close().await.expect("closed");
    drop(store);
    released(data).await;
}

#[tokio::test]
async fn moving_records_continues_where_a_killed_process_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let app = TestApp::on_disk(folder.path(), "").await;
    let clock = Arc::clone(&app.clock);
    app.stop().await;
    leave_half_moved(&folder.path().join("data"), &clock).await;
    let app = TestApp::try_on_disk(folder.path(), "", &clock).await;
    let app = app.expect("an app");
    let service = app.service();
    let store = service.store();
    let outcomes = || async {
        let query = Query {
            limit: 10_000,
            ..Query::default()
        };
        let found = service.operator_audit_find(query).await.unwrap();
        assert_eq!(found.faults, Vec::new());
        let mut outcomes: Vec<String> = found.records.into_iter().map(|r| r.outcome).collect();
        outcomes.sort();
        outcomes
    };
    // The start continues without a command.
    let deadline = Instant::now() + DEADLINE;
    while !store.old_audit(500).await.unwrap().is_empty() {
        assert!(Instant::now() < deadline, "records stay in the store");
        sleep(Duration::from_millis(5)).await;
    }
    let mut wanted: Vec<String> = (0..1_200).map(|number| format!("old {number}")).collect();
    wanted.sort();
    assert_eq!(outcomes().await, wanted);
    service.carry_over_audit().await;
    assert_eq!(outcomes().await, wanted);
    app.stop().await;
}

#[tokio::test]
async fn refreshes_are_aggregated_and_reuse_has_its_own_record() {
    let app = TestApp::start().await;
    let mut ann = app.user("ann").await;
    let first = ann.clone();
    app.service().sweep(&Upkeep::default()).await;
    for _ in 0..7 {
        ann.refresh().await;
        app.clock.advance(Duration::from_secs(60));
    }
    let refreshes = |all: &[AuditRecord]| -> Vec<AuditRecord> {
        let refreshes = all.iter().filter(|r| r.action == AuditAction::Refresh);
        refreshes.cloned().collect()
    };
    let records = app.audit(|all| !all.is_empty()).await;
    assert_eq!(refreshes(&records), Vec::new());
    app.clock.advance(Duration::from_secs(3_600));
    app.service().sweep(&Upkeep::default()).await;
    let records = app.audit(|all| !refreshes(all).is_empty()).await;
    let [summary] = refreshes(&records).try_into().expect("one summary");
    assert_eq!(
        (summary.outcome.as_str(), summary.count),
        ("summary", Some(7))
    );
    assert_eq!(first.try_refresh().await.status, 401);
    app.audit(|all| all.iter().any(|r| r.action == AuditAction::Reuse))
        .await;
    app.stop().await;

    let app = TestApp::with("[audit]\nrefreshes = true").await;
    let mut ann = app.user("ann").await;
    ann.refresh().await;
    let records = app.audit(|all| !refreshes(all).is_empty()).await;
    assert_eq!(refreshes(&records)[0].outcome, "rotated");
    app.stop().await;
}

#[tokio::test]
async fn an_acknowledged_action_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let app = TestApp::on_disk(folder.path(), "").await;
    app.account("ann", &["user"]).await;
    for round in 1..=20 {
        let answer = app.anon().try_login("ann", "a wrong guess").await;
        assert_eq!(answer.status, 401);
        let query = Query {
            limit: 1_000,
            ..Query::default()
        };
        let found = app.service().audit_log().find(Part::Live, &query).unwrap();
        let failures = found
            .records
            .iter()
            .filter(|r| r.outcome == "wrong_password");
        assert!(failures.count() >= round.min(7), "{:?}", found.records);
    }
    app.stop().await;
}

#[tokio::test]
async fn the_command_line_filters_records_and_names_altered_lines() {
    let program = Program::with_ann();
    program.done(&["users", "set-roles", "ann", "editor"]);
    program.done(&["users", "disable", "ann"]);
    let server = program.serve().await;
    let list = |more: &[&str]| {
        let args = [&["audit", "list", "--json"], more].concat();
        let records = program.run(&args).json();
        let records = records.as_array().expect("records").clone();
        let action = |r: &serde_json::Value| r["action"].as_str().unwrap().to_owned();
        records.iter().map(action).collect::<Vec<_>>()
    };
    let all = ["account_disable", "roles_change", "sign_up"];
    assert_eq!(list(&[]), all);
    assert_eq!(list(&["--user", "ann", "--since", "1h"]), all);
    assert_eq!(list(&["--type", "roles_change"]), ["roles_change"]);
    assert_eq!(list(&["--since", "2099-01-01"]), Vec::<String>::new());
    assert_eq!(list(&["--limit", "1"]), ["account_disable"]);
    let wrong = program.run(&["audit", "list", "--type", "logn"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(wrong.err.contains("session_end"), "{wrong:?}");
    server.signal("TERM");
    assert!(server.ended().await.success());

    assert_eq!(list(&[]), all, "without a server, too");
    let good = program.run(&["audit", "verify"]);
    assert_eq!(good.code, Some(0), "{good:?}");
    let file = program
        .home()
        .join("data/audit/audit-00000000000000000001.log");
    let text = fs::read_to_string(&file).expect("an audit file");
    let mut lines: Vec<&str> = text.lines().collect();
    lines.remove(1);
    fs::write(&file, lines.join("\n") + "\n").unwrap();
    let bad = program.run(&["audit", "verify"]);
    assert_eq!(bad.code, Some(1), "{bad:?}");
    assert!(bad.out.contains("line 2: record 2 is missing"), "{bad:?}");
    let listed = program.run(&["audit", "list"]);
    assert_eq!(listed.code, Some(0), "{listed:?}");
    assert!(listed.err.contains("record 2 is missing"), "{listed:?}");
}

#[tokio::test]
async fn audit_files_stay_within_their_bound_and_early_deletions_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let app = TestApp::on_disk(folder.path(), "[audit]\nmax_size = \"1MiB\"").await;
    let service = app.service();
    for number in 0..16_000 {
        assert!(service.audit_log().record(record(number)));
        if number % 1_000 == 0 {
            service.audit_settled().await;
        }
    }
    service.audit_settled().await;
    let metrics = app.admin_get("/metrics").await.text();
    let number = |name: &str| -> u64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.expect(name).trim().parse().expect("a number")
    };
    let bytes = number("sidegate_audit_bytes ");
    assert!(bytes > 500_000 && bytes <= 1 << 20, "{bytes}");
    assert!(number("sidegate_audit_removed_early_total ") > 1_000);
    assert_eq!(number("sidegate_audit_records_total "), 16_000);
    assert_eq!(number("sidegate_audit_gaps "), 0);
    assert_eq!(
        number("sidegate_log_lines_dropped_total{log=\"audit\"} "),
        0
    );
    app.stop().await;
}
