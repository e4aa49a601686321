//! Reading a changelog, snapshot by snapshot.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::Int64Type;
use futures::{Stream, StreamExt, TryFutureExt, TryStreamExt};
use roaring::{RoaringBitmap, RoaringTreemap};

use super::balance::{Balance, Net, Walk};
use super::diff::load_snapshot_diff;
use super::row_code::{RowCode, narrow};
use super::snapshot_changes::{Part, SnapshotChanges, plan_snapshot_changes};
use super::{ChangelogForm, ChangelogPlan, ChangelogStep};
use crate::deletes::{ApplicableDeletes, load_positions};
use crate::scan::{SideBySide, side_by_side};
use crate::{Error, POS_COLUMN, Projection, ReadContext, ReadSpec, Result, ScanTask, read_file};

/// Distinct rows that are compared in memory; more of them go through temporary files.
const BALANCE_BYTES_MAX: usize = 128 << 20;

/// Rows of a batch of compared rows.
const BATCH_ROWS: usize = 8_192;

const INSERT: &str = "INSERT";
const DELETE: &str = "DELETE";
const UPDATE_BEFORE: &str = "UPDATE_BEFORE";
const UPDATE_AFTER: &str = "UPDATE_AFTER";

/// Reads a changelog. Within a snapshot (of [`ChangelogForm::Net`]: within all) every row that went comes before every row
/// that came; of [`ChangelogForm::Upsert`] rows of one identifier are together.
///
/// Memory: the files of one snapshot's changes; for each worker the wanted chunks of one row group and three batches;
/// where rows that went are compared with rows that came, up to 128 MiB of distinct rows, and more of them in temporary
/// files.
#[derive(Debug)]
pub struct ChangelogReader {
    context: ReadContext,
    plan: ChangelogPlan,
    parallelism: usize,
    bytes_max: usize,
    /// Those that are not read yet.
    steps: VecDeque<ChangelogStep>,
    /// `None` until it is known whether rows of different snapshots have to be compared.
    net: Option<NetRange>,
    current: Current,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NetRange {
    /// All snapshots only add rows, or all only take some: nothing cancels out.
    OneSided,
    Compared,
}

#[derive(Debug)]
enum Current {
    Nothing,
    /// Batches of rows that need no comparison, as one snapshot has them: what went, then what came.
    Files {
        batches: VecDeque<(&'static str, SideBySide<RecordBatch>)>,
        ordinal: i32,
    },
    Compared(Box<Compared>),
    Ended,
}

/// Rows that were compared, on their way out.
#[derive(Debug)]
struct Compared {
    walk: Walk,
    code: RowCode,
    /// Passes through the rows that are left: of each, which rows it shows.
    passes: VecDeque<Pass>,
    pending: Option<Pending>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    Deletes,
    Inserts,
    Keys,
}

/// Distinct rows, and how often each of them comes out as what.
#[derive(Debug)]
struct Pending {
    rows: RecordBatch,
    copies: VecDeque<Copies>,
}

#[derive(Clone, Copy, Debug)]
struct Copies {
    row: u32,
    change: &'static str,
    ordinal: i32,
    count: u64,
}

impl ChangelogReader {
    /// A reader with `parallelism` workers on the current runtime.
    pub fn new(context: &ReadContext, plan: &ChangelogPlan, parallelism: usize) -> Self {
        Self {
            context: context.clone(),
            steps: plan.steps.iter().filter(|step| step.ordinal.is_some()).cloned().collect(),
            plan: plan.clone(),
            parallelism,
            bytes_max: BALANCE_BYTES_MAX,
            net: None,
            current: Current::Nothing,
        }
    }

    /// The same with another bound on the rows that are compared in memory.
    #[cfg(test)]
    pub(crate) fn with_bytes_max(self, bytes_max: usize) -> Self {
        Self { bytes_max, ..self }
    }

    /// The batches as a stream. Dropping it stops the workers.
    pub fn into_stream(self) -> impl Stream<Item = Result<RecordBatch>> + Send {
        futures::stream::try_unfold(
            self,
            |mut reader| async move { Ok(reader.next().await?.map(|batch| (batch, reader))) },
        )
    }

