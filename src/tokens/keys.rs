//! Which key signs, which keys verify, and how do they change while the process runs?
//!
//! Invariant: every key in the ring has the one configured algorithm. A change replaces the whole ring and then
//! increments the epoch, so a result that was verified with a removed key is no longer valid.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::EncodingKey;
use parking_lot::Mutex;

use crate::crypto::keydir::{KeyDirError, KeyDirectory, Loaded, Validity, Warning};
use crate::crypto::refresh::{BadRefreshKeys, RefreshKeys};
use crate::crypto::signing::{BadKey, KeyKind, PublicKey, SigningKey, VerifyingKey};
use crate::crypto::strength::{WeakSecret, check_secret};
use crate::tokens::encoding::encoding_key;
use crate::tokens::settings::{ASSERTION_LIFE, Algorithm, Settings};
use crate::types::random::Random;
use crate::types::secret::SecretBytes;
use crate::types::time::Timestamp;

/// The treatment of retired keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retired {
    /// Delete them.
    Delete,
    /// Keep them, because the clock is in doubt.
    Keep,
}

/// The keys of one installation, shared by all workers.
#[derive(Debug)]
pub struct Keys {
    directory: KeyDirectory,
    algorithm: Algorithm,
    secret: Option<SecretBytes>,
    /// How long a key verifies after it stopped signing.
    keep_for: Duration,
    ring: ArcSwap<Ring>,
    refresh: ArcSwap<RefreshKeys>,
    epoch: AtomicU64,
    changing: Mutex<()>,
}

impl Keys {
    /// Opens the key directory and loads every key. The first start creates the keys. The warnings are for the
    /// operator.
    pub fn open(
        settings: &Settings,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<(Self, Vec<Warning>), KeysError> {
        Self::open_with(settings, now, Retired::Delete, random)
    }

    /// The same, with the treatment of retired keys.
    pub fn open_with(
        settings: &Settings,
        now: Timestamp,
        retired: Retired,
        random: &dyn Random,
    ) -> Result<(Self, Vec<Warning>), KeysError> {
        let algorithm = settings.algorithm;
        let secret = match algorithm {
            Algorithm::HS256 => Some(checked(settings.secret.as_ref())?),
            Algorithm::EdDSA | Algorithm::ES256 | Algorithm::RS256 => None,
        };
        let directory = KeyDirectory::open(&settings.keys_dir)?;
        directory.keep_retired(retired == Retired::Keep);
        let loaded = directory.load(kind(algorithm), now, random)?;
        let ring = Ring::new(algorithm, secret.as_ref(), &loaded, 0)?;
        let refresh = loaded.refresh_keys()?;
        let Loaded { warnings, .. } = loaded;
        let keys = Self {
            directory,
            algorithm,
            secret,
            keep_for: keep_for(settings),
            ring: ArcSwap::from_pointee(ring),
            refresh: ArcSwap::from_pointee(refresh),
            epoch: AtomicU64::new(0),
            changing: Mutex::new(()),
        };
        Ok((keys, warnings))
    }

    /// The current keys.
    pub fn ring(&self) -> Arc<Ring> {
        self.ring.load_full()
    }

    /// The current keys of the refresh MAC.
    pub fn refresh(&self) -> Arc<RefreshKeys> {
        self.refresh.load_full()
    }

    /// Counts the changes of the ring.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Creates a signing key that verifies at once and signs from `now + activate_after`. A single process can
    /// use zero. If several processes share the directory, it must be the time that they take to read the new
    /// key. Returns its id.
    pub fn rotate(
        &self,
        now: Timestamp,
        activate_after: Duration,
        random: &dyn Random,
    ) -> Result<String, KeysError> {
        let kind = kind(self.algorithm).ok_or(KeysError::SharedSecret)?;
        let _one = self.changing.lock();
        let kid =
            self.directory
                .rotate_signing(kind, now, activate_after, self.keep_for, random)?;
        self.replace(now, random)?;
        Ok(kid)
    }

    /// Creates a refresh key that signs at once. The others verify for `keep_for`, the longest life of a
    /// session. Returns its number.
    pub fn rotate_refresh(
        &self,
        now: Timestamp,
        keep_for: Duration,
        random: &dyn Random,
    ) -> Result<u8, KeysError> {
        let _one = self.changing.lock();
        let number = self.directory.rotate_refresh(now, keep_for, random)?;
        self.replace(now, random)?;
        Ok(number)
    }

    /// Reads the directory again, for example after another process rotated the keys, and drops
    /// retired keys. If the directory cannot be used, the keys do not change.
    pub fn reload(&self, now: Timestamp, random: &dyn Random) -> Result<Vec<Warning>, KeysError> {
        let _one = self.changing.lock();
        self.replace(now, random)
    }

    /// The clock is no longer in doubt: retired keys are removed now and from now on.
    pub fn let_retired_go(&self, now: Timestamp, random: &dyn Random) -> Result<(), KeysError> {
        let _one = self.changing.lock();
        self.directory.keep_retired(false);
        self.replace(now, random).map(drop)
    }

    fn replace(&self, now: Timestamp, random: &dyn Random) -> Result<Vec<Warning>, KeysError> {
        let loaded = self.directory.load(kind(self.algorithm), now, random)?;
        let epoch = self.epoch() + 1;
        let ring = Ring::new(self.algorithm, self.secret.as_ref(), &loaded, epoch)?;
        let refresh = loaded.refresh_keys()?;
        self.ring.store(Arc::new(ring));
        self.refresh.store(Arc::new(refresh));
        self.epoch.store(epoch, Ordering::Release);
        Ok(loaded.warnings)
    }
}

/// How long a key verifies after it stopped signing: for the life of its last access token, and of its last
/// assertion, which applications verify with half a minute for their clocks.
fn keep_for(settings: &Settings) -> Duration {
    let access = settings.access_ttl + settings.leeway + Duration::from_secs(1);
    access.max(ASSERTION_LIFE + Duration::from_secs(30))
}

/// The secret of HS256, if it is strong enough.
fn checked(secret: Option<&SecretBytes>) -> Result<SecretBytes, KeysError> {
    let secret = secret.ok_or(WeakSecret::Missing)?;
    check_secret(secret.expose())?;
    Ok(secret.clone())
}

/// The kind of key pair an algorithm needs; none for a shared secret.
const fn kind(algorithm: Algorithm) -> Option<KeyKind> {
    match algorithm {
        Algorithm::EdDSA => Some(KeyKind::Ed25519),
        Algorithm::ES256 => Some(KeyKind::P256),
        Algorithm::RS256 => Some(KeyKind::Rsa),
        Algorithm::HS256 => None,
    }
}

/// All keys of the configured algorithm at one moment, oldest first.
#[derive(Debug)]
pub struct Ring {
    keys: Vec<RingKey>,
    epoch: u64,
}

impl Ring {
    fn new(
        algorithm: Algorithm,
        secret: Option<&SecretBytes>,
        loaded: &Loaded,
        epoch: u64,
    ) -> Result<Self, KeysError> {
        let mut keys = Vec::new();
        if let Some(secret) = secret {
            if loaded.has_refresh_secret(secret) {
                return Err(WeakSecret::Shared("tokens.secret", "a refresh key").into());
            }
            let key = Arc::new(SigningKey::from_secret(secret.expose()));
            let kid = key.id();
            keys.push(RingKey::new(key, kid, algorithm, Validity::ALWAYS)?);
        }
        for stored in &loaded.signing {
            if Some(stored.kind) == kind(algorithm) {
                let key = Arc::clone(&stored.key);
                let kid = stored.kid.clone();
                keys.push(RingKey::new(key, kid, algorithm, stored.validity)?);
            }
        }
        Ok(Self { keys, epoch })
    }

