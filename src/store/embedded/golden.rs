//! Are records still encoded as in existing stores? If one of these tests fails, existing stores can no longer
//! be read: give the records another format number and a reader for the present one, and do not change the
//! bytes.

use std::fmt::Debug;
use std::time::Duration;

use data_encoding::HEXLOWER;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::audit::{Actor, AuditAction, AuditRecord};
use crate::model::lockout::Lockout;
use crate::model::revocation::{Revocation, RevocationEffect};
use crate::model::session::{EndReason, Generation, Proof, Session, SessionKey};
use crate::model::user::{
    AccountVersion, HashCosts, PasswordHash, User, UserKey, UserStatus, VerifiedAddresses,
};
use crate::store::codec;
use crate::store::embedded::commits::Commit;
use crate::store::embedded::digest::Digest;
use crate::store::embedded::founding::StoredIdentity;
use crate::store::embedded::keys;
use crate::store::embedded::records::{
    StoredChallenge, StoredDevice, StoredLockout, StoredMail, StoredRevocation, StoredSession,
    Totals,
};
use crate::store::{ChallengeId, LoginKey, MailId, Route};
use crate::types::device::{Device, DeviceKind};
use crate::types::ids::{DeviceId, SessionId, StoreId, TenantId, UserId};
use crate::types::login::LoginName;
use crate::types::role::Roles;
use crate::types::time::Timestamp;

const AT: Timestamp = Timestamp::from_millis(1_700_000_000_123);

/// Both directions: the record is encoded as the committed bytes, and these are decoded as the record.
fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(record: &T, golden: &str) {
    let bytes = codec::encode(b"key", record).unwrap();
    assert_eq!(HEXLOWER.encode(&bytes), golden, "{record:?}");
    let golden = HEXLOWER.decode(golden.as_bytes()).unwrap();
    assert_eq!(&codec::decode::<T>(b"key", &golden).unwrap(), record);
}

const SECOND_ACCOUNT: &str = concat!(
    "0218d863920461636d651011111111111111111111111111111111010003616e6e01010f616e6e40",
    "6578616d706c652e6f726701020b2b343933303132333435360103416e6e020561646d696e047573",
    "657228246172676f6e32696424763d3139246d3d382c743d312c703d312463324673644124614746",
    "7a614101fbd095ffbc31fbd095ffbc31ac020100"
);

fn owner() -> UserKey {
    UserKey {
        tenant: "acme".parse().unwrap(),
        user: UserId::from_bytes([0x11; 16]),
    }
}

fn id() -> SessionId {
    SessionId::from_bytes([0x22; 16])
}

#[test]
fn a_session() {
    let session = Session {
        key: SessionKey {
            owner: owner(),
            id: id(),
        },
        generation: Generation(7),
        salt: [0x33; 16],
        rotated_at: AT,
        created_at: AT,
        last_active_at: AT,
        expires_at: AT,
        idle_expires_at: Timestamp::MAX,
        idle_limit: Duration::from_secs(3_600),
        remembered: true,
        proof: Proof::password(AT),
        device_id: Some(DeviceId::from_bytes([0x44; 16])),
        device_label: Some("phone".to_owned()),
        device: Device {
            kind: DeviceKind::Mobile,
            browser: Some("Chrome".to_owned()),
            browser_version: None,
            system: Some("Android".to_owned()),
        },
        first_address: Some("192.0.2.1".parse().unwrap()),
        last_address: Some("2001:db8::1".parse().unwrap()),
    };
    let stored = StoredSession {
        session,
        check_at: AT,
    };
    same(
        &stored,
        concat!(
            "014cb24e330461636d65101111111111111111111111111111111110222222222222222222222222",
            "222222220733333333333333333333333333333333fbd095ffbc31fbd095ffbc31fbd095ffbc31fb",
            "d095ffbc31ffffffffffffffffff01901c00010870617373776f7264000103707764fbd095ffbc31",
            "011044444444444444444444444444444444010570686f6e650101064368726f6d65000107416e64",
            "726f69640100c0000201010120010db8000000000000000000000001fbd095ffbc31"
        ),
    );
}

