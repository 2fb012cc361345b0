//! May this request pass? Checks rule, token, session and role. Synchronous for every token that this
//! worker has seen, without reading a store or clock.
//!
//! Invariant: a request passes only by a rule that admits every caller, or by a verified token whose session is
//! active now and whose roles satisfy the rule. Every other result of these functions is a denial. A known
//! token costs one look-up and one comparison of two numbers. An unknown one is [`Decision::Unseen`]: it passes
//! only by [`Guard::first_sight`], which compares it with the store.

use std::cell::Cell;
use std::sync::Arc;

use http::{HeaderMap, Method};
use parking_lot::{Mutex, MutexGuard};

use crate::guard::assertion::Assertions;
use crate::guard::denial::{Denial, Reason};
use crate::guard::extract::Shown;
use crate::guard::headers::{BadPreset, IdentityHeaders};
use crate::guard::identity::Identity;
use crate::guard::notice::Notice;
use crate::guard::permit::Permit;
use crate::guard::settings::Settings;
use crate::guard::unseen::{Candidate, Demand, Proof, Proofs, Unseen};
use crate::model::revocation::RevocationEffect as Revoked;
use crate::policy::settings::Access;
use crate::policy::{RouteTable, RuleMatch};
use crate::service::first_sight::{FirstSight, FirstSights};
use crate::service::liveness::Liveness;
use crate::tokens::cache::CachedToken;
use crate::tokens::{TokenCache, Verifier};
use crate::types::path::CleanPath;
use crate::types::random::Random;
use crate::types::time::Timestamp;

/// Authorizes the requests of one worker.
#[derive(Debug)]
pub struct Guard {
    cookie: String,
    headers: Arc<IdentityHeaders>,
    assertions: Option<Arc<Assertions>>,
    verifier: Arc<Verifier>,
    liveness: Arc<Liveness>,
    first_sights: Arc<FirstSights>,
    rules: Arc<RouteTable>,
    cache: Arc<Mutex<TokenCache<Identity>>>,
    notice: Arc<Notice>,
}

/// The decision about a request.
#[derive(Debug)]
#[must_use]
pub enum Decision {
    /// It may be forwarded.
    Allow(Permit),
    /// It may not.
    Deny(Denial),
    /// The token is new to this worker: [`Guard::first_sight`] decides.
    Unseen(Box<Unseen>),
}

/// The caller.
#[derive(Debug)]
enum Caller {
    Anonymous,
    Known(Arc<Identity>),
    /// To be completed: at least one of the tokens is new to this worker.
    Unseen(Proofs),
}

impl Guard {
    /// A guard with a cache of its own.
    pub fn new(
        settings: &Settings,
        verifier: Arc<Verifier>,
        liveness: Arc<Liveness>,
        first_sights: Arc<FirstSights>,
        rules: Arc<RouteTable>,
        random: &dyn Random,
    ) -> Result<Self, BadPreset> {
        Ok(Self {
            cookie: settings.access_cookie.clone(),
            headers: Arc::new(IdentityHeaders::new(&settings.headers)?),
            assertions: None,
            verifier,
            liveness,
            first_sights,
            rules,
            cache: Arc::new(Mutex::new(TokenCache::new(settings.cache_bytes, random))),
            notice: Arc::default(),
        })
    }

    /// The same guard with a shared [`Notice`]: all guards that share it log each warning once.
    #[must_use]
    pub fn sharing(mut self, notice: &Arc<Notice>) -> Self {
        self.notice = Arc::clone(notice);
        self
    }

    /// The same guard, which also asserts each known caller.
    #[must_use]
    pub fn asserting(mut self, assertions: Assertions) -> Self {
        self.assertions = Some(Arc::new(assertions));
        self
    }

    /// A guard with other rules that shares this one's cache of tokens: the identities in the cache
    /// are made by the same verifier for the same headers.
    #[must_use]
    pub fn with_rules(&self, rules: Arc<RouteTable>) -> Self {
        Self {
            cookie: self.cookie.clone(),
            headers: Arc::clone(&self.headers),
            assertions: self.assertions.clone(),
            verifier: Arc::clone(&self.verifier),
            liveness: Arc::clone(&self.liveness),
            first_sights: Arc::clone(&self.first_sights),
            rules,
            cache: Arc::clone(&self.cache),
            notice: Arc::clone(&self.notice),
        }
    }

    /// Authorizes a request at `now`. `host` is the host of the request, with or without a port.
    pub fn authorize(
        &self,
        method: &Method,
        headers: &HeaderMap,
        host: &str,
        path: &CleanPath<'_>,
        now: Timestamp,
    ) -> Decision {
        let rule = self.rules.find(method.as_str(), host, path);
        apply_rule(&rule, now, || self.caller(headers, now))
    }

