//! Deletes that came while a rewrite ran, as deletes of its outputs.
//!
//! Equality deletes need nothing: they have a greater number than the outputs and apply to them. A position delete and a
//! deletion vector name rows of a file that goes. For these,
//! 1. [`deletes_to_rebase`] finds the live ones that the rewrite did not apply. What counts is the table as it is, not how it
//!    came about: an equality delete that somebody has turned into a deletion vector since is found as that vector;
//! 2. the rows that they delete of each input are read, and the rewrite's [`crate::PositionMap`] says where they are;
//! 3. each output gets a deletion vector, or before format version 3 a position delete file, for exactly these rows.
//!
//! A rewrite that carries its deletes along ([`crate::RewriteKind::Carry`]) has applied none, so those of the base are among them.
//!
//! They account for the snapshot that was looked at. If more came before the commit, all of it is done again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use frazil_catalog::CommitQueue;
use frazil_reader::{DeleteIndex, ReadContext};
use frazil_storage::{Env, Step};
use frazil_table::spec::{DataContentType, FormatVersion};
use frazil_table::{CarriedDeletes, LiveFile, Table, TableState, io, referenced_data_file};
use frazil_writer::{DeletedRows, WriterConfig, write_deletion_vectors, write_position_deletes};
use roaring::RoaringTreemap;

use crate::run::{FILE_PREFIX, RewriteKind};
use crate::{InputFile, Result, RewriteResult};

/// What rewrites that read one snapshot carry along.
#[derive(Debug)]
pub(crate) struct Rebased {
    /// `None`: nothing has come since they read.
    pub(crate) carried: Option<CarriedDeletes>,
    /// Rows of the outputs that are deleted by it, without those that were deleted when the rewrite began.
    pub(crate) rows: u64,
}

/// Rebases what came since `base_snapshot_id`, which all results have read. The delete files are durable and in no table.
///
/// Cost: the manifests of the table, which the commit reads as well, and the delete files that came. Memory: the positions in
/// these, and for each output a bit for each row at most.
///
/// # Errors
/// What keeps a delete file from being read or written. The results are as they were.
pub(crate) async fn rebase_deletes(
    queue: &CommitQueue,
    env: &Env,
    table: &Table,
    base_snapshot_id: i64,
    results: &[&RewriteResult],
) -> Result<Rebased> {
    let rows_carried: u64 = results.iter().map(|result| result.rows_carried).sum();
    let is_due =
        |head: &i64| *head != base_snapshot_id || results.iter().any(|result| result.kind == RewriteKind::Carry);
    let head = table.current_snapshot().map(|head| head.snapshot_id()).filter(is_due);
    let Some(up_to_snapshot_id) = head else { return Ok(Rebased { carried: None, rows: 0 }) };
    let state = io::load_state(&env.store, queue.cache(), table, io::Entries::All).await?;
    let deletes = deletes_to_rebase(&state, results)?;
    let mut carried = CarriedDeletes { delete_files: Vec::new(), up_to_snapshot_id };
    if deletes.is_empty() {
        return Ok(Rebased { carried: Some(carried), rows: 0 });
    }
    let context = ReadContext::with_manifests(env, queue.cache());
    let index = DeleteIndex::new(&deletes, table.metadata())?;
    let live = live_inputs(&state, results)?;
    let mut deleted = Vec::new();
    for result in results {
        let mut of_inputs: HashMap<String, Arc<RoaringTreemap>> = HashMap::new();
        for live in result.group.paths().filter_map(|path| live.get(path)) {
            let rows = index.load_positions(&context, live).await?;
            of_inputs.extend(rows.map(|rows| (live.file.file_path().to_owned(), rows)));
        }
        deleted.extend(deleted_of_outputs(result, &of_inputs).await?);
    }
    let rows: u64 = deleted.iter().map(|deleted| deleted.rows.len()).sum();
    let config = WriterConfig { file_prefix: FILE_PREFIX.to_owned(), ..WriterConfig::default() };
    if table.metadata().format_version() >= FormatVersion::V3 {
        carried.delete_files = write_deletion_vectors(env, table, &config, &deleted).await?;
    } else {
        // Each in a file of its own, which says whose it is: it reaches no other file of the partition, and goes with its own.
        for deleted in &deleted {
            let one = std::slice::from_ref(deleted);
            carried.delete_files.extend(write_position_deletes(env, table, &config, one).await?);
        }
    }
    env.steps.reach(Step::DeletesRebased)?;
    Ok(Rebased { carried: Some(carried), rows: rows.saturating_sub(rows_carried) })
}

/// The live position deletes and deletion vectors that may delete rows of inputs and were not applied by their rewrites.
fn deletes_to_rebase<'a>(state: &'a TableState, results: &[&RewriteResult]) -> Result<Vec<LiveFile<'a>>> {
    let groups = || results.iter().map(|result| &result.group);
    let inputs: HashSet<&str> = groups().flat_map(|group| group.paths()).collect();
    let deletes_of = |carries: bool| {
        let of = results.iter().filter(move |result| (result.kind == RewriteKind::Carry) == carries);
        of.flat_map(|result| &result.group.deletes).map(InputFile::key)
    };
    // What one of the groups has applied and another has not either does not reach the other, or is carried along by it; rows
    // that were taken out are nowhere in the outputs.
    let mut applied: HashSet<_> = deletes_of(false).collect();
    for carried in deletes_of(true) {
        applied.remove(&carried);
    }
    let may_reach = |live: &LiveFile<'_>| referenced_data_file(live.file).is_none_or(|of| inputs.contains(of.as_str()));
    let mut deletes = state.live_delete_files()?;
    deletes.retain(|live| {
        live.content() == DataContentType::PositionDeletes
            && !applied.contains(&(live.file.file_path(), live.file.content_offset()))
            && may_reach(live)
    });
    Ok(deletes)
}

/// The inputs that are live still, as the state has them: a type of their partition may have changed since they were read.
fn live_inputs<'a>(state: &'a TableState, results: &[&RewriteResult]) -> Result<BTreeMap<&'a str, LiveFile<'a>>> {
    let inputs: HashSet<&str> = results.iter().flat_map(|result| result.group.paths()).collect();
    let mut live = state.live_data_files_by_path()?;
    live.retain(|path, _| inputs.contains(path));
    Ok(live)
}

async fn deleted_of_outputs(
    result: &RewriteResult,
    of_inputs: &HashMap<String, Arc<RoaringTreemap>>,
) -> Result<Vec<DeletedRows>> {
    let outputs_rows = result.outputs.iter().map(|output| output.file.record_count());
    let rebased = result.positions.rebase(of_inputs, outputs_rows).await?;
    let outputs = result.outputs.iter().zip(rebased).filter(|(_, rows)| !rows.is_empty());
    let deleted = outputs.map(|(output, rows)| DeletedRows {
        path: output.file.file_path().to_owned(),
        partition_spec_id: output.partition_spec_id,
        partition: output.file.partition().clone(),
        rows,
    });
    Ok(deleted.collect())
}
