//! Which keys belong to a store, and when may a new store be created?
//!
//! Every store has an id, and the key directory names it. Keys without their store mean that the store
//! was lost, or that its volume is not mounted: an empty store in its place would not know which
//! sessions have ended. A store without its keys, or with other keys, means that a directory was lost or
//! replaced. In both cases the start fails, and the operator decides.

use std::path::{Path, PathBuf};

use crate::crypto::keydir::{Bond, Bound};
use crate::store::StoreError;
use crate::store::sled::seen_by_keys;
use crate::types::ids::StoreId;

/// The keys of a store, and what a start may create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ties {
    /// The directory of the keys that belong to the store. None: the keys are not compared.
    pub keys: Option<PathBuf>,
    /// Whether a store may be created.
    pub founding: Founding,
    /// Whether keys that name no store, or another one, are accepted from now on.
    pub new_keys: bool,
    /// The id of a store that is created.
    pub fresh: StoreId,
    /// The commit number from which a created store continues. Zero, except for a restored store, whose number
    /// must not be lower than the one that its keys have recorded.
    pub after: u64,
}

/// Whether a store may be created where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Founding {
    /// No. Only an existing store is used.
    Never,
    /// If there are neither a store nor keys.
    First,
    /// If there is no store, with or without keys.
    Again,
}

impl Ties {
    /// A store without keys of its own, created if there is none.
    pub const fn none(fresh: StoreId) -> Self {
        Self {
            keys: None,
            founding: Founding::First,
            new_keys: false,
            fresh,
            after: 0,
        }
    }

    /// Fails, before anything is written, if a store must not be created here.
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

    /// The content of the key directory. `None` if no directory is compared.
    pub(in crate::store) fn bond(&self) -> Result<Option<Bond>, StoreError> {
        let Some(keys) = &self.keys else {
            return Ok(None);
        };
        Bond::read(keys)
            .map(Some)
            .map_err(|error| StoreError::Config(error.to_string()))
    }

    /// Compares the store with the key directory. `bound`: the keys named the store before. `used`: the
    /// store holds data that needs its keys. Returns whether the id of the store must be written to the
    /// key directory.
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

/// The number of the last commit of this store that its keys have recorded, if they are in a place of
/// their own. A restored store continues from it ([`Ties::after`]).
pub fn last_seen(keys: &Path, store: StoreId) -> Option<u64> {
    seen_by_keys(keys, store)
}

/// The directory of the keys, if it is outside the store. An older copy of the store does not then bring
/// back an older copy of what the keys have recorded.
pub(in crate::store) fn apart<'a>(keys: &'a Path, store: &Path) -> Option<&'a Path> {
    let resolved = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (inner, outer) = (resolved(keys), resolved(store));
    (!inner.starts_with(&outer)).then_some(keys)
}
