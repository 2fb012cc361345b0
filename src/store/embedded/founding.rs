//! Is this store the right one to use? Its format, its id and its keys are checked before it is used.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::crypto::keydir::Bond;
use crate::store::embedded::commits::{Commit, seal};
use crate::store::embedded::digest::Digest;
use crate::store::embedded::keys::{META_FORMAT, META_STORE, META_TOTALS};
use crate::store::embedded::ledger::{Batch, Entry, KeyRange, Ledger, Order};
use crate::store::embedded::records::Totals;
use crate::store::identity::{Ties, apart};
use crate::store::{StoreError, codec};
use crate::types::ids::StoreId;

/// The layout of keys and records that this version writes.
const FORMAT: u32 = 2;

/// The layout before commits were counted. Otherwise the same.
const UNCOUNTED: u32 = 1;

/// The number of records in one read.
const PAGE: usize = 512;

/// The identity of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredIdentity {
    /// The id.
    pub(crate) store: StoreId,
    /// Whether the id was written to the key directory.
    pub(crate) bound: bool,
}

/// Checks that the ledger holds a store of this format that belongs to its keys, or creates a store in
/// an empty place.
pub(crate) fn settle(
    ledger: &mut dyn Ledger,
    ties: &Ties,
    place: Option<&Path>,
) -> Result<StoreId, StoreError> {
    let format: Option<u32> = read(ledger, META_FORMAT)?;
    let known: Option<StoredIdentity> = read(ledger, META_STORE)?;
    check_format(format, ledger.is_new() && known.is_none())?;
    let store = known.map_or(ties.fresh, |known| known.store);
    let mut bond = ties.bond()?;
    let mut bind = false;
    if let Some(bond) = &bond {
        let totals: Totals = read(ledger, META_TOTALS)?.unwrap_or_default();
        let used = totals.sessions > 0 || totals.users > 0;
        let bound = known.is_some_and(|known| known.bound);
        bind = if format.is_none() {
            // The keys may name a store that was abandoned, or whose creation was interrupted.
            true
        } else {
            ties.compare(bond, known.map(|known| known.store), bound, used)?
        };
    }
    if known.is_none() && format.is_some() {
        // Before the id is written beside the keys: an id that only the keys contain would count as that of
        // another store.
        take_over(ledger, store)?;
    }
    let bound = match &mut bond {
        None => known.is_some_and(|known| known.bound),
        Some(_) if !bind => true,
        Some(bond) => bind_keys(bond, store),
    };
    let apart = match (&bond, place) {
        (Some(bond), Some(place)) if bound => apart(&bond.directory, place),
        _ => None,
    };
    ledger.identify(store, apart)?;
    let identity = StoredIdentity { store, bound };
    if format != Some(FORMAT) || known != Some(identity) {
        write(ledger, identity, ties.after)?;
    }
    ledger.mark_created(store)?;
    Ok(store)
}

/// Fails when the store has another format, or none although it was used before.
fn check_format(format: Option<u32>, is_new: bool) -> Result<(), StoreError> {
    match format {
        Some(FORMAT | UNCOUNTED) => Ok(()),
        None if is_new => Ok(()),
        None => Err(StoreError::Config(
            "the store opened empty although it has been used before: restore a backup, or \
             move the directory away to begin anew"
                .to_owned(),
        )),
        Some(other) => Err(StoreError::Config(format!(
            "the store has format {other}, this version reads {FORMAT}: use the version of \
             sidegate that wrote it"
        ))),
    }
}

/// Writes the id of the store to the key directory. Returns whether that succeeded.
fn bind_keys(bond: &mut Bond, store: StoreId) -> bool {
    match bond.bind(store) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(
                "{error}; the id and the last commit of the store are kept beside the store only, \
                 so the keys will not show when it is lost or an older copy is put in its place"
            );
            false
        }
    }
}

/// Checks every record of a store from before commits were counted, and counts from now on.
fn take_over(ledger: &mut dyn Ledger, store: StoreId) -> Result<(), StoreError> {
    let (count, digest) = check_all(ledger)?;
    tracing::info!(
        records = count,
        "the store of an earlier version is converted"
    );
    ledger.identify(store, None)?;
    let mut batch = Batch::default();
    put(&mut batch, META_FORMAT, &FORMAT)?;
    put(
        &mut batch,
        META_STORE,
        &StoredIdentity {
            store,
            bound: false,
        },
    )?;
    let commit = seal(ledger, &mut batch, Commit { number: 0, digest })?;
    ledger.commit(&batch, &commit)
}

fn write(ledger: &mut dyn Ledger, identity: StoredIdentity, after: u64) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    put(&mut batch, META_FORMAT, &FORMAT)?;
    put(&mut batch, META_STORE, &identity)?;
    let first = Commit {
        number: after,
        digest: Digest::default(),
    };
    let commit = seal(ledger, &mut batch, first)?;
    ledger.commit(&batch, &commit)
}

/// Reads every record and computes their digest.
fn check_all(ledger: &mut dyn Ledger) -> Result<(u64, Digest), StoreError> {
    let mut rest = KeyRange {
        from: Vec::new(),
        to: vec![u8::MAX],
    };
    let mut sum = (0, Digest::default());
    loop {
        let page = ledger.scan(&rest, Order::Ascending, PAGE)?;
        for Entry { key, value } in &page {
            codec::check(key, value).map_err(|error| match error {
                StoreError::Corrupt(what) => StoreError::Damaged(what),
                other => other,
            })?;
            sum = (sum.0 + 1, sum.1.plus(Digest::of(key, value)));
        }
        match page.last() {
            Some(last) if page.len() == PAGE => rest = rest.after(&last.key),
            _ => return Ok(sum),
        }
    }
}

fn read<T: DeserializeOwned>(ledger: &mut dyn Ledger, key: &[u8]) -> Result<Option<T>, StoreError> {
    let bytes = ledger.get(key)?;
    bytes.map(|bytes| codec::decode(key, &bytes)).transpose()
}

fn put<T: Serialize>(batch: &mut Batch, key: &[u8], record: &T) -> Result<(), StoreError> {
    let bytes = codec::encode(key, record)?;
    batch.writes.insert(key.to_vec(), Some(bytes));
    Ok(())
}
