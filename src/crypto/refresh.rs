//! The refresh token: opaque to clients, derived, never stored.
//!
//! `sg1.` + base64url(kid 1 | route 16 | session id 16 | generation 4) + `.` + base64url(MAC 32).
//! The MAC is HMAC-SHA-256 keyed by key `kid` over everything that names the generation, and over
//! the session's salt. So the same generation always has the same token, a leaked store holds no
//! token (it has no key), and neither does a leaked key (it has no salts).

use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;
use subtle::ConstantTimeEq;

use crate::model::session::{Generation, Session};
use crate::types::ids::SessionId;
use crate::types::secret::{SecretBytes, SecretText};

/// The keys of the refresh MAC: one signs, all verify.
pub struct RefreshKeys {
    keys: Vec<(u8, hmac::Key)>,
    current: u8,
}

impl RefreshKeys {
    /// From keys by their number. Each has at least 32 bytes, the numbers differ, and the current
    /// one is among them.
    pub fn new(
        keys: impl IntoIterator<Item = (u8, SecretBytes)>,
        current: u8,
    ) -> Result<Self, BadRefreshKeys> {
        let mut prepared: Vec<(u8, hmac::Key)> = Vec::new();
        for (kid, secret) in keys {
            if secret.expose().len() < MAC_BYTES || prepared.iter().any(|(k, _)| *k == kid) {
                return Err(BadRefreshKeys);
            }
            prepared.push((kid, hmac::Key::new(hmac::HMAC_SHA256, secret.expose())));
        }
        let keys = Self {
            keys: prepared,
            current,
        };
        keys.key(current).ok_or(BadRefreshKeys)?;
        Ok(keys)
    }

    /// The token of the session's current generation. The same session always gives the same token, until
    /// another key becomes the current one. The store finds the session by `route`.
    pub fn issue(&self, session: &Session, route: [u8; 16]) -> SecretText {
        let presented = Presented {
            kid: self.current,
            route,
            session: session.key.id,
            generation: session.generation,
            mac: [0; MAC_BYTES],
        };
        let mac = self.mac(&presented, session).unwrap_or([0; MAC_BYTES]);
        SecretText::new(format!(
            "{PREFIX}{}.{}",
            BASE64URL_NOPAD.encode(&presented.body()),
            BASE64URL_NOPAD.encode(&mac)
        ))
    }

    /// Whether the token was issued for this session, at the generation it names. The current generation of the
    /// session is checked by the store. The time does not depend on where the MAC differs.
    pub fn verify(&self, presented: &Presented, session: &Session) -> bool {
        let is_same = presented.session == session.key.id;
        match self.mac(presented, session) {
            Some(mac) => is_same & bool::from(mac.ct_eq(&presented.mac)),
            None => false,
        }
    }

    /// The number of the key that signs.
    pub(super) const fn current(&self) -> u8 {
        self.current
    }

    pub(super) fn key(&self, kid: u8) -> Option<&hmac::Key> {
        let found = self.keys.iter().find(|(k, _)| *k == kid);
        found.map(|(_, key)| key)
    }

    /// The length of each part is included, so different inputs are never encoded alike.
    fn mac(&self, presented: &Presented, session: &Session) -> Option<[u8; MAC_BYTES]> {
        let owner = &session.key.owner;
        let mut context = hmac::Context::with_key(self.key(presented.kid)?);
        context.update(b"sg-rt1");
        let parts: [&[u8]; 6] = [
            owner.tenant.as_str().as_bytes(),
            owner.user.as_bytes(),
            session.key.id.as_bytes(),
            &presented.generation.0.to_be_bytes(),
            &session.salt,
            &presented.route,
        ];
        for part in parts {
            let length = u32::try_from(part.len()).ok()?;
            context.update(&length.to_be_bytes());
            context.update(part);
        }
        context.sign().as_ref().try_into().ok()
    }
}

impl std::fmt::Debug for RefreshKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RefreshKeys")
            .field(
                "kids",
                &self.keys.iter().map(|(k, _)| k).collect::<Vec<_>>(),
            )
            .field("current", &self.current)
            .finish()
    }
}

