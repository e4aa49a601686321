//! A checkpoint between prepare and commit.
//!
//! Flush, prepare and commit are three steps. *Flush* closes files: they are durable, and nobody knows of them
//! ([`Flushed`]). *Prepare* makes of what all sinks of a job have flushed one [`Committable`]: everything that a commit
//! needs, with the ids of its snapshots and the ledger entries that they will carry. *Commit* swaps the pointers. A
//! committable can be committed more than once: it lands once.

use frazil_table::spec::TableIdent;
use frazil_table::{Table, TableFile};
use serde::{Deserialize, Serialize};

use crate::evolution::SchemaEvolution;
use crate::ledger::{CheckpointId, LedgerEntry, RowCounts, SinkId, SourcePositions, StoredPositions};
use crate::stored_file::StoredFile;
use crate::upsert_planner::UpsertPlan;
use crate::{Error, Result};

/// What the writers of one sink have flushed for a checkpoint.
#[derive(Clone, Debug, Default)]
pub struct Flushed {
    /// Durable data files that no snapshot names yet.
    pub files: Vec<TableFile>,
    /// Of an upserting sink: what deletes the older rows.
    pub deletes: UpsertPlan,
    /// Where each source goes on after the checkpoint: every split that was ever read, moved or not.
    pub positions: SourcePositions,
    /// Event time up to which the stream is complete, milliseconds since the Unix epoch.
    pub watermark_ms: Option<i64>,
    /// Rows that did not go the usual way.
    pub counts: RowCounts,
    /// What the files need of the table's schema that it does not have yet.
    pub evolution: Option<SchemaEvolution>,
}

impl Flushed {
    /// Whether there is anything for a snapshot to change.
    pub(crate) fn changes_rows(&self) -> bool {
        !self.files.is_empty() || !self.deletes.is_empty()
    }
}

/// A prepared checkpoint of all sinks of a job. Print it to see what it would commit.
#[derive(Clone, Debug)]
pub struct Committable {
    pub(crate) checkpoint_id: CheckpointId,
    /// Those that have something to commit.
    pub(crate) sinks: Vec<SinkCommittable>,
}

/// One sink's part of a checkpoint.
#[derive(Clone, Debug)]
pub(crate) struct SinkCommittable {
    pub(crate) sink: SinkId,
    pub(crate) table: TableIdent,
    /// The sink's newest entry that the table must have: its snapshot.
    pub(crate) after: Option<i64>,
    /// Where the checkpoint begins: the positions of that entry.
    pub(crate) from: Option<StoredPositions>,
    /// What the checkpoint's snapshot will say; where the checkpoint ends is in it.
    pub(crate) entry: LedgerEntry,
    pub(crate) files: Vec<TableFile>,
    /// What the files need of the table's schema.
    pub(crate) evolution: Option<SchemaEvolution>,
    /// What deletes the older rows of an upserting sink.
    pub(crate) deletes: UpsertPlan,
    /// Where the checkpoint ends, if it was prepared by this process.
    pub(crate) to: Option<SourcePositions>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct CommittableJson {
    checkpoint_id: CheckpointId,
    sinks: Vec<SinkJson>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SinkJson {
    #[serde(flatten)]
    pub(crate) sink: SinkId,
    pub(crate) table: TableIdent,
    after: Option<i64>,
    from: Option<StoredPositions>,
    entry: LedgerEntry,
    files: Vec<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    evolution: Option<SchemaEvolution>,
}

impl Committable {
    /// The checkpoint.
    pub fn checkpoint_id(&self) -> CheckpointId {
        self.checkpoint_id
    }

    /// Gives a sink's part other deletes, planned on a newer state of its table ([`Error::Stale`]).
    pub fn replace_deletes(&mut self, sink: &SinkId, deletes: UpsertPlan) {
        if let Some(part) = self.sinks.iter_mut().find(|part| part.sink == *sink) {
            part.deletes = deletes;
        }
    }

    /// The sinks that commit something.
    pub fn sinks(&self) -> impl Iterator<Item = &SinkId> {
        self.sinks.iter().map(|sink| &sink.sink)
    }

    /// The committable as bytes that [`Committable::from_json`] reads in another process. `table` gives the table of a
    /// sink, in any state since its files were written.
    ///
    /// # Errors
    /// [`Error::Table`] if a file does not belong to its table.
    pub fn to_json<'a>(&self, table: impl Fn(&SinkId) -> &'a Table) -> Result<Vec<u8>> {
        let mut sinks = Vec::with_capacity(self.sinks.len());
        for sink in &self.sinks {
            let evolved = sink.evolution.as_ref().map(|evolution| evolution.preview(table(&sink.sink))).transpose()?;
            let metadata = evolved.as_ref().unwrap_or_else(|| table(&sink.sink)).metadata();
            let files = sink.files.iter().map(|file| file.to_json(metadata));
            sinks.push(SinkJson {
                sink: sink.sink.clone(),
                table: sink.table.clone(),
                after: sink.after,
                from: sink.from.clone(),
                entry: sink.entry.clone(),
                files: files.collect::<frazil_table::Result<_>>()?,
                evolution: sink.evolution.clone(),
            });
        }
        let json = CommittableJson { checkpoint_id: self.checkpoint_id, sinks };
        Ok(serde_json::to_vec(&json).expect("a committable has a JSON form"))
    }

    /// Reads what [`Committable::to_json`] wrote.
    ///
    /// # Errors
    /// [`Error::DamagedLedger`] if it is nothing of the kind; [`Error::Table`] as above.
    pub fn from_json<'a>(bytes: &[u8], table: impl Fn(&SinkId) -> &'a Table) -> Result<Self> {
        let damaged = |_| Error::DamagedLedger { sink: "a job".to_owned(), place: "a prepared checkpoint".to_owned() };
        let json: CommittableJson = serde_json::from_slice(bytes).map_err(damaged)?;
        let sinks = json.sinks.into_iter().map(|sink| {
            let of = table(&sink.sink);
            sink.read(of)
        });
        Ok(Self { checkpoint_id: json.checkpoint_id, sinks: sinks.collect::<Result<_>>()? })
    }

    /// The parts of a stored committable, with their files not read yet.
    pub(crate) fn parts(bytes: &[u8], file: &StoredFile, owner: &str) -> Result<Vec<SinkJson>> {
        let json: CommittableJson = serde_json::from_slice(bytes).map_err(|_| file.damaged(owner))?;
        Ok(json.sinks)
    }
}

impl SinkJson {
    pub(crate) fn read(self, table: &Table) -> Result<SinkCommittable> {
        // A table that has the fields already needs no look ahead; one that others changed refuses the commit later on.
        let lacks = self.evolution.as_ref().filter(|evolution| evolution.is_based_on(table));
        let evolved = lacks.map(|evolution| evolution.preview(table)).transpose()?;
        let metadata = evolved.as_ref().unwrap_or(table).metadata();
        let files = self.files.into_iter().map(|file| TableFile::from_json(file, metadata));
        Ok(SinkCommittable {
            sink: self.sink,
            table: self.table,
            after: self.after,
            from: self.from,
            entry: self.entry,
            files: files.collect::<frazil_table::Result<_>>()?,
            evolution: self.evolution,
            deletes: UpsertPlan::default(),
            to: None,
        })
    }
}

impl std::fmt::Display for Committable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "checkpoint {}", self.checkpoint_id)?;
        for sink in &self.sinks {
            let rows: u64 = sink.files.iter().map(|file| file.file.record_count()).sum();
            writeln!(f, "{} into {}: {} files, {rows} rows", sink.sink, sink.table, sink.files.len())?;
        }
        Ok(())
    }
}
