//! What is written reads back; what was cut, changed or appended to does not; a snapshot is of one
//! commit whatever is written meanwhile.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use crate::model::session::{EndReason, Session, SessionKey};
use crate::model::user::UserKey;
use crate::rules::session::sample;
use crate::store::backup::{
    BackupError, Descent, Header, KeyNames, Reader, Sessions, Target, Trailer, Writer, restore,
    split_page,
};
use crate::store::settings::{Engine, Settings};
use crate::store::{
    BackupStore, BulkStore, Cap, Created, Embedded, Lifecycle, Scope, SessionStore, StoreError,
    WhenFull,
};
use crate::types::ids::{SessionId, StoreId, TenantId, UserId};
use crate::types::random::SeededRandom;
use crate::types::time::{Clock, ManualClock, Timestamp};

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

fn header(with_keys: bool) -> Header {
    Header {
        format: Header::FORMAT,
        program: "0.0.0".to_owned(),
        created_at: Timestamp::from_secs(1_000_000),
        store: None,
        commit: 7,
        keys: KeyNames::default(),
        with_keys,
    }
}

fn written(records: &Records, keys: Option<&[u8]>) -> (Vec<u8>, Trailer) {
    let mut writer = Writer::begin(Vec::new(), &header(keys.is_some()), keys).unwrap();
    for (key, value) in records {
        writer.record(key, value).unwrap();
    }
    writer.finish().unwrap()
}

/// Everything in a file, or why not.
fn read(bytes: &[u8]) -> Result<(Records, Trailer), BackupError> {
    let mut reader = Reader::open(bytes)?;
    let mut records = Records::new();
    while let Some((key, value)) = reader.next_record()? {
        records.insert(key.to_vec(), value.to_vec());
    }
    Ok((records, reader.read_to_end()?))
}

fn some_records() -> Records {
    let pair = |n: u8| (vec![b'S', n], vec![n; usize::from(n)]);
    (0..40).map(pair).collect()
}

#[test]
fn every_cut_every_appended_byte_and_every_flipped_bit_is_noticed() {
    let (bytes, _) = written(&some_records(), Some(b"sealed"));
    assert!(read(&bytes).is_ok());
    for length in 0..bytes.len() {
        let cut = read(&bytes[..length]).unwrap_err();
        let is_told = matches!(cut, BackupError::Truncated(_) | BackupError::NotABackup);
        assert!(is_told, "{length}: {cut}");
    }
    assert!(read(&[bytes.as_slice(), b"x"].concat()).is_err());
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&changed).is_err(), "bit {bit}");
    }
}

#[test]
fn frames_that_are_exchanged_repeated_or_missing_are_noticed() {
    let records = some_records();
    let (bytes, _) = written(&records, None);
    // The borders of the frames, from their lengths.
    let mut borders = vec![16];
    while let Some(head) = bytes.get(borders[borders.len() - 1] + 1..) {
        let Some(length) = head.first_chunk::<4>() else {
            break;
        };
        let length = u32::from_be_bytes(*length) as usize;
        borders.push(borders[borders.len() - 1] + 9 + length);
    }
    let frame = |n: usize| &bytes[borders[n]..borders[n + 1]];
    let frames = borders.len() - 1;
    assert_eq!(frames, records.len() + 2);
    let joined = |order: &[usize]| {
        let frames = order.iter().map(|n| frame(*n));
        [&bytes[..16]]
            .into_iter()
            .chain(frames)
            .collect::<Vec<_>>()
            .concat()
    };
    let all: Vec<_> = (0..frames).collect();
    assert!(read(&joined(&all)).is_ok());
    for n in 1..frames - 2 {
        let mut exchanged = all.clone();
        exchanged.swap(n, n + 1);
        assert!(read(&joined(&exchanged)).is_err(), "{n} exchanged");
        let mut repeated = all.clone();
        repeated.insert(n, n);
        assert!(read(&joined(&repeated)).is_err(), "{n} repeated");
        let mut missing = all.clone();
        missing.remove(n);
        assert!(read(&joined(&missing)).is_err(), "{n} missing");
    }
}

