//! Key rotation: no token is lost, and retired keys verify nothing.

use std::time::Duration;

use super::{ALGORITHMS, Desk, NOW, TTL};
use crate::tokens::Refusal;
use crate::tokens::jwks::jwks;
use crate::tokens::keys::KeysError;
use crate::tokens::settings::Algorithm;

#[test]
fn s24_rotation_loses_no_token_and_moves_the_epoch() {
    for algorithm in ALGORITHMS.into_iter().filter(|a| *a != Algorithm::HS256) {
        let desk = Desk::new(algorithm);
        let old = desk.token();
        let before = desk.verifier.epoch();
        let kid = desk
            .keys
            .rotate(NOW, Duration::ZERO, &*desk.random)
            .unwrap();
        assert_ne!(desk.verifier.epoch(), before);
        assert_eq!(desk.keys.ring().signer(NOW).unwrap().id(), kid);
        let verified = desk.verifier.verify(old.as_bytes(), NOW.plus(TTL));
        assert_eq!(
            verified.unwrap().epoch,
            desk.verifier.epoch(),
            "{algorithm:?}"
        );
        assert!(desk.verifier.verify(desk.token().as_bytes(), NOW).is_ok());
    }
}

#[test]
fn s24_the_next_signing_key_verifies_and_is_published_at_once() {
    let desk = Desk::new(Algorithm::EdDSA);
    let minute = Duration::from_secs(60);
    let old = desk.keys.ring().signer(NOW).unwrap().id().to_owned();
    let kid = desk.keys.rotate(NOW, minute, &*desk.random).unwrap();
    let ring = desk.keys.ring();
    assert_eq!(ring.signer(NOW).unwrap().id(), old);
    assert_eq!(ring.signer(NOW.plus(minute)).unwrap().id(), kid);
    let published = String::from_utf8(jwks(&ring, NOW)).unwrap();
    assert!(published.contains(&kid) && published.contains(&old));
    assert_eq!(jwks(&ring, NOW), jwks(&ring, NOW));
}

#[test]
fn s24_a_retired_key_verifies_nothing_and_is_removed_by_a_reload() {
    let desk = Desk::new(Algorithm::EdDSA);
    let old = desk.token();
    desk.keys
        .rotate(NOW, Duration::ZERO, &*desk.random)
        .unwrap();
    let retired = NOW.plus(TTL).plus(Duration::from_secs(7));
    // Also without a reload: each key in the ring has its end.
    let effect = desk.verifier.verify(old.as_bytes(), retired);
    assert_eq!(effect.err(), Some(Refusal::Key));
    desk.keys.reload(retired, &*desk.random).unwrap();
    assert_eq!(desk.keys.ring().iter().count(), 1);
    let effect = desk.verifier.verify(old.as_bytes(), NOW);
    assert_eq!(effect.err(), Some(Refusal::Key));
}

#[test]
fn a_shared_secret_is_changed_in_the_configuration_only() {
    let desk = Desk::new(Algorithm::HS256);
    let refused = desk.keys.rotate(NOW, Duration::ZERO, &*desk.random);
    assert!(matches!(refused, Err(KeysError::SharedSecret)));
    assert_eq!(
        desk.keys.rotate_refresh(NOW, TTL, &*desk.random).unwrap(),
        2
    );
}

#[test]
fn a_token_of_another_installation_is_refused() {
    let (ours, theirs) = (Desk::new(Algorithm::EdDSA), Desk::new(Algorithm::ES256));
    let effect = ours.verifier.verify(theirs.token().as_bytes(), NOW);
    assert_eq!(effect.err(), Some(Refusal::Key));
}