    /// The next changes, never an empty batch. `None` at the end.
    ///
    /// # Errors
    /// [`Error::Storage`]; [`Error::Damaged`] and [`Error::Unsupported`] name the file; [`Error::AmbiguousUpdate`];
    /// [`Error::Spill`]. The reader has nothing more to give after an error.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let next = self.next_of_current().await;
            match next {
                Ok(Some(batch)) if batch.num_rows() > 0 => return Ok(Some(batch)),
                Ok(Some(_)) => continue,
                Ok(None) => {}
                Err(error) => {
                    self.current = Current::Ended;
                    return Err(error);
                }
            }
            if matches!(self.current, Current::Ended) {
                return Ok(None);
            }
            match self.open_next().await {
                Ok(next) => self.current = next,
                Err(error) => {
                    self.current = Current::Ended;
                    return Err(error);
                }
            }
        }
    }

    /// `None` when it is done.
    async fn next_of_current(&mut self) -> Result<Option<RecordBatch>> {
        match &mut self.current {
            Current::Nothing | Current::Ended => Ok(None),
            Current::Files { batches, ordinal } => {
                while let Some((change, stream)) = batches.front_mut() {
                    let (change, ordinal) = (*change, *ordinal);
                    if let Some(rows) = stream.try_next().await? {
                        let changes = std::iter::repeat_n((change, ordinal), rows.num_rows());
                        return self.plan.output(&rows, changes).map(Some);
                    }
                    batches.pop_front();
                }
                Ok(None)
            }
            Current::Compared(compared) => compared.next(&self.plan),
        }
    }

    async fn open_next(&mut self) -> Result<Current> {
        if self.plan.form == ChangelogForm::Net {
            let range = match self.net {
                Some(range) => range,
                None => *self.net.insert(self.look_at_range().await?),
            };
            if range == NetRange::Compared {
                return self.compare_range().await;
            }
        }
        let Some(step) = self.steps.pop_front() else { return Ok(Current::Ended) };
        let changes = self.load(&step).await?;
        if changes.is_two_sided() {
            let (mut balance, code) = self.balance()?;
            self.add(&mut balance, &code, &step, &changes).await?;
            return self.compared(balance, code);
        }
        let spec = self.plan.wanted.clone();
        let batches = [(DELETE, &changes.deletes), (INSERT, &changes.inserts)];
        let batches = batches.into_iter().filter(|(_, parts)| !parts.is_empty());
        let batches = batches.map(|(change, parts)| Ok((change, self.read(&spec, parts)?)));
        Ok(Current::Files { batches: batches.collect::<Result<_>>()?, ordinal: step.ordinal.unwrap_or_default() })
    }

    /// Whether some snapshot takes rows and some snapshot brings some.
    async fn look_at_range(&self) -> Result<NetRange> {
        let (mut deletes, mut inserts) = (false, false);
        for step in &self.steps {
            let changes = self.load(step).await?;
            deletes |= !changes.deletes.is_empty();
            inserts |= !changes.inserts.is_empty();
            if deletes && inserts {
                return Ok(NetRange::Compared);
            }
        }
        Ok(NetRange::OneSided)
    }

    async fn compare_range(&mut self) -> Result<Current> {
        if self.steps.is_empty() {
            return Ok(Current::Ended);
        }
        let (mut balance, code) = self.balance()?;
        while let Some(step) = self.steps.pop_front() {
            let changes = self.load(&step).await?;
            self.add(&mut balance, &code, &step, &changes).await?;
        }
        self.compared(balance, code)
    }

    async fn load(&self, step: &ChangelogStep) -> Result<SnapshotChanges> {
        let diff = load_snapshot_diff(&self.context, &self.plan.table, step.parent_id, step.snapshot_id).await?;
        plan_snapshot_changes(&diff, &self.plan.wanted)
    }

    fn balance(&self) -> Result<(Balance, RowCode)> {
        let whole = self.plan.whole.projected().arrow();
        let code = RowCode::new(whole, self.plan.key.clone()).map_err(|error| self.plan.damaged(error))?;
        Ok((Balance::new(self.bytes_max), code))
    }

    /// Counts what a snapshot took and brought.
    async fn add(
        &self,
        balance: &mut Balance,
        code: &RowCode,
        step: &ChangelogStep,
        changes: &SnapshotChanges,
    ) -> Result<()> {
        let ordinal = step.ordinal.unwrap_or_default();
        let mut bytes = Vec::new();
        for (count, parts) in [(-1, &changes.deletes), (1, &changes.inserts)] {
            let mut batches = self.read(&self.plan.whole, parts)?;
            while let Some(batch) = batches.try_next().await? {
                let encoded = code.encode(&batch).map_err(|error| self.plan.damaged(error))?;
                for row in 0..encoded.len() {
                    let key_length = encoded.write(row, &mut bytes);
                    balance.add(&bytes, key_length, count, ordinal)?;
                }
            }
        }
        Ok(())
    }

