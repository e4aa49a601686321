//! A table as a catalog hands it out.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde::Deserialize;

use crate::spec::{
    FormatVersion, MAIN_BRANCH, Snapshot, SnapshotRef, SnapshotReference, SnapshotRetention, TableIdent, TableMetadata,
    TableUpdate,
};

/// A table's name, its metadata and where that metadata is stored. Immutable and cheap to clone.
#[derive(Clone, Debug)]
pub struct Table {
    ident: TableIdent,
    metadata: Arc<TableMetadata>,
    metadata_location: Arc<str>,
    refs: Arc<OnceLock<BTreeMap<String, SnapshotReference>>>,
}

impl Table {
    /// A table as of one metadata file.
    pub fn new(ident: TableIdent, metadata: Arc<TableMetadata>, metadata_location: &str) -> Self {
        Self { ident, metadata, metadata_location: metadata_location.into(), refs: Arc::default() }
    }

    /// The same state of the table under another name.
    pub fn named(&self, ident: TableIdent) -> Self {
        Self { ident, ..self.clone() }
    }

    /// What updates made of this table. Its refs are told from the updates, which costs less than looking for them.
    pub fn after(&self, updates: &[TableUpdate], metadata: Arc<TableMetadata>, metadata_location: &str) -> Self {
        let refs = refs_after(self.refs(), updates, &metadata);
        let table = Self::new(self.ident.clone(), metadata, metadata_location);
        if let Some(refs) = refs {
            table.refs.set(refs).expect("nobody has seen this table yet");
        }
        table
    }

    /// Namespace and name.
    pub fn ident(&self) -> &TableIdent {
        &self.ident
    }

    /// The metadata.
    pub fn metadata(&self) -> &Arc<TableMetadata> {
        &self.metadata
    }

    /// The location of the metadata file: two tables of one catalog are at the same state exactly if these are equal.
    pub fn metadata_location(&self) -> &str {
        &self.metadata_location
    }

    /// The snapshot that `main` points to.
    pub fn current_snapshot(&self) -> Option<&SnapshotRef> {
        self.metadata.snapshot_for_ref(MAIN_BRANCH)
    }

    /// Branches and tags with their retention. `main` is among them once the table has a snapshot.
    pub fn refs(&self) -> &BTreeMap<String, SnapshotReference> {
        self.refs.get_or_init(|| refs_of(&self.metadata))
    }

    /// A table property.
    pub fn property(&self, key: &str) -> Option<&str> {
        self.metadata.properties().get(key).map(String::as_str)
    }

    /// The snapshots of a branch or tag, newest first, as far as they are retained.
    pub fn ancestors(&self, ref_name: &str) -> Ancestors<'_> {
        let head = self.metadata.snapshot_for_ref(ref_name).map(|s| s.snapshot_id());
        Ancestors { metadata: &self.metadata, next: head, seen_max: self.metadata.snapshots().len() }
    }

    /// The snapshots from `snapshot_id` back, newest first, as far as they are retained.
    pub fn ancestors_of(&self, snapshot_id: i64) -> Ancestors<'_> {
        let seen_max = self.metadata.snapshots().len();
        Ancestors { metadata: &self.metadata, next: Some(snapshot_id), seen_max }
    }
}

/// The `iceberg` crate keeps the refs to itself; its JSON form shows them.
fn refs_of(metadata: &TableMetadata) -> BTreeMap<String, SnapshotReference> {
    #[derive(Deserialize)]
    struct Refs {
        #[serde(default)]
        refs: BTreeMap<String, SnapshotReference>,
    }
    let json = serde_json::to_vec(metadata).expect("table metadata has a JSON form");
    let mut refs = serde_json::from_slice::<Refs>(&json).expect("refs have the form of the specification").refs;
    // Of a version 1 table the crate keeps nothing but the current snapshot.
    if let Some(current) = metadata.current_snapshot() {
        refs.entry(MAIN_BRANCH.to_owned()).or_insert_with(|| {
            SnapshotReference::new(current.snapshot_id(), SnapshotRetention::branch(None, None, None))
        });
    }
    refs
}

/// The refs that updates leave; `None` if they are not what the metadata has.
fn refs_after(
    before: &BTreeMap<String, SnapshotReference>,
    updates: &[TableUpdate],
    metadata: &TableMetadata,
) -> Option<BTreeMap<String, SnapshotReference>> {
    // Stored metadata of version 1 has none.
    if metadata.format_version() == FormatVersion::V1 {
        return None;
    }
    let mut refs = before.clone();
    for update in updates {
        match update {
            TableUpdate::SetSnapshotRef { ref_name, reference } => {
                refs.insert(ref_name.clone(), reference.clone());
            }
            TableUpdate::RemoveSnapshotRef { ref_name } => drop(refs.remove(ref_name)),
            _ => {}
        }
    }
    // With a snapshot go the refs that named it.
    refs.retain(|name, _| metadata.snapshot_for_ref(name).is_some());
    let holds = |(name, reference): (&String, &SnapshotReference)| {
        metadata.snapshot_for_ref(name).is_some_and(|snapshot| snapshot.snapshot_id() == reference.snapshot_id)
    };
    let main = refs.get(MAIN_BRANCH).map(|reference| reference.snapshot_id);
    (refs.iter().all(holds) && main == metadata.current_snapshot_id()).then_some(refs)
}

/// Walks from a snapshot to its parents.
#[derive(Debug)]
pub struct Ancestors<'a> {
    metadata: &'a TableMetadata,
    next: Option<i64>,
    /// A damaged table may hold a cycle: no chain is longer than the number of snapshots.
    seen_max: usize,
}

impl Ancestors<'_> {
    /// The id of the snapshot that comes next, retained or not; `None` after the first of all.
    pub(crate) fn next_id(&self) -> Option<i64> {
        self.next
    }

    /// After the walk: the id of a parent that is named but no longer retained. `None` if the chain is complete.
    pub fn cut_at(&self) -> Option<i64> {
        self.next
    }
}

impl<'a> Iterator for Ancestors<'a> {
    type Item = &'a Snapshot;

    fn next(&mut self) -> Option<&'a Snapshot> {
        let snapshot = self.metadata.snapshot_by_id(self.next?)?;
        self.seen_max = self.seen_max.checked_sub(1)?;
        self.next = snapshot.parent_snapshot_id();
        Some(snapshot)
    }
}
