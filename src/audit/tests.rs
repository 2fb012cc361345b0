//! The audit log with real files: bounds, restarts, damage, a disk that refuses writes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::audit::read::Fault;
use crate::model::audit::{Actor, AuditAction};
use crate::model::user::UserKey;
use crate::types::ids::UserId;
use crate::types::time::{ManualClock, Timestamp};

const BEGIN: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const DAY: Duration = Duration::from_secs(86_400);

/// A log in a directory of its own.
struct Subject {
    home: tempfile::TempDir,
    clock: Arc<ManualClock>,
    settings: Settings,
}

impl Subject {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self {
            settings: Settings {
                dir: Some(home.path().join("audit")),
                keep: DAY * 90,
                max_size: 1 << 20,
                refreshes: false,
            },
            clock: Arc::new(ManualClock::new(BEGIN)),
            home,
        }
    }

    fn open(&self) -> AuditLog {
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&self.clock);
        // So long that a busy machine does not decide the outcome.
        AuditLog::with_patience(&self.settings, clock, Duration::from_secs(60)).unwrap()
    }

    fn directory(&self) -> PathBuf {
        self.home.path().join("audit")
    }

    fn record(&self, outcome: &str) -> AuditRecord {
        record(self.clock.now(), outcome)
    }

    /// A process that writes these and ends.
    fn write(&self, outcomes: impl IntoIterator<Item = String>) {
        let log = self.open();
        for outcome in outcomes {
            assert!(log.record(self.record(&outcome)));
        }
        log.close();
    }

    /// The series' files, oldest first.
    fn files(&self, series: &str) -> Vec<PathBuf> {
        let files = series::files_of(&self.directory(), series).unwrap();
        files.into_iter().map(|(path, _, _)| path).collect()
    }

    fn check(&self) -> Checked {
        read::check(&self.directory()).unwrap()
    }

    fn faults(&self) -> Vec<String> {
        let words = |fault: &Fault| {
            let words = fault.to_string();
            let name = fault.file.file_name().unwrap().to_string_lossy();
            words.replace(&fault.file.display().to_string(), &name)
        };
        self.check().faults.iter().map(words).collect()
    }

    fn newest(&self, limit: usize) -> Vec<String> {
        let query = Query {
            limit,
            ..Query::default()
        };
        let found = read::find(&self.directory(), Part::Live, &query).unwrap();
        found.records.into_iter().map(|r| r.outcome).collect()
    }
}

fn record(at: Timestamp, outcome: &str) -> AuditRecord {
    AuditRecord {
        at,
        action: AuditAction::Login,
        outcome: outcome.to_owned(),
        tenant: "default".parse().unwrap(),
        user: None,
        session: None,
        actor: Actor::Caller,
        address: None,
        request_id: None,
        count: None,
    }
}

