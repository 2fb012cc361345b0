//! Do inspection and salvage leave a damaged store unchanged, and keep every readable record?

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::store::salvage::{self, Inspection, Kept};
use crate::store::settings::Settings;
use crate::store::sled::detector::{flip, written};
use crate::store::sled::tests::{NOW, block_on, open, refusal, session, snapshots, user};
use crate::store::{
    AccountStore, Cap, Lifecycle, LoginKey, RevocationFeed, SessionStore, UserCreated, WhenFull,
};
use crate::types::ids::{StoreId, TenantId};
use crate::types::time::ManualClock;

const USERS: u8 = 60;

/// A closed store with accounts and sessions, each in a commit of its own, and no snapshot.
fn filled() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let cap = Cap {
        max: 5,
        when_full: WhenFull::EndOldest,
    };
    block_on(async {
        let store = open(directory.path()).unwrap();
        for n in 1..=USERS {
            let made = store.create_user(user(n)).await.unwrap();
            assert_eq!(made, UserCreated::Stored);
            store
                .create(session(u64::from(n)), cap, None)
                .await
                .unwrap();
        }
        store.close().await.unwrap();
    });
    for file in snapshots(directory.path()) {
        fs::remove_file(file).unwrap();
    }
    directory
}

fn look(directory: &Path) -> Inspection {
    salvage::verify(&Settings::on_disk(directory), &mut |_| {}).unwrap()
}

fn files(directory: &Path) -> BTreeMap<std::ffi::OsString, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.metadata().unwrap().is_file());
    files
        .map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap()))
        .collect()
}

fn salvaged(from: &Path, to: &Path) -> Kept {
    let clock = Arc::new(ManualClock::new(NOW.plus(Duration::from_secs(60))));
    let fresh = StoreId::from_bytes([5; 16]);
    let keys = to.with_extension("keys");
    let settings = Settings::on_disk(from);
    block_on(async {
        let mut ignore = |_| {};
        let work = salvage::salvage(&settings, &keys, to, fresh, clock, &mut ignore);
        work.await.unwrap().1
    })
}

#[test]
fn an_undamaged_store_is_reported_as_such_and_not_changed() {
    let directory = filled();
    let before = files(directory.path());
    let found = look(directory.path());
    assert_eq!(found.problems, [] as [String; 0]);
    assert_eq!(found.commit, found.acknowledged);
    assert!(found.commit > Some(u64::from(USERS)));
    assert!(found.records > u64::from(USERS) * 4);
    assert_eq!(files(directory.path()), before);
    assert!(!directory.path().join("rehearsal").exists());
}

#[test]
fn e1_store_verify_finds_every_damage_that_stops_a_start_and_changes_nothing() {
    let mut damaged = 0;
    for round in 0..12 {
        let directory = filled();
        let bits = written(directory.path()) * 8;
        flip(&directory.path().join("db"), bits * (2 * round + 1) / 24);
        let before = files(directory.path());
        let found = look(directory.path());
        assert_eq!(files(directory.path()), before, "round {round}");
        if let Ok(store) = open(directory.path()) {
            block_on(store.close()).unwrap();
            assert_eq!(found.problems, [] as [String; 0], "round {round}");
            continue;
        }
        damaged += 1;
        assert!(!found.problems.is_empty(), "round {round}");
        let after = files(directory.path());
        assert_eq!(after, before, "a refusal changes nothing");
    }
    assert!(damaged > 6, "only {damaged} of 12");
}

#[test]
fn salvage_continues_after_the_damage_and_ends_every_session() {
    let directory = filled();
    let db = directory.path().join("db");
    let middle = written(directory.path()) / 2;
    let file = fs::OpenOptions::new().write(true).open(&db).unwrap();
    file.write_all_at(&[0x55; 64], middle).unwrap();
    assert!(refusal(directory.path()).contains("damaged"));
    let before = files(directory.path());
    let place = tempfile::tempdir().unwrap();
    let to = place.path().join("new");
    let kept = salvaged(directory.path(), &to);
    assert_eq!(files(directory.path()), before, "the damaged store stays");
    assert_eq!(
        fs::read_dir(place.path()).unwrap().count(),
        1,
        "no copy is left"
    );
    assert!(kept.users >= u64::from(USERS) - 3, "{kept:?}");
    assert!(kept.sessions_ended >= u64::from(USERS) - 3, "{kept:?}");
    let sound = look(&to);
    assert_eq!(sound.problems, [] as [String; 0]);
    let old = look(directory.path());
    assert_eq!(sound.store, old.store, "the keys name it");
    assert!(
        sound.commit > old.acknowledged,
        "and it is not older than what they have seen"
    );
    block_on(async {
        let store = open(&to).unwrap();
        let last = LoginKey {
            tenant: TenantId::default(),
            login: user(USERS).username.unwrap(),
        };
        let found = store.user_by_login(&last).await.unwrap();
        assert_eq!(found, Some(user(USERS)), "written behind the damage");
        assert_eq!(store.all_sessions(None, 100).await.unwrap(), []);
        let log = store.revocations().await.unwrap();
        assert!(log.ended_through.is_some());
        assert_eq!(store.stats().users, kept.users);
        store.close().await.unwrap();
    });
}

#[test]
fn salvage_writes_to_a_new_directory_only() {
    let directory = filled();
    let clock = Arc::new(ManualClock::new(NOW));
    let fresh = StoreId::from_bytes([5; 16]);
    let to = directory.path();
    let settings = Settings::on_disk(to);
    let words = block_on(async {
        let mut ignore = |_| {};
        let work = salvage::salvage(&settings, to, to, fresh, clock, &mut ignore);
        work.await.unwrap_err().to_string()
    });
    assert!(words.contains("exists already"), "{words}");
}
