//! Is a backup file read back exactly, and is every cut, change and addition detected?

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use crate::store::backup::{BackupError, Header, KeyNames, Reader, Trailer, Writer, split_page};
use crate::types::time::Timestamp;

pub(super) type Records = BTreeMap<Vec<u8>, Vec<u8>>;

pub(super) fn header(with_keys: bool) -> Header {
    Header {
        format: Header::FORMAT,
        program: "0.0.0".to_owned(),
        created_at: Timestamp::from_secs(1_000_000),
        store: None,
        commit: 7,
        keys: KeyNames::default(),
        with_keys,
    }
}

pub(super) fn written(records: &Records, keys: Option<&[u8]>) -> (Vec<u8>, Trailer) {
    let mut writer = Writer::begin(Vec::new(), &header(keys.is_some()), keys).unwrap();
    for (key, value) in records {
        writer.record(key, value).unwrap();
    }
    writer.finish().unwrap()
}

/// The records and the end of a file, or the error.
pub(super) fn read(bytes: &[u8]) -> Result<(Records, Trailer), BackupError> {
    let mut reader = Reader::open(bytes)?;
    let mut records = Records::new();
    while let Some((key, value)) = reader.next_record()? {
        records.insert(key.to_vec(), value.to_vec());
    }
    Ok((records, reader.read_to_end()?))
}

fn some_records() -> Records {
    let pair = |n: u8| (vec![b'S', n], vec![n; usize::from(n)]);
    (0..40).map(pair).collect()
}

#[test]
fn every_cut_every_appended_byte_and_every_flipped_bit_is_detected() {
    let (bytes, _) = written(&some_records(), Some(b"sealed"));
    assert!(read(&bytes).is_ok());
    for length in 0..bytes.len() {
        let cut = read(&bytes[..length]).unwrap_err();
        let is_told = matches!(cut, BackupError::Truncated(_) | BackupError::NotABackup);
        assert!(is_told, "{length}: {cut}");
    }
    assert!(read(&[bytes.as_slice(), b"x"].concat()).is_err());
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&changed).is_err(), "bit {bit}");
    }
}

#[test]
fn frames_that_are_swapped_repeated_or_missing_are_detected() {
    let records = some_records();
    let (bytes, _) = written(&records, None);
    // The boundaries of the frames, from their lengths.
    let mut borders = vec![16];
    while let Some(head) = bytes.get(borders[borders.len() - 1] + 1..) {
        let Some(length) = head.first_chunk::<4>() else {
            break;
        };
        let length = u32::from_be_bytes(*length) as usize;
        borders.push(borders[borders.len() - 1] + 9 + length);
    }
    let frame = |n: usize| &bytes[borders[n]..borders[n + 1]];
    let frames = borders.len() - 1;
    assert_eq!(frames, records.len() + 2);
    let joined = |order: &[usize]| {
        let frames = order.iter().map(|n| frame(*n));
        [&bytes[..16]]
            .into_iter()
            .chain(frames)
            .collect::<Vec<_>>()
            .concat()
    };
    let all: Vec<_> = (0..frames).collect();
    assert!(read(&joined(&all)).is_ok());
    for n in 1..frames - 2 {
        let mut exchanged = all.clone();
        exchanged.swap(n, n + 1);
        assert!(read(&joined(&exchanged)).is_err(), "{n} exchanged");
        let mut repeated = all.clone();
        repeated.insert(n, n);
        assert!(read(&joined(&repeated)).is_err(), "{n} repeated");
        let mut missing = all.clone();
        missing.remove(n);
        assert!(read(&joined(&missing)).is_err(), "{n} missing");
    }
}

/// If this fails, existing backups can no longer be read: give the format another number instead of changing
/// it.
#[test]
fn backups_written_by_earlier_versions_still_read() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/backup");
    let read = |name: &str| read(&std::fs::read(corpus.join(name)).unwrap());
    let (records, trailer) = read("whole").unwrap();
    assert_eq!((records.len(), trailer.records), (3, 3));
    assert_eq!(records[b"S1".as_slice()], b"session");
    assert_eq!(read("keys").unwrap().0, records);
    assert_eq!(read("empty").unwrap().0.len(), 0);
    assert!(matches!(read("cut"), Err(BackupError::Truncated(_))));
    assert!(matches!(
        read("other-version"),
        Err(BackupError::Version(2))
    ));
}

#[test]
fn another_version_is_named_and_other_files_are_no_backups() {
    let other = Header {
        format: 2,
        ..header(false)
    };
    let writer = Writer::begin(Vec::new(), &other, None).unwrap();
    let (bytes, _) = writer.finish().unwrap();
    let told = read(&bytes).unwrap_err().to_string();
    assert!(
        told.contains("format 2") && told.contains("reads 1"),
        "{told}"
    );
    for no_backup in [&b""[..], b"SIDEGATE", b"PRAGMA foreign_keys=OFF;\nBEGIN;\n"] {
        assert!(matches!(read(no_backup), Err(BackupError::NotABackup)));
    }
}

#[test]
fn internal_records_of_a_store_are_not_backed_up() {
    let mut records = some_records();
    let (_, without) = written(&records, None);
    records.insert(b"Mcommit".to_vec(), vec![9]);
    let (_, with) = written(&records, None);
    assert_eq!(with.content, without.content);
    assert_ne!(with.file, without.file);
    records.insert(b"Sx".to_vec(), vec![9]);
    let (_, other) = written(&records, None);
    assert_ne!(other.content, without.content);
}

#[test]
fn records_out_of_order_or_too_large_are_not_written() {
    let mut writer = Writer::begin(Vec::new(), &header(false), None).unwrap();
    writer.record(b"b", b"1").unwrap();
    assert!(writer.record(b"b", b"2").is_err());
    assert!(writer.record(b"a", b"2").is_err());
    assert!(writer.record(b"c", &[0; 5_000]).is_err());
    assert!(writer.record(&[b'd'; 2_000], b"").is_err());
    writer.record(b"c", b"2").unwrap();
    assert_eq!(writer.records(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_written_record_survives_a_round_trip(
        records in prop::collection::btree_map(
            prop::collection::vec(any::<u8>(), 1..40),
            prop::collection::vec(any::<u8>(), 0..200),
            0..40,
        ),
        keys in prop::option::of(prop::collection::vec(any::<u8>(), 0..100)),
    ) {
        let (bytes, trailer) = written(&records, keys.as_deref());
        let reader = Reader::open(bytes.as_slice()).unwrap();
        prop_assert_eq!(reader.sealed_keys(), keys.as_deref());
        prop_assert_eq!(reader.header(), &header(keys.is_some()));
        let (back, end) = read(&bytes).unwrap();
        prop_assert_eq!(back, records);
        prop_assert_eq!(end, trailer);
        prop_assert_eq!(end.bytes, bytes.len() as u64);
    }

    #[test]
    fn any_bytes_are_accepted_or_refused(bytes: Vec<u8>, magic: bool) {
        let bytes = if magic {
            [b"SIDEGATE-BACKUP\n".as_slice(), &bytes].concat()
        } else {
            bytes
        };
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn any_bytes_are_a_page_or_none(bytes: Vec<u8>) {
        let _ignored = split_page(&bytes);
    }
}