    fn compared(&self, balance: Balance, code: RowCode) -> Result<Current> {
        let passes = match self.plan.form {
            ChangelogForm::Upsert => vec![Pass::Keys],
            ChangelogForm::Changes | ChangelogForm::Net => vec![Pass::Deletes, Pass::Inserts],
        };
        let walk = Walk::new(balance.finish()?);
        Ok(Current::Compared(Box::new(Compared { walk, code, passes: passes.into(), pending: None })))
    }

    fn read(&self, spec: &ReadSpec, parts: &[Part]) -> Result<SideBySide<RecordBatch>> {
        let finder = self.plan.finder()?;
        let (context, spec) = (self.context.clone(), spec.clone());
        let read = move |part| read_part(context.clone(), spec.clone(), finder.clone(), part);
        Ok(side_by_side(parts.to_vec(), self.parallelism, read))
    }
}

/// Reads the rows of a part.
fn read_part(
    context: ReadContext,
    spec: ReadSpec,
    finder: ReadSpec,
    part: Part,
) -> impl Stream<Item = Result<RecordBatch>> + Send {
    let open = async move {
        let task = match part {
            Part::File(task) => Some(task),
            Part::Taken(task, by) => taken(&context, &finder, task, &by).await?,
        };
        let read = move |task: ScanTask| read_file(&context, &spec, &task).map_ok(|batch| batch.batch);
        Ok(futures::stream::iter(task).map(read).flatten())
    };
    Box::pin(open).try_flatten_stream()
}

/// The rows of a file that deletes take away, if there are any. Where positions say which, the file itself is not looked
/// at; for equality deletes their columns are read first, and then of the others only what is needed.
async fn taken(
    context: &ReadContext,
    finder: &ReadSpec,
    task: ScanTask,
    by: &ApplicableDeletes,
) -> Result<Option<ScanTask>> {
    let mut rows = RoaringTreemap::new();
    if let Some(positions) = load_positions(context, task.path(), by).await? {
        rows = positions.as_ref().clone();
        if let Some(dead) = load_positions(context, task.path(), &task.deletes).await? {
            rows -= dead.as_ref();
        }
    }
    if by.has_equality() {
        let found = ScanTask { taken_by: Some(by.equality_alone()), ..task.clone() };
        let mut positions = Box::pin(read_file(context, finder, &found));
        while let Some(batch) = positions.try_next().await? {
            let found = batch.batch.column(0).as_primitive::<Int64Type>();
            rows.extend(found.values().iter().map(|row| row.unsigned_abs()));
        }
    }
    // As for scans, a delete of a row that the file does not have is none.
    let in_file = rows.iter().take_while(|row| *row < task.file.record_count());
    let Some(only) = in_file.map(|row| u32::try_from(row).ok()).collect::<Option<RoaringBitmap>>() else {
        return Err(Error::unsupported(task.path(), "single rows behind row 4,294,967,295 of a file can't be read"));
    };
    let deletes = task.deletes.equality_alone();
    Ok((!only.is_empty()).then(|| ScanTask { only: Some(Arc::new(only)), deletes, ..task }))
}

impl Compared {
    fn next(&mut self, plan: &ChangelogPlan) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(pending) = &mut self.pending {
                if let Some(batch) = pending.next(plan)? {
                    return Ok(Some(batch));
                }
                self.pending = None;
            }
            let Some(pass) = self.passes.front().copied() else { return Ok(None) };
            match self.walk.next(BATCH_ROWS)? {
                None => {
                    self.passes.pop_front();
                    self.walk.restart();
                }
                Some(nets) => {
                    let copies = copies(plan, pass, nets)?;
                    let used = nets.iter().map(|net| &net.bytes[net.key_length..]);
                    let rows = self.code.decode(used).map_err(|error| plan.damaged(error))?;
                    self.pending = Some(Pending { rows, copies });
                }
            }
        }
    }
}

