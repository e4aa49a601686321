//! Statistics of tables: sketches of the distinct values of their columns, in statistics files that other engines' planners
//! read (`write.extended-statistics.enabled`, `CALL system.compute_table_stats`).
//!
//! Sketches of new rows come from their writers and are united with those of the rows before. Where the table does not
//! have these, they are made up for by reading what was appended since the newest statistics, up to a bound; a table
//! whose rows were changed otherwise has none until somebody has them computed.
//!
//! A statistics file is put into the table by a commit of its own behind that of the rows, as Trino does it: what it says
//! holds for one snapshot, which is only known when it has landed. A crash in between loses nothing but the sketches.

use arrow::array::RecordBatch;
use frazil_catalog::{CommitEnd, CommitQueue, Precheck};
use frazil_reader::{
    IncrementStart, OnRowLevelChange, Projection, ReadContext, ReadSpec, ScanRequest, SnapshotSelector, load_increment,
    load_scan, plan_increment, read_increment, scan,
};
use frazil_table::spec::StatisticsFile;
use frazil_table::{Change, CommitIdentity, MetadataChange, Table};
use frazil_writer::{Before, NdvCounter, NdvSketches, load_sketches, store_statistics, theta_statistics};
use futures::TryStreamExt;

use crate::Result;

/// Files that are read to make up for sketches that are missing may have so many bytes; with more, somebody has to ask
/// for it.
const CATCH_UP_BYTES_MAX: u64 = 256 << 20;

/// What is known of the distinct values of a table's rows.
#[derive(Clone, Debug)]
pub(crate) enum Known {
    /// There are no rows.
    NoRows,
    /// The sketches of all rows.
    Sketches(NdvSketches),
    /// Nothing, and why.
    Unknown(String),
}

impl Known {
    /// What is known with the sketches of more rows.
    pub(crate) fn with(self, more: NdvSketches) -> Self {
        match self {
            Self::NoRows => Self::Sketches(more),
            Self::Sketches(mut sketches) => {
                sketches.unite(&more);
                Self::Sketches(sketches)
            }
            unknown @ Self::Unknown(_) => unknown,
        }
    }
}

/// Finds the sketches of the rows that a table had at a snapshot: those of the newest statistics in its history, with what
/// was appended since.
///
/// Cost: nothing but metadata if the statistics are those of the snapshot; else up to 256 MiB of data files are read.
///
/// # Errors
/// What keeps statistics or data files from being read.
pub(crate) async fn sketches_at(context: &ReadContext, table: &Table, snapshot_id: Option<i64>) -> Result<Known> {
    let Some(to) = snapshot_id else { return Ok(Known::NoRows) };
    let metadata = table.metadata();
    let of = |id: i64| theta_statistics(metadata, id);
    let newest = table.ancestors_of(to).find_map(|snapshot| of(snapshot.snapshot_id()));
    let start = newest.map_or(IncrementStart::Beginning, |file| IncrementStart::Exclusive(file.snapshot_id));
    let plan = match plan_increment(table, start, to, OnRowLevelChange::Fail) {
        Ok(plan) => plan,
        Err(reason) => return Ok(Known::Unknown(reason.to_string())),
    };
    let spec = ReadSpec::new(table, metadata.current_schema(), &Projection::All, None)?;
    let mut increments = Vec::new();
    let mut bytes = 0;
    for step in plan.steps.iter().filter(|step| step.is_read) {
        let snapshot = metadata.snapshot_by_id(step.snapshot_id).expect("it was found in the metadata");
        let increment = load_increment(context, &spec, table, snapshot).await?;
        bytes += increment.files.iter().map(|file| file.task.size_bytes()).sum::<u64>();
        if bytes > CATCH_UP_BYTES_MAX {
            let reason =
                format!("more than {CATCH_UP_BYTES_MAX} bytes of files were added since the newest statistics");
            return Ok(Known::Unknown(reason));
        }
        increments.push(increment);
    }
    let mut known = match newest {
        Some(file) => {
            let mut sketches = load_sketches(&context.env, file).await?;
            sketches.retain(|field_id| has_type_of(table, file.snapshot_id, field_id));
            Known::Sketches(sketches)
        }
        None => Known::NoRows,
    };
    for increment in increments.iter().filter(|increment| !increment.files.is_empty()) {
        let mut counter = NdvCounter::new(metadata.current_schema(), |_| true);
        let mut rows = std::pin::pin!(read_increment(context, &spec, increment));
        while let Some(read) = rows.try_next().await? {
            counter.update(&read.batch)?;
        }
        known = known.with(counter.finish());
    }
    Ok(known)
}

