//! Which combinations of keys and store are accepted?

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::crypto::keydir::KeyDirectory;
use crate::model::session::EndReason;
use crate::store::embedded::Embedded;
use crate::store::identity::{Founding, Ties, last_seen};
use crate::store::settings::{Engine, Settings};
use crate::store::sled::tests::{NOW, block_on, session, store_one};
use crate::store::{Lifecycle, Scope, SessionStore, StoreError};
use crate::types::ids::StoreId;
use crate::types::random::SeededRandom;
use crate::types::time::ManualClock;

struct Place {
    directory: tempfile::TempDir,
    founding: Founding,
    new_keys: bool,
    seed: u64,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            founding: Founding::First,
            new_keys: false,
            seed: 1,
        }
    }

    fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    fn keys(&self) -> PathBuf {
        self.directory.path().join("keys")
    }

    fn open(&self) -> Result<Embedded, StoreError> {
        let random = SeededRandom::new(self.seed);
        let settings = Settings {
            engine: Engine::Sled {
                path: self.store(),
                cache: 4 << 20,
            },
            deadline: Duration::from_secs(20),
            revocation_life: Duration::from_secs(930),
            audit_life: Duration::from_secs(1_000),
            lock_wait: Duration::ZERO,
        };
        let ties = Ties {
            keys: Some(self.keys()),
            founding: self.founding,
            new_keys: self.new_keys,
            fresh: StoreId::generate(NOW, &random),
            after: 0,
        };
        Embedded::open_tied(&settings, &ties, Arc::new(ManualClock::new(NOW)))
    }

    /// A complete start, which uses the store and creates keys.
    fn used(&self) -> StoreId {
        let store = self.open().unwrap();
        self.make_keys();
        block_on(async {
            store_one(&store, 1).await;
            store.close().await.unwrap();
        });
        store.id()
    }

    fn make_keys(&self) {
        let keys = KeyDirectory::open(&self.keys()).unwrap();
        keys.load(None, NOW, &SeededRandom::new(self.seed)).unwrap();
    }

    fn refusal(&self) -> String {
        match self.open() {
            Err(StoreError::Config(why) | StoreError::Damaged(why)) => why,
            other => panic!("not refused: {other:?}"),
        }
    }

    fn opens(&self) -> StoreId {
        let store = self.open().unwrap();
        block_on(store.close()).unwrap();
        store.id()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.metadata().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn e2_keys_with_a_missing_store_stop_the_start_until_a_new_one_is_requested() {
    let mut place = Place::new();
    let id = place.used();
    assert_eq!(place.opens(), id);
    fs::remove_dir_all(place.store()).unwrap();
    let why = place.refusal();
    assert!(why.contains("there is no store in"), "{why}");
    assert!(
        why.contains("--new-store") && why.contains("restore"),
        "{why}"
    );
    assert!(!place.store().exists(), "nothing is made by a refusal");
    place.founding = Founding::Again;
    place.seed = 2;
    let fresh = place.opens();
    assert_ne!(fresh, id);
    assert!(place.refusal().contains("there is a store in"), "once");
    place.founding = Founding::First;
    assert_eq!(place.opens(), fresh);
}

#[test]
fn e2_keys_of_an_earlier_version_without_a_store_stop_the_start_as_well() {
    let place = Place::new();
    place.make_keys();
    assert!(place.refusal().contains("belong to a store"));
}

#[test]
fn e2_a_store_with_missing_keys_stops_the_start_until_new_ones_are_requested() {
    let mut place = Place::new();
    let id = place.used();
    fs::remove_dir_all(place.keys()).unwrap();
    let why = place.refusal();
    assert!(why.contains("there are no keys in"), "{why}");
    assert!(why.contains("--new-keys"), "{why}");
    place.new_keys = true;
    assert_eq!(place.opens(), id);
    place.make_keys();
    place.new_keys = false;
    assert_eq!(place.opens(), id);
}

#[test]
fn e2_a_store_with_the_keys_of_another_stops_the_start() {
    let (one, mut two) = (Place::new(), Place::new());
    two.seed = 2;
    let (_, id) = (one.used(), two.used());
    fs::remove_dir_all(two.keys()).unwrap();
    copy(&one.keys(), &two.keys());
    let why = two.refusal();
    assert!(why.contains("belong to another store"), "{why}");
    fs::write(two.keys().join("store-id"), b"noise").unwrap();
    assert!(two.refusal().contains("store-id is damaged"));
    fs::remove_file(two.keys().join("store-id")).unwrap();
    assert!(
        two.refusal()
            .contains("not those that the store was used with")
    );
    two.new_keys = true;
    assert_eq!(two.opens(), id);
    two.new_keys = false;
    assert_eq!(two.opens(), id);
}

#[test]
fn e1_an_older_copy_put_back_by_hand_is_detected_by_the_key_directory() {
    let place = Place::new();
    let id = place.used();
    let older = tempfile::tempdir().unwrap();
    copy(&place.store(), older.path());
    block_on(async {
        let store = place.open().unwrap();
        let one = Scope::One(session(1).key);
        store.end(&one, EndReason::LoggedOut).await.unwrap();
        store.close().await.unwrap();
        assert_eq!(last_seen(&place.keys(), id), Some(store.last_commit()));
    });
    fs::remove_dir_all(place.store()).unwrap();
    copy(older.path(), &place.store());
    let why = place.refusal();
    assert!(why.contains("it is an older copy"), "{why}");
    fs::write(place.keys().join("store-commit"), b"noise").unwrap();
    assert!(place.refusal().contains("store-commit is damaged"));
    fs::remove_file(place.keys().join("store-commit")).unwrap();
    assert_eq!(place.opens(), id, "the advice of the message works");
}

#[test]
fn an_interrupted_first_start_is_repeated() {
    // The keys have the id, and the store was not created.
    let place = Place::new();
    place.opens();
    fs::remove_dir_all(place.store()).unwrap();
    place.opens();
    // The store exists, and no keys were created.
    place.opens();
}

#[test]
fn only_a_start_creates_a_store() {
    let mut place = Place::new();
    place.founding = Founding::Never;
    assert!(place.refusal().contains("sidegate serve"));
    assert_eq!(fs::read_dir(place.directory.path()).unwrap().count(), 0);
    place.founding = Founding::First;
    let id = place.used();
    place.founding = Founding::Never;
    assert_eq!(place.opens(), id);
}

#[test]
fn a_key_directory_that_cannot_be_written_does_not_stop_the_start() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    place.make_keys();
    fs::set_permissions(place.keys(), fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(place.keys().join("probe"), b"").is_ok() {
        // Root can write anywhere, but a directory with the name of the file prevents the write for every user.
        fs::remove_file(place.keys().join("probe")).unwrap();
        fs::set_permissions(place.keys(), fs::Permissions::from_mode(0o700)).unwrap();
        fs::create_dir(place.keys().join(".store-id.tmp")).unwrap();
    }
    let mut place = place;
    place.founding = Founding::Again;
    let id = place.opens();
    place.founding = Founding::First;
    assert_eq!(place.opens(), id);
    fs::set_permissions(place.keys(), fs::Permissions::from_mode(0o700)).unwrap();
}
