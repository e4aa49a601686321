//! Puts positions in the place of equality deletes, in turn with the writers' commits.

use std::collections::HashSet;

use frazil_catalog::{CommitEnd, CommitQueue, Precheck, Turns};
use frazil_reader::{DeleteIndex, ReadContext};
use frazil_storage::{Env, Step};
use frazil_table::spec::{DataContentType, FormatVersion};
use frazil_table::{
    Change, CommitIdentity, Conflict, DeleteScope, LiveFile, RewriteDeletes, SnapshotProperties, TableFile, TableState,
    Validation, io, referenced_data_file,
};
use frazil_writer::{DeletedRows, WriterConfig, write_deletion_vectors, write_position_deletes};

use super::{Conversion, Reach};
use crate::commit::delete_files;
use crate::run::FILE_PREFIX;
use crate::{Intent, Result};

/// How the commit of a conversion ended.
#[derive(Debug, Default)]
pub struct ConversionEnd {
    /// The new snapshot; `None` if nothing was committed.
    pub snapshot_id: Option<i64>,
    /// Equality delete files that went.
    pub converted: usize,
    /// Position delete files or deletion vectors that came.
    pub delete_files: usize,
    /// Rows that they delete and that no delete by position had deleted before.
    pub rows: u64,
    /// What was in the way at last, if nothing was committed.
    pub conflict: Option<Conflict>,
}

/// Attempts that may lose to commits of other programs. Each takes some milliseconds, since nothing is looked for again.
const ATTEMPTS_MAX: u32 = 20;

/// Commits a conversion on the table as it is now: rows of files that are gone are left out, deletes by position that came since
/// are joined with what was found, and only those equality deletes go of which all data files in their reach were read.
///
/// # Errors
/// [`crate::Error::Catalog`]: it may be in the table or not, and its files stay. What keeps delete files from being read or
/// written: nothing was changed.
pub async fn commit_conversion(queue: &CommitQueue, conversion: &Conversion) -> Result<ConversionEnd> {
    let mut end = ConversionEnd::default();
    let (intent, env) = Intent::begin(queue.env(), &queue.load().await?);
    let mut commit_id = env.ids.uuid();
    intent.note_commit(commit_id).await?;
    // Writers of this process wait, so that none of them deletes rows between the look at the table and the commit.
    let turns = Turns::take([queue]).await;
    for _ in 0..ATTEMPTS_MAX {
        let table = queue.load().await?;
        let state = io::load_state(&env.store, queue.cache(), &table, io::Entries::All).await?;
        let Some(prepared) = prepare(queue, &env, &state, conversion).await? else { break };
        env.steps.reach(Step::DeletesConverted)?;
        let changes = [Change::RewriteDeletes(prepared.change)];
        let identity = CommitIdentity { uuid: commit_id, ..CommitIdentity::draw(&env, 1) };
        let committed = queue.commit_in_turn(&turns, &changes, identity, &|_| Precheck::Proceed);
        let [Change::RewriteDeletes(change)] = &changes else { unreachable!("it was made just now") };
        end.conflict = match committed.await {
            Ok(CommitEnd::Committed(committed)) => {
                end.snapshot_id = committed.snapshot_ids.first().copied();
                end.converted = prepared.converted;
                end.delete_files = change.added.len();
                end.rows = prepared.rows;
                end.conflict = None;
                tracing::info!(
                    table = %queue.ident(), equality_delete_files = end.converted, delete_files = end.delete_files,
                    rows = end.rows, passes = conversion.passes, "equality deletes converted"
                );
                break;
            }
            Ok(CommitEnd::AlreadyLanded(_)) => unreachable!("the precheck never finds it landed"),
            Ok(CommitEnd::Conflict(conflict)) => Some(conflict),
            // Another program's deletion vector came between the look and the commit.
            Err(frazil_catalog::Error::Table(frazil_table::Error::DeletesNotAbsorbed { data_file, delete_file })) => {
                Some(Conflict::RowsDeleted { path: data_file, delete_file })
            }
            Err(error) => return Err(error.into()),
        };
        delete_files(&env, &change.added).await;
        commit_id = env.ids.uuid();
        intent.note_commit(commit_id).await?;
    }
    intent.settle().await;
    Ok(end)
}

