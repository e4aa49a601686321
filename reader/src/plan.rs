//! From a table's state to the files that have to be read.
//!
//! The steps, all pure:
//! 1. bind projection and condition to the schema that goes with the selected snapshot;
//! 2. leave out data files whose partition, then whose column bounds, rule every row out;
//! 3. give each data file the deletes that apply to it (by sequence number, partition and path);
//! 4. split large files at row groups.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use frazil_table::spec::{DataContentType, DataFile, MAIN_BRANCH, SchemaRef, SnapshotRef, SnapshotRetention};
use frazil_table::{Table, TableState, io, moment};

use crate::deletes::DeleteIndex;
use crate::predicate::{BoundPredicate, PartitionPredicate, may_match};
use crate::{Error, Predicate, Projection, ReadContext, ReadSpec, Result, ScanTask};

/// Which state of the table is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SnapshotSelector {
    /// The head of `main`.
    #[default]
    Latest,
    /// A snapshot that is still retained.
    Id(i64),
    /// What the head of `main` was at a moment, milliseconds since the Unix epoch.
    Timestamp(i64),
    /// The head of a branch.
    Branch(String),
    /// What a tag names.
    Tag(String),
}

/// What to read.
#[derive(Clone, Debug, Default)]
pub struct ScanRequest {
    /// Which state.
    pub snapshot: SnapshotSelector,
    /// Which columns.
    pub projection: Projection,
    /// Which rows; all if there is no condition. Rows that do not match never come out.
    pub predicate: Option<Predicate>,
    /// Data files longer than this are split at row groups. `read.split.target-size` of the table, or 128 MiB, if not
    /// given.
    pub split_size_bytes: Option<u64>,
}

/// 128 MiB, as the table property `read.split.target-size` has it.
pub(crate) const SPLIT_SIZE_BYTES: u64 = 128 << 20;

/// Files that a printed plan names one by one.
const NAMED_MAX: usize = 20;

/// A snapshot, and the schema that goes with it.
#[derive(Clone, Debug)]
pub struct SelectedSnapshot {
    /// `None`: the table has no snapshot yet.
    pub snapshot: Option<SnapshotRef>,
    /// The ref through which it was found; `main` where it was not by a ref.
    pub ref_name: String,
    /// The table's current schema at the head of a branch, the snapshot's own schema everywhere else.
    pub schema: SchemaRef,
}

/// Why a data file is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pruned {
    /// Its partition rules every row out.
    Partition,
    /// Its column bounds do.
    Bounds,
}

/// What a scan will read. Prints for a person.
#[derive(Clone, Debug)]
pub struct ScanPlan {
    /// The snapshot; `None` for a table without one.
    pub snapshot_id: Option<i64>,
    /// What is wanted of each file.
    pub spec: ReadSpec,
    /// The files, in the order in which the snapshot lists them.
    pub tasks: Vec<ScanTask>,
    /// How many data files are left out, by reason.
    pub pruned: HashMap<Pruned, usize>,
    named: Vec<(String, Option<Pruned>)>,
}

/// Finds a snapshot.
///
/// # Errors
/// [`Error::NoSuchSnapshot`] says what there is instead.
pub fn select_snapshot(table: &Table, selector: &SnapshotSelector) -> Result<SelectedSnapshot> {
    let metadata = table.metadata();
    let current = |snapshot: Option<&SnapshotRef>, ref_name: &str| SelectedSnapshot {
        snapshot: snapshot.cloned(),
        ref_name: ref_name.to_owned(),
        schema: metadata.current_schema().clone(),
    };
    let historic = |snapshot: &SnapshotRef, ref_name: &str| {
        let schema = snapshot.schema_id().and_then(|id| metadata.schema_by_id(id));
        SelectedSnapshot {
            snapshot: Some(snapshot.clone()),
            ref_name: ref_name.to_owned(),
            schema: schema.unwrap_or_else(|| metadata.current_schema()).clone(),
        }
    };
    let missing = |wanted: String, hint: String| Error::NoSuchSnapshot { wanted, hint };
    match selector {
        SnapshotSelector::Latest => Ok(current(table.current_snapshot(), MAIN_BRANCH)),
        SnapshotSelector::Id(id) => match metadata.snapshot_by_id(*id) {
            Some(snapshot) => Ok(historic(snapshot, MAIN_BRANCH)),
            None => Err(missing(format!("snapshot {id}"), retained(table))),
        },
        SnapshotSelector::Timestamp(at_ms) => {
            let mut log = metadata.history().iter().filter(|entry| entry.timestamp_ms <= *at_ms);
            let found = log.next_back().and_then(|entry| metadata.snapshot_by_id(entry.snapshot_id));
            match found {
                Some(snapshot) => Ok(historic(snapshot, MAIN_BRANCH)),
                None => Err(missing(format!("snapshot at or before {}", moment(*at_ms)), retained(table))),
            }
        }
        SnapshotSelector::Branch(name) if name == MAIN_BRANCH => Ok(current(table.current_snapshot(), name)),
        SnapshotSelector::Branch(name) | SnapshotSelector::Tag(name) => {
            let wants_branch = matches!(selector, SnapshotSelector::Branch(_));
            let kind = if wants_branch { "branch" } else { "tag" };
            let is_kind =
                |retention: &SnapshotRetention| matches!(retention, SnapshotRetention::Branch { .. }) == wants_branch;
            let reference = table.refs().get(name).filter(|reference| is_kind(&reference.retention));
            match reference.and_then(|reference| metadata.snapshot_by_id(reference.snapshot_id)) {
                Some(snapshot) if wants_branch => Ok(current(Some(snapshot), name)),
                Some(snapshot) => Ok(historic(snapshot, name)),
                None => {
                    let names = table.refs().iter().filter(|(_, r)| is_kind(&r.retention));
                    let names: Vec<_> = names.map(|(name, _)| name.as_str()).collect();
                    let hint = match names.as_slice() {
                        [] => format!("it has no {kind}"),
                        names => format!("it has {}", names.join(", ")),
                    };
                    Err(missing(format!("{kind} {name:?}"), hint))
                }
            }
        }
    }
}

