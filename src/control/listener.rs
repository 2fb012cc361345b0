//! How does the server open the control socket?
//!
//! The socket is created in a directory that no other user can enter, its mode is set, and only then is it
//! moved to its place. So there is no moment in which another user could connect.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use crate::types::random::Random;

/// Opens the socket with mode 0600. A socket that a stopped server has left is replaced. Must be called within
/// a runtime.
///
/// # Errors
/// When another server answers on the socket, when another kind of file has this path, or when the directory
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
        // Removes the socket if it was created. The first error is reported.
        drop(fs::remove_file(&made));
    }
    fs::remove_dir(&hidden)?;
    listener
}

/// Why the control socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another server answers on the socket.
    #[error("another server answers on {}; stop it, or set server.control to another path", .0.display())]
    InUse(PathBuf),
    /// A file with this path is not a socket.
    #[error("{} is not a socket, so the control socket cannot be opened there", .0.display())]
    Occupied(PathBuf),
    /// The file system returned an error.
    #[error("the control socket {path} cannot be opened: {error}", path = .0.display(), error = .1)]
    Io(PathBuf, #[source] io::Error),
}
