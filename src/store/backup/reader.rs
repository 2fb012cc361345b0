//! How is a backup file read safely? Frame by frame, in bounded memory: for any bytes, the result is a
//! record or an error.

use std::io::{ErrorKind, Read};

use crate::crypto::digest::Sha256;
use crate::store::backup::content::{Content, Sha256Sum};
use crate::store::backup::error::BackupError;
use crate::store::backup::format::{
    END, END_FRAME, FORMAT, HEADER, Header, KEYS, MAGIC, MAX_HEADER, MAX_KEYS, MAX_RECORD_FRAME,
    RECORD,
};

/// Reads one backup from start to end.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    header: Header,
    keys: Option<Vec<u8>>,
    /// The hash of all bytes before the frame that was read last.
    file: Sha256,
    content: Content,
    records: u64,
    bytes: u64,
    last: Vec<u8>,
    frame: Frame,
    /// Whether the frame after the header was read and is not yet used.
    is_ahead: bool,
    trailer: Option<Trailer>,
}

/// A record: its key and its value.
pub type Record<'a> = (&'a [u8], &'a [u8]);

/// The end of a complete backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// The number of records.
    pub records: u64,
    /// The length of the file.
    pub bytes: u64,
    /// The SHA-256 of the content.
    pub content: Sha256Sum,
    /// The SHA-256 of the file before the end.
    pub file: Sha256Sum,
}

/// The frame that was read last.
#[derive(Debug, Default)]
struct Frame {
    kind: u8,
    /// The offset at which it begins.
    at: u64,
    /// Kind and length, as in the file.
    head: [u8; 5],
    payload: Vec<u8>,
    sum: [u8; 4],
}

impl<R: Read> Reader<R> {
    /// Reads the header and the sealed keys.
    pub fn open(input: R) -> Result<Self, BackupError> {
        let mut reader = Self {
            input,
            header: Header {
                format: FORMAT,
                program: String::new(),
                created_at: crate::types::time::Timestamp::default(),
                store: None,
                commit: 0,
                keys: super::KeyNames::default(),
                with_keys: false,
            },
            keys: None,
            file: Sha256::new(),
            content: Content::default(),
            records: 0,
            bytes: 0,
            last: Vec::new(),
            frame: Frame::default(),
            is_ahead: false,
            trailer: None,
        };
        let mut magic = [0; MAGIC.len()];
        match reader.fill(&mut magic) {
            Ok(()) if magic == *MAGIC => reader.file.update(&magic),
            Ok(()) | Err(BackupError::Truncated(_)) => return Err(BackupError::NotABackup),
            Err(other) => return Err(other),
        }
        reader.next_frame()?;
        if reader.frame.kind != HEADER {
            return Err(reader.damaged("its header is missing"));
        }
        reader.header = reader.read_header()?;
        reader.next_frame()?;
        if reader.header.with_keys {
            if reader.frame.kind != KEYS {
                return Err(reader.damaged("its keys are missing"));
            }
            reader.keys = Some(reader.frame.payload.clone());
        } else {
            reader.is_ahead = true;
        }
        Ok(reader)
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The sealed keys, if the file contains them.
    pub fn sealed_keys(&self) -> Option<&[u8]> {
        self.keys.as_deref()
    }

    /// The next record: its key and its value. `None` at the end, which has then been checked.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, BackupError> {
        if self.trailer.is_some() {
            return Ok(None);
        }
        if !std::mem::take(&mut self.is_ahead) {
            self.next_frame()?;
        }
        if self.frame.kind == END {
            return self.end();
        }
        if self.frame.kind != RECORD {
            return Err(self.damaged("a frame of this kind does not belong here"));
        }
        let split = self
            .frame
            .payload
            .split_first_chunk::<2>()
            .and_then(|(length, rest)| {
                rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
            });
        let Some((key, value)) = split else {
            return Err(self.damaged("a record is shorter than its key"));
        };
        if key <= self.last.as_slice() {
            return Err(self.damaged("a record is out of order"));
        }
        key.clone_into(&mut self.last);
        self.content.add(key, value);
        self.records += 1;
        Ok(Some((key, value)))
    }

