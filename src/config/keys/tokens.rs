//! The keys of `[tokens]`.

use crate::config::key::{Reload, keys};
use crate::config::kind::{
    File, HOUR, MINUTE, Secret, Span, Text, Texts, Word, duration, duration_or_none, file, secret,
    secs, section, text, texts, word,
};
use crate::tokens::settings::Algorithm;

keys! {
    TOKENS = section("tokens");

    /// The claim "iss" of access tokens.
    ISSUER: Text = text("tokens.issuer", "sidegate").changes(Reload::Restart);

    /// The claim "aud". Empty: no such claim.
    AUDIENCE: Texts = texts("tokens.audience", &[]);

    /// EdDSA, ES256, RS256 or HS256. Tokens with another algorithm are refused.
    ALGORITHM: Word<Algorithm> = word("tokens.algorithm", "EdDSA", &ALGORITHM_WORDS)
        .changes(Reload::Restart);

    /// The directory of the signing keys and the keys of refresh tokens. It is created at the first
    /// start.
    KEYS_DIR: File = file("tokens.keys_dir", "./data/keys").changes(Reload::Restart);

    /// The secret of HS256: at least 32 random bytes, used as written. A file is better
    /// (secret_file). Other algorithms have no secret.
    SECRET: Secret = secret("tokens.secret").changes(Reload::Restart);

    /// The file with the secret. One line end at its end is ignored. "": none.
    SECRET_FILE: File = file("tokens.secret_file", "").changes(Reload::Restart);

    /// Lifetime of an access token.
    ACCESS_TTL: Span = duration("tokens.access_ttl", "15m", secs(10)..=secs(HOUR))
        .changes(Reload::Lowered);

    /// Time in which a used refresh token returns the same new token again, for parallel tabs and
    /// lost responses.
    ROTATION_GRACE: Span = duration_or_none("tokens.rotation_grace", "30s", secs(0)..=secs(5 * MINUTE));

    /// Tolerated difference between clocks.
    LEEWAY: Span = duration("tokens.leeway", "5s", secs(0)..=secs(30)).changes(Reload::Lowered);
}

const ALGORITHM_WORDS: [(&str, Algorithm); 4] = [
    ("EdDSA", Algorithm::EdDSA),
    ("ES256", Algorithm::ES256),
    ("RS256", Algorithm::RS256),
    ("HS256", Algorithm::HS256),
];
