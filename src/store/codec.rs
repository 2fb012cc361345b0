//! How is a record encoded? One version byte, a CRC-32 over key and payload, the payload in postcard
//! form.
//!
//! ```text
//! 0        1                5
//! ┌────────┬────────────────┬──────────────────────────┐
//! │ format │ CRC-32 (BE) of │ postcard                 │
//! │ 1 or 2 │ key ‖ payload  │                          │
//! └────────┴────────────────┴──────────────────────────┘
//! ```
//!
//! The checksum covers the key, so a value under another key is damaged like a value with a flipped bit.
//! Bytes that do not decode are [`StoreError::Corrupt`], never "absent". A record whose shape changes
//! needs another format number and a reader for the earlier shape: it is a [`Versioned`] record.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::{MAX_RECORD, StoreError};

/// The format of a record whose shape has never changed.
const FORMAT: u8 = 1;

/// The format of a record whose shape has changed once.
const SECOND: u8 = 2;

/// A record whose shape has changed: written in the present shape, read in both.
pub(crate) trait Versioned: Sized {
    /// The shape of format 1.
    type First: DeserializeOwned + Into<Self>;
    /// The shape of format 2.
    type Second: Serialize + DeserializeOwned + Into<Self> + for<'a> From<&'a Self>;
}

/// Writes a versioned record in its present format.
pub(crate) fn encode_versioned<T: Versioned>(
    key: &[u8],
    record: &T,
) -> Result<Vec<u8>, StoreError> {
    write(SECOND, key, &T::Second::from(record))
}

/// Reads a versioned record in either format. Returns whether it was the present one.
pub(crate) fn decode_versioned<T: Versioned>(
    key: &[u8],
    bytes: &[u8],
) -> Result<(T, bool), StoreError> {
    match bytes.first() {
        Some(&SECOND) => Ok((read::<T::Second>(SECOND, key, bytes)?.into(), true)),
        _ => Ok((read::<T::First>(FORMAT, key, bytes)?.into(), false)),
    }
}

/// The number of bytes before the payload.
const HEADER: usize = 5;

/// Encodes a record for its key. Fails with [`StoreError::TooLarge`] above [`MAX_RECORD`] bytes.
pub(crate) fn encode<T: Serialize>(key: &[u8], record: &T) -> Result<Vec<u8>, StoreError> {
    write(FORMAT, key, record)
}

fn write<T: Serialize>(format: u8, key: &[u8], record: &T) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![format, 0, 0, 0, 0];
    bytes = postcard::to_extend(record, bytes)
        .map_err(|e| StoreError::Corrupt(format!("a record cannot be written: {e}")))?;
    if bytes.len() > MAX_RECORD {
        return Err(StoreError::TooLarge(bytes.len()));
    }
    let sum = checksum(key, bytes.get(HEADER..).unwrap_or_default());
    for (to, from) in bytes.iter_mut().skip(1).zip(sum.to_be_bytes()) {
        *to = from;
    }
    Ok(bytes)
}

/// Decodes the record of a key. For any bytes, the result is a record or [`StoreError::Corrupt`].
pub(crate) fn decode<T: DeserializeOwned>(key: &[u8], bytes: &[u8]) -> Result<T, StoreError> {
    read(FORMAT, key, bytes)
}

/// The payload of the record of a key, if the format is known and the checksum right.
pub(crate) fn check<'a>(key: &[u8], bytes: &'a [u8]) -> Result<&'a [u8], StoreError> {
    split(key, bytes).map(|(_, payload)| payload)
}

fn read<T: DeserializeOwned>(expected: u8, key: &[u8], bytes: &[u8]) -> Result<T, StoreError> {
    let (format, payload) = split(key, bytes)?;
    if format != expected {
        return Err(damaged(key, "its format is not known to this version"));
    }
    match postcard::take_from_bytes(payload) {
        Ok((record, [])) => Ok(record),
        Ok(_) => Err(damaged(key, "it is longer than its content")),
        Err(_) => Err(damaged(key, "its content does not decode")),
    }
}

