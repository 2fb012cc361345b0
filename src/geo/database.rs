//! How is a database file read, and how is an address found in it?
//!
//! The file is read into memory. It is not mapped: a mapped file that is shortened while it is read would end the
//! process.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use maxminddb::{MaxMindDbError, Reader, geoip2};

use crate::geo::places::Place;

/// The largest database that is read, in bytes. The largest city databases have about 120 MB.
const MAX_SIZE: u64 = 512 << 20;

/// The longest name that is shown, in bytes. A damaged file could have longer ones.
const MAX_NAME: usize = 128;

/// A database in memory.
#[derive(Debug)]
pub(super) struct Database {
    reader: Reader<Vec<u8>>,
}

/// Distinguishes the versions of a file: device, number, size, and the time of the last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    number: u64,
    size: u64,
    changed: (i64, i64),
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadDatabase {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is too large.
    #[error("it has {0} bytes, more than a city database has")]
    TooLarge(u64),
    /// The file has another format, or is damaged.
    #[error("it is no database in the mmdb format, or it is damaged: {0}")]
    Format(#[from] MaxMindDbError),
}

impl Stamp {
    /// The stamp of the file that has this path now.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        Ok(Self {
            device: found.dev(),
            number: found.ino(),
            size: found.len(),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

impl Database {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Self, BadDatabase> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        if size > MAX_SIZE {
            return Err(BadDatabase::TooLarge(size));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        // A file that grows meanwhile is not read without end.
        file.take(MAX_SIZE).read_to_end(&mut bytes)?;
        let reader = Reader::from_source(bytes)?;
        Ok(Self { reader })
    }

    /// The kind that the file names, such as `GeoLite2-City`.
    pub(super) fn kind(&self) -> &str {
        &self.reader.metadata().database_type
    }

    /// The place of an address, as far as the file has it.
    pub(super) fn find(&self, address: IpAddr) -> Result<Place, MaxMindDbError> {
        let found = self.reader.lookup(address)?;
        let Some(record) = found.decode::<geoip2::City<'_>>()? else {
            return Ok(Place::default());
        };
        Ok(Place {
            country: record.country.iso_code.and_then(country_code),
            city: record.city.names.english.and_then(name),
        })
    }
}

/// Two capital letters (ISO 3166-1).
fn country_code(text: &str) -> Option<String> {
    let is_code = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase());
    is_code.then(|| text.to_owned())
}

fn name(text: &str) -> Option<String> {
    let is_name = (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control);
    is_name.then(|| text.to_owned())
}
