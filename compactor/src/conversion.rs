//! Equality deletes of other programs become position deletes, or deletion vectors from format version 3 on.
//!
//! Every reader pays for an equality delete with a look at each row in its reach, again and again; a deletion vector tells at
//! once. The steps:
//! 1. [`plan_conversion`], pure: which live equality deletes can be converted, and which data files have to be read for it;
//! 2. [`run_conversion`] finds the rows that they take away, in bounded memory, while others write;
//! 3. [`commit_conversion`], in turn with the writers' commits: what was deleted by position meanwhile is joined with what was
//!    found, and the equality deletes go of which every data file in their reach was read. One `replace` snapshot; no row, row id
//!    and number of a data file changes.
//!
//! A delete goes only if it is provably of no use any more. Where a rewrite has put a file into its reach that nobody read, with
//! the old files' number, it stays, and the next plan has that file.

mod commit;
mod find;
mod reach;

use std::fmt;

use frazil_table::spec::{DataContentType, DataFile, DataFileFormat, TableMetadata};
use frazil_table::{DeleteScope, LiveFile, TableState};

pub use self::commit::{ConversionEnd, commit_conversion};
pub use self::find::{Conversion, ConversionReport, convert_equality_deletes, run_conversion};
pub(crate) use self::reach::Reach;
use crate::plan::size;
use crate::{InputFile, Result};

/// Why an equality delete file is converted, or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConversionReason {
    /// Data files are in its reach: what it takes away of them is told by position instead.
    Live,
    /// No data file is in its reach any more: it just goes.
    Dead,
    /// It is not in Parquet: it stays, for whoever can read it.
    NotReadable,
    /// A data file in its reach is not in Parquet, or encrypted: it stays.
    DataNotReadable,
}

impl ConversionReason {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "converted",
            Self::Dead => "dead",
            Self::NotReadable => "not-readable",
            Self::DataNotReadable => "data-not-readable",
        }
    }

    /// Whether the delete file goes.
    pub fn goes(self) -> bool {
        matches!(self, Self::Live | Self::Dead)
    }
}

/// An equality delete file, and what is done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedDelete {
    /// The file.
    pub input: InputFile,
    /// Which data files it can apply to, apart from their numbers.
    pub scope: DeleteScope,
    /// The same for a person: `month=2013-01`, or `the table`.
    pub place: String,
    /// The columns that it compares, by their names of now or else their ids.
    pub columns: Vec<String>,
    /// Data files in its reach.
    pub data_files: usize,
    /// Their bytes, of which the compared columns are read.
    pub data_bytes: u64,
    /// Why.
    pub reason: ConversionReason,
}

/// Which equality deletes are converted. Prints as a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversionPlan {
    /// The table's full name.
    pub table: String,
    /// The snapshot that was looked at; `None` for an empty table.
    pub base_snapshot_id: Option<i64>,
    /// Whether rows are told by deletion vectors (from format version 3 on), not by position delete files.
    pub by_vectors: bool,
    /// The live equality deletes, oldest first.
    pub deletes: Vec<PlannedDelete>,
    /// The data files in the reach of those that go, by path.
    pub data: Vec<InputFile>,
}

/// Plans the conversion of all equality deletes of a table.
///
/// Cost: linear in the data files, for each delete file logarithmic in them. What grows with it in memory: the data files that
/// are to be read, with their metrics.
///
/// # Errors
/// [`frazil_table::Error::InvalidChange`] if the state was loaded without its manifests' entries.
pub fn plan_conversion(state: &TableState) -> Result<ConversionPlan> {
    let metadata = state.table().metadata();
    let mut deletes = state.live_delete_files()?;
    deletes.retain(|live| live.content() == DataContentType::EqualityDeletes);
    let mut plan = ConversionPlan {
        table: state.table().ident().to_string(),
        base_snapshot_id: state.snapshot_id(),
        by_vectors: metadata.format_version() >= frazil_table::spec::FormatVersion::V3,
        deletes: Vec::new(),
        data: Vec::new(),
    };
    if deletes.is_empty() {
        return Ok(plan);
    }
    let data = state.live_data_files_by_path()?;
    let all = Reach::new(data.values());
    let unreadable = Reach::new(data.values().filter(|live| !is_readable(live.file)));
    plan.deletes = deletes.iter().map(|live| planned(metadata, live, &all, &unreadable)).collect();
    plan.deletes.sort_by(|a, b| a.input.by_age(&b.input));
    let going = plan.deletes.iter().filter(|delete| delete.reason == ConversionReason::Live);
    let reached = reach::Deletes::new(going.map(|delete| (&delete.scope, delete.input.data_sequence_number)));
    let in_reach = data.values().filter(|live| reached.has(live));
    plan.data = in_reach.map(|live| InputFile::of(live, live.file.clone())).collect();
    Ok(plan)
}

