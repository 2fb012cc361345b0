//! Which writes has the child acknowledged, and does the store still contain them?
//!
//! One line for each event, written after the store has answered (an intent: before the call):
//!
//! ```text
//! o                      the store is open
//! c USER SESSION         created
//! r SESSION GENERATION   rotated to
//! E SESSION              about to end
//! e SESSION              ended
//! u USER VERSION         account stored with
//! x                      refused
//! ```

use std::collections::{HashMap, HashSet};
use std::error::Error;

use sidegate::model::revocation::RevocationEffect;
use sidegate::model::session::{Generation, SessionKey};
use sidegate::model::user::UserKey;
use sidegate::store::{AccountStore, AnyStore, RevocationFeed, SessionStore};
use sidegate::types::ids::{SessionId, TenantId, UserId};

/// The maximum number of items that are checked after each restart, the latest first.
const REMEMBERED: usize = 1_500;

/// All acknowledged writes.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    sessions: HashMap<SessionId, Fate>,
    accounts: HashMap<UserId, u32>,
    order: Vec<SessionId>,
    /// Acknowledged writes.
    pub(crate) writes: u64,
    /// Refused ones.
    pub(crate) refused: u64,
}

#[derive(Debug)]
struct Fate {
    owner: UserKey,
    generation: Generation,
    may_be_over: bool,
    is_over: bool,
}

impl Expected {
    /// Adds one line of the child.
    pub(crate) fn note(&mut self, line: &str) -> Result<(), Box<dyn Error>> {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["o"] => return Ok(()),
            ["x"] => {
                self.refused += 1;
                return Ok(());
            }
            ["c", user, session] => {
                let id = session.parse()?;
                let fate = Fate {
                    owner: owner(user.parse()?),
                    generation: Generation(0),
                    may_be_over: false,
                    is_over: false,
                };
                self.sessions.insert(id, fate);
                self.order.push(id);
            }
            ["r", session, generation] => {
                if let Some(fate) = self.sessions.get_mut(&session.parse()?) {
                    fate.generation = Generation(generation.parse()?);
                }
            }
            ["E", session] => {
                if let Some(fate) = self.sessions.get_mut(&session.parse()?) {
                    fate.may_be_over = true;
                }
                return Ok(());
            }
            ["e", session] => {
                if let Some(fate) = self.sessions.get_mut(&session.parse()?) {
                    fate.is_over = true;
                }
            }
            ["u", user, version] => {
                self.accounts.insert(user.parse()?, version.parse()?);
            }
            _ => return Err(format!("unexpected line of the child: `{line}`").into()),
        }
        self.writes += 1;
        Ok(())
    }

    /// Checks everything; returns what is missing.
    pub(crate) async fn missing(&self, store: &AnyStore) -> Result<Vec<String>, Box<dyn Error>> {
        let mut missing = Vec::new();
        let log = store.revocations().await?.revocations;
        let ended: HashSet<SessionId> = log
            .iter()
            .filter(|entry| entry.effect == RevocationEffect::Ended)
            .map(|entry| entry.session)
            .collect();
        for (id, fate) in &self.sessions {
            let key = SessionKey {
                owner: fate.owner.clone(),
                id: *id,
            };
            let found = store.session(&key).await?;
            let indexed = store.find_session(*id).await?;
            let logged = ended.contains(id);
            let fault = match &found {
                Some(_) if fate.is_over => Some("lost: its end"),
                Some(session) if session.generation < fate.generation => Some("lost: a rotation"),
                None if !fate.may_be_over => Some("lost: its creation"),
                None if !logged => Some("lost: its revocation"),
                Some(_) if logged => Some("torn: revoked and alive"),
                _ if indexed.is_some() != found.is_some() => Some("torn: its index"),
                _ => None,
            };
            missing.extend(fault.map(|fault| format!("{id} {fault}")));
        }
        for (user, version) in &self.accounts {
            let found = store.user(&owner(*user)).await?;
            if found.is_none_or(|found| found.version < *version) {
                missing.push(format!("{user} lost: its account of version {version}"));
            }
        }
        Ok(missing)
    }

    /// Drops the oldest, so that a check does not take longer with every round.
    pub(crate) fn trim(&mut self) {
        let excess = self.order.len().saturating_sub(REMEMBERED);
        for id in self.order.drain(..excess) {
            self.sessions.remove(&id);
        }
    }
}

/// The user of an id, in the default tenant.
pub(crate) fn owner(user: UserId) -> UserKey {
    UserKey {
        tenant: TenantId::default(),
        user,
    }
}
