//! Simulated lives: accounts sign up, log in, refresh, lose replies, are robbed, log out, are
//! locked, while roles change, the clock is set in both directions, the process restarts, and the
//! store is lost and comes back from a backup. After every step the service must agree with a model
//! of a hundred lines, and what must never happen must not have happened.
//!
//! A seed decides a whole life: `SIDEGATE_SIM_SEED=n cargo test --test it simulation` lives life n
//! again. `SIDEGATE_SIM_SEEDS=n` lives n lives. (What is not decided by the seed is how far an
//! abandoned call had got; the model then accepts either of the two allowed outcomes.)

mod clocks;
mod model;
mod roles;
mod world;

use std::future::Future as _;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::task::{Context, Waker};

use sidegate::service::accounts::Named;
use sidegate::service::upkeep::Upkeep;
use sidegate::service::{AuthError, Caller, IncludeCurrent, LoginRequest, SignupRequest};
use sidegate::store::backup::Sessions;
use sidegate::store::{Lifecycle as _, SessionStore as _};
use sidegate::tokens::keys::Keys;
use sidegate::types::login::LoginName;
use sidegate::types::random::SeededRandom;
use sidegate::types::role::Roles;
use sidegate::types::secret::Password;

use self::model::{Account, Door, Refreshed, Session};
use self::world::{Backup, World};

const STEPS: usize = 60;

/// How many lives at once.
const WORKERS: usize = 8;

/// The most accounts of one life.
const ACCOUNTS: usize = 3;

#[test]
fn every_life_is_as_the_model_says() {
    let setting =
        |name| std::env::var_os(name).map(|n| n.to_str().unwrap().parse::<u64>().unwrap());
    let seeds = match setting("SIDEGATE_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("SIDEGATE_SIM_SEEDS").unwrap_or(256),
    };
    let directory = tempfile::tempdir().unwrap();
    let keys = world::keys(directory.path());
    let next = Mutex::new(seeds);
    let work = || {
        let one_more = || next.lock().unwrap().next();
        std::iter::from_fn(one_more).find(|seed| !is_sound(*seed, &keys))
    };
    // Most of a life is waiting for the store's thread.
    let failed: Vec<u64> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        let ended = workers.into_iter().map(|worker| worker.join().unwrap());
        ended.flatten().collect()
    });
    assert!(
        failed.is_empty(),
        "to see it again: SIDEGATE_SIM_SEED={}",
        failed[0]
    );
}

fn is_sound(seed: u64, keys: &Arc<Keys>) -> bool {
    let life = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.unwrap().block_on(live(seed, keys));
    };
    catch_unwind(AssertUnwindSafe(life)).is_ok()
}

async fn live(seed: u64, keys: &Arc<Keys>) {
    let mut life = Life {
        dice: SeededRandom::new(!seed),
        world: World::new(seed, keys).await,
        accounts: Vec::new(),
        saved: None,
        ghosts: Vec::new(),
        story: Vec::new(),
        refused: Vec::new(),
    };
    for _ in 0..STEPS {
        let step = catch_unwind_async(&mut life).await;
        if let Err(panic) = step {
            println!("life {seed}: {}", life.story.join(", "));
            std::panic::resume_unwind(panic);
        }
    }
    life.world.service.store().close().await.unwrap();
}

