//! An access token, before and after its signature: nothing without the key is accepted.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use sidegate::tokens::keys::Keys;
use sidegate::tokens::settings::{Algorithm, Settings};
use sidegate::tokens::verify::Verifier;
use sidegate::types::random::SystemRandom;
use sidegate::types::secret::SecretBytes;
use sidegate::types::time::Timestamp;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let settings = Settings {
        issuer: "sidegate".to_owned(),
        audience: Vec::new(),
        algorithm: Algorithm::HS256,
        keys_dir: std::env::temp_dir().join(format!("sidegate-fuzz-{}", std::process::id())),
        secret: Some(SecretBytes::new(*b"a secret that only this fuzz target has: 42")),
        access_ttl: Duration::from_secs(900),
        leeway: Duration::from_secs(5),
    };
    let (keys, _) = Keys::open(&settings, NOW, &SystemRandom).expect("keys");
    Verifier::new(Arc::new(keys), &settings)
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| assert!(VERIFIER.verify(data, NOW).is_err()));
