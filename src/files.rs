//! How are files created that only their owner can read? With explicit modes, whatever the umask is. If root
//! creates a file, it is given to the owner of its directory.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown, lchown,
};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::process::{geteuid, umask};

/// The permission bits of other users, which no file has.
const OTHERS: u32 = 0o077;

/// Sets the umask, so that every file of this process is created without access for others, also by libraries.
pub fn restrict_new_files() {
    umask(Mode::from_raw_mode(OTHERS));
}

/// Creates a directory of mode 0700, and the missing ones above it. An existing directory is not changed. If
/// root creates a directory, it is given to the owner of the directory above.
///
/// # Errors
/// The error of the operating system.
pub fn make_directory(path: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    for above in path.ancestors() {
        if above.as_os_str().is_empty() || above.try_exists()? {
            break;
        }
        missing.push(above);
    }
    for directory in missing.into_iter().rev() {
        match DirBuilder::new().mode(0o700).create(directory) {
            Ok(()) => give_to_owner_above(directory)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    // Returns an error if the path exists and is not a directory.
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Options for a file that is created with mode 0600 and is not opened through a symbolic link.
pub fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    options.mode(0o600).custom_flags(flags);
    options
}

/// Gives an open file to the owner of its directory, if this process runs as root.
///
/// # Errors
/// The error of the operating system.
pub fn give_to_owner(file: &File, directory: &Path) -> io::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let (owner, found) = (fs::metadata(directory)?, file.metadata()?);
    if is_owned_alike(&owner, &found) {
        return Ok(());
    }
    fchown(file, Some(owner.uid()), Some(owner.gid()))
}

/// Gives the files of these names in a directory to the directory's owner, and everything in subdirectories of
/// these names, if this process runs as root. Libraries create such files. Symbolic links are not followed.
///
/// # Errors
/// The error of the operating system.
pub fn give_all_to_owner(directory: &Path, is_ours: fn(&str) -> bool) -> io::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let owner = fs::metadata(directory)?;
    each(directory, is_ours, MAX_DEPTH, &mut |path, found| {
        if is_owned_alike(&owner, found) {
            return Ok(());
        }
        lchown(path, Some(owner.uid()), Some(owner.gid()))
    })
}

/// How many levels of subdirectories are visited.
const MAX_DEPTH: usize = 4;

/// Visits the files and directories of these names, and everything below them.
fn each(
    directory: &Path,
    is_ours: fn(&str) -> bool,
    depth: usize,
    visit: &mut dyn FnMut(&Path, &Metadata) -> io::Result<()>,
) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if !entry.file_name().to_str().is_some_and(is_ours) {
            continue;
        }
        let Some(found) = metadata(&path)? else {
            continue;
        };
        if found.is_symlink() {
            continue;
        }
        visit(&path, &found)?;
        if found.is_dir() && depth > 0 {
            each(&path, |_| true, depth - 1, visit)?;
        }
    }
    Ok(())
}

/// The user that this process acts as.
pub fn effective_user() -> u32 {
    geteuid().as_raw()
}

/// The owner of a file or directory; `None` when it does not exist.
pub fn owner_of(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|found| found.uid())
}

fn give_to_owner_above(path: &Path) -> io::Result<()> {
    let above = match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    give_to_owner(&File::open(path)?, above)
}

fn is_owned_alike(one: &Metadata, other: &Metadata) -> bool {
    (one.uid(), one.gid()) == (other.uid(), other.gid())
}

/// The metadata of a file or of a symbolic link itself; `None` when it does not exist.
fn metadata(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A file or directory that other users than its owner can read or change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The file or directory.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// The bits that it should have.
    pub wanted: u32,
}

impl std::fmt::Display for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, mode, wanted } = self;
        let path = path.display();
        write!(
            f,
            "{path} can be read by others than its owner (mode {mode:o}): chmod {wanted:o} {path}"
        )
    }
}

/// The mode of a file that other users than its owner can access; `None` for any other file. Symbolic links are
/// followed. A file whose metadata cannot be read counts as not accessible.
pub fn open_to_others(path: &Path) -> Option<Open> {
    open_mode(path, &fs::metadata(path).ok()?)
}

