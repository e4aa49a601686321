//! What happened on a branch since a change was worked out.

use std::collections::HashMap;
use std::sync::Arc;

use crate::spec::{ManifestContentType, ManifestEntry, ManifestFile, ManifestStatus, Operation};
use crate::{Conflict, Error, Result};

/// The newest snapshots of a branch, each with the manifests that it added and nothing else. Made by
/// [`crate::io::load_state_for`]; its size is that of the commits since the base, not of the table.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Newest first.
    pub(crate) steps: Vec<HistoryStep>,
    /// The snapshot below the oldest step: a base of the changes, or the parent that is not retained any more.
    pub(crate) below: Option<i64>,
}

#[derive(Clone, Debug)]
pub(crate) struct HistoryStep {
    pub(crate) snapshot_id: i64,
    pub(crate) operation: Operation,
    /// Those that the snapshot wrote.
    pub(crate) manifests: Vec<ManifestFile>,
}

/// An entry that a snapshot added or removed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<'a> {
    pub(crate) operation: &'a Operation,
    pub(crate) entry: &'a ManifestEntry,
    pub(crate) partition_spec_id: i32,
}

/// The entries of manifests by location.
pub(crate) type EntriesByPath = HashMap<String, Arc<Vec<ManifestEntry>>>;

impl History {
    /// The steps after `base`, newest first; `None`: all of a complete history.
    pub(crate) fn since(&self, base: Option<i64>) -> std::result::Result<&[HistoryStep], Conflict> {
        let length = match base {
            base if base == self.below => Some(self.steps.len()),
            Some(base) => self.steps.iter().position(|step| step.snapshot_id == base),
            None => None,
        };
        length.map(|length| &self.steps[..length]).ok_or(Conflict::BaseGone { base_snapshot_id: base })
    }
}

/// What the steps added to, or removed from, the table. An entry names the snapshot that did it, so what a snapshot only
/// carried along in a rewritten manifest does not count.
pub(crate) fn events<'a>(
    steps: &'a [HistoryStep],
    entries: &'a EntriesByPath,
    content: ManifestContentType,
    status: ManifestStatus,
) -> Result<Vec<Event<'a>>> {
    let mut events = Vec::new();
    for step in steps {
        for manifest in step.manifests.iter().filter(|manifest| manifest.content == content) {
            let read = entries.get(&manifest.manifest_path).ok_or_else(|| not_loaded(&manifest.manifest_path))?;
            let did = |entry: &&ManifestEntry| entry.status == status && entry.snapshot_id == Some(step.snapshot_id);
            events.extend(read.iter().filter(did).map(|entry| Event {
                operation: &step.operation,
                entry,
                partition_spec_id: manifest.partition_spec_id,
            }));
        }
    }
    Ok(events)
}

pub(crate) fn not_loaded(manifest: &str) -> Error {
    Error::InvalidChange(format!("the entries of {manifest} were not loaded: load the state for these changes"))
}
