//! Password hashes: what matches, what costs how much, and damaged hashes.

use proptest::prelude::*;

use super::*;

const CHEAP: Settings = Settings {
    memory_kib: 64,
    iterations: 1,
    parallelism: 1,
    max_concurrent: 1,
};

fn password(text: &str) -> Password {
    Password::new(text.to_owned()).unwrap()
}

fn cheap() -> Hasher {
    Hasher::new(CHEAP).unwrap()
}

#[test]
fn a_password_matches_its_own_hash_only() {
    let (hasher, mut memory) = (cheap(), Memory::default());
    let hash = hasher.hash(&password("secret"), [1; 16], &mut memory);
    let hash = hash.unwrap();
    let mut verify = |text: &str| hasher.verify(&password(text), &hash, &mut memory);
    assert_eq!(verify("secret"), Ok(Verified::Match));
    assert_eq!(verify("Secret"), Ok(Verified::Mismatch));
    assert_eq!(verify("secret "), Ok(Verified::Mismatch));
}

#[test]
fn the_published_reference_hash_verifies() {
    // From the reference implementation's own command line: echo -n password | argon2 somesalt
    // -t 2 -m 16 -p 1 -id.
    let published = PasswordHash::new(
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
    );
    assert_eq!(
        cheap().verify(&password("password"), &published, &mut Memory::default()),
        Ok(Verified::MatchButOutdated)
    );
}

#[test]
fn the_salt_makes_two_hashes_of_one_password_differ() {
    let (hasher, mut memory) = (cheap(), Memory::default());
    let mut hash = |salt| hasher.hash(&password("secret"), salt, &mut memory).unwrap();
    assert_ne!(hash([1; 16]).expose(), hash([2; 16]).expose());
    assert_eq!(hash([1; 16]).expose(), hash([1; 16]).expose());
}

#[test]
fn a_hash_of_another_cost_matches_and_is_marked_for_rehashing() {
    let mut memory = Memory::default();
    let dearer = Hasher::new(Settings {
        memory_kib: 128,
        iterations: 2,
        ..CHEAP
    });
    let dearer = dearer.unwrap();
    let old = cheap().hash(&password("x"), [3; 16], &mut memory).unwrap();
    let fresh = dearer.hash(&password("x"), [3; 16], &mut memory).unwrap();
    let outdated = Ok(Verified::MatchButOutdated);
    assert_eq!(dearer.verify(&password("x"), &old, &mut memory), outdated);
    // Also when the operator lowered the cost.
    assert_eq!(
        cheap().verify(&password("x"), &fresh, &mut memory),
        outdated
    );
}

#[test]
fn s35_a_stored_hash_above_the_cost_limit_is_not_computed() {
    let tail = "AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for cost in [
        "m=4194304,t=1,p=1",
        "m=64,t=1000000,p=1",
        "m=1024,t=1,p=100",
    ] {
        let stored = PasswordHash::new(format!("$argon2id$v=19${cost}${tail}"));
        let mut memory = Memory::default();
        let verdict = cheap().verify(&password("x"), &stored, &mut memory);
        assert_eq!(verdict, Err(HashError::TooDear), "{cost}");
        assert_eq!(memory.held_bytes(), 0);
    }
}

#[test]
fn a_damaged_hash_is_an_error_and_never_a_mismatch() {
    let mut memory = Memory::default();
    let good = cheap().hash(&password("x"), [3; 16], &mut memory).unwrap();
    let good = good.expose();
    for bad in [
        String::new(),
        "plain".to_owned(),
        "$2y$10$abcdefghijklmnopqrstuv".to_owned(),
        good.replace("argon2id", "argon2d"),
        good.replace("v=19", "v=16"),
        good.replace("m=64", "m=064"),
        good.replace("m=64", "m=+64"),
        good.replace("m=64", "m=1"),
        good.replace("t=1", "t=0"),
        good.replace("p=1", "p=99999999"),
        good.replace("p=1", "p=1,keyid=x"),
        format!("{good}="),
        format!("{good}$"),
        good[..good.len() - 30].to_owned(),
        format!("{good}{}", "A".repeat(600)),
    ] {
        let verdict = cheap().verify(&password("x"), &PasswordHash::new(&bad), &mut memory);
        assert_eq!(verdict, Err(HashError::Corrupt), "{bad}");
    }
}

#[test]
fn s37_an_unknown_user_costs_the_memory_of_a_real_comparison() {
    let mut memory = Memory::default();
    let verdict = cheap().verify_without_account(&password("x"), None, &mut memory);
    assert_eq!(verdict, Ok(Verified::Mismatch));
    assert_eq!(memory.held_bytes(), 64 * 1024);
    // The parameter set of some account's hash.
    let other = PasswordHash::new("$argon2id$v=19$m=128,t=1,p=1$c29tZXNhbHQ$aGFzaA").cost();
    let verdict = cheap().verify_without_account(&password("x"), Some(&other), &mut memory);
    assert_eq!(verdict, Ok(Verified::Mismatch));
    assert_eq!(memory.held_bytes(), 128 * 1024);
    memory.release();
    // A cost that a comparison would refuse is not used here either.
    let dear = PasswordHash::new("$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$aGFzaA").cost();
    let verdict = cheap().verify_without_account(&password("x"), Some(&dear), &mut memory);
    assert_eq!(verdict, Ok(Verified::Mismatch));
    assert_eq!(memory.held_bytes(), 64 * 1024);
    memory.release();
    assert_eq!(memory.held_bytes(), 0);
}

#[test]
fn an_impossible_cost_is_refused_at_start() {
    for bad in [
        Settings {
            memory_kib: 0,
            ..CHEAP
        },
        Settings {
            memory_kib: 2 * 1024 * 1024,
            ..CHEAP
        },
        Settings {
            iterations: 0,
            ..CHEAP
        },
        Settings {
            parallelism: 0,
            ..CHEAP
        },
    ] {
        assert_eq!(Hasher::new(bad).err(), Some(BadCost), "{bad:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_parses_as_a_hash_or_fails_without_a_panic(text in "\\PC{0,80}") {
        let stored = PasswordHash::new(format!("$argon2id$v=19$m=64,t=1,p=1${text}"));
        let _ = cheap().verify(&password("x"), &stored, &mut Memory::default());
        prop_assert!(Stored::parse(&text).is_err());
    }
}
