//! Are access tokens issued and verified correctly as a whole? One file for each kind of test.

mod assertion;
mod claims;
mod cross;
mod rotation;
mod verify;
mod wycheproof;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::model::session::{Generation, Session};
use crate::model::user::{PasswordHash, User, UserStatus, VerifiedAddresses};
use crate::rules::session::sample;
use crate::tokens::settings::{Algorithm, Settings};
use crate::tokens::{Issuer, Keys, Verifier};
use crate::types::login::LoginName;
use crate::types::random::SeededRandom;
use crate::types::role::Roles;
use crate::types::secret::SecretBytes;
use crate::types::time::Timestamp;

pub(super) const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::EdDSA,
    Algorithm::ES256,
    Algorithm::RS256,
    Algorithm::HS256,
];
pub(super) const SECRET: &[u8] = b"u7Yp2Qx9Lk4Vb8Nz1Rt6Wc3Hd5Jf0GmS";
pub(super) const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
pub(super) const TTL: Duration = Duration::from_secs(900);

pub(super) fn settings(algorithm: Algorithm, keys_dir: &Path) -> Settings {
    Settings {
        issuer: "sidegate".to_owned(),
        audience: Vec::new(),
        algorithm,
        keys_dir: keys_dir.to_owned(),
        secret: Some(SecretBytes::new(SECRET)),
        access_ttl: TTL,
        leeway: Duration::from_secs(5),
    }
}

/// An issuer, and the verifier of its tokens, with a directory of their own.
pub(super) struct Issuance {
    pub(super) issuer: Issuer,
    pub(super) verifier: Verifier,
    pub(super) keys: Arc<Keys>,
    pub(super) random: Arc<SeededRandom>,
    _directory: tempfile::TempDir,
}

impl Issuance {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        Self::with(algorithm, |_| ())
    }

    pub(super) fn with(algorithm: Algorithm, change: impl FnOnce(&mut Settings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = settings(algorithm, directory.path());
        change(&mut settings);
        let random = Arc::new(SeededRandom::new(11));
        let (keys, _) = Keys::open(&settings, NOW, &*random).unwrap();
        let keys = Arc::new(keys);
        Self {
            issuer: Issuer::new(Arc::clone(&keys), settings.clone(), random.clone()),
            verifier: Verifier::new(Arc::clone(&keys), &settings),
            keys,
            random,
            _directory: directory,
        }
    }

    pub(super) fn token(&self) -> String {
        let session = session();
        let issued = self.issuer.issue(&session, &user(&session), NOW);
        issued.unwrap().0.expose().to_owned()
    }

    /// Signs any claims with the issuance's own key, as only its owner could.
    pub(super) fn sign(&self, claims: &str) -> String {
        let ring = self.keys.ring();
        ring.signer(NOW).unwrap().sign(claims.as_bytes()).unwrap()
    }
}

pub(super) fn session() -> Session {
    let mut session = sample(NOW);
    session.generation = Generation(3);
    session
}

pub(super) fn user(session: &Session) -> User {
    User {
        key: session.key.owner.clone(),
        username: Some(LoginName::username("ann").unwrap()),
        email: Some(LoginName::email("ann@example.org").unwrap()),
        mobile: None,
        verified: VerifiedAddresses::ALL,
        name: None,
        roles: Roles::new(["admin", "user"].map(|r| r.parse().unwrap())).unwrap(),
        password: PasswordHash::new("x"),
        status: UserStatus::Enabled,
        created_at: NOW,
        updated_at: NOW,
        version: 1,
    }
}
