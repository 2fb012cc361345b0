//! How is a backup file written? Under a temporary name, and renamed when it is complete.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;

use crate::config::Config;
use crate::control::reply::BackupView;
use crate::crypto::keydir::copies;
use crate::crypto::sealed;
use crate::store::backup::{
    BackupError, Header, KeyNames, Trailer, Writer, append_to_page, file_time, split_page,
};
use crate::types::random::{Random, SystemRandom};
use crate::types::secret::SecretText;
use zeroize::Zeroizing;

/// A backup that is being written.
#[derive(Debug)]
pub struct BackupFile {
    writer: Writer<BufWriter<File>>,
    place: Place,
}

/// The paths of a backup that is being written.
#[derive(Debug)]
struct Place {
    /// Its name.
    file: PathBuf,
    /// The temporary file; none for a device or a pipe.
    aside: Option<PathBuf>,
}

/// A backup that is complete.
#[derive(Debug)]
pub struct Written {
    /// The file.
    pub file: PathBuf,
    /// The counts and checksums at its end.
    pub trailer: Trailer,
}

impl BackupFile {
    /// Begins the file. The keys go into it when there is a passphrase to seal them with.
    pub fn begin(
        config: &Config,
        to: &Path,
        passphrase: Option<&SecretText>,
        begun: &BackupView,
    ) -> Result<Self, String> {
        let keys_dir = &config.tokens.keys_dir;
        let names = copies::names(keys_dir).map_err(|error| error.to_string())?;
        let sealed = passphrase
            .map(|passphrase| seal_keys(keys_dir, passphrase, &SystemRandom))
            .transpose()?;
        let header = Header {
            format: Header::FORMAT,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            created_at: begun.at,
            store: begun.store.clone(),
            commit: begun.commit,
            keys: KeyNames {
                signing: names.signing,
                refresh: names.refresh,
            },
            with_keys: sealed.is_some(),
        };
        let (place, file) = Place::open(to, begun)?;
        let out = BufWriter::with_capacity(1 << 20, file);
        let writer = Writer::begin(out, &header, sealed.as_deref());
        Ok(Self {
            writer: writer.map_err(|error| place.failed(&error))?,
            place,
        })
    }

    /// Adds a page of records. Returns how many there are so far.
    pub fn add(&mut self, data: &str) -> Result<u64, String> {
        let odd = || "the server sent records that cannot be read".to_owned();
        let page = BASE64.decode(data.as_bytes()).map_err(|_| odd())?;
        for (key, value) in split_page(&page).ok_or_else(odd)? {
            self.writer
                .record(key, value)
                .map_err(|error| self.place.failed(&error))?;
        }
        Ok(self.writer.records())
    }

    /// Completes the file, makes it durable, and gives it its name.
    pub fn finish(self) -> Result<Written, String> {
        let Self { writer, mut place } = self;
        let (out, trailer) = writer.finish().map_err(|error| place.failed(&error))?;
        let file = out
            .into_inner()
            .map_err(|error| place.failed(&error.into_error().into()))?;
        place
            .complete(&file)
            .map_err(|error| place.failed(&error.into()))?;
        Ok(Written {
            file: place.file.clone(),
            trailer,
        })
    }
}

impl Place {
    fn open(to: &Path, begun: &BackupView) -> Result<(Self, File), String> {
        let mut file = to.to_owned();
        if to.is_dir() {
            file.push(format!("sidegate-{}.backup", file_time(begun.at)));
        }
        // A symbolic link is followed, so that its target is replaced and not the link.
        let file = file.canonicalize().unwrap_or(file);
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600);
        if fs::metadata(&file).is_ok_and(|found| !found.is_file()) {
            let place = Self { file, aside: None };
            let opened = options.open(&place.file);
            return match opened {
                Ok(opened) => Ok((place, opened)),
                Err(error) => Err(place.failed(&error.into())),
            };
        }
        let mut name = std::ffi::OsString::from(".");
        name.push(file.file_name().unwrap_or_default());
        let random = u32::from_le_bytes((&SystemRandom as &dyn Random).bytes());
        name.push(format!(".{random:08x}.part"));
        let place = Self {
            aside: Some(file.with_file_name(name)),
            file,
        };
        let opened = match &place.aside {
            Some(aside) => options.create_new(true).open(aside),
            None => options.open(&place.file),
        };
        match opened {
            Ok(opened) => Ok((place, opened)),
            Err(error) => Err(place.failed(&error.into())),
        }
    }

    fn complete(&mut self, file: &File) -> io::Result<()> {
        let Some(aside) = &self.aside else {
            return Ok(());
        };
        file.sync_all()?;
        fs::rename(aside, &self.file)?;
        self.aside = None;
        let parent = self.file.parent().filter(|p| !p.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn failed(&self, error: &BackupError) -> String {
        format!(
            "{}: the backup cannot be written: {error}",
            self.file.display()
        )
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(aside) = &self.aside {
            // If the file exists, it is an incomplete backup.
            drop(fs::remove_file(aside));
        }
    }
}

fn seal_keys(
    keys_dir: &Path,
    passphrase: &SecretText,
    random: &dyn Random,
) -> Result<Vec<u8>, String> {
    let files = copies::files(keys_dir).map_err(|error| error.to_string())?;
    if files.is_empty() {
        return Err(format!("there are no keys in {}", keys_dir.display()));
    }
    let size: usize = files
        .iter()
        .map(|(name, bytes)| 8 + name.len() + bytes.len())
        .sum();
    // The full capacity is reserved: a vector that grows leaves copies behind that are not wiped.
    let mut packed = Zeroizing::new(Vec::with_capacity(size));
    for (name, bytes) in &files {
        append_to_page(&mut packed, name.as_bytes(), bytes);
    }
    sealed::seal(&packed, passphrase, random).map_err(|error| error.to_string())
}
