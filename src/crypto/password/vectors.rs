//! Hashes that other programs made: each is accepted and matches its own password only.
//!
//! Made with `htpasswd` of Apache 2.4.71, Django 5.2.19, passlib 1.7.4, bcrypt 5.0.0 and argon2-cffi 25.1.0.

use proptest::prelude::*;

use super::*;

const CHEAP: Settings = Settings {
    memory_kib: 64,
    iterations: 1,
    parallelism: 1,
    max_concurrent: 1,
};

const KETTLE: &str = "blue kettle on fire";
const UMLAUTS: &str = "p\u{e4}ssw\u{f6}rd \u{20ac}";
/// Forty times the letter a.
const LONG: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// The program, its hash, the password and the parameter set in the store.
const VECTORS: &[(&str, &str, &str, &str)] = &[
    (
        "htpasswd -m",
        "$apr1$0PYHfMaN$RZFO/F6Nre5/HRiUAPjIS/",
        KETTLE,
        "$apr1$i=1000",
    ),
    (
        "htpasswd -m",
        "$apr1$06oo9FhK$nIahJ/ieQYIT9fX6QhK.p.",
        UMLAUTS,
        "$apr1$i=1000",
    ),
    (
        "htpasswd -m",
        "$apr1$Jjcorv80$OvJpskgq5uxQjN36wO3UZ1",
        "x",
        "$apr1$i=1000",
    ),
    (
        "passlib apr_md5_crypt",
        "$apr1$ab$x2ciG1h3ZrZ8tEzWTvAmA0",
        KETTLE,
        "$apr1$i=1000",
    ),
    (
        "passlib apr_md5_crypt",
        "$apr1$uife9ldw$dT1/j7K2usKtHV60/YTKI/",
        UMLAUTS,
        "$apr1$i=1000",
    ),
    (
        "passlib apr_md5_crypt",
        "$apr1$3qYsq.3p$OGRtbjXgpJlkdQL5jbAbn/",
        LONG,
        "$apr1$i=1000",
    ),
    (
        "passlib apr_md5_crypt",
        "$apr1$y.PdKoYk$PFyThAiEpwPD6paPdJdk1/",
        "q",
        "$apr1$i=1000",
    ),
    (
        "htpasswd -B -C 5",
        "$2y$05$KO3odOG9uhyVo2bN5pIlxO/XrU4yWIG.9F8JzgEvZ5p7MVda16Sxe",
        KETTLE,
        "$bcrypt$c=5",
    ),
    (
        "htpasswd -B -C 4",
        "$2y$04$5eYbKkIlNqnD/.azDDMkKO1TmAvN1/ZW6SmusROgecUis9YsGyb1y",
        UMLAUTS,
        "$bcrypt$c=4",
    ),
    (
        "bcrypt with prefix 2a",
        "$2a$04$a/PGqI98UgSvgqcPg1qpIuKto1t/S8LV9Ft22ThsftnBaOmm96Lbe",
        KETTLE,
        "$bcrypt$c=4",
    ),
    (
        "bcrypt with prefix 2b",
        "$2b$04$nUAtkSIbXDmWqTwC0cCCveAcWuACaBYbDs8wxPVkK5vi6Vcv.0d4i",
        UMLAUTS,
        "$bcrypt$c=4",
    ),
    (
        "Django BCryptPasswordHasher",
        "bcrypt$$2b$04$U4Uaj1VE0ANW27knY7BzkeakRSMQcYATRK5jYbPcNCB8eex/BH556",
        KETTLE,
        "$bcrypt$c=4",
    ),
    (
        "htpasswd -s",
        "{SHA}Vil3I8rG9S4dozMU1QNnIqCTPr0=",
        KETTLE,
        "$sha1$i=1",
    ),
    (
        "Django PBKDF2PasswordHasher",
        "pbkdf2_sha256$1000$saltSALT12345678$LLfY1Aamz+TXN1pcge71FMY+L8PTDhLiwI6UmH3+0iI=",
        KETTLE,
        "$pbkdf2-sha256$i=1000",
    ),
    (
        "Django PBKDF2PasswordHasher, its own parameters",
        "pbkdf2_sha256$1000000$abcDEFghiJKLmnoPQRstuv$6BgdJWrq00XgbzxBkei9q3N/5cOqz1jbLAEoCpN9Fng=",
        KETTLE,
        "$pbkdf2-sha256$i=1000000",
    ),
    (
        "Django PBKDF2SHA1PasswordHasher",
        "pbkdf2_sha1$1000$saltSALT12345678$WhUMH+jJmblMxxzzYUP4Qv7zGiw=",
        KETTLE,
        "$pbkdf2-sha1$i=1000",
    ),
    (
        "Django ScryptPasswordHasher",
        "scrypt$1024$saltSALT12345678$8$5$Os1oPRNyYdicAtEPYMOdb+1qt4RSVjm+/pGd/NKhi7AfdXf1DDIWezIhKzSr4dW49O2HFU+S/Ztxvx01neeyag==",
        KETTLE,
        "$scrypt$ln=10,r=8,p=5",
    ),
    (
        "Django ScryptPasswordHasher",
        "scrypt$1024$saltSALT12345678$8$5$z+pN2J1/rDtWcJ936w7BakCQQq0PyHbjjkUNe4eiddjf63xb/cosjQUFAON75l5ULk+32+gC7sHNVx/I7kUBfg==",
        UMLAUTS,
        "$scrypt$ln=10,r=8,p=5",
    ),
    (
        "passlib scrypt",
        "$scrypt$ln=8,r=8,p=2$PmfMeQ/BeO+dk3IuJaRU6g$4l/JA+GGZb0ppET3U4syA/kpUcouUM0tl4OjYTj+Ay8",
        KETTLE,
        "$scrypt$ln=8,r=8,p=2",
    ),
    (
        "passlib argon2, type I",
        "$argon2i$v=19$m=64,t=2,p=1$AQAAwNhb6x1DyFkLofT+Pw$g+WsaFlqhKpZAH0UgaPVm3vrvjGxDB19kiXqZ0yX/WU",
        KETTLE,
        "$argon2i$v=19$m=64,t=2,p=1",
    ),
    (
        "passlib argon2, type ID",
        "$argon2id$v=19$m=64,t=2,p=1$8X6vtfYeI0RIyRnjHINQig$6q/AHe+mADn4ZQtbgOBOg0KEnbLx+FKwy9hP+VIvMqM",
        KETTLE,
        "$argon2id$v=19$m=64,t=2,p=1",
    ),
    (
        "Django Argon2PasswordHasher",
        "argon2$argon2id$v=19$m=64,t=2,p=1$c2FsdFNBTFQxMjM0NTY3OA$P2yACYFMtkcDQAqnSeHZblaIZ+xEUOmwVOH38r9aWnM",
        KETTLE,
        "$argon2id$v=19$m=64,t=2,p=1",
    ),
];

