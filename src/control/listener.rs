//! The server's end of the control socket.
//!
//! It is made in a directory of its own that nobody else may enter, given its mode, and only then
//! moved to its place, so that there is no moment in which another user could connect.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use crate::types::random::Random;

/// Opens the socket with mode 0600. A socket that a stopped server left behind is replaced. Must be
/// called within a runtime.
///
/// # Errors
/// When another server answers there, when something else is in the place, or when the directory
/// cannot be written.
pub async fn bind(path: &Path, random: &dyn Random) -> Result<UnixListener, BindError> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::Occupied(path.to_owned()));
        }
        Ok(_) if UnixStream::connect(path).await.is_ok() => {
            return Err(BindError::InUse(path.to_owned()));
        }
        Ok(_) | Err(_) => {}
    }
    place(path, random).map_err(|error| BindError::Io(path.to_owned(), error))
}

fn place(path: &Path, random: &dyn Random) -> io::Result<UnixListener> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let hidden = directory.join(format!(".c{:x}", u32::from_le_bytes(random.bytes())));
    fs::DirBuilder::new().mode(0o700).create(&hidden)?;
    let made = hidden.join("s");
    let listener = UnixListener::bind(&made).and_then(|listener| {
        fs::set_permissions(&made, fs::Permissions::from_mode(0o600))?;
        fs::rename(&made, path)?;
        Ok(listener)
    });
    if listener.is_err() {
        // Whatever is left of it; the first error is the one to tell.
        drop(fs::remove_file(&made));
    }
    fs::remove_dir(&hidden)?;
    listener
}

/// Why the control socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another server answers there.
    #[error("another server answers on {}; stop it, or set server.control to another path", .0.display())]
    InUse(PathBuf),
    /// Something that is no socket is in the place.
    #[error("{} is in the way of the control socket and is no socket", .0.display())]
    Occupied(PathBuf),
    /// The system refuses.
    #[error("the control socket {path} cannot be opened: {error}", path = .0.display(), error = .1)]
    Io(PathBuf, #[source] io::Error),
}