/// Whether a column has the type that it had at a snapshot: values of another type have other hashes.
fn has_type_of(table: &Table, snapshot_id: i64, field_id: i32) -> bool {
    let metadata = table.metadata();
    let schema = metadata.snapshot_by_id(snapshot_id).and_then(|snapshot| snapshot.schema(metadata).ok());
    let then = schema.as_ref().and_then(|schema| schema.field_by_id(field_id));
    let now = metadata.current_schema().field_by_id(field_id);
    then.zip(now).is_some_and(|(then, now)| then.field_type == now.field_type)
}

/// Computes the sketches of all rows at a snapshot that is in the table, by reading them; of the columns `wanted` (by field
/// id) alone if there are any.
///
/// # Errors
/// What keeps the rows from being read.
pub(crate) async fn compute_sketches(
    context: &ReadContext,
    table: &Table,
    snapshot: SnapshotSelector,
    wanted: &[i32],
    parallelism: usize,
) -> Result<NdvSketches> {
    let request = ScanRequest { snapshot, ..ScanRequest::default() };
    let plan = load_scan(context, table, &request).await?;
    let schema = plan.spec.projected().schema();
    let mut counter = NdvCounter::new(schema, |id| wanted.is_empty() || wanted.contains(&id));
    let mut rows = scan(context, &plan, parallelism);
    while let Some(batch) = rows.try_next().await? {
        let batch: RecordBatch = batch;
        counter = tokio::task::spawn_blocking(move || counter.update(&batch).map(|()| counter))
            .await
            .map_err(|error| crate::Error::TaskPanicked(error.to_string()))??;
    }
    Ok(counter.finish())
}

/// Writes the sketches of a snapshot's whole table into a statistics file and puts that into the table; `None` if there are
/// no sketches.
///
/// # Errors
/// What keeps the file from being written, or the table from taking it: then the file is gone again, unless the commit's
/// end is not known.
pub(crate) async fn commit_sketches(
    queue: &CommitQueue,
    table: &Table,
    snapshot_id: i64,
    sketches: NdvSketches,
) -> Result<Option<StatisticsFile>> {
    let metadata = table.metadata();
    let number = metadata.snapshot_by_id(snapshot_id).map_or(0, |snapshot| snapshot.sequence_number());
    let env = queue.env();
    let of = (snapshot_id, number);
    let Some(file) = store_statistics(env, metadata, of, Before::Nothing, sketches).await? else { return Ok(None) };
    let change = Change::from(MetadataChange::SetStatistics(file.clone()));
    let identity = CommitIdentity::draw(env, 0);
    let uuid = metadata.uuid();
    let is_there = |now: &Table| match now.metadata().snapshot_by_id(snapshot_id) {
        Some(_) if now.metadata().uuid() == uuid => Precheck::Proceed,
        _ => Precheck::Refuse(format!("the snapshot {snapshot_id} is not in the table any more")),
    };
    match queue.commit(&[change], identity, &is_there).await? {
        CommitEnd::Committed(_) | CommitEnd::AlreadyLanded(_) => Ok(Some(file)),
        CommitEnd::Conflict(conflict) => {
            env.store.delete(&file.statistics_path).await?;
            Err(frazil_writer::Error::Conflict { table: table.ident().to_string(), conflict }.into())
        }
    }
}

#[cfg(test)]
mod tests;