/// The content of a refresh token that is not verified yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Presented {
    /// Which key made the MAC.
    pub kid: u8,
    /// The key by which the store finds the session.
    pub route: [u8; 16],
    /// The session.
    pub session: SessionId,
    /// The generation.
    pub generation: Generation,
    mac: [u8; MAC_BYTES],
}

impl Presented {
    /// Parses a token. There is exactly one spelling of each token.
    pub fn parse(token: &str) -> Result<Self, BadRefresh> {
        Self::read(token).ok_or(BadRefresh)
    }

    /// As [`Presented::parse`], from bytes that need not be text.
    pub fn parse_bytes(token: &[u8]) -> Result<Self, BadRefresh> {
        std::str::from_utf8(token)
            .map_err(|_| BadRefresh)
            .and_then(Self::parse)
    }

    fn read(token: &str) -> Option<Self> {
        if token.len() != TOKEN_CHARS {
            return None;
        }
        let (body, mac) = token.strip_prefix(PREFIX)?.split_once('.')?;
        // The decoder refuses padding, foreign letters and non-zero trailing bits.
        let body: [u8; BODY_BYTES] = decode(body)?;
        let mac = decode(mac)?;
        let (kid, rest) = body.split_first()?;
        let (route, rest) = rest.split_first_chunk()?;
        let (session, rest) = rest.split_first_chunk()?;
        let generation = rest.first_chunk()?;
        Some(Self {
            kid: *kid,
            route: *route,
            session: SessionId::from_bytes(*session),
            generation: Generation(u32::from_be_bytes(*generation)),
            mac,
        })
    }

    fn body(&self) -> Vec<u8> {
        [
            &[self.kid],
            self.route.as_slice(),
            self.session.as_bytes(),
            &self.generation.0.to_be_bytes(),
        ]
        .concat()
    }
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    BASE64URL_NOPAD
        .decode(text.as_bytes())
        .ok()?
        .try_into()
        .ok()
}

impl std::fmt::Debug for Presented {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Presented")
            .field("kid", &self.kid)
            .field("session", &self.session)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

const PREFIX: &str = "sg1.";
const MAC_BYTES: usize = 32;
const BODY_BYTES: usize = 1 + 16 + 16 + 4;
/// 37 bytes are 50 letters, 32 bytes are 43.
const TOKEN_CHARS: usize = PREFIX.len() + 50 + 1 + 43;

/// Text that is not a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a refresh token")]
pub struct BadRefresh;

/// Keys that cannot be used: one is too short, two have the same number, or the current one is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a refresh key is too short, repeated or missing")]
pub struct BadRefreshKeys;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::session::{Proof, SessionKey};
    use crate::model::user::UserKey;
    use crate::types::device::Device;
    use crate::types::ids::{TenantId, UserId};
    use crate::types::time::Timestamp;

    const ROUTE: [u8; 16] = [9; 16];

    fn keys(current: u8) -> RefreshKeys {
        let key = |n: u8| (n, SecretBytes::new(vec![n; 32]));
        RefreshKeys::new([key(1), key(2)], current).unwrap()
    }

    fn session(id: u8) -> Session {
        let now = Timestamp::from_secs(1_000);
        Session {
            key: SessionKey {
                owner: UserKey {
                    tenant: TenantId::default(),
                    user: UserId::from_bytes([5; 16]),
                },
                id: SessionId::from_bytes([id; 16]),
            },
            generation: Generation(7),
            salt: [3; 16],
            rotated_at: now,
            created_at: now,
            last_active_at: now,
            expires_at: now,
            idle_expires_at: now,
            idle_limit: std::time::Duration::ZERO,
            remembered: false,
            proof: Proof::password(now),
            device_id: None,
            device_label: None,
            device: Device::default(),
            first_address: None,
            last_address: None,
        }
    }

    fn accepts(token: &str, session: &Session) -> bool {
        Presented::parse(token).is_ok_and(|p| keys(1).verify(&p, session))
    }

