//! Which users may read the files of the store and of the keys? Only their owner, and all have one owner.

use std::path::Path;

use crate::config::Config;
use crate::crypto::keydir;
use crate::files;
use crate::store::is_store_file;

/// Removes the access of other users from files that they can read, and logs it. Earlier versions created such
/// files.
pub(crate) fn tighten(config: &Config) {
    if let Some(path) = store(config) {
        match files::tighten(path, is_store_file) {
            Ok(tightened) => tightened.log(),
            Err(error) => tracing::warn!(%error, "the store's files cannot be checked"),
        }
    }
    // Files that are still readable by others are reported when the keys are loaded.
    if let Ok(mut tightened) = files::tighten(&config.tokens.keys_dir, keydir::is_ours) {
        tightened.left.clear();
        tightened.log();
    }
}

/// Gives files that root has created to the owners of their directories, because the server runs as these
/// users.
pub(crate) fn give_to_owners(config: &Config) {
    let given = store(config)
        .map_or(Ok(()), |path| files::give_all_to_owner(path, is_store_file))
        .and_then(|()| files::give_all_to_owner(&config.tokens.keys_dir, keydir::is_ours));
    if let Err(error) = given {
        tracing::warn!(%error, "files that root has created cannot be given to the owner of their directory");
    }
}

fn store(config: &Config) -> Option<&Path> {
    config.store.engine.directory()
}