/// One step and its check; a failure comes back, so that the story can be told.
async fn catch_unwind_async(life: &mut Life) -> std::thread::Result<()> {
    let mut step = pin!(async {
        life.step().await;
        life.check().await;
    });
    std::future::poll_fn(move |cx| {
        match catch_unwind(AssertUnwindSafe(|| step.as_mut().poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => std::task::Poll::Ready(Err(panic)),
        }
    })
    .await
}

struct Life {
    dice: SeededRandom,
    world: World,
    accounts: Vec<Account>,
    /// A backup, and what the model knew when it was made.
    saved: Option<(Backup, Vec<Account>)>,
    /// Sessions of accounts that a restored store has never heard of.
    ghosts: Vec<Session>,
    story: Vec<&'static str>,
    /// Access tokens that were refused once.
    refused: Vec<String>,
}

impl Life {
    fn roll(&self, sides: usize) -> usize {
        usize::try_from(self.dice.next() % sides.max(1) as u64).unwrap()
    }

    async fn step(&mut self) {
        let roll = self.roll(100);
        if self.accounts.is_empty() || roll < 4 {
            return self.sign_up().await;
        }
        match roll {
            0..16 => self.log_in().await,
            16..22 => self.guess().await,
            22..42 => self.refresh_newest().await,
            42..52 => self.replay_some_older().await,
            52..58 => self.lose_a_reply().await,
            58..64 => self.abandon_a_refresh().await,
            64..68 => self.log_out().await,
            68..71 => self.log_out_by_some_refresh_token().await,
            71..74 => self.end_sessions().await,
            74..76 => self.change_password().await,
            76..78 => self.change_roles().await,
            78 => self.change_roles_of_a_browser().await,
            79..82 => self.disable_or_enable().await,
            82..84 => self.unlock().await,
            84..90 => self.let_time_pass(),
            90..93 => self.set_the_clock().await,
            93..95 => self.restart().await,
            95..97 => self.save().await,
            97 => self.restore().await,
            98 => self.end_everything().await,
            _ => self.sweep().await,
        }
    }

    async fn sign_up(&mut self) {
        self.story.push("sign-up");
        let name = format!("user{}", self.roll(ACCOUNTS));
        let password = format!("first password of {name}");
        let request = SignupRequest {
            username: LoginName::username(&name).unwrap(),
            email: None,
            mobile: None,
            name: None,
            password: secret(&password),
        };
        let outcome = self.world.service.signup(request, &Caller::default()).await;
        if self.accounts.iter().any(|account| account.name == name) {
            assert!(
                matches!(outcome, Err(AuthError::LoginTaken(_))),
                "{outcome:?}"
            );
        } else {
            outcome.unwrap();
            self.accounts.push(Account {
                name,
                password,
                enabled: true,
                door: Door::default(),
                sessions: Vec::new(),
            });
        }
    }

    async fn log_in(&mut self) {
        self.story.push("log-in");
        let (now, at) = (self.world.now(), self.roll(self.accounts.len()));
        let remember = self.roll(4) == 0;
        let account = &mut self.accounts[at];
        let request = typed(&account.name, &account.password, remember);
        let outcome = self
            .world
            .service
            .login(request, &mut Caller::default())
            .await;
        if account.enabled && !account.door.is_locked(now) {
            let grant = outcome.expect("a good log-in");
            account.door = Door::default();
            account.make_room(now);
            account.sessions.push(Session::begin(&grant, now, remember));
        } else {
            assert!(
                matches!(outcome, Err(AuthError::InvalidCredentials)),
                "{outcome:?}"
            );
            account.door.fail(now);
        }
    }

    async fn guess(&mut self) {
        self.story.push("guess");
        let (now, at) = (self.world.now(), self.roll(self.accounts.len()));
        let account = &mut self.accounts[at];
        let request = typed(&account.name, "not the password", false);
        let outcome = self
            .world
            .service
            .login(request, &mut Caller::default())
            .await;
        assert!(
            matches!(outcome, Err(AuthError::InvalidCredentials)),
            "{outcome:?}"
        );
        account.door.fail(now);
    }

    async fn refresh_newest(&mut self) {
        self.story.push("refresh");
        if let Some((at, of)) = self.some_session() {
            let newest = *self.accounts[at].sessions[of]
                .refresh
                .keys()
                .last()
                .unwrap();
            self.refresh(at, of, newest, Reply::Arrives).await;
        }
    }

    /// A thief, a lost reply, a second tab: somebody shows a token that was handed out before.
    async fn replay_some_older(&mut self) {
        self.story.push("replay");
        if let Some((at, of)) = self.some_session() {
            let presented = self.some_generation(at, of);
            self.refresh(at, of, presented, Reply::Arrives).await;
        }
    }

    async fn lose_a_reply(&mut self) {
        self.story.push("lost reply");
        if let Some((at, of)) = self.some_session() {
            let newest = *self.accounts[at].sessions[of]
                .refresh
                .keys()
                .last()
                .unwrap();
            self.refresh(at, of, newest, Reply::IsLost).await;
        }
    }

    async fn refresh(&mut self, at: usize, of: usize, presented: u32, reply: Reply) {
        let now = self.world.now();
        let enabled = self.accounts[at].enabled;
        let session = &mut self.accounts[at].sessions[of];
        let token = session.refresh[&presented].clone();
        let outcome = self.world.service.refresh(&token, &Caller::default()).await;
        match (session.refresh(presented, now), outcome) {
            (Refreshed::To(next), Ok(grant)) => {
                assert!(enabled, "a closed account refreshed");
                assert_eq!(grant.session.generation.0, next, "presented {presented}");
                if reply == Reply::Arrives {
                    session.receive(&grant, next);
                }
            }
            (Refreshed::No | Refreshed::Ends, Err(AuthError::InvalidRefreshToken)) => {}
            (expected, outcome) => panic!("expected {expected:?}, was {:?}", outcome.is_ok()),
        }
    }

    /// The caller hangs up in the middle: it happened wholly or not at all.
    async fn abandon_a_refresh(&mut self) {
        self.story.push("abandoned refresh");
        let Some((at, of)) = self.some_session() else {
            return;
        };
        let now = self.world.now();
        let presented = self.some_generation(at, of);
        let session = &mut self.accounts[at].sessions[of];
        let token = session.refresh[&presented].clone();
        let polls = 1 + usize::try_from(self.dice.next() % 3).unwrap();
        {
            let caller = Caller::default();
            let mut refresh = pin!(self.world.service.refresh(&token, &caller));
            for _ in 0..polls {
                let mut cx = Context::from_waker(Waker::noop());
                if refresh.as_mut().poll(&mut cx).is_ready() {
                    break;
                }
                // An operation of our own stands in the store's line behind the abandoned one.
                self.world.service.store().check().await.unwrap();
            }
        }
        self.world.service.store().check().await.unwrap();
        let found = self
            .world
            .service
            .store()
            .session(&session.key)
            .await
            .unwrap();
        let before = session.clone();
        session.refresh(presented, now);
        let as_if_done = session.lives(now) == found.is_some()
            && found
                .as_ref()
                .is_none_or(|found| found.generation.0 == session.generation);
        if !as_if_done {
            let untouched = found.map(|found| found.generation.0);
            assert_eq!(untouched, before.lives(now).then_some(before.generation));
            *session = before;
        }
    }

    async fn log_out(&mut self) {
        self.story.push("log-out");
        let now = self.world.now();
        if let Some((at, of)) = self.some_session() {
            let session = &mut self.accounts[at].sessions[of];
            let caller = Caller::default();
            self.world
                .service
                .logout(&session.key, &caller)
                .await
                .unwrap();
            session.ended |= session.lives(now);
        }
    }

    async fn log_out_by_some_refresh_token(&mut self) {
        self.story.push("log-out by token");
        let now = self.world.now();
        if let Some((at, of)) = self.some_session() {
            let presented = self.some_generation(at, of);
            let session = &mut self.accounts[at].sessions[of];
            let token = &session.refresh[&presented];
            let caller = Caller::default();
            self.world
                .service
                .logout_by_refresh(token, &caller)
                .await
                .unwrap();
            session.ended |= session.lives(now);
        }
    }

    async fn end_sessions(&mut self) {
        self.story.push("end sessions");
        let now = self.world.now();
        let Some((at, of)) = self.some_session() else {
            return;
        };
        let (include, kept) = match self.roll(2) {
            0 => (IncludeCurrent::Yes, None),
            _ => (IncludeCurrent::No, Some(of)),
        };
        let account = &mut self.accounts[at];
        let key = account.sessions[of].key.clone();
        let caller = Caller::default();
        let ended = self
            .world
            .service
            .end_sessions(&key, include, &caller)
            .await
            .unwrap();
        assert_eq!(ended, account.end_others(kept, now), "how many ended");
    }

    async fn change_password(&mut self) {
        self.story.push("password");
        let now = self.world.now();
        let Some((at, of)) = self.some_session() else {
            return;
        };
        let guesses = self.roll(4) == 0;
        let account = &mut self.accounts[at];
        let fresh = format!("password number {}", self.dice.next());
        let key = account.sessions[of].key.clone();
        let current = if guesses {
            "not the password"
        } else {
            &account.password
        };
        let (old, new) = (secret(current), secret(&fresh));
        let service = &self.world.service;
        let outcome = service
            .change_password(&key, old, new, &Caller::default())
            .await;
        if account.enabled && account.sessions[of].lives(now) {
            // A guess like any other, under the same lock.
            if guesses || account.door.is_locked(now) {
                assert!(
                    matches!(outcome, Err(AuthError::InvalidCredentials)),
                    "{outcome:?}"
                );
                account.door.fail(now);
                return;
            }
            outcome.unwrap();
            account.door = Door::default();
            account.password = fresh;
            account.end_others(Some(of), now);
        } else {
            assert!(
                matches!(outcome, Err(AuthError::AccountClosed)),
                "{outcome:?}"
            );
        }
    }

    async fn change_roles(&mut self) {
        self.story.push("roles");
        let (now, at) = (self.world.now(), self.roll(self.accounts.len()));
        let role = format!("role{}", self.roll(3)).parse().unwrap();
        let account = &mut self.accounts[at];
        let roles = Roles::new([role]).unwrap();
        let changed = self
            .world
            .service
            .operator_set_roles(&named(account), roles)
            .await;
        assert!(changed.unwrap().is_some());
        account
            .sessions
            .iter_mut()
            .for_each(|session| session.make_stale(now));
    }

    async fn disable_or_enable(&mut self) {
        self.story.push("disable or enable");
        let (now, at) = (self.world.now(), self.roll(self.accounts.len()));
        let account = &mut self.accounts[at];
        let named = named(account);
        if account.enabled {
            self.world.service.operator_disable(&named).await.unwrap();
            account.end_others(None, now);
        } else {
            self.world.service.operator_enable(&named).await.unwrap();
        }
        account.enabled = !account.enabled;
    }

    async fn unlock(&mut self) {
        self.story.push("unlock");
        let at = self.roll(self.accounts.len());
        let account = &mut self.accounts[at];
        self.world
            .service
            .operator_unlock(&named(account))
            .await
            .unwrap();
        account.door = Door::default();
    }

    fn let_time_pass(&mut self) {
        self.story.push("time");
        let seconds = match self.roll(5) {
            0 => 1,
            1 => 29,
            2 => self.roll(120),
            3 => self.roll(4_000),
            _ => self.roll(3 * 86_400),
        };
        self.world.pass(seconds as u64);
    }

    async fn restart(&mut self) {
        self.story.push("restart");
        self.world.restart().await;
    }

    async fn sweep(&mut self) {
        self.story.push("sweep");
        self.world.service.sweep(&Upkeep::default()).await;
    }

    async fn save(&mut self) {
        self.story.push("backup");
        self.saved = Some((self.world.save().await, self.accounts.clone()));
    }

    /// The store is lost, and the backup takes its place.
    async fn restore(&mut self) {
        let Some((backup, before)) = &self.saved else {
            return;
        };
        let sessions = [Sessions::End, Sessions::Keep][self.roll(2)];
        self.story.push(match sessions {
            Sessions::End => "restored",
            Sessions::Keep => "restored with sessions",
        });
        self.world.restore(backup, sessions).await;
        // Sessions that ended after the backup go on when that was asked for.
        if sessions == Sessions::Keep {
            self.refused.clear();
        }
        let mut accounts = before.clone();
        if sessions == Sessions::End {
            let all = accounts.iter_mut().flat_map(|a| a.sessions.iter_mut());
            all.for_each(|session| session.ended = true);
        }
        // What began after the backup is unknown to the store: no token of it is good for anything.
        for mut lost in std::mem::replace(&mut self.accounts, accounts) {
            let known = self.accounts.iter_mut().find(|a| a.name == lost.name);
            lost.sessions
                .iter_mut()
                .for_each(|session| session.ended = true);
            match known {
                Some(account) => {
                    let is_known =
                        |lost: &Session| account.sessions.iter().any(|s| s.key == lost.key);
                    lost.sessions.retain(|session| !is_known(session));
                    account.sessions.splice(0..0, lost.sessions);
                }
                None => self.ghosts.append(&mut lost.sessions),
            }
        }
    }

    async fn end_everything(&mut self) {
        self.story.push("end of all");
        self.world.service.operator_end_all().await.unwrap();
        let cleared = self.world.service.operator_clear_ended().await.unwrap();
        assert!(cleared.unwrap().is_complete);
        let all = self.accounts.iter_mut().flat_map(|a| a.sessions.iter_mut());
        all.for_each(|session| session.ended = true);
    }

    /// What must hold at any moment.
    async fn check(&mut self) {
        self.what_was_refused_is_refused().await;
        let now = self.world.now();
        let store = self.world.service.store();
        let (mut live, mut unended) = (0, 0);
        for account in &self.accounts {
            for session in &account.sessions {
                let found = store.session(&session.key).await.unwrap();
                let generation = found.map(|found| found.generation.0);
                let expected = session.lives(now).then_some(session.generation);
                assert_eq!(generation, expected, "{}", session.key.id);
                for (number, access) in session.access.iter().enumerate().rev().take(3) {
                    let (token, generation, _) = access;
                    let passes = self.world.passes(token).await;
                    if let Some(admits) = session.admits(number, now) {
                        assert_eq!(passes, admits, "access of {generation}");
                    }
                    if !passes {
                        self.refused.push(token.clone());
                    }
                }
                live += u64::from(session.lives(now));
                unended += u64::from(!session.ended);
            }
            if let Some(session) = account.sessions.first() {
                let listed = self.world.service.sessions(&session.key).await.unwrap();
                let mut listed: Vec<_> = listed.iter().map(|session| session.key.id).collect();
                let alive = account.sessions.iter().filter(|session| session.lives(now));
                let mut alive: Vec<_> = alive.map(|session| session.key.id).collect();
                listed.sort_unstable();
                alive.sort_unstable();
                assert_eq!(listed, alive, "the list of {}", account.name);
            }
        }
        for ghost in &self.ghosts {
            assert_eq!(store.session(&ghost.key).await, Ok(None));
            for (token, ..) in &ghost.access {
                assert!(!self.world.passes(token).await, "a session of nobody");
            }
            let newest = ghost.refresh.values().last().unwrap();
            let caller = Caller::default();
            let refreshed = self.world.service.refresh(newest, &caller);
            assert!(refreshed.await.is_err(), "a session of nobody");
        }
        let stats = store.stats();
        let counted = (live..=unended).contains(&stats.sessions);
        assert!(
            counted,
            "{} sessions counted, {live} live, {unended} not ended",
            stats.sessions
        );
        assert_eq!(stats.users, self.accounts.len() as u64);
    }

    fn some_session(&self) -> Option<(usize, usize)> {
        let all: Vec<_> = (self.accounts.iter().enumerate())
            .flat_map(|(at, account)| (0..account.sessions.len()).map(move |of| (at, of)))
            .collect();
        // Mostly one of the young ones: the old are over.
        let young = all.len().saturating_sub(6);
        let from = if self.roll(4) == 0 { 0 } else { young };
        all.get(from + self.roll(all.len() - from)).copied()
    }

    fn some_generation(&self, at: usize, of: usize) -> u32 {
        let known: Vec<_> = self.accounts[at].sessions[of].refresh.keys().collect();
        *known[self.roll(known.len())]
    }
}

/// Whether the client gets the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reply {
    Arrives,
    IsLost,
}

fn typed(name: &str, password: &str, remember: bool) -> LoginRequest {
    LoginRequest {
        identifier: name.to_owned(),
        password: secret(password),
        device_name: None,
        remember,
    }
}

fn secret(text: &str) -> Password {
    Password::new(text.to_owned()).unwrap()
}

fn named(account: &Account) -> Named {
    Named::Login(LoginName::username(&account.name).unwrap())
}