fn hasher() -> Hasher {
    Hasher::new(CHEAP).unwrap()
}

fn verify(text: &str, stored: &PasswordHash) -> Result<Verified, HashError> {
    let password = Password::new(text.to_owned()).unwrap();
    hasher().verify(&password, stored, &mut Memory::default())
}

#[test]
fn hashes_of_other_programs_match_their_password_only_and_are_to_be_replaced() {
    for (program, hash, password, cost) in VECTORS {
        let stored = hasher().adopt(hash).expect(program);
        assert_eq!(stored.cost().as_str(), *cost, "{program}");
        assert_eq!(
            verify(password, &stored),
            Ok(Verified::MatchButOutdated),
            "{program}"
        );
        for wrong in ["X", "blue kettle on fir", "blue kettle on fire "] {
            assert_eq!(verify(wrong, &stored), Ok(Verified::Mismatch), "{program}");
        }
    }
}

#[test]
fn bcrypt_reads_72_bytes_of_a_password_like_other_programs() {
    // htpasswd with a hundred letters, bcrypt with 72.
    for hash in [
        "$2y$04$bqzteyI84.AmJ55x/bGuhe6tgS/5LzeVt5CBT9SCIJxCeOY0ybUwu",
        "$2b$04$PXV2BoTZeg2038Hv8o/P..EATFHsGkTw1QvCJyRpyr8NwZMsB4Q2y",
    ] {
        let stored = hasher().adopt(hash).unwrap();
        let outdated = Ok(Verified::MatchButOutdated);
        assert_eq!(verify(&"a".repeat(72), &stored), outdated);
        assert_eq!(verify(&"a".repeat(100), &stored), outdated);
        assert_eq!(verify(&"a".repeat(71), &stored), Ok(Verified::Mismatch));
    }
}