    #[test]
    fn a_token_is_derived_and_contains_its_session() {
        let session = session(1);
        let token = keys(1).issue(&session, ROUTE);
        assert_eq!(token, keys(1).issue(&session, ROUTE));
        let presented = Presented::parse(token.expose()).unwrap();
        assert_eq!(presented.kid, 1);
        assert_eq!(presented.route, ROUTE);
        assert_eq!(presented.session, session.key.id);
        assert_eq!(presented.generation, Generation(7));
        assert!(accepts(token.expose(), &session));
    }

    #[test]
    fn a_token_stays_valid_when_another_key_becomes_current() {
        let session = session(1);
        let old = keys(1).issue(&session, ROUTE);
        let presented = Presented::parse(old.expose()).unwrap();
        assert!(keys(2).verify(&presented, &session));
        assert_ne!(keys(2).issue(&session, ROUTE), old);
        let without = RefreshKeys::new([(2, SecretBytes::new(vec![2; 32]))], 2).unwrap();
        assert!(!without.verify(&presented, &session));
    }

    #[test]
    fn a_token_is_bound_to_one_session_owner_and_salt() {
        let good = session(1);
        let token = keys(1).issue(&good, ROUTE);
        let mut other_tenant = good.clone();
        other_tenant.key.owner.tenant = "other".parse().unwrap();
        let mut other_user = good.clone();
        other_user.key.owner.user = UserId::from_bytes([6; 16]);
        let mut other_salt = good.clone();
        other_salt.salt = [4; 16];
        for wrong in [session(2), other_tenant, other_user, other_salt] {
            assert!(!accepts(token.expose(), &wrong), "{wrong:?}");
        }
        // The generation is that of the token. The store decides which one is current.
        let mut later = good.clone();
        later.generation = Generation(8);
        assert!(accepts(token.expose(), &later));
    }

    #[test]
    fn every_prefix_and_every_single_change_is_refused() {
        let session = session(1);
        let token = keys(1).issue(&session, ROUTE);
        let token = token.expose();
        for end in 0..token.len() {
            assert!(!accepts(&token[..end], &session), "{end}");
            assert!(!accepts(&token[end + 1..], &session), "{end}");
        }
        for at in 0..token.len() {
            for letter in (0x20..0x7F).map(char::from) {
                let changed = format!("{}{letter}{}", &token[..at], &token[at + 1..]);
                if changed != token {
                    assert!(!accepts(&changed, &session), "{at} {letter}");
                }
            }
        }
        for longer in [
            format!("{token}="),
            format!("{token}A"),
            format!(" {token}"),
        ] {
            assert!(!accepts(&longer, &session));
        }
    }

    #[test]
    fn unusable_keys_are_refused() {
        let key = |n: u8, len| (n, SecretBytes::new(vec![n; len]));
        assert!(RefreshKeys::new([], 1).is_err());
        assert!(RefreshKeys::new([key(1, 31)], 1).is_err());
        assert!(RefreshKeys::new([key(1, 32)], 2).is_err());
        assert!(RefreshKeys::new([key(1, 32), key(1, 33)], 1).is_err());
    }

    #[test]
    fn no_debug_output_contains_a_mac_or_a_key() {
        let token = keys(1).issue(&session(1), ROUTE);
        let shown = format!("{:?} {:?}", keys(1), Presented::parse(token.expose()));
        assert!(
            !shown.contains("mac") && !shown.contains("1, 1, 1"),
            "{shown}"
        );
    }

    proptest! {
        #[test]
        fn every_issued_token_parses(
            id in any::<[u8; 16]>(), route in any::<[u8; 16]>(), generation in any::<u32>(),
            salt in any::<[u8; 16]>(),
        ) {
            let mut session = session(1);
            session.key.id = SessionId::from_bytes(id);
            session.generation = Generation(generation);
            session.salt = salt;
            let token = keys(2).issue(&session, route);
            let presented = Presented::parse(token.expose()).unwrap();
            prop_assert_eq!(presented.route, route);
            prop_assert_eq!(presented.generation, session.generation);
            prop_assert!(keys(1).verify(&presented, &session));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            prop_assert!(Presented::parse_bytes(&bytes).is_err());
        }
    }
}
