//! Rewrites one group of files. This is where the bytes move.
//!
//! 1. The inputs' footers are read and checked against what the manifests say of them;
//! 2. rows that are to lie in another order are decoded and sorted ([`crate::Clustering`]); else `Rewrite::choose_copy` takes the cheaper way that still gives a good file: row groups are copied as they are if no
//!    delete applies to them, all inputs have the same Parquet schema and the row groups are large enough; else rows are
//!    decoded and what is left of them after deletes encoded again in the table's current schema, so that small row groups
//!    grow together;
//!    Where deletes name few rows by their places, row groups are copied all the same and the deletes go along: the commit names the
//!    rows where they are now, and a later rewrite takes them out;
//! 3. the output is durable, holds as many rows as the inputs less those that deletes took away, and no snapshot names it:
//!    [`crate::commit_rewrite`] is next.
//!
//! A rewrite that fails or is stopped deletes what it wrote.

mod cluster;
mod copy;
mod encode;
mod lineage;
mod merge;
mod sink;

use std::sync::Arc;

use frazil_reader::{DeleteIndex, ReadContext, load_parquet};
use frazil_storage::{Env, Step};
use frazil_table::spec::{DataContentType, FormatVersion};
use frazil_table::{LiveFile, Table, TableFile};
use futures::{StreamExt, TryStreamExt};
use parquet::file::metadata::ParquetMetaData;
use tokio_util::sync::CancellationToken;

use self::lineage::Lineage;
use crate::group::Reason;
use crate::listing::InputFile;
use crate::{Config, Error, FileGroup, Intent, PositionMap, Result, delete_outputs};

/// How the rows of a group got into its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewriteKind {
    /// Column chunks were copied as they are.
    Copy,
    /// The same, though a few rows of them are deleted: they are deleted of the output, too.
    Carry,
    /// Rows were decoded, deletes applied, and what was left encoded again.
    Encode,
    /// The same, in another order.
    Cluster,
}

impl RewriteKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Copy, Self::Carry, Self::Encode, Self::Cluster];

    /// As it is put into a snapshot's summary.
    pub fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Carry => "carry",
            Self::Encode => "encode",
            Self::Cluster => "cluster",
        }
    }
}

/// A group whose outputs are durable and in no snapshot yet.
#[derive(Clone, Debug)]
pub struct RewriteResult {
    /// What was to be rewritten.
    pub group: FileGroup,
    /// The files that take the place of the group's, with the same rows, in the same order unless the group says another; none if
    /// every row was deleted.
    pub outputs: Vec<TableFile>,
    /// Rows that deletes took away.
    pub rows_deleted: u64,
    /// The list of the outputs, for whoever comes after a crash.
    pub intent: Intent,
    /// Rows of the outputs that the group's deletes delete, which go along with them.
    pub rows_carried: u64,
    /// Where each row is now: deletes that come before the outputs are in the table are rebased by it.
    pub positions: PositionMap,
    /// How.
    pub kind: RewriteKind,
    /// How long it took, by the world's clock.
    pub elapsed_ms: u64,
}

impl RewriteResult {
    /// Bytes of the outputs.
    pub fn bytes_out(&self) -> u64 {
        self.outputs.iter().map(|output| output.file.file_size_in_bytes()).sum()
    }

    /// Rows of the outputs.
    pub fn rows_out(&self) -> u64 {
        self.outputs.iter().map(|output| output.file.record_count()).sum()
    }
}

/// The first part of the name of every file that a rewrite writes.
pub(crate) const FILE_PREFIX: &str = "frazil-compact";

/// Footers that are read at the same time.
const FOOTERS_AT_ONCE: usize = 8;

/// Everything that a rewrite needs.
pub(crate) struct Rewrite<'a> {
    pub group: &'a FileGroup,
    pub env: &'a Env,
    pub table: &'a Table,
    pub config: &'a Config,
    pub context: ReadContext,
    pub stop: &'a CancellationToken,
}

/// An input with its footer.
pub(crate) struct Input<'a> {
    pub file: &'a InputFile,
    pub metadata: Arc<ParquetMetaData>,
}

/// Rewrites a group of a table as it is now. Stopped between two batches or column chunks when `stop` says so.
///
/// Memory: copying, one column chunk or 16 MiB, whichever is more; encoding, one row group of an input and
/// [`Config::memory_max_bytes`]; beside it the keys of the equality deletes that apply, up to 2 GiB, and the positions of
/// the others and of the rows that went, about a bit for each row at most.
///
/// # Errors
/// [`Error::Damaged`] or [`Error::Reader`] if an input is not what the table says of it; [`Error::RowsDiffer`] if the
/// output is not; [`Error::Cancelled`]. After any error nothing of the output is left, unless the process dies.
pub async fn run_group(
    group: &FileGroup,
    env: &Env,
    table: &Table,
    config: &Config,
    stop: &CancellationToken,
) -> Result<RewriteResult> {
    let (intent, env) = Intent::begin(env, table);
    let rewrite = Rewrite { group, env: &env, table, config, context: ReadContext::new(&env), stop };
    let ended = rewrite.run(intent.clone()).await;
    if ended.is_err() {
        intent.settle().await;
    }
    ended
}

fn check(env: &Env, result: &RewriteResult) -> Result<()> {
    let (rows_in, rows_out, rows_deleted) = (result.group.rows_in(), result.rows_out(), result.rows_deleted);
    if rows_in.checked_sub(rows_deleted) != Some(rows_out) {
        let (partition, files) = (result.group.place().to_owned(), result.group.inputs.len());
        return Err(Error::RowsDiffer { partition, files, rows_in, rows_deleted, rows_out });
    }
    Ok(env.steps.reach(Step::RewriteWritten)?)
}