fn split<'a>(key: &[u8], bytes: &'a [u8]) -> Result<(u8, &'a [u8]), StoreError> {
    let [format, a, b, c, d, payload @ ..] = bytes else {
        return Err(damaged(key, "it is too short"));
    };
    if !matches!(*format, FORMAT | SECOND) {
        return Err(damaged(key, "its format is not known to this version"));
    }
    if u32::from_be_bytes([*a, *b, *c, *d]) != checksum(key, payload) {
        return Err(damaged(key, "its checksum is wrong"));
    }
    Ok((*format, payload))
}

fn checksum(key: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(payload);
    hasher.finalize()
}

/// Names the table only: keys can contain data that must not be logged.
fn damaged(key: &[u8], why: &str) -> StoreError {
    let table = key.first().map_or('?', |tag| char::from(*tag));
    StoreError::Corrupt(format!("table {table}: {why}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::session::{Generation, Session};
    use crate::rules::session::sample;
    use crate::types::time::Timestamp;

    fn session(millis: u64, generation: u32, salt: [u8; 16], label: Option<String>) -> Session {
        let mut session = sample(Timestamp::from_millis(millis));
        session.generation = Generation(generation);
        session.salt = salt;
        session.device_label = label;
        session
    }

    #[test]
    fn a_record_over_the_limit_is_refused() {
        let big = vec![1u8; MAX_RECORD];
        assert!(matches!(
            encode(b"k", &big),
            Err(StoreError::TooLarge(n)) if n > MAX_RECORD
        ));
        let fits = vec![1u8; MAX_RECORD - HEADER - 2];
        assert_eq!(encode(b"k", &fits).unwrap().len(), MAX_RECORD);
    }

    #[test]
    fn a_record_under_another_key_is_damaged() {
        let bytes = encode(b"key one", &7u32).unwrap();
        assert_eq!(decode::<u32>(b"key one", &bytes), Ok(7));
        assert!(matches!(
            decode::<u32>(b"key two", &bytes),
            Err(StoreError::Corrupt(_))
        ));
    }

    #[test]
    fn trailing_bytes_and_other_formats_are_damage() {
        let two = encode(b"k", &(7u32, 8u32)).unwrap();
        assert!(matches!(
            decode::<u32>(b"k", &two),
            Err(StoreError::Corrupt(_))
        ));
        let mut other = encode(b"k", &7u32).unwrap();
        other[0] = FORMAT + 1;
        let told = decode::<u32>(b"k", &other).unwrap_err().to_string();
        assert!(told.contains("not known to this version"), "{told}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_written_record_survives_a_round_trip(
            millis in 0u64..u64::MAX / 2,
            generation: u32,
            salt: [u8; 16],
            label in proptest::option::of("\\PC{0,128}"),
            key: Vec<u8>,
        ) {
            let session = session(millis, generation, salt, label);
            let bytes = encode(&key, &session).unwrap();
            prop_assert_eq!(decode::<Session>(&key, &bytes), Ok(session));
        }

        #[test]
        fn any_flipped_bit_is_damage(bit in 0usize..8 * 200, generation: u32) {
            let session = session(1_000, generation, [3; 16], None);
            let mut bytes = encode(b"k", &session).unwrap();
            let bit = bit % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(matches!(decode::<Session>(b"k", &bytes), Err(StoreError::Corrupt(_))));
        }

        #[test]
        fn any_bytes_decode_or_are_damage(bytes: Vec<u8>) {
            let _ignored = decode::<Session>(b"k", &bytes);
            // Without the checksum: the payload alone must not cause a panic either.
            let mut sealed = vec![FORMAT];
            sealed.extend(checksum(b"k", &bytes).to_be_bytes());
            sealed.extend(&bytes);
            let _ignored = decode::<Session>(b"k", &sealed);
        }
    }
}
