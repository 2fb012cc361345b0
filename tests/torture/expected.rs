//! What the child has acknowledged, and whether the store still knows it.
//!
//! One line an event, written only after the store has answered (an intent: before it is asked):
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

use sidegate::model::revocation::Verdict;
use sidegate::model::session::{Generation, SessionKey};
use sidegate::model::user::UserKey;
use sidegate::store::{AccountStore, Embedded, RevocationLog, SessionStore};
use sidegate::types::ids::{SessionId, TenantId, UserId};

/// So many are looked for after each restart; of more, the latest.
const REMEMBERED: usize = 1_500;

/// Everything acknowledged.
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
    /// Takes in one line of the child.
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
            _ => return Err(format!("the child says `{line}`").into()),
        }
        self.writes += 1;
        Ok(())
    }

    /// Looks for everything; returns what is missing.
    pub(crate) async fn missing(&self, store: &Embedded) -> Result<Vec<String>, Box<dyn Error>> {
        let mut missing = Vec::new();
        let log = store.revocations().await?;
        let ended: HashSet<SessionId> = log
            .iter()
            .filter(|entry| entry.verdict == Verdict::Ended)
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

    /// Forgets the oldest, so that looking does not take longer with every round.
    pub(crate) fn trim(&mut self) {
        let excess = self.order.len().saturating_sub(REMEMBERED);
        for id in self.order.drain(..excess) {
            self.sessions.remove(&id);
        }
    }
}

/// The user of an id, in the only tenant there is.
pub(crate) fn owner(user: UserId) -> UserKey {
    UserKey {
        tenant: TenantId::default(),
        user,
    }
}
