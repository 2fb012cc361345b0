//! Key rotation: no token is lost, and retired keys verify nothing.

use std::time::Duration;

use super::{ALGORITHMS, Issuance, NOW, TTL};
use crate::tokens::Refusal;
use crate::tokens::jwks::jwks;
use crate::tokens::keys::KeysError;
use crate::tokens::settings::Algorithm;

#[test]
fn s24_rotation_loses_no_token_and_moves_the_epoch() {
    for algorithm in ALGORITHMS.into_iter().filter(|a| *a != Algorithm::HS256) {
        let issuance = Issuance::new(algorithm);
        let old = issuance.token();
        let before = issuance.verifier.epoch();
        let kid = issuance
            .keys
            .rotate(NOW, Duration::ZERO, &*issuance.random)
            .unwrap();
        assert_ne!(issuance.verifier.epoch(), before);
        assert_eq!(issuance.keys.ring().signer(NOW).unwrap().id(), kid);
        let verified = issuance.verifier.verify(old.as_bytes(), NOW.plus(TTL));
        assert_eq!(
            verified.unwrap().epoch,
            issuance.verifier.epoch(),
            "{algorithm:?}"
        );
        assert!(
            issuance
                .verifier
                .verify(issuance.token().as_bytes(), NOW)
                .is_ok()
        );
    }
}

#[test]
fn s24_the_next_signing_key_verifies_and_is_published_at_once() {
    let issuance = Issuance::new(Algorithm::EdDSA);
    let minute = Duration::from_secs(60);
    let old = issuance.keys.ring().signer(NOW).unwrap().id().to_owned();
    let kid = issuance
        .keys
        .rotate(NOW, minute, &*issuance.random)
        .unwrap();
    let ring = issuance.keys.ring();
    assert_eq!(ring.signer(NOW).unwrap().id(), old);
    assert_eq!(ring.signer(NOW.plus(minute)).unwrap().id(), kid);
    let published = String::from_utf8(jwks(&ring, NOW)).unwrap();
    assert!(published.contains(&kid) && published.contains(&old));
    assert_eq!(jwks(&ring, NOW), jwks(&ring, NOW));
}

#[test]
fn s24_a_retired_key_verifies_nothing_and_is_removed_by_a_reload() {
    let issuance = Issuance::new(Algorithm::EdDSA);
    let old = issuance.token();
    issuance
        .keys
        .rotate(NOW, Duration::ZERO, &*issuance.random)
        .unwrap();
    let retired = NOW.plus(TTL).plus(Duration::from_secs(7));
    // Also without a reload: each key in the ring has its end.
    let effect = issuance.verifier.verify(old.as_bytes(), retired);
    assert_eq!(effect.err(), Some(Refusal::Key));
    issuance.keys.reload(retired, &*issuance.random).unwrap();
    assert_eq!(issuance.keys.ring().iter().count(), 1);
    let effect = issuance.verifier.verify(old.as_bytes(), NOW);
    assert_eq!(effect.err(), Some(Refusal::Key));
}

#[test]
fn a_shared_secret_is_changed_in_the_configuration_only() {
    let issuance = Issuance::new(Algorithm::HS256);
    let refused = issuance.keys.rotate(NOW, Duration::ZERO, &*issuance.random);
    assert!(matches!(refused, Err(KeysError::SharedSecret)));
    assert_eq!(
        issuance
            .keys
            .rotate_refresh(NOW, TTL, &*issuance.random)
            .unwrap(),
        2
    );
}

#[test]
fn a_token_of_another_installation_is_refused() {
    let (ours, theirs) = (
        Issuance::new(Algorithm::EdDSA),
        Issuance::new(Algorithm::ES256),
    );
    let effect = ours.verifier.verify(theirs.token().as_bytes(), NOW);
    assert_eq!(effect.err(), Some(Refusal::Key));
}
