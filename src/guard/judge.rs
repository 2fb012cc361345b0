//! The judgement: rule, token, session, role. Synchronous, without a look at any store or clock.
//!
//! What always holds: a request passes only by a rule that lets everybody in, or by a token that
//! verified, whose session is alive at this moment, and whose roles the rule asks for. Every other
//! way out of these functions is a denial. A token seen before costs one look-up and one comparison
//! of two numbers.

use std::cell::Cell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, Method};

use crate::guard::denial::{Denial, Reason};
use crate::guard::extract::{BadCredential, Shown};
use crate::guard::headers::{BadPreset, IdentityHeaders};
use crate::guard::identity::Identity;
use crate::guard::notice::Notice;
use crate::guard::permit::Permit;
use crate::guard::settings::Settings;
use crate::model::revocation::Verdict as Revoked;
use crate::policy::settings::Access;
use crate::policy::{Decision, RouteTable};
use crate::service::liveness::Liveness;
use crate::tokens::cache::CachedToken;
use crate::tokens::{TokenCache, Verifier};
use crate::types::path::CleanPath;
use crate::types::random::Random;
use crate::types::time::Timestamp;

/// Judges the requests of one worker.
#[derive(Debug)]
pub struct Guard {
    cookie: String,
    headers: Arc<IdentityHeaders>,
    verifier: Arc<Verifier>,
    liveness: Arc<Liveness>,
    rules: Arc<RouteTable>,
    cache: Arc<Mutex<TokenCache<Identity>>>,
    notice: Arc<Notice>,
}

/// What became of a request.
#[derive(Debug)]
#[must_use]
pub enum Verdict {
    /// It may be forwarded.
    Allow(Permit),
    /// It may not.
    Deny(Denial),
}

impl Guard {
    /// A guard with a cache of its own.
    pub fn new(
        settings: &Settings,
        verifier: Arc<Verifier>,
        liveness: Arc<Liveness>,
        rules: Arc<RouteTable>,
        random: &dyn Random,
    ) -> Result<Self, BadPreset> {
        Ok(Self {
            cookie: settings.access_cookie.clone(),
            headers: Arc::new(IdentityHeaders::new(&settings.headers)?),
            verifier,
            liveness,
            rules,
            cache: Arc::new(Mutex::new(TokenCache::new(settings.cache_bytes, random))),
            notice: Arc::default(),
        })
    }

    /// The same, which notices what others that share this notice have noticed only once.
    #[must_use]
    pub fn sharing(mut self, notice: &Arc<Notice>) -> Self {
        self.notice = Arc::clone(notice);
        self
    }

    /// A guard that differs in its rules only, and shares what this one remembers of tokens: the
    /// identities in the cache are made by the same verifier for the same headers.
    #[must_use]
    pub fn with_rules(&self, rules: Arc<RouteTable>) -> Self {
        Self {
            cookie: self.cookie.clone(),
            headers: Arc::clone(&self.headers),
            verifier: Arc::clone(&self.verifier),
            liveness: Arc::clone(&self.liveness),
            rules,
            cache: Arc::clone(&self.cache),
            notice: Arc::clone(&self.notice),
        }
    }

    /// Judges a request at `now`. `host` is the one the request names, with a port or without.
    pub fn judge(
        &self,
        method: &Method,
        headers: &HeaderMap,
        host: &str,
        path: &CleanPath<'_>,
        now: Timestamp,
    ) -> Verdict {
        let rule = self.rules.find(method.as_str(), host, path);
        match permit(&rule, || self.identify(headers, now)) {
            Ok(permit) => Verdict::Allow(permit),
            Err(denial) => Verdict::Deny(denial),
        }
    }

    /// Judges a request by a token that was issued for it a moment ago.
    pub fn judge_token(
        &self,
        method: &Method,
        host: &str,
        path: &CleanPath<'_>,
        token: &[u8],
        now: Timestamp,
    ) -> Verdict {
        let rule = self.rules.find(method.as_str(), host, path);
        match permit(&rule, || self.recognise(token, now).map(Some)) {
            Ok(permit) => Verdict::Allow(permit),
            Err(denial) => Verdict::Deny(denial),
        }
    }