fn open_mode(path: &Path, found: &Metadata) -> Option<Open> {
    let mode = found.permissions().mode() & 0o777;
    let wanted = mode & !OTHERS;
    let (path, is_open) = (path.to_owned(), mode & OTHERS != 0);
    is_open.then_some(Open { path, mode, wanted })
}

/// Removes the access of other users from the files of these names in a directory, and from everything in
/// subdirectories of these names. The mode of the directory itself is not changed. Returns the files that were
/// changed, and those that could not be.
///
/// # Errors
/// When the directory cannot be listed.
pub fn tighten(directory: &Path, is_ours: fn(&str) -> bool) -> io::Result<Tightened> {
    let mut tightened = Tightened::default();
    each(directory, is_ours, MAX_DEPTH, &mut |path, found| {
        if let Some(open) = open_mode(path, found) {
            let wanted = fs::Permissions::from_mode(open.wanted);
            match fs::set_permissions(path, wanted) {
                Ok(()) => tightened.changed.push(open),
                Err(_) => tightened.left.push(open),
            }
        }
        Ok(())
    })?;
    Ok(tightened)
}

/// The result of [`tighten`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tightened {
    /// These had other modes before.
    pub changed: Vec<Open>,
    /// These belong to another user and could not be changed.
    pub left: Vec<Open>,
}

impl Tightened {
    /// Logs the changes, and the files whose mode the operator has to change.
    pub fn log(&self) {
        for open in &self.changed {
            let Open { path, mode, wanted } = open;
            let path = path.display();
            tracing::warn!(%path, "others could read a private file (mode {mode:o}); it has mode {wanted:o} now");
        }
        for open in &self.left {
            tracing::warn!("{open}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn created_files_are_for_their_owner_only() {
        let home = tempfile::tempdir().unwrap();
        let inner = home.path().join("a/b");
        make_directory(&inner).unwrap();
        make_directory(&inner).unwrap();
        assert_eq!(mode(&inner), 0o700);
        assert_eq!(mode(&home.path().join("a")), 0o700);
        let file = inner.join("f");
        private().create(true).append(true).open(&file).unwrap();
        assert_eq!(mode(&file), 0o600);
    }

    #[test]
    fn a_planted_link_is_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("target");
        fs::write(&target, "precious").unwrap();
        let link = home.path().join("link");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(private().create(true).append(true).open(&link).is_err());
        fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(&target, elsewhere.path().join("l")).unwrap();
        assert_eq!(
            tighten(elsewhere.path(), |_| true).unwrap(),
            Tightened::default()
        );
        assert_eq!(mode(&target), 0o644);
    }

    #[test]
    fn files_readable_by_others_are_tightened_and_named() {
        let home = tempfile::tempdir().unwrap();
        let (inner, file) = (home.path().join("blobs"), home.path().join("blobs/7"));
        fs::create_dir(&inner).unwrap();
        fs::write(&file, "x").unwrap();
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o664)).unwrap();
        let open = open_to_others(&file).unwrap();
        assert_eq!(
            open.to_string(),
            format!(
                "{0} can be read by others than its owner (mode 664): chmod 600 {0}",
                file.display()
            )
        );
        let nothing = tighten(home.path(), |name| name == "db").unwrap();
        assert_eq!(nothing, Tightened::default(), "what is not ours stays");
        let tightened = tighten(home.path(), |_| true).unwrap();
        assert_eq!(tightened.changed.len(), 2, "{tightened:?}");
        assert_eq!((mode(&inner), mode(&file)), (0o700, 0o600));
        assert_eq!(
            tighten(home.path(), |_| true).unwrap(),
            Tightened::default()
        );
    }

    #[test]
    fn files_created_by_root_belong_to_the_owner_of_the_directory() {
        if !geteuid().is_root() {
            // Only root can give files away.
            return;
        }
        let home = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(home.path(), Some(4321), Some(1234)).unwrap();
        make_directory(&home.path().join("a/b")).unwrap();
        fs::write(home.path().join("a/b/f"), "x").unwrap();
        let file = File::create(home.path().join("g")).unwrap();
        give_to_owner(&file, home.path()).unwrap();
        give_all_to_owner(&home.path().join("a"), |_| true).unwrap();
        for name in ["a", "a/b", "a/b/f", "g"] {
            let found = fs::metadata(home.path().join(name)).unwrap();
            assert_eq!((found.uid(), found.gid()), (4321, 1234), "{name}");
        }
    }
}
