//! Do the safeguards around sled work on real files?

use std::fs;
use std::io::{Error, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::model::session::{EndReason, Session};
use crate::model::user::{PasswordHash, User, UserKey, UserStatus, VerifiedAddresses};
use crate::rules::session::sample;
use crate::store::embedded::Embedded;
use crate::store::settings::Settings;
use crate::store::sled::disk_error::explain;
use crate::store::{
    AccountStore, Cap, Lifecycle, RevocationFeed, Scope, Seen, SessionStore, StoreError,
    UserCreated, WhenFull,
};
use crate::types::ids::{TenantId, UserId};
use crate::types::login::LoginName;
use crate::types::role::Roles;
use crate::types::time::{ManualClock, Timestamp};

pub(super) const NOW: Timestamp = Timestamp::from_secs(1_000_000);

pub(super) fn open(directory: &Path) -> Result<Embedded, StoreError> {
    Embedded::open(
        &Settings::on_disk(directory),
        Arc::new(ManualClock::new(NOW)),
    )
}

pub(super) fn refusal(directory: &Path) -> String {
    match open(directory) {
        Err(StoreError::Config(why) | StoreError::Locked(why) | StoreError::Damaged(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

/// A numbered session that is the same in every run.
pub(super) fn session(n: u64) -> Session {
    sample(NOW.plus(Duration::from_millis(n)))
}

/// A numbered account that is the same in every run.
pub(super) fn user(n: u8) -> User {
    User {
        key: UserKey {
            tenant: TenantId::default(),
            user: UserId::from_bytes([n; 16]),
        },
        username: Some(LoginName::username(&format!("ann{n}")).unwrap()),
        email: None,
        mobile: None,
        verified: VerifiedAddresses::ALL,
        name: None,
        roles: Roles::default(),
        password: PasswordHash::new("$argon2id$"),
        status: UserStatus::Enabled,
        created_at: NOW,
        updated_at: NOW,
        version: 3,
    }
}

pub(super) async fn store_one(store: &Embedded, n: u64) {
    let cap = Cap {
        max: 5,
        when_full: WhenFull::EndOldest,
    };
    store.create(session(n), cap, None).await.unwrap();
}

pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(future)
}

/// A directory with a closed store that holds the sessions 1 to 20.
pub(super) fn used() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let store = open(directory.path()).unwrap();
        for n in 1..=20 {
            store_one(&store, n).await;
        }
        store.close().await.unwrap();
    });
    directory
}

pub(super) async fn holds_all(store: &Embedded) {
    for n in 1..=20 {
        let found = store.session(&session(n).key).await;
        assert_eq!(found, Ok(Some(session(n))), "session {n}");
    }
}

pub(super) fn snapshots(directory: &Path) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(directory).unwrap().map(|e| e.unwrap().path());
    files
        .filter(|f| {
            f.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("snap.")
        })
        .collect()
}

#[test]
fn a_restart_keeps_all_data() {
    let directory = used();
    let user = user(1);
    block_on(async {
        let store = open(directory.path()).unwrap();
        holds_all(&store).await;
        assert_eq!(store.stats().sessions, 20);
        let one = Scope::One(session(1).key);
        store.end(&one, EndReason::LoggedOut).await.unwrap();
        let stored = store.create_user(user.clone()).await;
        assert_eq!(stored, Ok(UserCreated::Stored));
        let seen = Seen {
            address: Some("192.0.2.1".parse().unwrap()),
        };
        store.touch(&session(2).key, seen).await.unwrap();
        let log = store.revocations().await.unwrap().revocations;
        store.close().await.unwrap();

        let store = open(directory.path()).unwrap();
        assert_eq!(store.session(&session(1).key).await, Ok(None));
        let kept = store.revocations().await.unwrap();
        assert_eq!(kept.revocations, log);
        assert_eq!(store.user(&user.key).await, Ok(Some(user)));
        let touched = store.session(&session(2).key).await.unwrap().unwrap();
        assert_eq!(
            touched.last_address, seen.address,
            "closing writes activity"
        );
        let stats = store.stats();
        assert_eq!((stats.sessions, stats.users), (19, 1));
        assert!(stats.disk_bytes > 0);
        store.close().await.unwrap();
    });
}

#[test]
fn a_second_process_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    let why = refusal(directory.path());
    assert!(why.contains("in use by another sidegate"), "{why}");
    assert!(
        why.contains(&directory.path().display().to_string()),
        "{why}"
    );
    block_on(store.close()).unwrap();
    block_on(open(directory.path()).unwrap().close()).unwrap();
}

