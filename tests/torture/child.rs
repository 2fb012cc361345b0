//! The child process: writes to the store without a pause and reports each acknowledgement, until it is
//! killed.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sidegate::model::session::{EndReason, Generation, SessionKey};
use sidegate::model::user::{PasswordHash, User, UserKey, UserStatus, VerifiedAddresses};
use sidegate::store::{
    AccountStore, AnyStore, Cap, Created, Effect, RotatePolicy, Rotation, Scope, Seen,
    SessionStore, StoreError, UserCreated, UserUpdated, WhenFull,
};
use sidegate::types::ids::UserId;
use sidegate::types::login::LoginName;
use sidegate::types::random::SeededRandom;
use sidegate::types::role::Roles;
use sidegate::types::time::{Clock, SystemClock, Timestamp};
use tokio::task::JoinSet;

use crate::expected::owner;
use crate::session::session;
use crate::{Options, block_on, open};

/// The maximum number of live sessions of a writer.
const KEPT: usize = 20;

const CAP: Cap = Cap {
    max: 1_000,
    when_full: WhenFull::EndOldest,
};

const POLICY: RotatePolicy = RotatePolicy {
    grace: Duration::from_secs(30),
    max_ahead: 0,
};

/// Writes without end.
pub(crate) fn write(options: &Options, directory: &Path) -> Result<(), Box<dyn Error>> {
    let store = Arc::new(open(directory, options.fsync)?);
    say("o");
    block_on(async {
        let found = store.all_sessions(None, 256).await?;
        let mut writers = JoinSet::new();
        for number in 0..options.writers {
            let mine = found
                .iter()
                .skip(number as usize)
                .step_by(options.writers as usize)
                .map(|session| (session.key.clone(), session.generation))
                .collect();
            let writer = Writer::new(Arc::clone(&store), options.seed, number, mine)?;
            writers.spawn(writer.work());
        }
        writers.join_all().await;
        Ok(())
    })?
}

struct Writer {
    store: Arc<AnyStore>,
    random: SeededRandom,
    clock: SystemClock,
    user: User,
    /// Whether the account is already stored.
    known: bool,
    mine: Vec<(SessionKey, Generation)>,
}

impl Writer {
    fn new(
        store: Arc<AnyStore>,
        seed: u64,
        number: u32,
        mine: Vec<(SessionKey, Generation)>,
    ) -> Result<Self, Box<dyn Error>> {
        let random = SeededRandom::new(seed.wrapping_mul(1_000) + u64::from(number));
        let clock = SystemClock::default();
        let key = owner(UserId::generate(clock.now(), &random));
        let user = account(key, clock.now())?;
        Ok(Self {
            store,
            random,
            clock,
            user,
            known: false,
            mine,
        })
    }

    async fn work(mut self) {
        loop {
            let outcome = match self.random.next() % 10 {
                0 | 1 if self.mine.len() < KEPT => self.create().await,
                2 => self.end().await,
                3 => self.account().await,
                _ if self.mine.is_empty() => self.create().await,
                _ => self.rotate().await,
            };
            if outcome.is_err() {
                say("x");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    async fn create(&mut self) -> Result<(), StoreError> {
        let session = session(&self.user.key, &self.random, self.clock.now());
        let key = session.key.clone();
        let created = self.store.create(session, CAP, None).await?;
        if matches!(created, Created::Stored { .. }) {
            say(&format!("c {} {}", key.owner.user, key.id));
            self.mine.push((key, Generation(0)));
        }
        Ok(())
    }

    async fn rotate(&mut self) -> Result<(), StoreError> {
        let at = self.pick();
        let Some((key, generation)) = self.mine.get_mut(at) else {
            return Ok(());
        };
        match self
            .store
            .rotate(key, *generation, POLICY, Seen::default())
            .await?
        {
            // A replay follows a write that was refused and yet applied.
            Rotation::Rotated(session) | Rotation::Replayed(session) => {
                *generation = session.generation;
                say(&format!("r {} {}", key.id, generation.0));
            }
            other => say(&format!("the store answered {other:?}")),
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<(), StoreError> {
        if self.mine.is_empty() {
            return Ok(());
        }
        let (key, _) = self.mine.swap_remove(self.pick());
        say(&format!("E {}", key.id));
        let one = Scope::One(key.clone());
        self.store.end(&one, EndReason::LoggedOut).await?;
        say(&format!("e {}", key.id));
        Ok(())
    }

    async fn account(&mut self) -> Result<(), StoreError> {
        if self.known {
            let updated = self
                .store
                .update_user(self.user.clone(), Effect::None)
                .await?;
            match updated {
                UserUpdated::Stored(_) => self.user.version += 1,
                // A refused write that was applied.
                UserUpdated::Stale => {
                    if let Some(stored) = self.store.user(&self.user.key).await? {
                        self.user = stored;
                    }
                }
                other => say(&format!("the store answered {other:?}")),
            }
        } else {
            let created = self.store.create_user(self.user.clone()).await?;
            self.known = created == UserCreated::Stored;
        }
        let key = &self.user.key;
        say(&format!("u {} {}", key.user, self.user.version));
        Ok(())
    }

    fn pick(&self) -> usize {
        let many = self.mine.len().max(1) as u64;
        usize::try_from(self.random.next() % many).unwrap_or(0)
    }
}

/// One line in one write: a pipe accepts it completely or not at all.
fn say(line: &str) {
    let told = std::io::stdout()
        .lock()
        .write_all(format!("{line}\n").as_bytes());
    if told.is_err() {
        std::process::abort();
    }
}

fn account(key: UserKey, now: Timestamp) -> Result<User, Box<dyn Error>> {
    Ok(User {
        username: Some(LoginName::username(&key.user.to_string())?),
        key,
        email: None,
        mobile: None,
        verified: VerifiedAddresses::ALL,
        name: None,
        roles: Roles::default(),
        password: PasswordHash::new("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g"),
        status: UserStatus::Enabled,
        created_at: now,
        updated_at: now,
        version: 0,
    })
}
