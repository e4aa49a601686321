//! Delete files that can't apply to any data file any more.
//!
//! A delete file is dead if no live data file is in its reach with a data sequence number that it applies to. The files
//! that the commit adds count, with the numbers that they get: a rewritten file may be older than everything else. What is
//! not known counts as alive.

use std::collections::{HashMap, HashSet};

use super::{Live, ManifestSet, Matched, Removal, RemovedFile};
use crate::Result;
use crate::commit::{ManifestRef, SnapshotPlan};
use crate::deletes::{DeleteScope, applies_by_number};
use crate::spec::{ManifestContentType, Struct, TableMetadata};

/// The live data files, as far as deletes look at them.
struct LiveData {
    paths: HashSet<String>,
    oldest_of: HashMap<(i32, Struct), i64>,
    oldest: Option<i64>,
    /// Whether every manifest's entries were at hand.
    is_complete: bool,
}

impl ManifestSet<'_> {
    /// Marks the dead delete files as deleted. Does nothing for a table without deletes.
    pub(crate) fn drop_dead_deletes(
        &mut self,
        metadata: &TableMetadata,
        snapshot: &SnapshotPlan,
    ) -> Result<Vec<RemovedFile>> {
        if !self.listed.iter().any(|manifest| self.describe(manifest).0 == ManifestContentType::Deletes) {
            return Ok(Vec::new());
        }
        let live = self.live_data()?;
        if !live.is_complete {
            return Ok(Vec::new());
        }
        let removal = self.remove_where(ManifestContentType::Deletes, snapshot, |entry, spec_id| {
            match live.is_dead(metadata, entry, spec_id) {
                true => Matched::Yes,
                false => Matched::No,
            }
        })?;
        match removal {
            Removal::Removed(removed) => Ok(removed),
            Removal::Missing(path) => unreachable!("{path} is dead or not, not partly"),
        }
    }

    fn live_data(&self) -> Result<LiveData> {
        let mut live = LiveData { paths: HashSet::new(), oldest_of: HashMap::new(), oldest: None, is_complete: true };
        for manifest in &self.listed {
            let (content, spec_id) = self.describe(manifest);
            if content != ManifestContentType::Data {
                continue;
            }
            if let ManifestRef::Stored(stored) = manifest
                && !self.state.entries.contains_key(&stored.manifest_path)
            {
                live.is_complete = false;
                continue;
            }
            for data in self.live_in(manifest)? {
                let number = data.data_sequence_number.unwrap_or(0);
                live.paths.insert(data.file.file_path().to_owned());
                let oldest = live.oldest_of.entry((spec_id, data.file.partition().clone())).or_insert(number);
                *oldest = (*oldest).min(number);
                live.oldest = Some(live.oldest.unwrap_or(number).min(number));
            }
        }
        Ok(live)
    }
}

impl LiveData {
    fn is_dead(&self, metadata: &TableMetadata, delete: &Live<'_>, partition_spec_id: i32) -> bool {
        let oldest = match DeleteScope::of(metadata, delete.file, partition_spec_id) {
            DeleteScope::File(path) => return !self.paths.contains(&path),
            DeleteScope::Partition(spec_id, tuple) => self.oldest_of.get(&(spec_id, tuple)).copied(),
            DeleteScope::Table => self.oldest,
        };
        let number = delete.data_sequence_number.unwrap_or(i64::MAX);
        !oldest.is_some_and(|oldest| applies_by_number(delete.file.content_type(), number, oldest))
    }
}
