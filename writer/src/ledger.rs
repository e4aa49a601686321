//! What a sink leaves in a table, so that the table itself says how far the job has come.
//!
//! A ledger travels in the summary of the snapshot that adds the rows, and as a mirror in a table property set by the
//! same pointer swap. The summary is what counts: it follows the table's history, through a rollback too. The mirror is
//! asked only where expiry has cut the history.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use frazil_table::spec::{MAIN_BRANCH, Snapshot};
use frazil_table::{SnapshotProperties, Table};
use serde::{Deserialize, Serialize};

use crate::stored_file::StoredFile;
use crate::{Error, Result};

/// Which sink of which job. Both names are stable over restarts: they come from the job's definition, not from its runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SinkId {
    /// The job.
    pub job_id: String,
    /// The sink within the job.
    pub sink_uid: String,
}

impl fmt::Display for SinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.job_id, self.sink_uid)
    }
}

/// Counts the runs of a sink. A run with a lower epoch than the table knows is a zombie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FencingEpoch(pub u64);

/// Counts the checkpoints of a job over all its runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CheckpointId(pub u64);

impl CheckpointId {
    /// The one after this.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for CheckpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for FencingEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How far each split of the sources has been read: split name → position, both in the source's own words.
pub type SourcePositions = BTreeMap<String, String>;

/// How far a sink has come: one checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ledger {
    /// Whose ledger it is.
    #[serde(flatten)]
    pub sink: SinkId,
    /// The run that wrote it.
    pub fencing_epoch: FencingEpoch,
    /// The checkpoint.
    pub checkpoint_id: CheckpointId,
    /// Where each source goes on after it.
    pub positions: SourcePositions,
    /// Event time up to which the stream is complete, milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub watermark_ms: Option<i64>,
}

/// A ledger whose positions are longer than this goes into a state manifest.
pub(crate) const INLINE_BYTES_MAX: usize = 4 << 10;

/// Where the positions are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StoredPositions {
    /// In the ledger itself.
    Inline(SourcePositions),
    /// In a file beside the table's metadata.
    State(StoredFile),
}

/// A ledger as it stands in the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct LedgerEntry {
    pub(crate) snapshot_id: i64,
    pub(crate) fencing_epoch: FencingEpoch,
    pub(crate) checkpoint_id: CheckpointId,
    pub(crate) positions: StoredPositions,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) watermark_ms: Option<i64>,
    /// The prepared checkpoint, kept until the tables that could not commit with this one have it too.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) committable: Option<StoredFile>,
    /// Rows of the checkpoint that came behind the watermark, and that were put aside as bad.
    #[serde(skip_serializing_if = "RowCounts::is_zero", default)]
    pub(crate) counts: RowCounts,
    /// What the sink's rows were made by ([`crate::Definition`]).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) definition: Option<String>,
}

/// Rows of a checkpoint that did not go the usual way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct RowCounts {
    /// Rows of the source whose event time was at or behind the watermark when they were read. They go the way of all
    /// others.
    pub late_rows: u64,
    /// Records that are in the dead-letter table instead.
    pub dead_letters: u64,
}

impl RowCounts {
    fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

const JOB_ID: &str = "frazil.job-id";
const SINK_UID: &str = "frazil.sink-uid";
const FENCING_EPOCH: &str = "frazil.fencing-epoch";
const CHECKPOINT_ID: &str = "frazil.checkpoint-id";
const SOURCE_POSITIONS: &str = "frazil.source-positions";
const STATE_LOCATION: &str = "frazil.state-location";
const STATE_SHA256: &str = "frazil.state-sha256";
const WATERMARK_MS: &str = "frazil.watermark-ms";
const COMMITTABLE_LOCATION: &str = "frazil.committable-location";
const COMMITTABLE_SHA256: &str = "frazil.committable-sha256";
const LATE_ROWS: &str = "frazil.late-rows";
const DEAD_LETTERS: &str = "frazil.dead-letters";
const DEFINITION: &str = "frazil.definition";

impl LedgerEntry {
    /// The entries of the snapshot's summary.
    pub(crate) fn to_summary(&self, sink: &SinkId) -> SnapshotProperties {
        let mut summary = SnapshotProperties::from([
            (JOB_ID.to_owned(), sink.job_id.clone()),
            (SINK_UID.to_owned(), sink.sink_uid.clone()),
            (FENCING_EPOCH.to_owned(), self.fencing_epoch.to_string()),
            (CHECKPOINT_ID.to_owned(), self.checkpoint_id.to_string()),
        ]);
        match &self.positions {
            StoredPositions::Inline(positions) => {
                let json = serde_json::to_string(positions).expect("a map of strings has a JSON form");
                summary.insert(SOURCE_POSITIONS.to_owned(), json);
            }
            StoredPositions::State(StoredFile { location, sha256 }) => {
                summary.insert(STATE_LOCATION.to_owned(), location.clone());
                summary.insert(STATE_SHA256.to_owned(), sha256.clone());
            }
        }
        if let Some(watermark_ms) = self.watermark_ms {
            summary.insert(WATERMARK_MS.to_owned(), watermark_ms.to_string());
        }
        if let Some(StoredFile { location, sha256 }) = &self.committable {
            summary.insert(COMMITTABLE_LOCATION.to_owned(), location.clone());
            summary.insert(COMMITTABLE_SHA256.to_owned(), sha256.clone());
        }
        for (key, count) in [(LATE_ROWS, self.counts.late_rows), (DEAD_LETTERS, self.counts.dead_letters)] {
            if count > 0 {
                summary.insert(key.to_owned(), count.to_string());
            }
        }
        summary.extend(self.definition.iter().map(|definition| (DEFINITION.to_owned(), definition.clone())));
        summary
    }

