//! Does a snapshot show one commit while writes continue, and does a restored store have its content?

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::model::session::{EndReason, Session, SessionKey};
use crate::model::user::UserKey;
use crate::rules::session::sample;
use crate::store::backup::tests::{Records, written};
use crate::store::backup::{Descent, Sessions, Target, Trailer, restore, split_page};
use crate::store::contract::account;
use crate::store::settings::{Engine, Settings};
use crate::store::{
    AccountStore, AnyStore, BackupStore, Cap, Created, DueMails, Effect, Lifecycle, MailId,
    MailStore, Queued, QueuedMail, RevocationFeed, Scope, SessionStore, StoreError, WhenFull,
};
use crate::types::ids::{SessionId, StoreId, TenantId, UserId};
use crate::types::random::SeededRandom;
use crate::types::time::{Clock, ManualClock, Timestamp};

const CAP: Cap = Cap {
    max: 50,
    when_full: WhenFull::EndOldest,
};

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_secs(1_000_000)))
}

fn open(engine: Engine, clock: &Arc<ManualClock>) -> AnyStore {
    let settings = Settings {
        engine,
        deadline: Duration::from_secs(30),
        revocation_life: Duration::from_secs(930),
        audit_life: Duration::from_secs(86_400),
        lock_wait: Duration::ZERO,
    };
    AnyStore::open(&settings, clock.clone()).unwrap()
}

fn sled(directory: &Path) -> Engine {
    Engine::Sled {
        path: directory.to_owned(),
        cache: 4 << 20,
    }
}

async fn session(store: &AnyStore, clock: &ManualClock, random: &SeededRandom) -> Session {
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
async fn all(store: &AnyStore, mut meanwhile: impl AsyncFnMut(usize)) -> Records {
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
fn a_snapshot_is_of_one_commit_despite_concurrent_writes() {
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
            // Between all pages, sessions end and begin, and records change that were read already or not yet.
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
fn an_abandoned_snapshot_expires_and_a_second_one_waits() {
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
        // A snapshot that has ended or was discarded makes room for another.
        let third = store.snapshot_begin().await.unwrap();
        store.snapshot_end(third.id).await.unwrap();
        store.snapshot_begin().await.unwrap();
    });
}

async fn saved(store: &AnyStore) -> (Vec<u8>, Trailer) {
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
        let through = store.revocations().await.unwrap().ended_through;
        assert!(through >= Some(live.key.id.made_at()), "{through:?}");
        assert_eq!(store.all_sessions(None, 10).await, Ok(Vec::new()));
        assert_eq!(saved(&store).await.1.content, content);
        // A session that begins now is live.
        clock.advance(Duration::from_millis(1));
        let fresh = session(&store, &clock, &random).await;
        assert_eq!(store.session(&fresh.key).await, Ok(Some(fresh)));
        assert_eq!(
            store.sweep(1_000).await.map(|swept| swept < 1_000),
            Ok(true)
        );
        store.close().await.unwrap();
        // No directory of a restore remains.
        assert!(!ended.join(".restore").exists());
    });
}

#[test]
fn the_queue_of_mails_is_not_restored() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    block_on(async {
        let store = open(Engine::Memory, &clock);
        let owner = UserKey {
            tenant: TenantId::default(),
            user: UserId::from_bytes([5; 16]),
        };
        let user = account(&owner, "ann");
        store.create_user(user.clone()).await.unwrap();
        let mail = QueuedMail {
            id: MailId([1; 16]),
            owner,
            queued_at: clock.now(),
            due_at: clock.now(),
            attempts: 0,
            sealed: vec![1],
        };
        let changed = store.update_user_with_mail(user.clone(), Effect::None, mail);
        assert_eq!(changed.await.unwrap().1, Queued::Stored);
        let backup = saved(&store).await;
        for wanted in [Sessions::End, Sessions::Keep] {
            let place = folder.path().join(format!("{wanted:?}"));
            restored(&backup, &place, wanted, &clock).await;
            let store = open(sled(&place), &clock);
            assert!(store.user(&user.key).await.unwrap().is_some());
            assert_eq!(store.due_mails(9).await, Ok(DueMails::default()));
            store.close().await.unwrap();
        }
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
fn an_existing_store_is_moved_aside_and_one_in_use_is_not_touched() {
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
