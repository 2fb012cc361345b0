//! How is a backup file written? Frame by frame.

use std::io::Write;

use crate::crypto::digest::Sha256;
use crate::store::backup::content::{Content, Sha256Sum};
use crate::store::backup::error::BackupError;
use crate::store::backup::format::{
    END, HEADER, Header, KEYS, MAGIC, MAX_HEADER, MAX_KEY, MAX_KEYS, RECORD,
};
use crate::store::backup::reader::Trailer;
use crate::store::{MAX_RECORD, StoreError};

/// Writes one backup.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    file: Sha256,
    content: Content,
    records: u64,
    bytes: u64,
    last: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Writes the header, and the keys if there are any.
    pub fn begin(out: W, header: &Header, sealed_keys: Option<&[u8]>) -> Result<Self, BackupError> {
        let mut writer = Self {
            out,
            file: Sha256::new(),
            content: Content::default(),
            records: 0,
            bytes: 0,
            last: Vec::new(),
        };
        writer.write(MAGIC)?;
        let header = serde_json::to_vec(header).map_err(std::io::Error::other)?;
        if header.len() > MAX_HEADER {
            return Err(StoreError::TooLarge(header.len()).into());
        }
        writer.frame(HEADER, &[&header])?;
        if let Some(keys) = sealed_keys {
            if keys.len() > MAX_KEYS {
                return Err(StoreError::TooLarge(keys.len()).into());
            }
            writer.frame(KEYS, &[keys])?;
        }
        Ok(writer)
    }

    /// Adds the next record, whose key must be greater than the previous one.
    pub fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), BackupError> {
        if key <= self.last.as_slice() {
            let why = "a record came out of order; the backup was not written".to_owned();
            return Err(StoreError::Corrupt(why).into());
        }
        let length = u16::try_from(key.len());
        let (Ok(length), true) = (length, key.len() <= MAX_KEY && value.len() <= MAX_RECORD) else {
            return Err(StoreError::TooLarge(key.len() + value.len()).into());
        };
        self.frame(RECORD, &[&length.to_be_bytes(), key, value])?;
        self.content.add(key, value);
        self.records += 1;
        key.clone_into(&mut self.last);
        Ok(())
    }

    /// The number of records so far.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Writes the end and returns the output, flushed.
    pub fn finish(mut self) -> Result<(W, Trailer), BackupError> {
        let content = std::mem::take(&mut self.content).finish();
        let file = self.file.clone().finish();
        let records = self.records.to_be_bytes();
        self.frame(END, &[&records, &content.0, &file])?;
        self.out.flush()?;
        let trailer = Trailer {
            records: self.records,
            bytes: self.bytes,
            content,
            file: Sha256Sum(file),
        };
        Ok((self.out, trailer))
    }

    fn frame(&mut self, kind: u8, payload: &[&[u8]]) -> Result<(), BackupError> {
        let length: usize = payload.iter().map(|part| part.len()).sum();
        let length = u32::try_from(length).map_err(|_| StoreError::TooLarge(length))?;
        let mut sum = crc32fast::Hasher::new();
        let parts = [&[kind][..], &length.to_be_bytes()];
        for part in parts.iter().chain(payload) {
            sum.update(part);
            self.write(part)?;
        }
        self.write(&sum.finalize().to_be_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.out.write_all(bytes)?;
        self.file.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}