#[test]
fn a_half_written_snapshot_is_removed() {
    let directory = used();
    let whole = snapshots(directory.path());
    let half = directory.path().join("snap.00000000FFFFFFFF.generating");
    fs::write(&half, b"half").unwrap();
    block_on(async {
        let store = open(directory.path()).unwrap();
        holds_all(&store).await;
        store.close().await.unwrap();
    });
    assert!(!half.exists());
    assert!(!directory.path().join("quarantine").exists(), "{whole:?}");
}

#[test]
fn a_damaged_snapshot_is_set_aside_and_nothing_is_lost() {
    let emptied = |_: &[u8]| Vec::new();
    let halved = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    let flipped = |bytes: &[u8]| bytes.iter().map(|byte| byte ^ 0x40).collect();
    for damage in [emptied as fn(&[u8]) -> _, halved, flipped] {
        let directory = used();
        // The next opening writes the snapshot.
        block_on(open(directory.path()).unwrap().close()).unwrap();
        let found = snapshots(directory.path());
        assert!(!found.is_empty());
        for file in &found {
            fs::write(file, damage(&fs::read(file).unwrap())).unwrap();
        }
        block_on(async {
            let store = open(directory.path()).unwrap();
            holds_all(&store).await;
            store.close().await.unwrap();
        });
        let aside = fs::read_dir(directory.path().join("quarantine")).unwrap();
        assert_eq!(aside.count(), found.len());
    }
}

#[test]
fn a_missing_database_is_refused_instead_of_starting_empty() {
    let directory = used();
    fs::remove_file(directory.path().join("db")).unwrap();
    let why = refusal(directory.path());
    assert!(why.contains("missing or empty"), "{why}");
    fs::write(directory.path().join("db"), b"").unwrap();
    assert!(refusal(directory.path()).contains("sidegate restore FILE --replace"));
    // Without the marker, the number of the last commit still shows that a store was here.
    fs::remove_file(directory.path().join("sidegate-store")).unwrap();
    assert!(refusal(directory.path()).contains("missing or empty"));
}

#[test]
fn a_database_of_random_bytes_is_refused() {
    for noise in [0x00, 0x5A, 0xFF] {
        let directory = used();
        let length = fs::metadata(directory.path().join("db")).unwrap().len();
        let bytes = vec![noise; usize::try_from(length).unwrap()];
        fs::write(directory.path().join("db"), bytes).unwrap();
        let why = refusal(directory.path());
        assert!(why.contains("salvage"), "{noise:#x}: {why}");
    }
}

#[test]
fn an_interrupted_creation_is_repeated() {
    let directory = used();
    // Only the marker is missing, as after a crash right before the last step.
    fs::remove_file(directory.path().join("sidegate-store")).unwrap();
    block_on(async {
        let store = open(directory.path()).unwrap();
        holds_all(&store).await;
        store.close().await.unwrap();
    });
    assert!(directory.path().join("sidegate-store").exists());

    let empty = tempfile::tempdir().unwrap();
    fs::write(empty.path().join("db"), b"").unwrap();
    block_on(open(empty.path()).unwrap().close()).unwrap();
}

#[test]
fn a_path_that_cannot_be_a_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, b"").unwrap();
    assert!(refusal(&file).contains("name another one"));
    assert!(refusal(&file.join("below")).contains("name another one"));
    fs::create_dir(directory.path().join("lock")).unwrap();
    assert!(refusal(directory.path()).contains("name another one"));
}

#[test]
fn disk_errors_are_explained() {
    let at = Path::new("/data/store");
    let told = |kind: ErrorKind| explain(at, &Error::from(kind));
    for (kind, advice) in [
        (ErrorKind::PermissionDenied, "chown"),
        (ErrorKind::ReadOnlyFilesystem, "mount it writable"),
    ] {
        let StoreError::Config(why) = told(kind) else {
            panic!("{kind}");
        };
        assert!(why.contains(advice) && why.contains("/data/store"), "{why}");
    }
    let StoreError::Unavailable(why) = told(ErrorKind::StorageFull) else {
        panic!("a full disk is no mistake of the configuration");
    };
    assert!(why.contains("make room"), "{why}");
}

#[cfg(unix)]
#[test]
fn a_created_directory_is_not_accessible_to_others() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("a/b");
    block_on(open(&directory).unwrap().close()).unwrap();
    let mode = fs::metadata(&directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}