fn numbered(count: usize) -> impl Iterator<Item = String> {
    (1..=count).map(|number| format!("act {number}"))
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

#[test]
fn records_are_read_newest_first_across_restarts_and_files() {
    let subject = Subject::new();
    subject.write(numbered(1_000));
    subject.write((1_001..=2_000).map(|number| format!("act {number}")));
    assert!(subject.files("audit").len() > 3);
    assert_eq!(subject.newest(3), ["act 2000", "act 1999", "act 1998"]);
    assert_eq!(subject.newest(9_999).len(), 2_000);
    let checked = subject.check();
    assert_eq!((checked.records, checked.fault_count), (2_000, 0));
    for path in subject.files("audit") {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let mode = fs::metadata(subject.directory()).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o700);
}

#[test]
fn a_line_is_written_before_its_action_is_acknowledged() {
    let subject = Subject::new();
    let log = subject.open();
    log.record(subject.record("answered"));
    run(log.settled());
    assert_eq!(subject.newest(9), ["answered"]);
    // As after a `kill -9`: nothing is closed.
    assert_eq!(subject.check().fault_count, 0);
    log.close();
}

#[test]
fn records_are_found_by_user_type_and_time() {
    let subject = Subject::new();
    let log = subject.open();
    let user = |byte| UserKey {
        tenant: "default".parse().unwrap(),
        user: UserId::from_bytes([byte; 16]),
    };
    for round in 0..20u8 {
        let mut record = subject.record(&format!("round {round}"));
        record.user = Some(user(round % 2).user);
        if round >= 10 {
            record.action = AuditAction::Reuse;
        }
        log.record(record);
        subject.clock.advance(DAY);
    }
    run(log.settled());
    let outcomes = |query: Query| -> Vec<String> {
        let found = log.find(Part::Live, &query).unwrap();
        assert_eq!(found.faults, Vec::new());
        found.records.into_iter().map(|r| r.outcome).collect()
    };
    let all = Query {
        limit: 100,
        ..Query::default()
    };
    let odd = Query {
        user: Some(user(1)),
        limit: 3,
        ..Query::default()
    };
    assert_eq!(outcomes(odd.clone()), ["round 19", "round 17", "round 15"]);
    let reused = Query {
        action: Some(AuditAction::Reuse),
        ..all.clone()
    };
    assert_eq!(outcomes(reused).len(), 10);
    let lately = Query {
        since: Some(subject.clock.now().minus(DAY * 5)),
        ..all.clone()
    };
    assert_eq!(outcomes(lately).len(), 5);
    let unknown = Query {
        user: Some(user(9)),
        ..all
    };
    assert_eq!(outcomes(unknown), Vec::<String>::new());
    log.close();
}

#[test]
fn the_oldest_files_are_deleted_above_the_size_limit_and_counted() {
    let subject = Subject::new();
    let log = subject.open();
    for outcome in numbered(12_000) {
        while !log.record(subject.record(&outcome)) {
            run(log.settled());
        }
    }
    run(log.settled());
    log.close();
    let checked = subject.check();
    assert!(checked.bytes <= 1 << 20, "{}", checked.bytes);
    assert!(checked.bytes > 800_000, "{}", checked.bytes);
    assert_eq!(checked.fault_count, 0, "{:?}", checked.faults);
    assert_eq!(subject.newest(1), ["act 12000"]);
    let removed = log.stats().removed_early.load(Ordering::Relaxed);
    assert_eq!(
        removed + checked.records,
        log.stats().written.load(Ordering::Relaxed)
    );
}

#[test]
fn files_older_than_the_retention_are_deleted_without_a_gap() {
    let subject = Subject::new();
    subject.write(numbered(10));
    subject.clock.advance(DAY * 50);
    subject.write(["younger".to_owned()]);
    subject.clock.advance(DAY * 60);
    subject.write(["today".to_owned()]);
    assert_eq!(subject.newest(99), ["today", "younger"]);
    subject.clock.advance(DAY * 91);
    subject.write([]);
    assert_eq!(subject.newest(99), Vec::<String>::new());
    assert_eq!(subject.faults(), Vec::<String>::new());
    subject.write(["again".to_owned()]);
    assert_eq!(subject.faults(), Vec::<String>::new());
}

#[test]
fn an_altered_line_is_reported_with_its_position() {
    let subject = Subject::new();
    subject.write(numbered(10));
    let path = subject.files("audit").remove(0);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("act 4", "act 9")).unwrap();
    assert_eq!(
        subject.faults(),
        [
            "audit-00000000000000000001.log, line 4: a line was altered or cut: its checksum does not fit"
        ]
    );
    let query = Query {
        limit: 99,
        ..Query::default()
    };
    let found = read::find(&subject.directory(), Part::Live, &query).unwrap();
    assert_eq!((found.records.len(), found.faults.len()), (9, 1));
}

