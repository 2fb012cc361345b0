//! Identifiers. All are opaque to callers; user and session ids are `UUIDv7` (RFC 9562, 5.7), so
//! they sort by creation and are never reused.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

use crate::types::random::Random;
use crate::types::time::Timestamp;

/// Text that is not an identifier of the expected kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid identifier")]
pub struct BadId;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(Uuid);

        impl $name {
            /// The length of an id as text, in bytes.
            pub const TEXT: usize = 36;

            /// Makes a fresh id from the given moment and randomness.
            pub fn generate(now: Timestamp, random: &dyn Random) -> Self {
                let mut bytes = [0u8; 10];
                random.fill(&mut bytes);
                Self(Builder::from_unix_timestamp_millis(now.as_millis(), &bytes).into_uuid())
            }

            /// The moment in the id's first 48 bits: when it was made, in milliseconds.
            pub fn made_at(&self) -> Timestamp {
                let [a, b, c, d, e, f, ..] = *self.0.as_bytes();
                Timestamp::from_millis(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
            }

            /// Rebuilds an id from its sixteen bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The sixteen bytes of the id.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The id as text, as `Display` shows it, without the cost of formatting.
            pub fn text<'a>(&self, buffer: &'a mut [u8; Self::TEXT]) -> &'a str {
                self.0.as_hyphenated().encode_lower(buffer)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            /// Accepts the hyphenated lower-case form only, so that one id has one spelling.
            fn from_str(text: &str) -> Result<Self, BadId> {
                let id = Uuid::try_parse(text).map_err(|_| BadId)?;
                let mut canonical = [0u8; 36];
                if id.as_hyphenated().encode_lower(&mut canonical) == text {
                    Ok(Self(id))
                } else {
                    Err(BadId)
                }
            }
        }
    };
}

uuid_id!(
    /// One account. Never reused, also not after the account is deleted.
    UserId
);
uuid_id!(
    /// One log-in of one user on one device. It stays the same over every refresh.
    SessionId
);
uuid_id!(
    /// The claim `jti`: one issued access token.
    TokenId
);
uuid_id!(
    /// A device, identified by its cookie.
    DeviceId
);

uuid_id!(
    /// One store, from its creation on. The key directory names the store that it belongs to.
    StoreId
);

/// A tenant, with which every stored key begins. 1 to 64 of `a-z 0-9 . _ -`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// The tenant of an installation that does not use tenants.
    pub const DEFAULT: &str = "default";

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TenantId {
    fn default() -> Self {
        Self(Arc::from(Self::DEFAULT))
    }
}

impl FromStr for TenantId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(Arc::from(text)))
        } else {
            Err(BadId)
        }
    }
}

impl TryFrom<String> for TenantId {
    type Error = BadId;

    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<TenantId> for String {
    fn from(tenant: TenantId) -> Self {
        tenant.0.as_ref().to_owned()
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::random::SeededRandom;

    #[test]
    fn an_id_has_exactly_one_spelling() {
        let id = SessionId::generate(Timestamp::from_millis(1), &SeededRandom::new(1));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(
            id.to_string().to_uppercase().parse::<SessionId>(),
            Err(BadId)
        );
        assert_eq!(
            id.to_string().replace('-', "").parse::<SessionId>(),
            Err(BadId)
        );
        assert_eq!(format!("{{{id}}}").parse::<SessionId>(), Err(BadId));
    }

    #[test]
    fn later_ids_sort_after_earlier_ones() {
        let random = SeededRandom::new(1);
        let first = UserId::generate(Timestamp::from_millis(1_000), &random);
        let second = UserId::generate(Timestamp::from_millis(1_001), &random);
        assert!(first < second);
    }

    #[test]
    fn an_id_contains_its_creation_time() {
        let at = Timestamp::from_millis(1_700_000_000_123);
        let id = SessionId::generate(at, &SeededRandom::new(1));
        assert_eq!(id.made_at(), at);
    }

    #[test]
    fn a_tenant_is_short_plain_text() {
        assert!("acme-1.eu".parse::<TenantId>().is_ok());
        for bad in ["", "Acme", "a b", "a/b", "ä", &"a".repeat(65)] {
            assert_eq!(bad.parse::<TenantId>(), Err(BadId), "{bad}");
        }
    }
}