/// Backups that exist must stay readable: give the format another number instead of changing it.
#[test]
fn backups_written_by_earlier_versions_still_read() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/backup");
    let read = |name: &str| read(&std::fs::read(corpus.join(name)).unwrap());
    let (records, trailer) = read("whole").unwrap();
    assert_eq!((records.len(), trailer.records), (3, 3));
    assert_eq!(records[b"S1".as_slice()], b"session");
    assert_eq!(read("keys").unwrap().0, records);
    assert_eq!(read("empty").unwrap().0.len(), 0);
    assert!(matches!(read("cut"), Err(BackupError::Truncated(_))));
    assert!(matches!(
        read("other-version"),
        Err(BackupError::Version(2))
    ));
}

#[test]
fn another_version_is_named_and_other_files_are_no_backups() {
    let other = Header {
        format: 2,
        ..header(false)
    };
    let writer = Writer::begin(Vec::new(), &other, None).unwrap();
    let (bytes, _) = writer.finish().unwrap();
    let told = read(&bytes).unwrap_err().to_string();
    assert!(
        told.contains("format 2") && told.contains("reads 1"),
        "{told}"
    );
    for no_backup in [&b""[..], b"SIDEGATE", b"PRAGMA foreign_keys=OFF;\nBEGIN;\n"] {
        assert!(matches!(read(no_backup), Err(BackupError::NotABackup)));
    }
}

#[test]
fn the_bookkeeping_of_a_store_is_not_its_content() {
    let mut records = some_records();
    let (_, without) = written(&records, None);
    records.insert(b"Mcommit".to_vec(), vec![9]);
    let (_, with) = written(&records, None);
    assert_eq!(with.content, without.content);
    assert_ne!(with.file, without.file);
    records.insert(b"Sx".to_vec(), vec![9]);
    let (_, other) = written(&records, None);
    assert_ne!(other.content, without.content);
}

#[test]
fn records_out_of_order_or_too_large_are_not_written() {
    let mut writer = Writer::begin(Vec::new(), &header(false), None).unwrap();
    writer.record(b"b", b"1").unwrap();
    assert!(writer.record(b"b", b"2").is_err());
    assert!(writer.record(b"a", b"2").is_err());
    assert!(writer.record(b"c", &[0; 5_000]).is_err());
    assert!(writer.record(&[b'd'; 2_000], b"").is_err());
    writer.record(b"c", b"2").unwrap();
    assert_eq!(writer.records(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_reads_back(
        records in prop::collection::btree_map(
            prop::collection::vec(any::<u8>(), 1..40),
            prop::collection::vec(any::<u8>(), 0..200),
            0..40,
        ),
        keys in prop::option::of(prop::collection::vec(any::<u8>(), 0..100)),
    ) {
        let (bytes, trailer) = written(&records, keys.as_deref());
        let reader = Reader::open(bytes.as_slice()).unwrap();
        prop_assert_eq!(reader.sealed_keys(), keys.as_deref());
        prop_assert_eq!(reader.header(), &header(keys.is_some()));
        let (back, end) = read(&bytes).unwrap();
        prop_assert_eq!(back, records);
        prop_assert_eq!(end, trailer);
        prop_assert_eq!(end.bytes, bytes.len() as u64);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, magic: bool) {
        let bytes = if magic {
            [b"SIDEGATE-BACKUP\n".as_slice(), &bytes].concat()
        } else {
            bytes
        };
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn any_bytes_are_a_page_or_none(bytes: Vec<u8>) {
        let _ignored = split_page(&bytes);
    }
}

const CAP: Cap = Cap {
    max: 50,
    when_full: WhenFull::EndOldest,
};

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_secs(1_000_000)))
}

fn open(engine: Engine, clock: &Arc<ManualClock>) -> Embedded {
    let settings = Settings {
        engine,
        deadline: Duration::from_secs(30),
        revocation_life: Duration::from_secs(930),
        audit_life: Duration::from_secs(86_400),
        lock_wait: Duration::ZERO,
    };
    Embedded::open(&settings, clock.clone()).unwrap()
}

fn sled(directory: &Path) -> Engine {
    Engine::Sled {
        path: directory.to_owned(),
        cache: 4 << 20,
    }
}

