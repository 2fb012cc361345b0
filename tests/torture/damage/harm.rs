//! Which damage is done to the files of a store, and where?

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use sidegate::types::random::SeededRandom;

use super::subjects::Subject;

/// The unit of the damage.
const SECTOR: u64 = SECTOR_BYTES as u64;

const PAGE: u64 = PAGE_BYTES as u64;

const SECTOR_BYTES: usize = 512;

const PAGE_BYTES: usize = 4_096;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Bit,
    ZeroedSector,
    ZeroedPage,
    NoisePage,
    StalePage,
    SwappedPages,
    Cut,
    Removed,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bit => "flipped bit",
            Self::ZeroedSector => "zeroed sector",
            Self::ZeroedPage => "zeroed page",
            Self::NoisePage => "page of noise",
            Self::StalePage => "stale page",
            Self::SwappedPages => "swapped pages",
            Self::Cut => "cut file",
            Self::Removed => "removed file",
        })
    }
}

pub(super) const KINDS: [Kind; 8] = [
    Kind::Bit,
    Kind::ZeroedSector,
    Kind::ZeroedPage,
    Kind::NoisePage,
    Kind::StalePage,
    Kind::SwappedPages,
    Kind::Cut,
    Kind::Removed,
];

pub(super) fn files(directory: &Path) -> Result<BTreeMap<String, Vec<u8>>, Box<dyn Error>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.metadata()?.is_file() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let mut bytes = fs::read(entry.path())?;
            // Zeros at the end have no meaning, and the engine appends some.
            let end = bytes
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |at| at + 1);
            bytes.truncate(end);
            all.insert(name, bytes);
        }
    }
    Ok(all)
}

/// Applies one damage. Most of it affects the written part of the database.
pub(super) fn harm(
    directory: &Path,
    subject: &Subject,
    random: &SeededRandom,
) -> Result<(Kind, String), Box<dyn Error>> {
    let names: Vec<String> = files(directory)?
        .into_iter()
        .filter(|(name, bytes)| name != "lock" && !bytes.is_empty())
        .map(|(name, _)| name)
        .collect();
    let name = if below(random, 10) < 7 {
        "db".to_owned()
    } else {
        any(&names, random).ok_or("no file")?.clone()
    };
    let path = directory.join(&name);
    let bytes = fs::read(&path)?;
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) as u64 + 1;
    let file = fs::OpenOptions::new().read(true).write(true).open(&path)?;
    let mut kind = *any(&KINDS, random).ok_or("no kind")?;
    if (kind == Kind::StalePage && name != "db") || (kind == Kind::SwappedPages && end <= PAGE) {
        kind = Kind::Bit;
    }
    let at = below(random, end);
    match kind {
        Kind::Bit => {
            let byte = bytes.get(usize::try_from(at)?).copied().unwrap_or_default();
            file.write_all_at(&[byte ^ (1 << below(random, 8))], at)?;
        }
        Kind::ZeroedSector => put(&file, &bytes, at / SECTOR * SECTOR, &[0; SECTOR_BYTES])?,
        Kind::ZeroedPage => put(&file, &bytes, at / PAGE * PAGE, &[0; PAGE_BYTES])?,
        Kind::NoisePage => {
            let mut noise = [0; PAGE_BYTES];
            for byte in &mut noise {
                *byte = u8::try_from(random.next() & 0xFF)?;
            }
            put(&file, &bytes, at / PAGE * PAGE, &noise)?;
        }
        Kind::StalePage => {
            let from = at / PAGE * PAGE;
            let old = subject
                .earlier
                .get(usize::try_from(from)?..)
                .unwrap_or_default();
            let mut page = [0; PAGE_BYTES];
            for (to, byte) in page.iter_mut().zip(old) {
                *to = *byte;
            }
            put(&file, &bytes, from, &page)?;
        }
        Kind::SwappedPages => {
            let (one, two) = (at / PAGE * PAGE, below(random, end) / PAGE * PAGE);
            let page = |from: u64| -> Result<Vec<u8>, Box<dyn Error>> {
                let rest = bytes.get(usize::try_from(from)?..).unwrap_or_default();
                Ok(rest.iter().copied().take(PAGE_BYTES).collect())
            };
            put(&file, &bytes, one, &page(two)?)?;
            put(&file, &bytes, two, &page(one)?)?;
        }
        Kind::Cut => file.set_len(at)?,
        Kind::Removed => fs::remove_file(&path)?,
    }
    Ok((kind, format!("{name} at {at} of {end}")))
}

/// Overwrites without extending the file.
fn put(file: &fs::File, bytes: &[u8], at: u64, new: &[u8]) -> Result<(), Box<dyn Error>> {
    let room = bytes.len().saturating_sub(usize::try_from(at)?);
    file.write_all_at(new.get(..room.min(new.len())).unwrap_or_default(), at)?;
    Ok(())
}

pub(super) fn any<'a, T>(of: &'a [T], random: &SeededRandom) -> Option<&'a T> {
    of.get(usize::try_from(below(random, of.len() as u64)).ok()?)
}

pub(super) fn below(random: &SeededRandom, limit: u64) -> u64 {
    random.next() % limit.max(1)
}