#[test]
fn a_hash_of_an_unknown_kind_is_refused() {
    for bad in [
        "",
        "plain text",
        // Made by htpasswd -d, openssl passwd -5, and md5sum.
        "Lj7z7A3qyPFQo",
        "$5$saltsalt$z9Sqpu2yKEq.7.Bc6AFq.TsJjlQTXRZ5XpSjyVxyQP6",
        "5f4dcc3b5aa765d61d8327deb882cf99",
        "bcrypt_sha256$$2b$04$ptuBQ3WBq.Jc9rZmfKWLouTotfmZ0gmC1NWpHSYQ3hMiu7rmC82fG",
        "{SSHA}DkMTwBl+a/3DQTxCYEApdUtNXGgdUac3",
        "$argon2d$v=19$m=64,t=2,p=1$AQAAwNhb6x1DyFkLofT+Pw$g+WsaFlqhKpZAH0UgaPVm3vrvjGxDB19kiXqZ0yX",
        "!",
        &"x".repeat(600),
        &format!("{{SHA}}{}", "A".repeat(600)),
    ] {
        assert_eq!(hasher().adopt(bad), Err(BadHash::Unknown), "{bad}");
    }
}

#[test]
fn a_damaged_hash_is_refused() {
    for (_, hash, _, _) in VECTORS {
        for bad in [
            // An Argon2 hash may have any length of 16 bytes and more.
            &hash[..hash.len() - if hash.contains("argon2") { 25 } else { 3 }],
            &format!("{hash}$"),
            &format!("{hash}!!!!"),
        ] {
            let refused = hasher().adopt(bad);
            assert!(
                matches!(refused, Err(BadHash::Damaged(_))),
                "{bad}: {refused:?}"
            );
        }
    }
    for bad in [
        "$2y$03$KO3odOG9uhyVo2bN5pIlxO/XrU4yWIG.9F8JzgEvZ5p7MVda16Sxe",
        "$2y$+5$KO3odOG9uhyVo2bN5pIlxO/XrU4yWIG.9F8JzgEvZ5p7MVda16Sxe",
        "$2y$32$KO3odOG9uhyVo2bN5pIlxO/XrU4yWIG.9F8JzgEvZ5p7MVda16Sxe",
        "$2x$05$KO3odOG9uhyVo2bN5pIlxO/XrU4yWIG.9F8JzgEvZ5p7MVda16Sxe",
        "$2y$05$",
        "pbkdf2_sha256$0$salt$LLfY1Aamz+TXN1pcge71FMY+L8PTDhLiwI6UmH3+0iI=",
        "pbkdf2_sha256$-1$salt$LLfY1Aamz+TXN1pcge71FMY+L8PTDhLiwI6UmH3+0iI=",
        "pbkdf2_sha256$1000$$LLfY1Aamz+TXN1pcge71FMY+L8PTDhLiwI6UmH3+0iI=",
        "pbkdf2_sha1$1000$salt$LLfY1Aamz+TXN1pcge71FMY+L8PTDhLiwI6UmH3+0iI=",
        "$scrypt$ln=0,r=8,p=2$PmfMeQ/BeO+dk3IuJaRU6g$4l/JA+GGZb0ppET3U4syA/kpUcouUM0tl4OjYTj+Ay8",
        "$scrypt$ln=64,r=8,p=2$PmfMeQ/BeO+dk3IuJaRU6g$4l/JA+GGZb0ppET3U4syA/kpUcouUM0tl4OjYTj+Ay8",
        "$scrypt$ln=8,r=0,p=2$PmfMeQ/BeO+dk3IuJaRU6g$4l/JA+GGZb0ppET3U4syA/kpUcouUM0tl4OjYTj+Ay8",
        "scrypt$1000$salt$8$1$4l/JA+GGZb0ppET3U4syA/kpUcouUM0tl4OjYTj+Ay8=",
        "scrypt$1$salt$8$1$4l/JA+GGZb0ppET3U4syA/kpUcouUM0tl4OjYTj+Ay8=",
        "$apr1$$x2ciG1h3ZrZ8tEzWTvAmA0",
        "$apr1$morethan8$x2ciG1h3ZrZ8tEzWTvAmA",
        "$apr1$morethan8x$x2ciG1h3ZrZ8tEzWTvAmA0",
        "{SHA}",
        "{SHA}AAAA",
        "$argon2i$v=16$m=64,t=2,p=1$AQAAwNhb6x1DyFkLofT+Pw$g+WsaFlqhKpZAH0UgaPVm3vrvjGxDB19kiXqZ0yX/WU",
        "$argon2id$m=64,t=2,p=1$AQAAwNhb6x1DyFkLofT+Pw$g+WsaFlqhKpZAH0UgaPVm3vrvjGxDB19kiXqZ0yX/WU",
    ] {
        let refused = hasher().adopt(bad);
        assert!(
            matches!(refused, Err(BadHash::Damaged(_))),
            "{bad}: {refused:?}"
        );
    }
}