/// A change whose files are durable.
struct Prepared {
    change: RewriteDeletes,
    converted: usize,
    rows: u64,
}

/// `None`: no delete can go any more.
async fn prepare(
    queue: &CommitQueue,
    env: &Env,
    state: &TableState,
    conversion: &Conversion,
) -> Result<Option<Prepared>> {
    let going = going(state, conversion)?;
    let Some(newest) = going.iter().map(|live| live.data_sequence_number).max() else { return Ok(None) };
    let table = state.table();
    let is_v3 = table.metadata().format_version() >= FormatVersion::V3;
    let mut positions = state.live_delete_files()?;
    positions.retain(|live| live.content() == DataContentType::PositionDeletes);
    let index = DeleteIndex::new(&positions, table.metadata())?;
    let context = ReadContext::with_manifests(env, queue.cache());
    let (mut deleted, mut rows) = (Vec::new(), 0);
    for (path, live) in state.live_data_files_by_path()? {
        // What only a younger delete than those that go takes away, that one takes away still.
        let Some(found) = conversion.rows.get(path).filter(|_| live.data_sequence_number < newest) else { continue };
        let before = index.load_positions(&context, &live).await?;
        let new = before.as_ref().map_or_else(|| found.clone(), |before| found - before.as_ref());
        if new.is_empty() {
            continue;
        }
        rows += new.len();
        deleted.push(DeletedRows {
            path: path.to_owned(),
            partition_spec_id: live.partition_spec_id,
            partition: live.file.partition().clone(),
            // A vector is all that is deleted of its file; position delete files stand beside each other.
            rows: before.filter(|_| is_v3).map_or_else(|| new.clone(), |before| &new | before.as_ref()),
        });
    }
    let converted = going.len();
    let mut removed: Vec<TableFile> = going.iter().map(table_file).collect();
    let paths: HashSet<&str> = deleted.iter().map(|deleted| deleted.path.as_str()).collect();
    if is_v3 {
        let is_of =
            |live: &&LiveFile<'_>| referenced_data_file(live.file).is_some_and(|of| paths.contains(of.as_str()));
        removed.extend(positions.iter().filter(is_of).map(table_file));
    }
    let config = WriterConfig { file_prefix: FILE_PREFIX.to_owned(), ..WriterConfig::default() };
    let added = match is_v3 {
        true => write_deletion_vectors(env, table, &config, &deleted).await?,
        false => write_position_deletes(env, table, &config, &deleted).await?,
    };
    let mut validation = Validation::snapshot(state.snapshot_id());
    validation.referenced_data_files = paths.into_iter().map(str::to_owned).collect();
    let properties = SnapshotProperties::from([
        ("frazil.conversion.equality-delete-files".to_owned(), converted.to_string()),
        ("frazil.conversion.rows".to_owned(), rows.to_string()),
    ]);
    let change = RewriteDeletes { removed, added, validation, properties };
    Ok(Some(Prepared { change, converted, rows }))
}

/// The planned deletes that are live still, and in whose reach is no data file that was not read.
fn going<'a>(state: &'a TableState, conversion: &Conversion) -> Result<Vec<LiveFile<'a>>> {
    let planned: HashSet<_> = conversion.plan.going().map(|delete| delete.input.key()).collect();
    let read = conversion.read();
    let data = state.live_data_files()?;
    let unread = Reach::new(data.iter().filter(|live| !read.contains(live.file.file_path())));
    let mut deletes = state.live_delete_files()?;
    // The scope as it is now: a type of the partition may have been widened since.
    deletes.retain(|live| {
        let key = (live.file.file_path(), live.file.content_offset());
        let scope = DeleteScope::of(state.table().metadata(), live.file, live.partition_spec_id);
        planned.contains(&key) && unread.before(&scope, live.data_sequence_number).0 == 0
    });
    Ok(deletes)
}

fn table_file(live: &LiveFile<'_>) -> TableFile {
    TableFile { file: live.file.clone(), partition_spec_id: live.partition_spec_id }
}