/// Which of some rows come out, how often, and as what.
fn copies(plan: &ChangelogPlan, pass: Pass, nets: &[Net]) -> Result<VecDeque<Copies>> {
    let copy = |row: usize, change: &'static str| Copies {
        row: u32::try_from(row).expect("a walk shows some thousand rows at once"),
        change,
        ordinal: nets[row].ordinal,
        count: nets[row].count.unsigned_abs(),
    };
    let of_sign = |change: &'static str, is_wanted: fn(i64) -> bool| {
        let wanted = nets.iter().enumerate().filter(move |(_, net)| is_wanted(net.count));
        wanted.map(|(row, _)| copy(row, change)).collect()
    };
    match pass {
        Pass::Deletes => return Ok(of_sign(DELETE, |count| count < 0)),
        Pass::Inserts => return Ok(of_sign(INSERT, |count| count > 0)),
        Pass::Keys => {}
    }
    let mut copies = VecDeque::new();
    let key = |row: usize| &nets[row].bytes[..nets[row].key_length];
    let mut from = 0;
    while from < nets.len() {
        let end = (from..nets.len()).find(|row| key(*row) != key(from)).unwrap_or(nets.len());
        let (went, came): (Vec<usize>, Vec<usize>) = (from..end).partition(|row| nets[*row].count < 0);
        let is_update = !went.is_empty() && !came.is_empty();
        let rows: u64 = nets[from..end].iter().map(|net| net.count.unsigned_abs()).sum();
        if is_update && rows > 2 {
            let columns = plan.key.iter().map(|path| path.join(".")).collect();
            return Err(Error::AmbiguousUpdate { snapshot_id: plan.snapshot_of(nets[from].ordinal), columns });
        }
        let (gone, new) = if is_update { (UPDATE_BEFORE, UPDATE_AFTER) } else { (DELETE, INSERT) };
        copies.extend(went.into_iter().map(|row| copy(row, gone)));
        copies.extend(came.into_iter().map(|row| copy(row, new)));
        from = end;
    }
    Ok(copies)
}

impl Pending {
    fn next(&mut self, plan: &ChangelogPlan) -> Result<Option<RecordBatch>> {
        let mut rows: Vec<u32> = Vec::new();
        let mut changes: Vec<(&'static str, i32)> = Vec::new();
        while let Some(copies) = self.copies.front_mut() {
            let room = BATCH_ROWS - rows.len();
            let count = copies.count.min(room as u64) as usize;
            rows.extend(std::iter::repeat_n(copies.row, count));
            changes.extend(std::iter::repeat_n((copies.change, copies.ordinal), count));
            copies.count -= count as u64;
            if copies.count > 0 {
                break;
            }
            self.copies.pop_front();
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let taken = take_record_batch(&self.rows, &UInt32Array::from(rows)).map_err(|error| plan.damaged(error))?;
        let wanted = narrow(&taken, plan.wanted.projected().arrow()).map_err(|error| plan.damaged(error))?;
        plan.output(&wanted, changes.into_iter()).map(Some)
    }
}

impl ChangelogPlan {
    /// Rows with the changelog's columns behind theirs.
    fn output(&self, rows: &RecordBatch, changes: impl Iterator<Item = (&'static str, i32)>) -> Result<RecordBatch> {
        let (changes, ordinals): (Vec<&str>, Vec<i32>) = changes.unzip();
        let snapshots = ordinals.iter().map(|ordinal| self.snapshot_of(*ordinal));
        let own: [ArrayRef; 3] = [
            Arc::new(StringArray::from(changes)),
            Arc::new(Int32Array::from(ordinals.clone())),
            Arc::new(Int64Array::from_iter_values(snapshots)),
        ];
        let columns = rows.columns().iter().cloned().chain(own).collect();
        RecordBatch::try_new(self.arrow.clone(), columns).map_err(|error| self.damaged(error))
    }

    fn snapshot_of(&self, ordinal: i32) -> i64 {
        let step = self.steps.iter().find(|step| step.ordinal == Some(ordinal));
        step.expect("an ordinal is that of a step").snapshot_id
    }

    /// Positions of rows that match the condition.
    fn finder(&self) -> Result<ReadSpec> {
        self.wanted.of_columns(&Projection::paths([POS_COLUMN]))
    }

    fn damaged(&self, reason: impl ToString) -> Error {
        Error::damaged(self.table.metadata().location(), reason)
    }
}