    /// Who is calling, for our own routes; none when no token is shown. A bad token is a denial.
    pub fn identify(
        &self,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Option<Arc<Identity>>, Denial> {
        let shown = Shown::of(headers, &self.cookie)?;
        match shown.only() {
            Some(token) => self.recognise(token, now).map(Some),
            None if shown.is_empty() => Ok(None),
            None => self.recognise_one_of(&shown, now).map(Some),
        }
    }

    /// Who is calling when a request shows several tokens. A bearer token has to be good. Of the copies
    /// of our cookie the good one counts, however many others there are: a neighbouring host can plant
    /// them, and a browser keeps those of an earlier `cookies.domain`. Tokens of different sessions
    /// refuse, since nothing tells which of them is meant.
    fn recognise_one_of(&self, shown: &Shown<'_>, now: Timestamp) -> Result<Arc<Identity>, Denial> {
        if shown.copies.are_several() {
            self.notice.several_copies(&self.cookie);
        }
        let mut chosen = shown
            .bearer
            .map(|token| self.recognise(token, now))
            .transpose()?;
        let mut refusal = Denial::from(BadCredential::Cookie);
        for token in shown.copies.values() {
            match (self.recognise(token, now), &chosen) {
                (Ok(other), Some(known)) if other.session != known.session => {
                    return Err(Denial::from(BadCredential::Two));
                }
                (Ok(other), Some(known))
                    if shown.bearer.is_none() && other.expires_at > known.expires_at =>
                {
                    chosen = Some(other);
                }
                (Ok(_), Some(_)) => {}
                (Ok(only), None) => chosen = Some(only),
                (Err(denial), _) => refusal = denial.or_better(refusal),
            }
        }
        chosen.ok_or(refusal)
    }

    /// Everybody whom a request shows a good token of: to log all of them out.
    pub fn everybody(&self, headers: &HeaderMap, now: Timestamp) -> Vec<Arc<Identity>> {
        let Ok(shown) = Shown::of(headers, &self.cookie) else {
            return Vec::new();
        };
        let tokens = shown.bearer.iter().chain(shown.copies.values());
        tokens
            .filter_map(|token| self.recognise(token, now).ok())
            .collect()
    }

    /// The identity headers in use.
    pub fn identity_headers(&self) -> &IdentityHeaders {
        &self.headers
    }

    /// How many tokens the cache holds, and their bytes.
    pub fn cached(&self) -> (usize, u64) {
        let cache = self.cache();
        (cache.len(), cache.bytes())
    }

    /// The caller a token speaks of, if it may speak.
    fn recognise(&self, token: &[u8], now: Timestamp) -> Result<Arc<Identity>, Denial> {
        match self.remembered(token, now) {
            Some(answer) => answer,
            None => self.verify(token, now),
        }
    }

    /// The answer for a token that was verified before, by the keys of this moment.
    fn remembered(&self, token: &[u8], now: Timestamp) -> Option<Result<Arc<Identity>, Denial>> {
        let mut cache = self.cache();
        let entry = cache.get(token, self.verifier.epoch())?;
        let time = self
            .verifier
            .check_time(entry.not_before, entry.expires_at, now);
        if let Err(refusal) = time {
            cache.remove(token);
            return Some(Err(refusal.into()));
        }
        // Read before the set is: what comes in meanwhile is then seen by the next judgement.
        let epoch = self.liveness.epoch();
        if entry.alive_at.get() != epoch {
            if let Err(denial) = self.check_alive(&entry.value) {
                return Some(Err(denial));
            }
            entry.alive_at.set(epoch);
        }
        Some(Ok(Arc::clone(&entry.value)))
    }

    fn verify(&self, token: &[u8], now: Timestamp) -> Result<Arc<Identity>, Denial> {
        let verified = self.verifier.verify(token, now)?;
        let (not_before, expires_at) = (verified.claims.not_before, verified.claims.expires_at);
        let identity = Arc::new(Identity::new(verified.claims, &self.headers)?);
        let epoch = self.liveness.epoch();
        self.check_alive(&identity)?;
        let entry = CachedToken {
            value_bytes: identity.bytes(),
            value: Arc::clone(&identity),
            not_before,
            expires_at,
            keys_epoch: verified.epoch,
            alive_at: Cell::new(epoch),
        };
        self.cache().insert(token, entry);
        Ok(identity)
    }

    fn check_alive(&self, identity: &Identity) -> Result<(), Denial> {
        match self.liveness.verdict(identity.session.id) {
            None => Ok(()),
            Some(verdict) if verdict.admits(identity.generation) => Ok(()),
            Some(Revoked::Ended) => Err(Denial::new(Reason::Ended)),
            Some(Revoked::Stale(_)) => Err(Denial::new(Reason::Stale)),
        }
    }

    /// Entries are whole at any moment, so a poisoned lock still guards a sound cache.
    fn cache(&self) -> MutexGuard<'_, TokenCache<Identity>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a rule says about a caller. Who that is, is only asked where it matters.
fn permit(
    rule: &Decision<'_>,
    identify: impl FnOnce() -> Result<Option<Arc<Identity>>, Denial>,
) -> Result<Permit, Denial> {
    match rule.access {
        Access::Public => Ok(Permit::anonymous()),
        Access::Deny => Err(Denial::new(Reason::Forbidden)),
        Access::Optional => Ok(identify()?.map_or_else(Permit::unknown, Permit::identified)),
        Access::User => {
            let identity = identify()?.ok_or(Denial::new(Reason::Missing))?;
            let fits = rule.roles.iter().any(|role| identity.roles.has(role));
            if fits || rule.roles.is_empty() {
                Ok(Permit::identified(identity))
            } else {
                Err(Denial::new(Reason::MissingRole))
            }
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