fn retained(table: &Table) -> String {
    let snapshots = table.metadata().snapshots();
    match snapshots.min_by_key(|snapshot| snapshot.timestamp_ms()) {
        None => "it has no snapshots".to_owned(),
        Some(oldest) => {
            format!("the oldest that is retained is {} of {}", oldest.snapshot_id(), moment(oldest.timestamp_ms()))
        }
    }
}

/// Loads the selected state of a table and plans a scan of it.
///
/// Cost: the snapshot's manifest list and manifests, less what is cached.
///
/// # Errors
/// As [`select_snapshot`], [`io::load_state_at`] and [`plan_scan`].
pub async fn load_scan(context: &ReadContext, table: &Table, request: &ScanRequest) -> Result<ScanPlan> {
    let selected = select_snapshot(table, &request.snapshot)?;
    let state = io::load_state_at(
        &context.env.store,
        &context.manifests,
        table,
        &selected.ref_name,
        selected.snapshot,
        io::Entries::All,
    );
    plan_scan(&state.await?, request)
}

/// Plans a scan of a state. `request.snapshot` only says which schema goes with it.
///
/// # Errors
/// [`Error::UnknownColumn`], [`Error::InvalidPredicate`]; [`Error::Unsupported`] names a delete file that can't be read.
pub fn plan_scan(state: &TableState, request: &ScanRequest) -> Result<ScanPlan> {
    let table = state.table();
    let schema = match (&request.snapshot, state.snapshot()) {
        (SnapshotSelector::Latest | SnapshotSelector::Branch(_), _) | (_, None) => None,
        (_, Some(snapshot)) => snapshot.schema_id().and_then(|id| table.metadata().schema_by_id(id)),
    };
    let schema = schema.unwrap_or_else(|| table.metadata().current_schema());
    let spec = ReadSpec::new(table, schema, &request.projection, request.predicate.as_ref())?;
    let split_size_bytes = request
        .split_size_bytes
        .or_else(|| table.property("read.split.target-size").and_then(|v| v.parse().ok()))
        .unwrap_or(SPLIT_SIZE_BYTES)
        .max(1);
    let deletes = DeleteIndex::new(&state.live_delete_files()?, table.metadata())?;
    let mut filter = FileFilter::new(&spec);
    let mut plan = ScanPlan {
        snapshot_id: state.snapshot_id(),
        spec: spec.clone(),
        tasks: Vec::new(),
        pruned: HashMap::new(),
        named: Vec::new(),
    };
    for live in state.live_data_files()? {
        if live.content() != DataContentType::Data {
            return Err(Error::damaged(live.manifest_path, "a delete file among data files"));
        }
        let pruned = filter.check(live.file, live.partition_spec_id);
        if plan.named.len() < NAMED_MAX {
            plan.named.push((live.file.file_path().to_owned(), pruned));
        }
        if let Some(reason) = pruned {
            *plan.pruned.entry(reason).or_default() += 1;
            continue;
        }
        plan.tasks.extend(split(&ScanTask::with_deletes(&live, &deletes), split_size_bytes));
    }
    Ok(plan)
}

/// Decides which data files can hold matching rows.
pub(crate) struct FileFilter<'a> {
    spec: &'a ReadSpec,
    by_partition_spec: HashMap<i32, PartitionPredicate>,
}

