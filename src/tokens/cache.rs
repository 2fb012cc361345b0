//! Which tokens were verified before? A known token costs one look-up.
//!
//! Invariants: the key is the whole token, compared byte for byte, so two tokens never share an entry.
//! An entry is valid only until the token expires and while the keys have not changed. The state of its
//! session is stored with the epoch of the check. The cache never exceeds its capacity in bytes.

use std::cell::Cell;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use quick_cache::unsync::{Cache, DefaultLifecycle};
use quick_cache::{Equivalent, Weighter};

use crate::types::random::Random;
use crate::types::time::Timestamp;

/// One worker's verified tokens. `V` is the value made from a token. It is shared, never copied.
pub struct TokenCache<V> {
    entries: Entries<V>,
    is_off: bool,
}

type Entries<V> = Cache<
    TokenKey,
    CachedToken<V>,
    ByBytes,
    SeededTail,
    DefaultLifecycle<TokenKey, CachedToken<V>>,
>;

impl<V> TokenCache<V> {
    /// A cache of at most this many bytes, bookkeeping included; 0 turns it off.
    pub fn new(bytes: usize, random: &dyn Random) -> Self {
        let seed = SeededTail {
            first: u64::from_le_bytes(random.bytes()) | 1,
            second: u64::from_le_bytes(random.bytes()),
        };
        let items = (bytes / TYPICAL_ENTRY).max(1);
        let lifecycle = DefaultLifecycle::default();
        Self {
            entries: Cache::with(items, bytes as u64, ByBytes, seed, lifecycle),
            is_off: bytes == 0,
        }
    }

    /// The entry of this token, if it was verified by the present state of the keys.
    pub fn get(&self, token: &[u8], keys_epoch: u64) -> Option<&CachedToken<V>> {
        let entry = self.entries.get(&Tail(token))?;
        (entry.keys_epoch == keys_epoch).then_some(entry)
    }

    /// Adds a verified token. One that is too large for the cache is not kept.
    pub fn insert(&mut self, token: &[u8], entry: CachedToken<V>) {
        if !self.is_off {
            self.entries.insert(TokenKey(Box::from(token)), entry);
        }
    }

    /// Removes a token.
    pub fn remove(&mut self, token: &[u8]) {
        self.entries.remove(&Tail(token));
    }

    /// How many tokens are held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many bytes are held.
    pub fn bytes(&self) -> u64 {
        self.entries.weight()
    }
}

impl<V> std::fmt::Debug for TokenCache<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "TokenCache({} tokens, {} bytes)",
            self.len(),
            self.bytes()
        )
    }
}

/// The entry of a verified token.
#[derive(Debug)]
pub struct CachedToken<V> {
    /// The value made from the token.
    pub value: Arc<V>,
    /// From when the token is valid.
    pub not_before: Timestamp,
    /// When the token expires.
    pub expires_at: Timestamp,
    /// The state of the keys that verified it.
    pub keys_epoch: u64,
    /// The epoch of the revocations at which its session was last found live.
    pub alive_at: Cell<u64>,
    /// The bytes that `value` takes.
    pub value_bytes: usize,
}

/// The whole token. Only its last bytes are hashed: they belong to the signature and differ between any two
/// tokens. The whole token is compared.
struct TokenKey(Box<[u8]>);

struct Tail<'a>(&'a [u8]);

impl Hash for TokenKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Tail(&self.0).hash(state);
    }
}

impl Hash for Tail<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0.last_chunk::<16>().map_or(self.0, |tail| tail));
    }
}

impl PartialEq for TokenKey {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for TokenKey {}

impl Equivalent<TokenKey> for Tail<'_> {
    fn equivalent(&self, key: &TokenKey) -> bool {
        *self.0 == *key.0
    }
}

/// Only tokens with a valid signature are inserted, so a client cannot choose colliding keys. The seed
/// also hides which keys collide.
#[derive(Clone)]
struct SeededTail {
    first: u64,
    second: u64,
}

impl BuildHasher for SeededTail {
    type Hasher = TailHasher;

    fn build_hasher(&self) -> TailHasher {
        TailHasher {
            state: self.second,
            factor: self.first,
        }
    }
}

struct TailHasher {
    state: u64,
    factor: u64,
}

impl Hasher for TailHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.state = fold(self.state ^ u64::from_le_bytes(word), self.factor);
        }
    }

    fn finish(&self) -> u64 {
        fold(self.state, 0x9E37_79B9_7F4A_7C15)
    }
}

/// Multiplies to 128 bits and folds the halves together.
#[expect(
    clippy::cast_possible_truncation,
    reason = "each half of the product is wanted"
)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

#[derive(Clone)]
struct ByBytes;

impl<V> Weighter<TokenKey, CachedToken<V>> for ByBytes {
    fn weight(&self, key: &TokenKey, entry: &CachedToken<V>) -> u64 {
        (key.0.len() + entry.value_bytes + OVERHEAD) as u64
    }
}

/// The entry itself, its place in the table and the allocations' own bookkeeping.
const OVERHEAD: usize = 192;

/// The entry size for which the table is allocated: a token of 500 bytes and its headers.
const TYPICAL_ENTRY: usize = 1536;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::random::SeededRandom;

    fn cache(bytes: usize) -> TokenCache<Vec<u8>> {
        TokenCache::new(bytes, &SeededRandom::new(1))
    }

    fn entry(value: &[u8], keys_epoch: u64) -> CachedToken<Vec<u8>> {
        CachedToken {
            value: Arc::new(value.to_vec()),
            not_before: Timestamp::default(),
            expires_at: Timestamp::MAX,
            keys_epoch,
            alive_at: Cell::new(0),
            value_bytes: value.len(),
        }
    }

    #[test]
    fn an_entry_of_other_keys_is_not_used() {
        let mut cache = cache(1 << 20);
        cache.insert(b"token", entry(b"v", 1));
        assert!(cache.get(b"token", 1).is_some());
        assert!(cache.get(b"token", 2).is_none());
        assert!(cache.get(b"tokem", 1).is_none());
        cache.remove(b"token");
        assert!(cache.get(b"token", 1).is_none());
    }

    #[test]
    fn s53_the_cache_never_exceeds_its_capacity() {
        let mut cache = cache(10_000);
        for n in 0..1_000_u32 {
            cache.insert(format!("{n:0>400}").as_bytes(), entry(&[0; 100], 0));
            assert!(cache.bytes() <= 10_000);
        }
        assert!(cache.len() > 5);
        cache.insert(&vec![b'x'; 20_000], entry(&[], 0));
        assert!(cache.bytes() <= 10_000);
        let mut off = self::cache(0);
        off.insert(b"token", entry(b"v", 1));
        assert!(off.is_empty());
    }

    proptest! {
        #[test]
        fn s54_two_tokens_never_share_an_entry(
            tokens in prop::collection::hash_set("[ab]{0,3}[a-z]{0,20}", 1..20),
        ) {
            let mut cache = cache(1 << 20);
            for token in &tokens {
                cache.insert(token.as_bytes(), entry(token.as_bytes(), 0));
            }
            for token in &tokens {
                let found = cache.get(token.as_bytes(), 0).map(|e| e.value.to_vec());
                prop_assert_eq!(found.as_deref(), Some(token.as_bytes()));
                let longer = format!("x{token}");
                prop_assert_eq!(cache.get(longer.as_bytes(), 0).is_some(), tokens.contains(&longer));
            }
        }
    }
}