async fn session(store: &Embedded, clock: &ManualClock, random: &SeededRandom) -> Session {
    let now = clock.now();
    let mut session = sample(now);
    session.key = SessionKey {
        owner: UserKey {
            tenant: TenantId::default(),
            user: UserId::generate(now, random),
        },
        id: SessionId::generate(now, random),
    };
    let made = store.create(session.clone(), CAP, None).await;
    assert!(matches!(made, Ok(Created::Stored { .. })), "{made:?}");
    session
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// All records of a snapshot, and of the pages that are left of it. `meanwhile` runs between pages.
async fn all(store: &Embedded, mut meanwhile: impl AsyncFnMut(usize)) -> Records {
    let begun = store.snapshot_begin().await.unwrap();
    let mut records = Records::new();
    for number in 0.. {
        meanwhile(number).await;
        let page = store.snapshot_page(begun.id).await.unwrap();
        for (key, value) in split_page(&page.bytes).unwrap() {
            let before = records.insert(key.to_vec(), value.to_vec());
            assert_eq!(before, None, "each record once");
        }
        if page.is_last {
            break;
        }
    }
    records
}

#[test]
fn a_snapshot_is_of_one_commit_whatever_is_written_meanwhile() {
    for on_disk in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let engine = if on_disk {
            sled(folder.path())
        } else {
            Engine::Memory
        };
        let (clock, random) = (clock(), SeededRandom::new(5));
        let store = open(engine, &clock);
        block_on(async {
            let mut sessions = Vec::new();
            for _ in 0..800 {
                sessions.push(session(&store, &clock, &random).await);
            }
            let before = all(&store, async |_| {}).await;
            let (store, clock, random) = (&store, &clock, &random);
            let doomed = std::cell::RefCell::new(sessions);
            // Ends, new ones, and changes of what was and was not read yet, between all pages.
            let during = all(store, async |_| {
                for _ in 0..60 {
                    let gone = doomed.borrow_mut().pop();
                    let scope = Scope::One(gone.unwrap().key);
                    store.end(&scope, EndReason::LoggedOut).await.unwrap();
                    session(store, clock, random).await;
                    store.check().await.unwrap();
                }
            })
            .await;
            assert!(during.len() > 2_000, "{} records", during.len());
            assert_eq!(during, before, "on disk: {on_disk}");
            let after = all(store, async |_| {}).await;
            assert_ne!(after, before);
        });
    }
}

#[test]
fn a_snapshot_that_nobody_continues_is_forgotten_and_a_second_one_waits() {
    let clock = clock();
    let store = open(Engine::Memory, &clock);
    block_on(async {
        let first = store.snapshot_begin().await.unwrap();
        let second = store.snapshot_begin().await;
        assert!(matches!(second, Err(StoreError::Unavailable(_))));
        clock.advance(Duration::from_secs(61));
        let second = store.snapshot_begin().await.unwrap();
        assert!(store.snapshot_page(first.id).await.is_err());
        assert!(store.snapshot_page(second.id).await.unwrap().is_last);
        // At its end it makes room by itself; given up, too.
        let third = store.snapshot_begin().await.unwrap();
        store.snapshot_end(third.id).await.unwrap();
        store.snapshot_begin().await.unwrap();
    });
}

async fn saved(store: &Embedded) -> (Vec<u8>, Trailer) {
    written(&all(store, async |_| {}).await, None)
}

async fn restored(
    backup: &(Vec<u8>, Trailer),
    folder: &Path,
    sessions: Sessions,
    clock: &Arc<ManualClock>,
) -> crate::store::backup::Sha256Sum {
    let target = Target::take(folder).unwrap();
    let clock: Arc<dyn Clock> = clock.clone();
    let (bytes, trailer) = backup;
    let mut silent = |_| {};
    let descent = Descent {
        store: StoreId::from_bytes([7; 16]),
        after: 0,
    };
    let built = restore(
        bytes.as_slice(),
        trailer,
        &target,
        descent,
        sessions,
        &clock,
        &mut silent,
    );
    let built = built.await.unwrap();
    let content = built.content;
    target.place(&built, clock.now()).unwrap();
    content
}

