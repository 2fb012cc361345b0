//! Is every damage detected? A store with fewer or with other records must not start.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::model::session::EndReason;
use crate::store::embedded::keys::{META_COMMIT, META_FORMAT, META_STORE};
use crate::store::sled::tests::{block_on, holds_all, open, refusal, session, snapshots, used};
use crate::store::{Lifecycle, RevocationFeed, Scope, SessionStore, codec};

const OLD_MARKER: &str = "A Sidegate store lives here. Do not delete this file by itself: it keeps \
                          Sidegate from starting with an empty store when the other files are \
                          missing.\n";

pub(super) fn flip(file: &Path, bit: u64) {
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, bit / 8).unwrap();
    byte[0] ^= 1 << (bit % 8);
    file.write_all_at(&byte, bit / 8).unwrap();
}

/// The length of the written data, without the zeros at the end of the engine's file.
pub(super) fn written(directory: &Path) -> u64 {
    let bytes = fs::read(directory.join("db")).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1
}

#[test]
fn e1_a_flipped_bit_in_the_log_does_not_bring_back_a_session_that_ended() {
    let mut refused = 0;
    for round in 0..24 {
        let directory = used();
        block_on(async {
            let store = open(directory.path()).unwrap();
            let one = Scope::One(session(1).key);
            store.end(&one, EndReason::LoggedOut).await.unwrap();
            store.close().await.unwrap();
        });
        for file in snapshots(directory.path()) {
            fs::remove_file(file).unwrap();
        }
        let bits = written(directory.path()) * 8;
        flip(&directory.path().join("db"), bits * (2 * round + 1) / 48);
        match open(directory.path()) {
            Err(_) => {
                let why = refusal(directory.path());
                assert!(why.contains("sidegate store verify"), "{why}");
                refused += 1;
            }
            Ok(store) => block_on(async {
                assert_eq!(store.session(&session(1).key).await, Ok(None));
                let log = store.revocations().await.unwrap();
                assert_eq!(log.revocations.len(), 1);
                store.close().await.unwrap();
            }),
        }
    }
    assert!(refused > 12, "only {refused} of 24");
}

#[test]
fn e1_a_truncated_log_is_refused_with_the_number_of_missing_commits() {
    let directory = used();
    let earlier = tempfile::tempdir().unwrap();
    fs::copy(directory.path().join("db"), earlier.path().join("db")).unwrap();
    block_on(async {
        let store = open(directory.path()).unwrap();
        for n in 1..=3 {
            let one = Scope::One(session(n).key);
            store.end(&one, EndReason::LoggedOut).await.unwrap();
        }
        store.close().await.unwrap();
    });
    for file in snapshots(directory.path()) {
        fs::remove_file(file).unwrap();
    }
    fs::copy(earlier.path().join("db"), directory.path().join("db")).unwrap();
    let why = refusal(directory.path());
    assert!(why.contains("3 commits are lost"), "{why}");
    for command in ["store verify", "store salvage", "sidegate restore"] {
        assert!(why.contains(command), "{command}: {why}");
    }
}

#[test]
fn one_copy_of_the_last_commits_number_is_enough_and_is_repaired() {
    for name in ["commit-a", "commit-b"] {
        for damage in [None, Some(b"".as_slice()), Some(b"noise")] {
            let directory = used();
            let file = directory.path().join(name);
            let whole = fs::read(&file).unwrap();
            match damage {
                None => fs::remove_file(&file).unwrap(),
                Some(bytes) => fs::write(&file, bytes).unwrap(),
            }
            block_on(async {
                let store = open(directory.path()).unwrap();
                holds_all(&store).await;
                store.close().await.unwrap();
            });
            assert_eq!(fs::read(&file).unwrap().len(), whole.len());
        }
    }
}

#[test]
fn e1_without_any_copy_of_the_last_commits_number_nothing_starts() {
    let directory = used();
    flip(&directory.path().join("commit-a"), 300);
    flip(&directory.path().join("commit-b"), 300);
    assert!(refusal(directory.path()).contains("commit-a and commit-b) are damaged"));
    remove_witness(directory.path());
    assert!(refusal(directory.path()).contains("are missing"));
    fs::remove_file(directory.path().join("sidegate-store")).unwrap();
    assert!(refusal(directory.path()).contains("are missing"));
}

#[test]
fn a_damaged_marker_is_rewritten() {
    let directory = used();
    let marker = directory.path().join("sidegate-store");
    let whole = fs::read(&marker).unwrap();
    fs::write(&marker, b"noise").unwrap();
    block_on(async {
        let store = open(directory.path()).unwrap();
        holds_all(&store).await;
        store.close().await.unwrap();
    });
    assert_eq!(fs::read(&marker).unwrap(), whole);
}

#[test]
fn a_record_that_is_not_the_one_that_was_committed_is_refused() {
    let directory = used();
    edit(directory.path(), |database| {
        let (key, value) = database.scan_prefix(b"S").next().unwrap().unwrap();
        // A valid record that was never committed, in the place of another.
        let other = database.scan_prefix(b"S").nth(1).unwrap().unwrap();
        assert_ne!(value, other.1);
        database.remove(key).unwrap();
    });
    let why = refusal(directory.path());
    assert!(why.contains("lost, stale or altered"), "{why}");
}

#[test]
fn a_store_of_an_earlier_version_is_upgraded_once() {
    let directory = used();
    make_old(directory.path(), |_| ());
    let id = block_on(async {
        let store = open(directory.path()).unwrap();
        holds_all(&store).await;
        assert_eq!(store.last_commit(), 2, "taken over, and named");
        store.close().await.unwrap();
        store.id()
    });
    assert!(directory.path().join("commit-a").exists());
    let marker = fs::read_to_string(directory.path().join("sidegate-store")).unwrap();
    assert!(marker.contains(&id.to_string()), "{marker}");
    block_on(async {
        let store = open(directory.path()).unwrap();
        assert_eq!((store.id(), store.last_commit()), (id, 2));
        store.close().await.unwrap();
    });
    remove_witness(directory.path());
    assert!(refusal(directory.path()).contains("are missing"), "once");
}

#[test]
fn a_store_of_an_earlier_version_with_a_damaged_record_is_not_upgraded() {
    let directory = used();
    make_old(directory.path(), |database| {
        let (key, value) = database.scan_prefix(b"S").next().unwrap().unwrap();
        let mut value = value.to_vec();
        value[9] ^= 1;
        database.insert(key, value).unwrap();
    });
    let why = refusal(directory.path());
    assert!(why.contains("table S: its checksum is wrong"), "{why}");
}

/// Turns a store into one of an earlier version, with this change to its records.
fn make_old(directory: &Path, change: impl FnOnce(&::sled::Db)) {
    edit(directory, |database| {
        database.remove(META_COMMIT).unwrap();
        database.remove(META_STORE).unwrap();
        let format = codec::encode(META_FORMAT, &1u32).unwrap();
        database.insert(META_FORMAT, format).unwrap();
        change(database);
    });
    remove_witness(directory);
    fs::write(directory.join("sidegate-store"), OLD_MARKER).unwrap();
}

fn remove_witness(directory: &Path) {
    for name in ["commit-a", "commit-b"] {
        fs::remove_file(directory.join(name)).unwrap();
    }
}

/// Changes the database without the store.
fn edit(directory: &Path, change: impl FnOnce(&::sled::Db)) {
    let database = ::sled::Config::new()
        .path(directory)
        .mode(::sled::Mode::LowSpace)
        .open()
        .unwrap();
    change(&database);
    database.flush().unwrap();
}