#[test]
fn an_account_in_both_shapes() {
    let mut user = User {
        key: owner(),
        username: Some(LoginName::username("ann").unwrap()),
        email: Some(LoginName::email("ann@example.org").unwrap()),
        mobile: Some(LoginName::mobile("+4930123456").unwrap()),
        verified: VerifiedAddresses::NONE,
        name: Some("Ann".to_owned()),
        roles: Roles::new(["admin".parse().unwrap(), "user".parse().unwrap()]).unwrap(),
        password: PasswordHash::new("$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA"),
        status: UserStatus::Disabled,
        created_at: AT,
        updated_at: AT,
        version: 300,
    };
    let decoded = |golden: &str| {
        let golden = HEXLOWER.decode(golden.as_bytes()).unwrap();
        codec::decode_versioned::<User>(b"key", &golden).unwrap()
    };
    // Written until 0.1: no field for a verified address.
    let first = concat!(
        "01f17154b80461636d651011111111111111111111111111111111010003616e6e01010f616e6e40",
        "6578616d706c652e6f726701020b2b343933303132333435360103416e6e020561646d696e047573",
        "657228246172676f6e32696424763d3139246d3d382c743d312c703d312463324673644124614746",
        "7a614101fbd095ffbc31fbd095ffbc31ac02"
    );
    assert_eq!(decoded(first), (user.clone(), false));
    user.verified.email = true;
    let second = SECOND_ACCOUNT;
    let bytes = codec::encode_versioned(b"key", &user).unwrap();
    assert_eq!(HEXLOWER.encode(&bytes), second);
    assert_eq!(decoded(second), (user.clone(), true));
    same(
        &user.key.user,
        "01e5ed8ebb1011111111111111111111111111111111",
    );
}

#[test]
fn a_revocation() {
    let stored = |effect, why| StoredRevocation {
        revocation: Revocation {
            session: id(),
            effect,
            until: AT,
        },
        why,
        evicted_by: Some(id()),
    };
    same(
        &stored(RevocationEffect::Ended, Some(EndReason::Expired)),
        concat!(
            "01b63614c0102222222222222222222222222222222200fbd095ffbc310107011022222222222222",
            "222222222222222222"
        ),
    );
    same(
        &stored(RevocationEffect::StaleGeneration(Generation(9)), None),
        concat!(
            "012a0f028310222222222222222222222222222222220109fbd095ffbc3100011022222222222222",
            "222222222222222222"
        ),
    );
    same(
        &stored(RevocationEffect::Stale(AccountVersion(9)), None),
        concat!(
            "01999b2f4010222222222222222222222222222222220209fbd095ffbc3100011022222222222222",
            "222222222222222222"
        ),
    );
}

#[test]
fn a_failure_counter_a_challenge_an_audit_line_and_the_totals() {
    let lockout = StoredLockout {
        lockout: Lockout {
            failures: 3,
            last_failure: AT,
            locked_until: Timestamp::default(),
        },
        forget_at: AT,
        check_at: AT,
    };
    same(
        &lockout,
        "01e06c90da03fbd095ffbc3100fbd095ffbc31fbd095ffbc31",
    );
    let device = StoredDevice {
        failures: lockout.lockout,
        logins: 300,
        known_until: AT,
        check_at: AT,
    };
    same(
        &device,
        "01fe74b42d03fbd095ffbc3100ac02fbd095ffbc31fbd095ffbc31",
    );
    let mut costs = HashCosts::default();
    costs.add(PasswordHash::new("$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA").cost());
    same(
        &costs,
        "018ccda4a9011a246172676f6e32696424763d3139246d3d382c743d312c703d3101",
    );
    let challenge = StoredChallenge {
        proof: [0x55; 32],
        attempts: 5,
        expires_at: AT,
        payload: b"payload".to_vec(),
    };
    same(
        &challenge,
        concat!(
            "01ad608912555555555555555555555555555555555555555555555555555555555555555505fbd0",
            "95ffbc31077061796c6f6164"
        ),
    );
    let line = AuditRecord {
        at: AT,
        action: AuditAction::KeyRotate,
        outcome: "done".to_owned(),
        tenant: TenantId::default(),
        user: Some(UserId::from_bytes([0x11; 16])),
        session: Some(id()),
        actor: Actor::System,
        address: None,
        request_id: Some("r-1".to_owned()),
        count: None,
    };
    same(
        &line,
        concat!(
            "011ef8543dfbd095ffbc310c04646f6e650764656661756c74011011111111111111111111111111",
            "11111101102222222222222222222222222222222202000103722d31"
        ),
    );
    let totals = Totals {
        sessions: 1,
        users: 2,
        audit_lines: 300,
    };
    same(&totals, "01efa2faf40102ac02");
}