    /// The mirror in the table's properties.
    pub(crate) fn to_properties(&self, sink: &SinkId) -> HashMap<String, String> {
        let json = serde_json::to_string(self).expect("a ledger entry has a JSON form");
        HashMap::from([(mirror_key(sink), json)])
    }

    /// The sink's entry in a snapshot, if the snapshot is of that sink.
    fn of_snapshot(snapshot: &Snapshot, sink: &SinkId) -> Result<Option<Self>> {
        let summary = &snapshot.summary().additional_properties;
        if summary.get(JOB_ID) != Some(&sink.job_id) || summary.get(SINK_UID) != Some(&sink.sink_uid) {
            return Ok(None);
        }
        let damaged = |key: &str| Error::DamagedLedger {
            sink: sink.to_string(),
            place: format!("snapshot {}, summary key {key}", snapshot.snapshot_id()),
        };
        let number = |key: &'static str| -> Result<u64> {
            summary.get(key).and_then(|v| v.parse().ok()).ok_or_else(|| damaged(key))
        };
        let positions = match (summary.get(SOURCE_POSITIONS), summary.get(STATE_LOCATION)) {
            (Some(json), _) => {
                StoredPositions::Inline(serde_json::from_str(json).map_err(|_| damaged(SOURCE_POSITIONS))?)
            }
            (None, Some(location)) => StoredPositions::State(StoredFile {
                location: location.clone(),
                sha256: summary.get(STATE_SHA256).ok_or_else(|| damaged(STATE_SHA256))?.clone(),
            }),
            (None, None) => return Err(damaged(SOURCE_POSITIONS)),
        };
        let watermark_ms = summary.get(WATERMARK_MS).map(|v| v.parse().map_err(|_| damaged(WATERMARK_MS)));
        let committable = match summary.get(COMMITTABLE_LOCATION) {
            None => None,
            Some(location) => {
                let sha256 = summary.get(COMMITTABLE_SHA256).ok_or_else(|| damaged(COMMITTABLE_SHA256))?;
                Some(StoredFile { location: location.clone(), sha256: sha256.clone() })
            }
        };
        let count = |key: &'static str| -> Result<u64> {
            summary.get(key).map_or(Ok(0), |v| v.parse().map_err(|_| damaged(key)))
        };
        Ok(Some(Self {
            snapshot_id: snapshot.snapshot_id(),
            fencing_epoch: FencingEpoch(number(FENCING_EPOCH)?),
            checkpoint_id: CheckpointId(number(CHECKPOINT_ID)?),
            positions,
            watermark_ms: watermark_ms.transpose()?,
            committable,
            counts: RowCounts { late_rows: count(LATE_ROWS)?, dead_letters: count(DEAD_LETTERS)? },
            definition: summary.get(DEFINITION).cloned(),
        }))
    }

    fn mirrored(table: &Table, sink: &SinkId) -> Result<Option<Self>> {
        let key = mirror_key(sink);
        let Some(json) = table.property(&key) else { return Ok(None) };
        let damaged = |_| Error::DamagedLedger { sink: sink.to_string(), place: format!("property {key}") };
        serde_json::from_str(json).map(Some).map_err(damaged)
    }
}

fn mirror_key(sink: &SinkId) -> String {
    format!("frazil.sink.{}.{}", sink.job_id, sink.sink_uid)
}

/// What a table says of a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The sink has never committed here.
    New,
    /// Its newest entry in the history of `main`, or the mirror where expiry has cut the history.
    At(LedgerEntry),
    /// The table was rolled back to before the sink's newest commit. `to` is the newest entry that is still in the
    /// history; `None` if it was rolled back to before the sink's first.
    RolledBack {
        /// The entry to go on from.
        to: Option<LedgerEntry>,
        /// The entry that the mirror remembers.
        from: LedgerEntry,
    },
    /// The mirror's snapshot was rolled back, and what came before it has expired.
    Undecidable {
        /// The entry that the mirror remembers.
        mirror: LedgerEntry,
    },
}

/// Reads a sink's standing off a table. Pure; cost linear in the snapshots since the sink's last commit.
///
/// # Errors
/// [`Error::DamagedLedger`] if an entry can't be read.
pub(crate) fn standing(table: &Table, sink: &SinkId) -> Result<Standing> {
    let mirror = LedgerEntry::mirrored(table, sink)?;
    let mut ancestors = table.ancestors(MAIN_BRANCH);
    let mut in_history = None;
    for snapshot in ancestors.by_ref() {
        in_history = LedgerEntry::of_snapshot(snapshot, sink)?;
        if in_history.is_some() {
            break;
        }
    }
    let cut = ancestors.cut_at().is_some();
    Ok(match (in_history, mirror) {
        (None, None) => Standing::New,
        (Some(entry), None) => Standing::At(entry),
        (Some(entry), Some(mirror)) if entry.snapshot_id == mirror.snapshot_id => Standing::At(entry),
        (Some(entry), Some(from)) => Standing::RolledBack { to: Some(entry), from },
        (None, Some(from)) if !cut => Standing::RolledBack { to: None, from },
        (None, Some(mirror)) => match table.metadata().snapshot_by_id(mirror.snapshot_id) {
            // Still listed, though not in the history: it was rolled back.
            Some(_) => Standing::Undecidable { mirror },
            None => Standing::At(mirror),
        },
    })
}

#[cfg(test)]
mod tests;