#[test]
fn a_removed_line_is_reported_at_any_position() {
    let without = |removed: std::ops::Range<usize>| {
        let subject = Subject::new();
        subject.write(numbered(10));
        let path = subject.files("audit").remove(0);
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().enumerate();
        let kept = lines.filter(|(index, _)| !removed.contains(index));
        let kept: Vec<&str> = kept.map(|(_, line)| line).collect();
        fs::write(&path, kept.join("\n") + "\n").unwrap();
        subject
    };
    for (removed, words) in [
        (0..2, "line 1: records 1 to 2 are missing before this line"),
        (4..5, "line 5: record 5 is missing before this line"),
        (
            7..10,
            "line 0: records 8 to 10 are missing before this line",
        ),
    ] {
        let subject = without(removed);
        let faults = subject.faults();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].ends_with(words), "{faults:?}");
        // It is still detected after more was written.
        let log = subject.open();
        log.record(subject.record("later"));
        log.close();
        assert_eq!(subject.faults().len(), 1);
        assert_eq!(subject.newest(1), ["later"]);
    }
    let subject = Subject::new();
    subject.write(numbered(2_000));
    fs::remove_file(subject.files("audit").remove(1)).unwrap();
    assert_eq!(subject.faults().len(), 1, "a whole file");
    let log = subject.open();
    assert_eq!(log.stats().gaps.load(Ordering::Relaxed), 1);
    log.close();
}

#[test]
fn a_line_torn_by_a_power_cut_is_kept_and_no_later_line_joins_it() {
    let subject = Subject::new();
    subject.write(numbered(10));
    let path = subject.files("audit").remove(0);
    let text = fs::read(&path).unwrap();
    fs::write(&path, &text[..text.len() - 40]).unwrap();
    subject.write(["after".to_owned()]);
    assert_eq!(subject.newest(2), ["after", "act 9"]);
    assert_eq!(subject.files("audit").len(), 2);
    let faults = subject.faults();
    assert!(!faults.is_empty(), "the torn line shows");
    assert!(faults[0].contains("line 10"), "{faults:?}");
}

#[test]
fn a_directory_that_cannot_be_written_loses_records_only() {
    let subject = Subject::new();
    subject.write(numbered(3));
    let log = subject.open();
    // The next file cannot be made.
    subject.clock.advance(DAY * 30);
    fs::remove_dir_all(subject.directory()).unwrap();
    for outcome in numbered(5) {
        assert!(log.record(subject.record(&outcome)));
        run(log.settled());
    }
    assert_eq!(log.lost().load(Ordering::Relaxed), 5);
    fs::create_dir(subject.directory()).unwrap();
    log.record(subject.record("works again"));
    run(log.settled());
    assert_eq!(subject.newest(9), ["works again"]);
    log.close();
    let faults = subject.faults();
    assert_eq!(faults.len(), 1, "what was lost shows: {faults:?}");
}

#[test]
fn a_second_process_is_refused() {
    let subject = Subject::new();
    let log = subject.open();
    let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&subject.clock);
    let second = AuditLog::open(&subject.settings, clock);
    assert!(matches!(second, Err(AuditError::InUse(_))));
    log.close();
    subject.open().close();
}

#[test]
fn records_of_a_store_are_moved_and_sorted_before_newer_ones() {
    let subject = Subject::new();
    let log = subject.open();
    log.record(subject.record("new"));
    run(log.settled());
    let old = BEGIN.minus(DAY);
    let page = (0..300).map(|number| (number, record(old, &format!("old {number}"))));
    assert!(run(log.carry(page.collect())).unwrap());
    assert_eq!(log.carried().unwrap().len(), 300);
    let query = Query {
        limit: 2,
        ..Query::default()
    };
    let outcomes = |part| -> Vec<String> {
        let found = log.find(part, &query).unwrap();
        found.records.into_iter().map(|r| r.outcome).collect()
    };
    assert_eq!(outcomes(Part::Live), ["new"]);
    assert_eq!(outcomes(Part::Carried), ["old 299", "old 298"]);
    log.close();
    assert_eq!(subject.check().records, 301);
    assert_eq!(subject.check().fault_count, 0);
}

#[test]
fn a_planted_link_is_not_written_through() {
    let subject = Subject::new();
    subject.write(numbered(2));
    let target = subject.home.path().join("target");
    fs::write(&target, "precious").unwrap();
    let path = subject.files("audit").remove(0);
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&target, &path).unwrap();
    subject.write(["more".to_owned()]);
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    assert_eq!(subject.newest(1), ["more"]);
}
