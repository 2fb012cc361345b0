//! When is an assertion about a caller signed, and under which names is it written?
//!
//! It is signed when a request of the caller is permitted, and kept with the identity for half of its life. So every
//! assertion that leaves has at least the other half left, and a caller costs at most one signature per
//! [`RENEWED_AFTER`] and worker. An identity belongs to one worker, and so does its lock: nobody waits for it.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use parking_lot::Mutex;

use crate::guard::denial::{Denial, Reason};
use crate::guard::presets;
use crate::guard::settings::Preset;
use crate::model::session::SessionKey;
use crate::tokens::Asserter;
use crate::tokens::assertion::Subject;
use crate::types::role::Roles;
use crate::types::time::Timestamp;

/// How long an assertion is sent before the next one is signed.
pub const RENEWED_AFTER: Duration = Duration::from_secs(30);

/// How all identities of a guard are asserted.
#[derive(Debug)]
pub struct Assertions {
    asserter: Asserter,
    names: Vec<HeaderName>,
}

impl Assertions {
    /// Signs with this asserter, under our own name and that of the preset, if it has one.
    pub fn new(asserter: Asserter, preset: &Preset) -> Self {
        let theirs = match preset {
            Preset::Named(name) => presets::assertion_of(name),
            Preset::Custom(_) => None,
        };
        let names = [presets::ASSERTION].into_iter().chain(theirs);
        Self {
            asserter,
            names: names.map(HeaderName::from_static).collect(),
        }
    }
}

/// The assertion about one caller.
#[derive(Debug)]
pub struct Assertion {
    shared: Arc<Assertions>,
    amr: Vec<String>,
    signed: Mutex<Option<Signed>>,
}

#[derive(Debug)]
struct Signed {
    value: HeaderValue,
    renew_at: Timestamp,
}

impl Assertion {
    /// Of a caller who was authenticated by these methods. Nothing is signed yet.
    pub(super) fn new(shared: Arc<Assertions>, amr: Vec<String>) -> Self {
        Self {
            shared,
            amr,
            signed: Mutex::new(None),
        }
    }

    /// Signs, unless the last assertion is recent enough.
    pub(super) fn renew(
        &self,
        session: &SessionKey,
        roles: &Roles,
        now: Timestamp,
    ) -> Result<(), Denial> {
        let mut signed = self.signed.lock();
        if signed.as_ref().is_some_and(|last| now < last.renew_at) {
            return Ok(());
        }
        let subject = Subject {
            session,
            roles,
            amr: &self.amr,
        };
        let unsigned = Denial::new(Reason::Unsigned);
        let token = self.shared.asserter.sign(subject, now);
        let token = token.map_err(|_| unsigned)?;
        let mut value = HeaderValue::try_from(token).map_err(|_| unsigned)?;
        // No HPACK encoder stores it, and no debug output shows it.
        value.set_sensitive(true);
        *signed = Some(Signed {
            value,
            renew_at: now.plus(RENEWED_AFTER),
        });
        Ok(())
    }

    /// Writes the last assertion under each name.
    pub(super) fn write(&self, mut line: impl FnMut(&HeaderName, &HeaderValue)) {
        let value = self.signed.lock().as_ref().map(|last| last.value.clone());
        if let Some(value) = value {
            for name in &self.shared.names {
                line(name, &value);
            }
        }
    }

    /// About how many bytes this takes once it is signed: claims in base64, header and signature.
    pub(super) fn bytes(&self, roles: &Roles) -> usize {
        let words = roles.iter().map(|role| role.as_str().len() + 3);
        let words = words.chain(self.amr.iter().map(|method| method.len() + 32));
        size_of::<Self>() + TYPICAL + words.sum::<usize>() * 4 / 3
    }
}

/// The bytes of an assertion without roles, with the largest signature.
const TYPICAL: usize = 1024;