    /// Reads the rest, and returns the end.
    pub fn read_to_end(&mut self) -> Result<Trailer, BackupError> {
        while self.next_record()?.is_some() {}
        self.trailer.ok_or(BackupError::Truncated(self.bytes))
    }

    /// The number of records read so far.
    pub fn records(&self) -> u64 {
        self.records
    }

    fn end(&mut self) -> Result<Option<Record<'_>>, BackupError> {
        let fields = <[u8; END_FRAME]>::try_from(self.frame.payload.as_slice());
        let Ok(fields) = fields else {
            return Err(self.damaged("its end has the wrong length"));
        };
        let (records, sums) = fields.split_at(8);
        let (content, file) = sums.split_at(32);
        let trailer = Trailer {
            records: self.records,
            bytes: self.bytes,
            content: std::mem::take(&mut self.content).finish(),
            file: Sha256Sum(self.file.clone().finish()),
        };
        if records != trailer.records.to_be_bytes() {
            return Err(self.damaged("its number of records is wrong"));
        }
        if content != trailer.content.0 || file != trailer.file.0 {
            return Err(self.damaged("its SHA-256 is wrong"));
        }
        let mut more = [0];
        match self.fill(&mut more) {
            Err(BackupError::Truncated(_)) => {}
            Ok(()) => return Err(self.damaged("data follows its end")),
            Err(other) => return Err(other),
        }
        self.trailer = Some(trailer);
        Ok(None)
    }

    fn read_header(&self) -> Result<Header, BackupError> {
        #[derive(serde::Deserialize)]
        struct Version {
            format: u32,
        }
        // The format number alone first: another version may have other fields.
        let malformed = |_| self.damaged("its header cannot be parsed");
        let Version { format } = serde_json::from_slice(&self.frame.payload).map_err(malformed)?;
        if format != FORMAT {
            return Err(BackupError::Version(format));
        }
        serde_json::from_slice(&self.frame.payload).map_err(malformed)
    }

    fn next_frame(&mut self) -> Result<(), BackupError> {
        let Frame {
            head, payload, sum, ..
        } = &self.frame;
        // At the first call there is no earlier frame. The start of the file is hashed where it is read.
        if head[0] != 0 {
            for part in [head.as_slice(), payload, sum] {
                self.file.update(part);
            }
        }
        self.frame.at = self.bytes;
        let mut head = [0; 5];
        self.fill(&mut head)?;
        let [kind, length @ ..] = head;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        let most = match kind {
            HEADER => MAX_HEADER,
            KEYS => MAX_KEYS,
            RECORD => MAX_RECORD_FRAME,
            END => END_FRAME,
            _ => return Err(self.damaged("a frame of an unknown kind")),
        };
        if length > most {
            return Err(self.damaged("a frame is too long"));
        }
        let mut payload = std::mem::take(&mut self.frame.payload);
        payload.resize(length, 0);
        self.fill(&mut payload)?;
        let mut sum = [0; 4];
        self.fill(&mut sum)?;
        let mut expected = crc32fast::Hasher::new();
        expected.update(&head);
        expected.update(&payload);
        self.frame = Frame {
            kind,
            at: self.frame.at,
            head,
            payload,
            sum,
        };
        if sum != expected.finalize().to_be_bytes() {
            return Err(self.damaged("the checksum of a frame is wrong"));
        }
        Ok(())
    }

    fn fill(&mut self, mut buffer: &mut [u8]) -> Result<(), BackupError> {
        while !buffer.is_empty() {
            let count = match self.input.read(buffer) {
                Ok(0) => return Err(BackupError::Truncated(self.bytes)),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            self.bytes += count as u64;
            buffer = buffer.get_mut(count..).unwrap_or_default();
        }
        Ok(())
    }

    fn damaged(&self, why: &'static str) -> BackupError {
        BackupError::Damaged {
            at: self.frame.at,
            why,
        }
    }
}
