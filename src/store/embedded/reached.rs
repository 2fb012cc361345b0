//! Does time continue in the next process from the time that the store has reached, whatever the wall clock
//! does?

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::model::session::Session;
use crate::rules::session::sample;
use crate::store::embedded::Embedded;
use crate::store::embedded::MARK_EVERY;
use crate::store::settings::Settings;
use crate::store::{Cap, Lifecycle as _, SessionStore as _, WhenFull};
use crate::types::time::{Clock, ManualReadings, SystemClock, TimeLine, Timestamp};

const BEGIN: Timestamp = Timestamp::from_secs(1_800_000_000);
const HOUR: Duration = Duration::from_secs(3_600);
const HOURS: i64 = 3_600_000;
const CAP: Cap = Cap {
    max: 5,
    when_full: WhenFull::EndOldest,
};

/// One process after another on one directory and one machine.
struct Machine {
    directory: tempfile::TempDir,
    readings: ManualReadings,
}

struct Process {
    store: Embedded,
    clock: Arc<TimeLine<ManualReadings>>,
}

impl Machine {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            readings: ManualReadings::new(BEGIN),
        }
    }

    fn start(&self) -> Process {
        let clock = Arc::new(TimeLine::new(self.readings.clone()));
        let store = open(self.directory.path(), clock.clone());
        Process { store, clock }
    }

    fn pass(&self, process: &Process, seconds: u64) {
        for _ in 0..seconds {
            self.readings.advance(Duration::from_secs(1));
            process.clock.look();
        }
    }
}

fn open(directory: &Path, clock: Arc<dyn Clock>) -> Embedded {
    let settings = Settings {
        lock_wait: Duration::from_secs(20),
        ..Settings::on_disk(directory)
    };
    Embedded::open(&settings, clock).unwrap()
}

impl Process {
    async fn log_in(&self) -> Session {
        let session = sample(self.clock.now());
        let made = self.store.create(session.clone(), CAP, None).await;
        made.unwrap();
        session
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(future)
}

#[test]
fn expired_records_stay_expired_after_a_restart_with_the_clock_set_back() {
    block_on(async {
        let machine = Machine::new();
        let first = machine.start();
        let session = first.log_in().await;
        machine.readings.advance(HOUR * 24);
        let found = first.store.session(&session.key).await;
        assert_eq!(found, Ok(None), "the idle limit");
        let stopped = first.clock.now();
        first.store.check().await.unwrap();
        first.store.close().await.unwrap();
        machine.readings.set_wall(-20 * HOURS);
        let second = machine.start();
        assert!(second.clock.now() >= stopped);
        assert!(second.clock.now() <= stopped.plus(MARK_EVERY));
        assert_eq!(second.store.session(&session.key).await, Ok(None));
        assert!(second.clock.state().is_apart);
        let fresh = second.log_in().await;
        let found = second.store.session(&fresh.key).await;
        assert_eq!(found, Ok(Some(fresh)), "log-ins work");
        second.store.close().await.unwrap();
    });
}

#[test]
fn a_clean_stop_stores_the_exact_time() {
    block_on(async {
        let machine = Machine::new();
        let first = machine.start();
        first.log_in().await;
        machine.pass(&first, 30);
        let stopped = first.clock.now();
        first.store.close().await.unwrap();
        // The wall clock has only drifted, so no margin is added.
        machine.readings.set_wall(-1_500);
        let second = machine.start();
        assert_eq!(second.clock.now(), stopped);
        second.store.close().await.unwrap();
    });
}

#[test]
fn after_a_kill_time_resumes_at_or_after_the_last_time() {
    block_on(async {
        let machine = Machine::new();
        let first = machine.start();
        first.store.check().await.unwrap();
        // A health check stores the time every two seconds. The next one does not run.
        machine.pass(&first, 2);
        let killed = first.clock.now();
        // The files as a crash leaves them, without the last writes of a clean stop.
        let copy = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(machine.directory.path()).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
            }
        }
        machine.readings.set_wall(-HOURS);
        let clock = Arc::new(TimeLine::new(machine.readings.clone()));
        let second = open(copy.path(), clock.clone());
        assert!(clock.now() >= killed, "{} {killed}", clock.now());
        second.close().await.unwrap();
        first.store.close().await.unwrap();
    });
}

#[test]
fn tokens_refused_by_a_start_with_the_clock_ahead_stay_refused() {
    block_on(async {
        let machine = Machine::new();
        let first = machine.start();
        let session = first.log_in().await;
        first.store.close().await.unwrap();
        machine.readings.set_wall(24 * HOURS);
        let second = machine.start();
        second.store.check().await.unwrap();
        let found = second.store.session(&session.key).await;
        assert_eq!(found, Ok(None), "the idle limit");
        let stopped = second.clock.now();
        second.store.close().await.unwrap();
        machine.readings.set_wall(-24 * HOURS);
        let third = machine.start();
        assert!(third.clock.now() >= stopped);
        assert_eq!(third.store.session(&session.key).await, Ok(None));
        third.log_in().await;
        third.store.close().await.unwrap();
    });
}

#[test]
fn the_system_clock_resumes_too() {
    block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock::default());
        let store = open(directory.path(), clock);
        store.check().await.unwrap();
        store.close().await.unwrap();
        let clock = Arc::new(SystemClock::default());
        let store = open(directory.path(), clock.clone());
        assert!(!clock.state().is_apart);
        assert!(clock.state().is_settled);
        store.close().await.unwrap();
    });
}
