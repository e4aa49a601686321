//! Tables as planning sees them.

use std::collections::HashSet;
use std::sync::Arc;

use frazil_storage::Store;
use futures::{StreamExt, TryStreamExt};

use super::{load_manifest, load_manifest_list};
use crate::history::{EntriesByPath, History, HistoryStep};
use crate::manifest_set::{merging_is_due, min_count_to_merge};
use crate::needs::{Needs, Want};
use crate::promotion::Promotions;
use crate::spec::{MAIN_BRANCH, ManifestEntry, ManifestFile, Snapshot, SnapshotRetention};
use crate::state::CommitTarget;
use crate::{Change, Error, ManifestCache, Result, Table, TableState};

/// Manifests that are read at the same time.
const READS_MAX: usize = 16;

/// What of a state's manifests is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entries {
    /// Only the manifest list.
    None,
    /// Every manifest.
    All,
}

/// Loads a table at the head of `main`.
///
/// # Errors
/// [`Error::Storage`] and [`Error::Damaged`] as the files are.
pub async fn load_state(store: &Store, cache: &ManifestCache, table: &Table, entries: Entries) -> Result<TableState> {
    let snapshot = table.current_snapshot().cloned();
    load_state_at(store, cache, table, MAIN_BRANCH, snapshot, entries).await
}

/// Loads a table at a snapshot.
///
/// # Errors
/// As [`load_state`].
pub async fn load_state_at(
    store: &Store,
    cache: &ManifestCache,
    table: &Table,
    ref_name: &str,
    snapshot: Option<Arc<Snapshot>>,
    entries: Entries,
) -> Result<TableState> {
    let manifests = match &snapshot {
        None => Arc::default(),
        Some(snapshot) => load_manifest_list(store, cache, table.metadata(), snapshot).await?,
    };
    let mut state = TableState {
        table: table.clone(),
        ref_name: ref_name.to_owned(),
        snapshot,
        manifests,
        entries: EntriesByPath::new(),
        skipped: HashSet::new(),
        history: History::default(),
        wap_id: None,
    };
    if entries == Entries::All {
        state.entries = load_entries(store, cache, &state.manifests).await?;
        state.widen_partitions();
    }
    Ok(state)
}

/// Loads the state that [`crate::plan_commit`] needs for `changes`: of the manifests, those that a change looks at, and of
/// the history, what came after the bases of the changes.
///
/// # Errors
/// As [`load_state`]; [`Error::InvalidChange`] if the target is no branch of the table.
pub async fn load_state_for(
    store: &Store,
    cache: &ManifestCache,
    table: &Table,
    target: &CommitTarget,
    changes: &[Change],
) -> Result<TableState> {
    let branch = target.branch();
    check_branch(table, branch)?;
    let head = table.metadata().snapshot_for_ref(branch).cloned();
    let mut state = load_state_at(store, cache, table, branch, head, Entries::None).await?;
    let needs = Needs::of(changes);
    let metadata = table.metadata();
    let min_count = if needs.merges { min_count_to_merge(&state) } else { usize::MAX };
    let is_merged = merging_is_due(&state.manifests, min_count);
    let mut wanted = Vec::new();
    for manifest in state.manifests.iter() {
        let want = needs.want(manifest.content);
        if want.includes(metadata, manifest) || is_merged(manifest) {
            wanted.push(manifest.clone());
        } else if matches!(want, Want::Partitions(_)) {
            state.skipped.insert(manifest.manifest_path.clone());
        }
    }
    state.history = load_history(store, cache, table, branch, &needs.bases).await?;
    wanted.extend(state.history.steps.iter().flat_map(|step| &step.manifests).cloned());
    state.entries = load_entries(store, cache, &wanted).await?;
    state.widen_partitions();
    if let CommitTarget::Staged { wap_id } = target {
        state.wap_id = Some(wap_id.clone());
    }
    Ok(state)
}

/// The entries of one of a table's manifests, with partitions in the types of the table's schema, as a state has them.
///
/// # Errors
/// As [`load_manifest`].
pub async fn load_entries_of(
    store: &Store,
    cache: &ManifestCache,
    table: &Table,
    manifest: &ManifestFile,
) -> Result<Arc<Vec<ManifestEntry>>> {
    let entries = load_manifest(store, cache, manifest).await?;
    Ok(Promotions::of(table.metadata()).widen_entries(manifest.partition_spec_id, entries))
}

fn check_branch(table: &Table, name: &str) -> Result<()> {
    let reason = match table.refs().get(name).map(|reference| &reference.retention) {
        Some(SnapshotRetention::Branch { .. }) => return Ok(()),
        Some(SnapshotRetention::Tag { .. }) => format!("{name} is a tag: only branches can be written to"),
        None if name == MAIN_BRANCH => return Ok(()),
        None => format!("the table has no branch {name}: create it first"),
    };
    Err(Error::InvalidChange(reason))
}

/// Reads what the snapshots above the oldest base wrote. A base that is not in the history is told by the check that asks
/// for it.
async fn load_history(
    store: &Store,
    cache: &ManifestCache,
    table: &Table,
    branch: &str,
    bases: &[Option<i64>],
) -> Result<History> {
    let mut history = History::default();
    let mut missing: HashSet<Option<i64>> = bases.iter().copied().collect();
    let mut chain = table.ancestors(branch);
    loop {
        history.below = chain.next_id();
        missing.remove(&history.below);
        if missing.is_empty() {
            return Ok(history);
        }
        let Some(snapshot) = chain.next() else { return Ok(history) };
        let own = |manifest: &ManifestFile| manifest.added_snapshot_id == snapshot.snapshot_id();
        let list = load_manifest_list(store, cache, table.metadata(), snapshot).await?;
        history.steps.push(HistoryStep {
            snapshot_id: snapshot.snapshot_id(),
            operation: snapshot.summary().operation.clone(),
            manifests: list.iter().filter(|manifest| own(manifest)).cloned().collect(),
        });
    }
}

pub(super) async fn load_entries(
    store: &Store,
    cache: &ManifestCache,
    manifests: &[ManifestFile],
) -> Result<EntriesByPath> {
    // Futures first: a closure that lends to a future inside a stream keeps callers from being `Send`.
    let reads: Vec<_> = manifests.iter().map(|manifest| load_named(store, cache, manifest)).collect();
    futures::stream::iter(reads).buffer_unordered(READS_MAX).try_collect().await
}

async fn load_named(
    store: &Store,
    cache: &ManifestCache,
    manifest: &ManifestFile,
) -> Result<(String, Arc<Vec<ManifestEntry>>)> {
    let entries = load_manifest(store, cache, manifest).await?;
    Ok((manifest.manifest_path.clone(), entries))
}