    /// The key that signs at `now`: of those that may sign, the one that began last.
    pub fn signer(&self, now: Timestamp) -> Option<&RingKey> {
        let may_sign = self.keys.iter().filter(|key| key.validity.may_sign(now));
        may_sign.max_by_key(|key| (key.validity.signs_from, key.validity.created_at))
    }

    /// The key whose tokens begin with exactly this encoded header.
    pub(super) fn by_header(&self, header: &[u8]) -> Option<&RingKey> {
        self.keys.iter().find(|key| key.header.as_bytes() == header)
    }

    /// The key of this id.
    pub fn by_id(&self, kid: &str) -> Option<&RingKey> {
        self.keys.iter().find(|key| key.kid == kid)
    }

    /// All keys, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &RingKey> {
        self.keys.iter()
    }

    /// The epoch of this state of the ring.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }
}

/// One key with everything that a token of it needs.
#[derive(Debug)]
pub struct RingKey {
    kid: String,
    algorithm: Algorithm,
    validity: Validity,
    /// The encoded header of every token this key signs.
    header: String,
    signing: Arc<SigningKey>,
    verifying: VerifyingKey,
    /// The form of the key that assertions are signed with. It is made with the first one.
    encoding: OnceLock<EncodingKey>,
}

impl RingKey {
    fn new(
        signing: Arc<SigningKey>,
        kid: String,
        algorithm: Algorithm,
        validity: Validity,
    ) -> Result<Self, BadKey> {
        let header = format!(
            r#"{{"alg":"{}","kid":"{kid}","typ":"{TYP}"}}"#,
            algorithm.as_str()
        );
        Ok(Self {
            header: BASE64URL_NOPAD.encode(header.as_bytes()),
            verifying: signing.verifying()?,
            kid,
            algorithm,
            validity,
            signing,
            encoding: OnceLock::new(),
        })
    }

    /// Its id, as the header names it.
    pub fn id(&self) -> &str {
        &self.kid
    }

    /// The one algorithm it is for.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// From when to when it is used.
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// Its public half; none for a shared secret.
    pub fn public(&self) -> Option<PublicKey> {
        self.signing.public()
    }

    /// Signs these claims, given as JSON, into a token.
    pub(super) fn sign(&self, claims: &[u8]) -> Result<String, BadKey> {
        let mut token = format!("{}.{}", self.header, BASE64URL_NOPAD.encode(claims));
        let signature = self.signing.sign(token.as_bytes())?;
        token.push('.');
        BASE64URL_NOPAD.encode_append(&signature, &mut token);
        Ok(token)
    }

    /// The key in the form of the library that makes assertions; none of a shared secret.
    pub(super) fn encoding(&self) -> Result<&EncodingKey, BadKey> {
        if let Some(key) = self.encoding.get() {
            return Ok(key);
        }
        let key = encoding_key(self.algorithm, &self.signing)?;
        Ok(self.encoding.get_or_init(|| key))
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.verifying.verify(message, signature)
    }
}

/// The header's `typ` (RFC 9068, 2.1): no other kind of token is accepted as an access token.
pub(super) const TYP: &str = "at+jwt";

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The shared secret is missing or too weak.
    #[error("tokens.secret: {0}")]
    Secret(#[from] WeakSecret),
    /// The key directory.
    #[error(transparent)]
    Directory(#[from] KeyDirError),
    /// A key.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// The refresh keys.
    #[error(transparent)]
    Refresh(#[from] BadRefreshKeys),
    /// A shared secret signs, which cannot be rotated.
    #[error("HS256 signs with tokens.secret; change it there, and all access tokens are refreshed")]
    SharedSecret,
}