    /// Authorizes a request by a token that was just issued for it.
    pub fn authorize_token(
        &self,
        method: &Method,
        host: &str,
        path: &CleanPath<'_>,
        token: &[u8],
        now: Timestamp,
    ) -> Decision {
        let rule = self.rules.find(method.as_str(), host, path);
        apply_rule(&rule, now, || self.caller_of(token, now))
    }

    /// Completes the authorization of a request that shows a token which this worker has not seen: waits
    /// until it was compared with the store, for at most the store's deadline.
    pub async fn first_sight(&self, unseen: Box<Unseen>) -> Result<Permit, Denial> {
        let Unseen { proofs, demand } = *unseen;
        demand.permit(self.complete(proofs).await?)
    }

    /// The caller of one of our own routes; `None` without a token. An invalid token is a denial.
    pub async fn identify(
        &self,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Option<Arc<Identity>>, Denial> {
        match self.caller(headers, now)? {
            Caller::Anonymous => Ok(None),
            Caller::Known(identity) => Ok(Some(identity)),
            Caller::Unseen(proofs) => self.complete(proofs).await.map(Some),
        }
    }

    /// All callers with a valid token in the request, for a log-out of all of them. Fails if the
    /// store is needed for one of them and does not answer.
    pub async fn everybody(
        &self,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Vec<Arc<Identity>>, Denial> {
        let Ok(shown) = Shown::of(headers, &self.cookie) else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for token in shown.bearer.iter().chain(shown.copies.values()) {
            match self.admit(self.authenticate(token, now)).await {
                Ok(identity) => found.push(identity),
                Err(denial) if denial.reason() == Reason::Unavailable => return Err(denial),
                Err(_) => {}
            }
        }
        Ok(found)
    }

    /// The identity headers in use.
    pub fn identity_headers(&self) -> &IdentityHeaders {
        &self.headers
    }

    /// How many tokens the cache holds, and their bytes.
    pub fn cache_size(&self) -> (usize, u64) {
        let cache = self.cache();
        (cache.len(), cache.bytes())
    }

    /// The caller of a request, as far as this worker has seen the tokens that it shows.
    fn caller(&self, headers: &HeaderMap, now: Timestamp) -> Result<Caller, Denial> {
        let shown = Shown::of(headers, &self.cookie)?;
        match shown.only() {
            Some(token) => self.caller_of(token, now),
            None if shown.is_empty() => Ok(Caller::Anonymous),
            None => self.caller_of_several(&shown, now),
        }
    }

    fn caller_of(&self, token: &[u8], now: Timestamp) -> Result<Caller, Denial> {
        match self.authenticate(token, now) {
            Proof::Known(identity) => Ok(Caller::Known(identity)),
            Proof::New(candidate) => Ok(Caller::Unseen(Proofs::one(candidate))),
            Proof::Bad(denial) => Err(denial),
        }
    }

    /// The caller of a request with several or malformed tokens.
    fn caller_of_several(&self, shown: &Shown<'_>, now: Timestamp) -> Result<Caller, Denial> {
        if shown.copies.are_several() {
            self.notice.several_copies(&self.cookie);
        }
        let copies = shown.copies.values().iter();
        let proofs = Proofs {
            bearer: shown.bearer.map(|token| self.authenticate(token, now)),
            copies: copies.map(|token| self.authenticate(token, now)).collect(),
        };
        if proofs.are_seen() {
            proofs.choose().map(Caller::Known)
        } else {
            Ok(Caller::Unseen(proofs))
        }
    }

    /// The state of a token, as far as this worker has seen it.
    fn authenticate(&self, token: &[u8], now: Timestamp) -> Proof {
        match self.cached(token, now) {
            Some(Ok(identity)) => Proof::Known(identity),
            Some(Err(denial)) => Proof::Bad(denial),
            None => match self.verify(token, now) {
                Ok(candidate) => Proof::New(candidate),
                Err(denial) => Proof::Bad(denial),
            },
        }
    }

    /// The result for a token that was verified before, by the present state of the keys.
    fn cached(&self, token: &[u8], now: Timestamp) -> Option<Result<Arc<Identity>, Denial>> {
        let mut cache = self.cache();
        let entry = cache.get(token, self.verifier.epoch())?;
        let time = self
            .verifier
            .check_time(entry.not_before, entry.expires_at, now);
        if let Err(refusal) = time {
            cache.remove(token);
            return Some(Err(refusal.into()));
        }
        // Read before the set is read: an entry that is added in between is seen by the next
        // request.
        let epoch = self.liveness.epoch();
        if entry.alive_at.get() != epoch {
            if let Err(denial) = self.check_alive(&entry.value) {
                return Some(Err(denial));
            }
            entry.alive_at.set(epoch);
        }
        Some(Ok(Arc::clone(&entry.value)))
    }

    /// A token whose signature, times and claims are valid, and whose session is not known to have ended.
    fn verify(&self, token: &[u8], now: Timestamp) -> Result<Candidate, Denial> {
        let verified = self.verifier.verify(token, now)?;
        let (not_before, expires_at) = (verified.claims.not_before, verified.claims.expires_at);
        let identity = Arc::new(Identity::new(
            verified.claims,
            &self.headers,
            self.assertions.as_ref(),
        )?);
        self.check_alive(&identity)?;
        Ok(Candidate {
            token: Box::from(token),
            identity,
            not_before,
            expires_at,
            keys_epoch: verified.epoch,
        })
    }

    /// The caller, once each new token was compared with the store.
    async fn complete(&self, proofs: Proofs) -> Result<Arc<Identity>, Denial> {
        let Proofs { bearer, copies } = proofs;
        let mut seen = Proofs::default();
        if let Some(proof) = bearer {
            seen.bearer = Some(Proof::of(self.admit(proof).await));
        }
        for proof in copies {
            seen.copies.push(Proof::of(self.admit(proof).await));
        }
        seen.choose()
    }

    /// Compares a new token with the store, and adds it to the cache when they agree.
    async fn admit(&self, proof: Proof) -> Result<Arc<Identity>, Denial> {
        let candidate = match proof {
            Proof::Known(identity) => return Ok(identity),
            Proof::Bad(denial) => return Err(denial),
            Proof::New(candidate) => candidate,
        };
        let Candidate {
            token, identity, ..
        } = &candidate;
        let seen = self
            .first_sights
            .of(token, candidate.expires_at, identity.stated());
        match seen.await {
            Ok(FirstSight::Alive) => {}
            Ok(FirstSight::Ended) => return Err(Denial::new(Reason::Ended)),
            Ok(FirstSight::Stale) => return Err(Denial::new(Reason::Stale)),
            Err(_) => return Err(Denial::new(Reason::Unavailable)),
        }
        // If the session ended after the store was read, either the set contains it already, or the epoch
        // changes after this read. Therefore the epoch is read before the set.
        let epoch = self.liveness.epoch();
        self.check_alive(identity)?;
        let entry = CachedToken {
            value_bytes: identity.bytes(),
            value: Arc::clone(identity),
            not_before: candidate.not_before,
            expires_at: candidate.expires_at,
            keys_epoch: candidate.keys_epoch,
            alive_at: Cell::new(epoch),
        };
        self.cache().insert(token, entry);
        Ok(candidate.identity)
    }

    fn check_alive(&self, identity: &Identity) -> Result<(), Denial> {
        if !self.liveness.is_complete() {
            return Err(Denial::new(Reason::Unavailable));
        }
        match self.liveness.effect(identity.session.id) {
            None => Ok(()),
            Some(effect) if effect.admits(identity.version) => Ok(()),
            Some(Revoked::Ended) => Err(Denial::new(Reason::Ended)),
            Some(Revoked::Stale(_) | Revoked::StaleGeneration(_)) => {
                Err(Denial::new(Reason::Stale))
            }
        }
    }

    fn cache(&self) -> MutexGuard<'_, TokenCache<Identity>> {
        self.cache.lock()
    }
}

/// The decision of a rule about a caller, who is identified only if the rule needs it.
fn apply_rule(
    rule: &RuleMatch<'_>,
    now: Timestamp,
    caller: impl FnOnce() -> Result<Caller, Denial>,
) -> Decision {
    match rule.access {
        Access::Public => return Decision::Allow(Permit::anonymous()),
        Access::Deny => return Decision::Deny(Denial::new(Reason::Forbidden)),
        Access::Optional | Access::User => {}
    }
    match caller() {
        Ok(Caller::Known(identity)) => match Permit::of(rule.roles, identity, rule.storage, now) {
            Ok(permit) => Decision::Allow(permit),
            Err(denial) => Decision::Deny(denial),
        },
        Ok(Caller::Unseen(proofs)) => {
            let demand = Demand::of(rule, now);
            Decision::Unseen(Box::new(Unseen { proofs, demand }))
        }
        Ok(Caller::Anonymous) if rule.access == Access::Optional => {
            Decision::Allow(Permit::unknown(rule.storage))
        }
        Ok(Caller::Anonymous) => Decision::Deny(Denial::new(Reason::Missing)),
        Err(denial) => Decision::Deny(denial),
    }
}

#[cfg(test)]
#[path = "tests/mod.rs"]
mod tests;
