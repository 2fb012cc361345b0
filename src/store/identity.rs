//! Which store belongs to which keys, and who may found one.
//!
//! Every store has an id, and the key directory names it. Keys without their store mean that the store
//! was lost, or that its volume is not there: an empty store in its place would have forgotten which
//! sessions ended. A store without its keys, or with others, means that a directory was lost or
//! exchanged. Neither starts by itself.

use std::path::{Path, PathBuf};

use crate::crypto::keydir::{Bond, Bound};
use crate::store::StoreError;
use crate::store::sled::seen_by_keys;
use crate::types::ids::StoreId;

/// How a store is tied to its keys, and what may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ties {
    /// The directory of the keys that belong to the store; none where nothing checks that.
    pub keys: Option<PathBuf>,
    /// Whether a store may be founded.
    pub founding: Founding,
    /// Whether keys that do not know the store are taken for its own from now on.
    pub new_keys: bool,
    /// The id of a store that is founded.
    pub fresh: StoreId,
    /// The number that the commits of a store that is founded go on from: zero, but for a store that
    /// is restored and must not look older than what its keys have seen.
    pub after: u64,
}

/// Whether a store may be founded where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Founding {
    /// No: only the store that is there is used.
    Never,
    /// Where there are neither a store nor keys.
    First,
    /// Where there is no store, whether or not there are keys.
    Again,
}

impl Ties {
    /// A store without keys of its own, founded where there is none.
    pub const fn none(fresh: StoreId) -> Self {
        Self {
            keys: None,
            founding: Founding::First,
            new_keys: false,
            fresh,
            after: 0,
        }
    }

    /// Refuses, before anything is made, to found a store where none should be.
    pub(in crate::store) fn admit(&self, store: &Path, exists: bool) -> Result<(), StoreError> {
        let at = store.display();
        match (exists, self.founding) {
            (true, Founding::Never | Founding::First) | (false, Founding::Again) => Ok(()),
            (true, Founding::Again) => Err(StoreError::Config(format!(
                "there is a store in {at} already: start without --new-store, or move the directory \
                 away"
            ))),
            (false, Founding::Never) => Err(StoreError::Config(format!(
                "there is no store in {at}: `sidegate serve` makes it at its first start; store.url may \
                 name another directory"
            ))),
            (false, Founding::First) => match self.bond()? {
                Some(bond) if bond.has_keys => Err(StoreError::Config(format!(
                    "the keys in {} belong to a store, and there is no store in {at}.\n\
                     An empty store would have forgotten which sessions ended. Decide:\n  \
                     is a volume missing, or another directory meant? mount it, or correct store.url\n  \
                     sidegate restore FILE           puts a backup in its place\n  \
                     sidegate serve --new-store      founds an empty store; accounts are not in it",
                    bond.directory.display()
                ))),
                _ => Ok(()),
            },
        }
    }

    /// What the key directory says; nothing where there is none to ask.
    pub(in crate::store) fn bond(&self) -> Result<Option<Bond>, StoreError> {
        let Some(keys) = &self.keys else {
            return Ok(None);
        };
        Bond::read(keys)
            .map(Some)
            .map_err(|error| StoreError::Config(error.to_string()))
    }

    /// Compares the store with what the key directory says. `bound` is whether the keys once named
    /// the store, `used` whether it holds anything that needs its keys. Says whether the keys have to
    /// get the store's id.
    pub(in crate::store) fn compare(
        &self,
        bond: &Bond,
        store: Option<StoreId>,
        bound: bool,
        used: bool,
    ) -> Result<bool, StoreError> {
        let is_this = |id| Some(id) == store;
        let at = bond.directory.display();
        let why = match (bond.store, bond.has_keys) {
            _ if self.new_keys => return Ok(!matches!(bond.store, Bound::To(id) if is_this(id))),
            (Bound::To(id), _) if !is_this(id) => {
                format!("the keys in {at} belong to another store")
            }
            (Bound::Unreadable, _) => {
                format!(
                    "{at}/store-id is damaged, so the store that the keys belong to is not known"
                )
            }
            (_, false) if used => format!("the store has accounts, and there are no keys in {at}"),
            (Bound::Nowhere, true) if bound => {
                format!("the keys in {at} are not those that the store was used with")
            }
            (bound, _) => return Ok(bound == Bound::Nowhere),
        };
        Err(StoreError::Config(format!(
            "{why}.\nDecide:\n  \
             is a volume missing, or another directory meant? mount it, or correct tokens.keys_dir \
             and store.url\n  \
             put the right key directory back from a backup\n  \
             sidegate serve --new-keys       goes on with the keys that are there, or makes new ones; \
             everybody has to log in again"
        )))
    }
}

/// The number of the last commit of that store that its keys have seen, where they are kept apart from
/// it. A store that is restored goes on from there ([`Ties::after`]).
pub fn last_seen(keys: &Path, store: StoreId) -> Option<u64> {
    seen_by_keys(keys, store)
}

/// The directory of the keys, where it is kept apart from the store: then an older copy of the store
/// that is put back does not bring back what the keys have seen.
pub(in crate::store) fn apart<'a>(keys: &'a Path, store: &Path) -> Option<&'a Path> {
    let resolved = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (inner, outer) = (resolved(keys), resolved(store));
    (!inner.starts_with(&outer)).then_some(keys)
}