#[test]
fn a_mail() {
    let mail = StoredMail {
        owner: owner(),
        queued_at: AT,
        attempts: 3,
        sealed: vec![0x99; 4],
    };
    same(
        &mail,
        "01f0f0dc6b0461636d651011111111111111111111111111111111fbd095ffbc31030499999999",
    );
    assert_eq!(
        keys::mail_parts(&keys::mail(AT, MailId([0x88; 16]))),
        Some((AT, MailId([0x88; 16])))
    );
}

#[test]
fn a_commit_and_the_identity() {
    let commit = Commit {
        number: 300,
        digest: Digest::of(b"key", b"value"),
    };
    same(
        &commit,
        "0103af4f64ac02d1ddacbb92ffa0da9a01eecaffdddd8181d45fea81d8c6bce8b5fc2db892cfa4bbacd2afa801",
    );
    let identity = StoredIdentity {
        store: StoreId::from_bytes([0x77; 16]),
        bound: true,
    };
    same(&identity, "01269c7856107777777777777777777777777777777701");
}

#[test]
fn the_keys() {
    let route = Route::of(&owner());
    let login = LoginKey {
        tenant: "acme".parse().unwrap(),
        login: LoginName::username("ann").unwrap(),
    };
    let session = keys::session(route, id());
    let all = [
        keys::expiry(AT, &session),
        session,
        keys::session_index(id(), route),
        keys::account(&owner()),
        keys::login(&login),
        keys::lockout(&login),
        keys::account_lockout(&owner()),
        keys::device(&owner(), DeviceId::from_bytes([0x44; 16])),
        keys::challenge(ChallengeId([0x66; 16])),
        keys::mail(AT, MailId([0x88; 16])),
        keys::revocation(route, id()),
        keys::audit(AT, 7),
        keys::audit_index(route, AT, 7),
    ];
    let all = all.map(|key| HEXLOWER.encode(&key));
    let golden = [
        "580000018bcfe5687b534d25b9757fee398034225a6b9008603922222222222222222222222222222222",
        "534d25b9757fee398034225a6b9008603922222222222222222222222222222222",
        "49222222222222222222222222222222224d25b9757fee398034225a6b90086039",
        "410461636d6511111111111111111111111111111111",
        "4c0461636d6575e1453b45eedce554a26c45d0592c435510b01826229bebe689de5bfcb4ce4274",
        "460461636d6575e1453b45eedce554a26c45d0592c435510b01826229bebe689de5bfcb4ce4274",
        "460461636d656111111111111111111111111111111111",
        "440461636d651111111111111111111111111111111144444444444444444444444444444444",
        "4366666666666666666666666666666666",
        "510000018bcfe5687b88888888888888888888888888888888",
        "524d25b9757fee398034225a6b9008603922222222222222222222222222222222",
        "550000018bcfe5687b0000000000000007",
        "564d25b9757fee398034225a6b900860390000018bcfe5687b0000000000000007",
    ];
    assert_eq!(all, golden);
}
