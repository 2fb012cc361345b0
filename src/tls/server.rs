//! The server side of TLS: versions 1.2 and 1.3, one policy for all names, certificates that are reloaded
//! while connections are open.
//!
//! The certificates in force are always usable. If files cannot be used, the earlier ones stay in force,
//! and the failure is logged once and counted. The files are opened by name each time, so that a mounted
//! folder that is replaced as a whole (Kubernetes replaces a link) is followed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;

use crate::tls::files::{BadFile, chain, chain_and_key, fingerprint};
use crate::tls::names::{ByName, expires};
use crate::tls::provider;
use crate::tls::settings::{ClientAuth, Pair, Settings};
use crate::types::time::Timestamp;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadSetup {
    /// A file.
    #[error(transparent)]
    File(#[from] BadFile),
    /// A certificate and a key that do not match, or that cannot be used.
    #[error("{} and {}: {error}", cert.display(), key.display())]
    Pair {
        /// The chain's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The problem.
        error: rustls::Error,
    },
    /// The authorities of clients.
    #[error("{}: {problem}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// The cryptography.
    #[error("TLS cannot be set up: {0}")]
    Crypto(#[from] rustls::Error),
    /// There is no pair.
    #[error("there is no certificate")]
    Nothing,
}

/// The result of a check of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// They are as they were.
    Same,
    /// They are in force.
    Taken,
    /// They cannot be used; the earlier ones stay in force.
    Kept(String),
}

/// The configuration for new handshakes.
#[derive(Debug)]
pub struct ServerTls {
    settings: ArcSwap<Settings>,
    current: ArcSwap<ServerConfig>,
    /// The state of the files when they were last read. It is locked while files are read and put
    /// into force, so that a check that began with other settings never overwrites a newer one.
    seen: Mutex<u64>,
    failed: AtomicU64,
    failed_handshakes: AtomicU64,
}

/// Files that were read and can be put into force.
#[derive(Debug)]
pub struct Setup {
    settings: Settings,
    config: ServerConfig,
    seen: u64,
}

impl Setup {
    /// Reads the files; they must be usable.
    pub fn read(settings: Settings, now: Timestamp) -> Result<Self, BadSetup> {
        Ok(Self {
            seen: fingerprint(settings.files()),
            config: build(&settings, now)?,
            settings,
        })
    }
}

impl ServerTls {
    /// Reads the files; they must be usable.
    pub fn open(settings: Settings, now: Timestamp) -> Result<Self, BadSetup> {
        let setup = Setup::read(settings, now)?;
        Ok(Self {
            settings: ArcSwap::from_pointee(setup.settings),
            current: ArcSwap::from_pointee(setup.config),
            seen: Mutex::new(setup.seen),
            failed: AtomicU64::new(0),
            failed_handshakes: AtomicU64::new(0),
        })
    }

    /// Puts the files that were read into force for the next handshake. They may have other names
    /// than before.
    pub fn take(&self, setup: Setup) {
        let mut seen = self.lock();
        *seen = setup.seen;
        self.settings.store(Arc::new(setup.settings));
        self.current.store(Arc::new(setup.config));
    }

    /// The configuration of the next handshake.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// The settings.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// How often files could not be used.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Counts a handshake that failed.
    pub fn handshake_failed(&self) {
        self.failed_handshakes.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of handshakes that failed.
    pub fn failed_handshakes(&self) -> u64 {
        self.failed_handshakes.load(Ordering::Relaxed)
    }

    /// Reads the files if they have changed. A file that cannot be used is reported once, not at every
    /// check.
    pub fn look(&self, now: Timestamp) -> Outcome {
        self.look_and(now, || ())
    }

    /// The same, and calls `between` after the check and before the read, for tests.
    fn look_and(&self, now: Timestamp, between: impl FnOnce()) -> Outcome {
        let mut seen = self.lock();
        let is = fingerprint(self.settings().files());
        if std::mem::replace(&mut *seen, is) == is {
            return Outcome::Same;
        }
        between();
        self.read(now)
    }

    fn read(&self, now: Timestamp) -> Outcome {
        match build(&self.settings(), now) {
            Ok(config) => {
                self.current.store(Arc::new(config));
                tracing::info!("certificates are reloaded");
                Outcome::Taken
            }
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "certificates cannot be reloaded, the old ones stay");
                Outcome::Kept(error.to_string())
            }
        }
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, u64> {
        self.seen.lock()
    }
}

fn build(settings: &Settings, now: Timestamp) -> Result<ServerConfig, BadSetup> {
    let keys: Result<Vec<_>, _> = settings
        .pairs
        .iter()
        .map(|pair| certified(pair, now).map(Arc::new))
        .collect();
    let keys = keys?;
    let (default, others) = keys.split_first().ok_or(BadSetup::Nothing)?;
    let builder =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match &settings.client_auth {
        ClientAuth::Off => builder.with_no_client_auth(),
        ClientAuth::Optional { ca } | ClientAuth::Required { ca } => {
            let bad = |problem: String| BadSetup::Authorities {
                path: ca.clone(),
                problem,
            };
            let mut roots = RootCertStore::empty();
            for root in chain(ca)? {
                roots.add(root).map_err(|error| bad(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
            let verifier = match &settings.client_auth {
                ClientAuth::Required { .. } => verifier,
                _ => verifier.allow_unauthenticated(),
            };
            let verifier = verifier.build().map_err(|error| bad(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(ByName::new(Arc::clone(default), others)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if settings.client_auth == ClientAuth::Off {
        config.ticketer = Ticketer::new()?;
    } else {
        // A resumed session is not verified again: it would be accepted after its certificate has expired, or
        // after its authority was removed from the file.
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

fn certified(pair: &Pair, now: Timestamp) -> Result<CertifiedKey, BadSetup> {
    let (chain, key) = chain_and_key(&pair.cert, &pair.key)?;
    let is_over = chain
        .first()
        .and_then(|own| expires(own))
        .is_some_and(|end| i128::from(end) < i128::from(now.as_secs()));
    if is_over {
        tracing::warn!(file = %pair.cert.display(), "this certificate has expired");
    }
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| BadSetup::Pair {
        cert: pair.cert.clone(),
        key: pair.key.clone(),
        error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn write(folder: &Path, cert: bool, key: bool) {
        let made = rcgen::generate_simple_self_signed(["a.example.org".to_owned()]).unwrap();
        if cert {
            std::fs::write(folder.join("tls.crt"), made.cert.pem()).unwrap();
        }
        if key {
            std::fs::write(folder.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
        }
    }

    fn settings(folder: &Path) -> Settings {
        Settings {
            pairs: vec![Pair {
                cert: folder.join("tls.crt"),
                key: folder.join("tls.key"),
            }],
            client_auth: ClientAuth::Off,
        }
    }

    #[test]
    fn changed_files_are_loaded_and_invalid_ones_are_refused_and_logged_once() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(folder, true, true);
        let tls = ServerTls::open(settings(folder), NOW).unwrap();
        let first = tls.current.load_full();
        assert_eq!(tls.look(NOW), Outcome::Same);
        write(folder, true, false);
        let Outcome::Kept(why) = tls.look(NOW) else {
            panic!("a key that is another certificate's");
        };
        assert!(why.contains("tls.key"), "{why}");
        assert_eq!(tls.look(NOW), Outcome::Same);
        assert_eq!(tls.failed(), 1);
        std::fs::remove_file(folder.join("tls.key")).unwrap();
        assert!(matches!(tls.look(NOW), Outcome::Kept(_)));
        assert!(Arc::ptr_eq(&first, &tls.current.load_full()));
        write(folder, true, true);
        assert_eq!(tls.look(NOW), Outcome::Taken);
        assert!(!Arc::ptr_eq(&first, &tls.current.load_full()));
        let in_force = tls.current.load_full();
        tls.take(Setup::read(settings(folder), NOW).unwrap());
        assert!(!Arc::ptr_eq(&in_force, &tls.current.load_full()));
    }

    #[test]
    fn a_directory_that_is_replaced_as_a_whole_is_reloaded() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        for made in [&old, &new] {
            std::fs::create_dir(made).unwrap();
            write(made, true, true);
        }
        let link = folder.path().join("..data");
        std::os::unix::fs::symlink(&old, &link).unwrap();
        let tls = ServerTls::open(settings(&link), NOW).unwrap();
        let next = folder.path().join("..next");
        std::os::unix::fs::symlink(&new, &next).unwrap();
        std::fs::rename(&next, &link).unwrap();
        assert_eq!(tls.look(NOW), Outcome::Taken);
    }

    #[test]
    fn a_check_that_began_before_a_reload_does_not_undo_it() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        for made in [&old, &new] {
            std::fs::create_dir(made).unwrap();
            write(made, true, true);
        }
        let tls = ServerTls::open(settings(&old), NOW).unwrap();
        write(&old, true, true);
        let required = Settings {
            client_auth: ClientAuth::Required {
                ca: new.join("tls.crt"),
            },
            ..settings(&new)
        };
        let setup = Setup::read(required, NOW).unwrap();
        let (begins, begun) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            tls.look_and(NOW, || {
                scope.spawn(|| {
                    begins.send(()).unwrap();
                    tls.take(setup);
                });
                begun.recv().unwrap();
            });
        });
        // Only without client certificates is there anything to resume.
        assert_eq!(tls.config().send_tls13_tickets, 0);
        assert_eq!(tls.look(NOW), Outcome::Same);
    }

    #[test]
    fn a_start_without_usable_files_names_them() {
        let folder = tempfile::tempdir().unwrap();
        let error = ServerTls::open(settings(folder.path()), NOW).unwrap_err();
        assert!(error.to_string().contains("tls.crt"), "{error}");
    }
}