const DEAR: &[(&str, &str)] = &[
    (
        "$2y$17$KO3odOG9uhyVo2bN5pIlxO/XrU4yWIG.9F8JzgEvZ5p7MVda16Sxe",
        "$bcrypt$c=17",
    ),
    (
        "pbkdf2_sha256$5000001$salt$LLfY1Aamz+TXN1pcge71FMY+L8PTDhLiwI6UmH3+0iI=",
        "$pbkdf2-sha256$i=5000001",
    ),
    // 512 MiB, much work in little memory, and a product that does not fit 32 bits.
    (
        "$scrypt$ln=19,r=8,p=1$PmfMeQ/BeO+dk3IuJaRU6g$4l/JA+GGZb0ppET3U4syA/kpUcouUM0tl4OjYTj+Ay8",
        "$scrypt$ln=19,r=8,p=1",
    ),
    (
        "$scrypt$ln=17,r=8,p=9$PmfMeQ/BeO+dk3IuJaRU6g$4l/JA+GGZb0ppET3U4syA/kpUcouUM0tl4OjYTj+Ay8",
        "$scrypt$ln=17,r=8,p=9",
    ),
    (
        "scrypt$1024$salt$4294967295$4294967295$4l/JA+GGZb0ppET3U4syA/kpUcouUM0tl4OjYTj+Ay8=",
        "$scrypt$ln=10,r=4294967295,p=4294967295",
    ),
    (
        "$argon2i$v=19$m=4194304,t=2,p=1$AQAAwNhb6x1DyFkLofT+Pw$g+WsaFlqhKpZAH0UgaPVm3vrvjGxDB19kiXqZ0yX/WU",
        "$argon2i$v=19$m=4194304,t=2,p=1",
    ),
    (
        "$argon2id$v=19$m=64,t=1000,p=1$AQAAwNhb6x1DyFkLofT+Pw$g+WsaFlqhKpZAH0UgaPVm3vrvjGxDB19kiXqZ0yX/WU",
        "$argon2id$v=19$m=64,t=1000,p=1",
    ),
];

#[test]
fn s35_a_hash_above_the_cost_limit_is_refused_and_never_computed() {
    for (hash, cost) in DEAR {
        let refused = hasher().adopt(hash);
        assert!(
            matches!(refused, Err(BadHash::TooDear(_))),
            "{hash}: {refused:?}"
        );
        // A manipulated store.
        let tail = "AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let tail = if cost.contains("bcrypt") {
            &tail[..tail.len() - 12]
        } else {
            tail
        };
        let stored = PasswordHash::new(format!("{cost}${tail}"));
        assert_eq!(verify("x", &stored), Err(HashError::TooDear), "{cost}");
        let mut memory = Memory::default();
        let password = Password::new("x".to_owned()).unwrap();
        let none = hasher().verify_without_account(&password, Some(&stored.cost()), &mut memory);
        assert_eq!(none, Ok(Verified::Mismatch));
        assert_eq!(
            memory.held_bytes(),
            64 * 1024,
            "the configured cost instead"
        );
    }
}

#[test]
fn s37_an_unknown_user_costs_the_work_of_an_imported_hash() {
    for (program, hash, _, cost) in VECTORS {
        let stored = hasher().adopt(hash).unwrap();
        let mut memory = Memory::default();
        let password = Password::new("x".to_owned()).unwrap();
        let none = hasher().verify_without_account(&password, Some(&stored.cost()), &mut memory);
        assert_eq!(none, Ok(Verified::Mismatch), "{program}");
        // The configured Argon2 hash would have taken 64 KiB.
        let is_argon2 = cost.contains("argon2");
        assert_eq!(memory.held_bytes() > 0, is_argon2, "{program}");
    }
}

#[test]
fn no_refusal_contains_the_hash() {
    for bad in ["plain text", "$2y$05$secretsecret", "{SHA}secret"] {
        let refused = hasher().adopt(bad).unwrap_err().to_string();
        assert!(
            !refused.contains("secret") && !refused.contains("plain"),
            "{refused}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_is_accepted_or_refused_and_what_is_accepted_can_be_compared(
        start in 0..VECTORS.len(),
        cut in 0_usize..130,
        tail in "[$=,A-Za-z0-9./+{}]{0,60}",
    ) {
        let hash = VECTORS[start].1;
        let text = format!("{}{tail}", &hash[..cut.min(hash.len())]);
        if let Ok(stored) = hasher().adopt(&text) {
            prop_assert!(!stored.cost().as_str().is_empty());
            let parsed = Foreign::parse(stored.expose());
            prop_assert!(parsed.is_some() || Stored::parse(stored.expose()).is_ok());
        }
        prop_assert!(Foreign::parse(&tail).is_none() || tail.starts_with('$'));
    }
}