impl<'a> FileFilter<'a> {
    pub(crate) fn new(spec: &'a ReadSpec) -> Self {
        Self { spec, by_partition_spec: HashMap::new() }
    }

    pub(crate) fn check(&mut self, file: &DataFile, partition_spec_id: i32) -> Option<Pruned> {
        let predicate = self.spec.predicate();
        if *predicate == BoundPredicate::True {
            return None;
        }
        let spec = self.spec;
        let on_partition = self.by_partition_spec.entry(partition_spec_id).or_insert_with(|| {
            let partition_spec = spec.partition_spec(partition_spec_id);
            partition_spec.map_or(PartitionPredicate::True, |s| PartitionPredicate::project(predicate, s))
        });
        if !on_partition.may_match(file.partition()) {
            return Some(Pruned::Partition);
        }
        (!may_match(predicate, file)).then_some(Pruned::Bounds)
    }
}

/// Cuts a file at its split offsets into parts of about the target size. The parts cover every offset, so that each row
/// group begins in exactly one of them whatever the offsets say.
pub(crate) fn split(task: &ScanTask, split_size_bytes: u64) -> Vec<ScanTask> {
    let offsets = task.file.split_offsets().unwrap_or_default();
    if task.file.file_size_in_bytes() <= split_size_bytes || offsets.len() < 2 {
        return vec![task.clone()];
    }
    let mut cuts: Vec<u64> = vec![0];
    for offset in offsets.iter().filter_map(|offset| u64::try_from(*offset).ok()) {
        if offset.saturating_sub(*cuts.last().expect("it begins with 0")) >= split_size_bytes {
            cuts.push(offset);
        }
    }
    let ends = cuts.iter().skip(1).copied().chain([u64::MAX]);
    let ranges: Vec<Range<u64>> = cuts.iter().copied().zip(ends).map(|(start, end)| start..end).collect();
    ranges.into_iter().map(|range| ScanTask { split: Some(range), ..task.clone() }).collect()
}

impl ScanPlan {
    /// Deals the tasks out to `count` readers of about the same number of bytes, in the order of the plan within each.
    pub fn partitions(&self, count: usize) -> Vec<Vec<ScanTask>> {
        let count = count.clamp(1, self.tasks.len().max(1));
        let mut order: Vec<usize> = (0..self.tasks.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(self.tasks[*index].size_bytes()));
        let mut parts: Vec<(u64, Vec<usize>)> = vec![(0, Vec::new()); count];
        for index in order {
            let lightest = parts.iter_mut().min_by_key(|(bytes, _)| *bytes).expect("there is at least one");
            lightest.0 += self.tasks[index].size_bytes().max(1);
            lightest.1.push(index);
        }
        let in_order = |(_, mut indexes): (u64, Vec<usize>)| {
            indexes.sort_unstable();
            indexes.into_iter().map(|index| self.tasks[index].clone()).collect()
        };
        parts.into_iter().map(in_order).collect()
    }

    /// How many rows the scan gives, where the metadata alone says so: without deletes and condition.
    pub fn exact_row_count(&self) -> Option<u64> {
        let plain = *self.spec.predicate() == BoundPredicate::True && !self.tasks.iter().any(ScanTask::has_deletes);
        let mut files: HashMap<&str, &Arc<DataFile>> = HashMap::new();
        files.extend(self.tasks.iter().map(|task| (task.path(), &task.file)));
        plain.then(|| files.values().map(|file| file.record_count()).sum())
    }
}

impl fmt::Display for ScanPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.snapshot_id {
            None => writeln!(f, "scan of a table without a snapshot")?,
            Some(id) => writeln!(f, "scan of snapshot {id}")?,
        }
        let names = self.spec.projected().arrow().fields().iter().map(|field| field.name().as_str());
        writeln!(f, "  columns: {}", names.collect::<Vec<_>>().join(", "))?;
        writeln!(f, "  condition: {}", self.spec.predicate())?;
        let pruned = |reason| self.pruned.get(&reason).copied().unwrap_or(0);
        let size: u64 = self.tasks.iter().map(ScanTask::size_bytes).sum();
        let deletes = self.tasks.iter().filter(|task| task.has_deletes()).count();
        writeln!(
            f,
            "  {} tasks, {size} bytes, {deletes} of them with deletes; files pruned by partition: {}, by bounds: {}",
            self.tasks.len(),
            pruned(Pruned::Partition),
            pruned(Pruned::Bounds),
        )?;
        for (path, pruned) in &self.named {
            let verdict = match pruned {
                None => "read",
                Some(Pruned::Partition) => "pruned by partition",
                Some(Pruned::Bounds) => "pruned by bounds",
            };
            writeln!(f, "  {verdict}: {path}")?;
        }
        Ok(())
    }
}