fn is_readable(file: &DataFile) -> bool {
    file.file_format() == DataFileFormat::Parquet && file.key_metadata().is_none()
}

fn planned(metadata: &TableMetadata, live: &LiveFile<'_>, all: &Reach, unreadable: &Reach) -> PlannedDelete {
    let scope = DeleteScope::of(metadata, live.file, live.partition_spec_id);
    let (data_files, data_bytes) = all.before(&scope, live.data_sequence_number);
    let reason = match data_files {
        0 => ConversionReason::Dead,
        _ if !is_readable(live.file) => ConversionReason::NotReadable,
        _ if unreadable.before(&scope, live.data_sequence_number).0 > 0 => ConversionReason::DataNotReadable,
        _ => ConversionReason::Live,
    };
    let schema = metadata.current_schema();
    let name = |id: i32| schema.name_by_field_id(id).map_or_else(|| format!("#{id}"), str::to_owned);
    let spec = metadata.partition_spec_by_id(live.partition_spec_id).filter(|spec| !spec.is_unpartitioned());
    let place = spec.map(|spec| spec.partition_to_path(live.file.partition(), schema.clone()));
    PlannedDelete {
        input: InputFile::of(live, live.file.clone()),
        scope,
        place: place.unwrap_or_else(|| "the table".to_owned()),
        columns: live.file.equality_ids().unwrap_or_default().into_iter().map(name).collect(),
        data_files,
        data_bytes,
        reason,
    }
}

impl ConversionPlan {
    /// The delete files that go.
    pub fn going(&self) -> impl Iterator<Item = &PlannedDelete> {
        self.deletes.iter().filter(|delete| delete.reason.goes())
    }

    /// Whether nothing can be done.
    pub fn is_empty(&self) -> bool {
        self.going().next().is_none()
    }

    /// Keys in the delete files that are read.
    pub fn keys(&self) -> u64 {
        let read = self.deletes.iter().filter(|delete| delete.reason == ConversionReason::Live);
        read.map(|delete| delete.input.file.record_count()).sum()
    }
}

impl fmt::Display for ConversionPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.deletes.is_empty() {
            return writeln!(f, "{}: no equality deletes", self.table);
        }
        let width = self.deletes.iter().map(|delete| delete.place.chars().count()).max().unwrap_or(0).max(9);
        let columns = |delete: &PlannedDelete| delete.columns.join(",");
        let wide = self.deletes.iter().map(|delete| columns(delete).chars().count()).max().unwrap_or(0).max(7);
        writeln!(
            f,
            "{:width$}  {:<17}  {:>8}  {:wide$}  {:>10}  {:>10}  {:>10}",
            "partition", "why", "sequence", "columns", "keys", "data files", "bytes"
        )?;
        for delete in &self.deletes {
            writeln!(
                f,
                "{:width$}  {:<17}  {:>8}  {:wide$}  {:>10}  {:>10}  {:>10}",
                delete.place,
                delete.reason.name(),
                delete.input.data_sequence_number,
                columns(delete),
                delete.input.file.record_count(),
                delete.data_files,
                size(delete.data_bytes),
            )?;
        }
        let (going, all) = (self.going().count(), self.deletes.len());
        let form = if self.by_vectors { "deletion vectors" } else { "position deletes" };
        let (keys, files) = (self.keys(), self.data.len());
        writeln!(
            f,
            "{}: {going} of {all} equality delete files become {form}: {keys} keys to look for in {files} data files",
            self.table
        )
    }
}

#[cfg(test)]
mod tests;