#[test]
fn a_restored_store_has_the_same_content_or_every_session_ended() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, random) = (clock(), SeededRandom::new(6));
    block_on(async {
        let store = open(sled(&folder.path().join("first")), &clock);
        let live = session(&store, &clock, &random).await;
        let gone = session(&store, &clock, &random).await;
        store
            .end(&Scope::One(gone.key), EndReason::LoggedOut)
            .await
            .unwrap();
        let backup = saved(&store).await;
        clock.advance(Duration::from_secs(5));

        let kept = folder.path().join("kept");
        let content = restored(&backup, &kept, Sessions::Keep, &clock).await;
        assert_eq!(content, backup.1.content);
        let store = open(sled(&kept), &clock);
        assert_eq!(store.stats().sessions, 1);
        assert_eq!(store.session(&live.key).await, Ok(Some(live.clone())));
        assert_eq!(saved(&store).await.1.content, content);
        store.close().await.unwrap();

        let ended = folder.path().join("ended");
        let content = restored(&backup, &ended, Sessions::End, &clock).await;
        assert_ne!(content, backup.1.content);
        let store = open(sled(&ended), &clock);
        assert_eq!(store.stats().sessions, 0);
        assert_eq!(store.session(&live.key).await, Ok(None));
        let through = store.ended_through().await.unwrap();
        assert!(through >= Some(live.key.id.made_at()), "{through:?}");
        assert_eq!(store.all_sessions(None, 10).await, Ok(Vec::new()));
        assert_eq!(saved(&store).await.1.content, content);
        // What begins now lives.
        clock.advance(Duration::from_millis(1));
        let fresh = session(&store, &clock, &random).await;
        assert_eq!(store.session(&fresh.key).await, Ok(Some(fresh)));
        assert_eq!(
            store.sweep(1_000).await.map(|swept| swept < 1_000),
            Ok(true)
        );
        store.close().await.unwrap();
        // No folder of a restore is left behind.
        assert!(!ended.join(".restore").exists());
    });
}

#[test]
fn a_store_that_was_ahead_of_the_clock_is_restored_to_its_own_time() {
    let folder = tempfile::tempdir().unwrap();
    let random = SeededRandom::new(8);
    for wanted in [Sessions::End, Sessions::Keep] {
        block_on(async {
            let ahead = clock();
            ahead.advance(Duration::from_secs(365 * 86_400));
            let store = open(Engine::Memory, &ahead);
            let old = session(&store, &ahead, &random).await;
            let backup = saved(&store).await;
            let place = folder.path().join(format!("{wanted:?}"));
            restored(&backup, &place, wanted, &clock()).await;
            let right = clock();
            let store = open(sled(&place), &right);
            assert!(right.now() >= ahead.now(), "{}", right.now());
            let kept = store.session(&old.key).await.unwrap();
            assert_eq!(kept.is_some(), wanted == Sessions::Keep);
            right.advance(Duration::from_millis(1));
            let fresh = session(&store, &right, &random).await;
            assert_eq!(store.session(&fresh.key).await, Ok(Some(fresh)));
            store.close().await.unwrap();
        });
    }
}

#[test]
fn a_store_that_is_there_is_moved_aside_as_a_whole_and_one_in_use_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("data");
    let (clock, random) = (clock(), SeededRandom::new(7));
    block_on(async {
        let store = open(sled(&place), &clock);
        let first = session(&store, &clock, &random).await;
        let backup = saved(&store).await;
        assert!(matches!(Target::take(&place), Err(StoreError::Locked(_))));
        let second = session(&store, &clock, &random).await;
        store.close().await.unwrap();
        std::fs::create_dir(place.join("keys")).unwrap();
        let target = Target::take(&place).unwrap();
        assert!(target.has_store());
        drop(target);
        restored(&backup, &place, Sessions::Keep, &clock).await;
        assert!(place.join("keys").exists(), "what is not the store's stays");

        let store = open(sled(&place), &clock);
        assert_eq!(store.session(&first.key).await, Ok(Some(first.clone())));
        assert_eq!(store.session(&second.key).await, Ok(None));
        store.close().await.unwrap();
        let aside = std::fs::read_dir(&place).unwrap();
        let mut aside = aside.map(|entry| entry.unwrap().path());
        let aside = aside.find(|path| path.to_string_lossy().contains("replaced-"));
        let store = open(sled(&aside.unwrap()), &clock);
        assert_eq!(store.session(&second.key).await, Ok(Some(second)));
        store.close().await.unwrap();
    });
}
