//! The disk in a power cut: the preloaded library, and the shadow directory it writes.

use std::error::Error;
use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use sidegate::types::random::SeededRandom;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torture/powercut.c");

/// The size of the blocks that a disk may have written without a sync.
const BLOCK: usize = 4_096;

/// The library and the shadow of one store directory.
#[derive(Debug)]
pub(crate) struct Shadow {
    shared_object: PathBuf,
    directory: PathBuf,
    root: PathBuf,
}

impl Shadow {
    /// Compiles the library with `cc`.
    pub(crate) fn new(work: &Path, directory: &Path) -> Result<Self, Box<dyn Error>> {
        let shared_object = work.join("powercut.so");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&shared_object)
            .args([SOURCE, "-ldl", "-lpthread"])
            .status()?;
        if !built.success() {
            return Err("cc could not build the power-cut library".into());
        }
        Ok(Self {
            shared_object,
            directory: directory.to_owned(),
            root: work.join("shadow"),
        })
    }

    /// Declares the content of the directory as synced, and starts watching the child.
    pub(crate) fn watch(&self, child: &mut Command) -> io::Result<()> {
        if self.root.exists() {
            fs::remove_dir_all(&self.root)?;
        }
        fs::create_dir_all(self.root.join("inodes"))?;
        self.adopt(&self.directory, &self.root.join("names"))?;
        child
            .env("LD_PRELOAD", &self.shared_object)
            .env("POWERCUT_DIR", &self.directory)
            .env("POWERCUT_SHADOW", &self.root);
        Ok(())
    }

    /// While the returned file exists, the disk of the child is full.
    pub(crate) fn disk_full_flag(&self, child: &mut Command) -> PathBuf {
        let flag = self.root.with_extension("full");
        child.env("POWERCUT_FULL", &flag);
        flag
    }

    /// After the power cut: the directory has the synced data and, on request, some of the rest, as on
    /// real disks.
    pub(crate) fn restore(&self, torn: Option<&SeededRandom>) -> io::Result<()> {
        if let Some(random) = torn {
            self.write_back_some(random)?;
        }
        let fresh = self.directory.with_extension("fresh");
        if fresh.exists() {
            fs::remove_dir_all(&fresh)?;
        }
        copy_tree(&self.root.join("names"), &fresh)?;
        fs::remove_dir_all(&self.directory)?;
        fs::rename(fresh, &self.directory)
    }

    fn adopt(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let target = to.join(entry.file_name());
            let found = entry.metadata()?;
            if found.is_dir() {
                self.adopt(&entry.path(), &target)?;
            } else {
                let content = self.root.join("inodes").join(found.ino().to_string());
                fs::copy(entry.path(), &content)?;
                fs::hard_link(content, target)?;
            }
        }
        Ok(())
    }

    /// Writes every other unsynced block of the database to the disk.
    fn write_back_some(&self, random: &SeededRandom) -> io::Result<()> {
        let (Ok(written), Ok(synced)) = (
            fs::read(self.directory.join("db")),
            fs::File::options()
                .read(true)
                .write(true)
                .open(self.root.join("names/db")),
        ) else {
            return Ok(());
        };
        let before = fs::read(self.root.join("names/db"))?;
        for (number, block) in written.chunks(BLOCK).enumerate() {
            let from = number * BLOCK;
            let old = before.get(from..).unwrap_or_default();
            if !old.starts_with(block) && random.next().is_multiple_of(2) {
                synced.write_all_at(block, from as u64)?;
            }
        }
        Ok(())
    }
}

pub(crate) fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.metadata()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