/// What came of a rewrite.
struct Written {
    kind: RewriteKind,
    outputs: Vec<TableFile>,
    positions: PositionMap,
    rows_carried: u64,
}

/// Of [`Config::delete_ratio`], the share up to which deleted rows are carried along: what comes out is far from being rewritten for
/// its deletes. A copy costs a fiftieth of encoding, and readers pay for each row that is there and deleted.
const CARRIED_SHARE: f64 = 1.0 / 3.0;

impl<'a> Rewrite<'a> {
    async fn run(&self, intent: Intent) -> Result<RewriteResult> {
        let Self { group, env, table, .. } = *self;
        let started_ms = env.now_ms();
        let Written { kind, outputs, positions, rows_carried } = self.write().await?;
        let result = RewriteResult {
            group: group.clone(),
            outputs,
            intent,
            rows_deleted: positions.rows_gone(),
            rows_carried,
            positions,
            kind,
            elapsed_ms: u64::try_from(env.now_ms() - started_ms).unwrap_or(0),
        };
        if let Err(error) = check(env, &result) {
            delete_outputs(env, &result).await;
            return Err(error);
        }
        tracing::debug!(
            table = %table.ident(), partition = group.place(), reason = group.reason.name(), ?kind,
            files_in = group.inputs.len(), bytes_in = group.bytes_in(), bytes_out = result.bytes_out(),
            deletes = group.deletes.len(), rows_deleted = result.rows_deleted, elapsed_ms = result.elapsed_ms,
            "rewritten"
        );
        Ok(result)
    }

    async fn write(&self) -> Result<Written> {
        let written = |kind, outputs, positions| Written { kind, outputs, positions, rows_carried: 0 };
        if let Some(clustering) = &self.group.clustering {
            let (outputs, positions) = cluster::cluster(self, clustering).await?;
            return Ok(written(RewriteKind::Cluster, outputs, positions));
        }
        let inputs = self.open_inputs().await?;
        let carried = match self.choose_copy(&inputs) {
            Some(lineages) => self.choose_carry().await?.map(|rows| (rows, lineages)),
            None => None,
        };
        let Some((rows_carried, lineages)) = carried else {
            let (output, positions) = encode::encode(self, &inputs).await?;
            return Ok(written(RewriteKind::Encode, output.into_iter().collect(), positions));
        };
        let kind = if self.group.deletes.is_empty() { RewriteKind::Copy } else { RewriteKind::Carry };
        let output = copy::copy(self, &inputs, &lineages).await?;
        let positions = PositionMap::of_copies(&self.group.inputs);
        Ok(Written { rows_carried, ..written(kind, vec![output], positions) })
    }

    /// How many rows of the inputs are deleted, if that is told by their places and they are few; `None`: they are taken out.
    async fn choose_carry(&self) -> Result<Option<u64>> {
        let group = self.group;
        if group.deletes.is_empty() {
            return Ok(Some(0));
        }
        let by_position = |delete: &InputFile| delete.file.content_type() == DataContentType::PositionDeletes;
        if group.reason == Reason::Deletes || !group.deletes.iter().all(by_position) {
            return Ok(None);
        }
        let deletes: Vec<LiveFile<'_>> = group.deletes.iter().map(InputFile::live).collect();
        let index = DeleteIndex::new(&deletes, self.table.metadata())?;
        let mut rows = 0;
        for input in &group.inputs {
            let deleted = index.load_positions(&self.context, &input.live()).await?;
            // A place behind the end names nothing.
            rows += deleted.map_or(0, |deleted| deleted.range_cardinality(..input.file.record_count()));
        }
        let few = self.config.delete_ratio * CARRIED_SHARE * group.rows_in() as f64;
        Ok((rows as f64 <= few && self.config.delete_ratio > 0.0).then_some(rows))
    }

    async fn open_inputs(&self) -> Result<Vec<Input<'a>>> {
        let opened: Vec<_> = self.group.inputs.iter().map(|file| self.open_input(file)).collect();
        futures::stream::iter(opened).buffered(FOOTERS_AT_ONCE).try_collect().await
    }

    async fn open_input(&self, file: &'a InputFile) -> Result<Input<'a>> {
        let (location, size) = (file.file.file_path(), file.file.file_size_in_bytes());
        let metadata = load_parquet(&self.context, location, size).await?;
        let rows: i64 = metadata.row_groups().iter().map(|group| group.num_rows()).sum();
        if u64::try_from(rows) != Ok(file.file.record_count()) {
            let reason = format!("it has {rows} rows, the table says {}", file.file.record_count());
            return Err(Error::damaged(location, reason));
        }
        Ok(Input { file, metadata })
    }

    /// Whether rows have ids, which they keep (Iceberg spec, "Row Lineage").
    pub(crate) fn keeps_row_ids(&self) -> bool {
        self.table.metadata().format_version() >= FormatVersion::V3
    }

    /// # Errors
    /// [`Error::Cancelled`] if the rewrite is to stop.
    pub(crate) fn check_stop(&self) -> Result<()> {
        if self.stop.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Copying costs a fiftieth of encoding, but row groups stay as small as they are: they are copied if on average they
    /// have a sixteenth of the wanted size. `None`: they are encoded.
    fn choose_copy(&self, inputs: &[Input<'_>]) -> Option<Vec<Lineage>> {
        let row_groups = inputs.iter().flat_map(|input| input.metadata.row_groups());
        let (mut count, mut bytes) = (0, 0);
        for row_group in row_groups {
            count += 1;
            bytes += u64::try_from(row_group.compressed_size()).unwrap_or(0);
        }
        let large = count > 0 && bytes / count >= self.config.small_row_group_bytes();
        let fits = large && count <= i16::MAX as u64;
        if fits { copy::can_copy(inputs, self.keeps_row_ids()) } else { None }
    }
}
