//! Which files are rewritten, and into which. Pure.
//!
//! The steps of [`plan_rewrite`]:
//! 1. of the files below ¾ of the target size, by partition spec and partition and oldest first, [`crate::tier`] chooses
//!    what is merged, and the choice is cut into outputs of the target size;
//! 2. of all other files, those that have lost [`Config::delete_ratio`] of their rows to deletes are rewritten, small ones
//!    among them together;
//! 3. each group gets the deletes that may apply to any of its files, and the sequence number of the snapshot that is
//!    looked at: in the output they are applied, and none of them applies again (DESIGN, rule 5);
//! 4. files that other programs have just changed rows of are in no group ([`crate::Config::cooling_ms`]);
//! 5. groups are taken until the plan has `plan_bytes_max` to read; the rest waits for the next plan.
//!
//! **Fixed point.** A group of step 1 has two files or more and becomes one. A group of step 2 has only files with deletes
//! and becomes a file without. So a plan that is carried out lowers the number of files, or of files with deletes without
//! raising the other, and a file that came out of it is chosen again only for what happens to it later: planning over and
//! over comes to an end without a memory of what was rewritten.

use std::collections::HashSet;
use std::fmt;

use frazil_table::TableState;

use crate::config::COOLING_MS;
use crate::cooling::Cooling;
use crate::deletes::{DeleteIndex, PartitionDeletes, Spread};
use crate::group::{FileGroup, Reason};
use crate::listing::{InputFile, Listing, PartitionKey};
use crate::{Config, Policy, Result, tier};

/// What would be rewritten, and what not. Prints as a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewritePlan {
    /// The table's full name.
    pub table: String,
    /// The snapshot that was looked at; `None` for an empty table.
    pub base_snapshot_id: Option<i64>,
    /// What is rewritten, by partition and age.
    pub groups: Vec<FileGroup>,
    /// Groups that wait for the next plan because this one has enough to do.
    pub deferred_groups: usize,
    /// Files without row ids, which are left alone until the table's next commit gives their rows some.
    pub files_without_row_ids: usize,
    /// Files that rest since other programs have just changed rows of them ([`Config::cooling_ms`]).
    pub files_cooling: usize,
    /// The size that files are to have.
    pub target_file_size_bytes: u64,
    /// Why nothing of the table is rewritten, if so.
    pub refusal: Option<String>,
}

/// Plans the rewrites of a table.
///
/// # Errors
/// [`frazil_table::Error::InvalidChange`] if the state was loaded without its manifests' entries.
pub fn plan_rewrite(state: &TableState, config: &Config) -> Result<RewritePlan> {
    Ok(plan_listing(&Listing::of(state, config)?, &InFlight::default()))
}

/// Files that rewrites are reading now: they are in no new plan, and each rewrite takes a place for its output.
#[derive(Clone, Debug, Default)]
pub(crate) struct InFlight {
    pub(crate) paths: HashSet<String>,
    pub(crate) partitions: Vec<PartitionKey>,
}

/// Plans on a listing. Cost: linear in the files and in the delete files; in a partition, in small files × delete files of
/// several files.
pub(crate) fn plan_listing(listing: &Listing, in_flight: &InFlight) -> RewritePlan {
    plan_files(listing, in_flight, &|files| files.plan())
}

/// Plans on a listing of which nothing is in flight, by what `choose` chooses in each partition.
pub(crate) fn plan_partitions(listing: &Listing, choose: &Choose<'_>) -> RewritePlan {
    plan_files(listing, &InFlight::default(), choose)
}

/// What of a partition's files is rewritten together.
type Choose<'a> = dyn Fn(&PartitionFiles<'_>) -> Vec<FileGroup> + 'a;

fn plan_files(listing: &Listing, in_flight: &InFlight, choose: &Choose<'_>) -> RewritePlan {
    let config = listing.config();
    let mut plan = RewritePlan {
        table: listing.table.ident().to_string(),
        base_snapshot_id: listing.snapshot_id,
        groups: Vec::new(),
        deferred_groups: 0,
        files_without_row_ids: listing.files().filter(|input| !listing.can_rewrite(&input.file)).count(),
        files_cooling: 0,
        target_file_size_bytes: config.target_file_size_bytes,
        refusal: listing.refusal(),
    };
    let base = listing.snapshot_id.and_then(|id| listing.table.metadata().snapshot_by_id(id));
    let Some(base) = base.filter(|_| plan.refusal.is_none()) else { return plan };
    let index = DeleteIndex::new(&listing.deletes);
    let everywhere = Spread::everywhere(&index, listing.files());
    let cooling = Cooling::of(listing);
    for (partition, files) in &listing.partitions {
        let taken = in_flight.partitions.iter().filter(|other| *other == partition).count();
        let free = files.iter().filter(|input| !in_flight.paths.contains(input.file.file_path()));
        let free = free.filter(|input| listing.can_rewrite(&input.file));
        let (resting, free): (Vec<_>, Vec<_>) = free.partition(|input| cooling.has(partition, input));
        plan.files_cooling += resting.len();
        plan.groups.extend(choose(&PartitionFiles {
            listing,
            partition,
            index: &index,
            deletes: PartitionDeletes::new(&index, &everywhere, partition, files),
            base: (base.snapshot_id(), base.sequence_number()),
            slots: config.slots().saturating_sub(taken).max(1),
            free,
        }));
    }
    plan.groups.sort_by(|a, b| {
        let key = |group: &FileGroup| (group.partition_spec_id, group.partition_path.clone());
        key(a).cmp(&key(b)).then_with(|| a.inputs[0].by_age(&b.inputs[0]))
    });
    plan.defer(config.plan_bytes_max);
    plan
}

/// The files of a partition that may be rewritten, and what applies to them.
pub(crate) struct PartitionFiles<'a> {
    listing: &'a Listing,
    partition: &'a PartitionKey,
    index: &'a DeleteIndex<'a>,
    deletes: PartitionDeletes<'a>,
    /// The id and the sequence number of the snapshot that is looked at.
    base: (i64, i64),
    slots: usize,
    /// Oldest first.
    free: Vec<&'a InputFile>,
}

impl<'a> PartitionFiles<'a> {
    pub(crate) fn free(&self) -> &[&'a InputFile] {
        &self.free
    }

    fn plan(&self) -> Vec<FileGroup> {
        let files = self.free.iter().copied();
        let small: Vec<&InputFile> = files.clone().filter(|input| self.listing.is_small(&input.file)).collect();
        let mut groups = self.merge_small(&small);
        if !self.index.is_empty() {
            let taken: HashSet<&str> = groups.iter().flat_map(FileGroup::paths).collect();
            let left = files.filter(|input| !taken.contains(input.file.file_path()));
            let purged = self.purge(left);
            groups.extend(purged);
        }
        groups
    }

    /// Files, oldest first, that may be merged for their size.
    fn merge_small(&self, files: &[&InputFile]) -> Vec<FileGroup> {
        let config = self.listing.config();
        let sizes: Vec<u64> = files.iter().map(|input| input.file.file_size_in_bytes()).collect();
        let old = files.iter().rposition(|input| !self.listing.is_fresh(input)).map_or(0, |last| last + 1);
        let (from, reason) = match config.policy {
            Policy::Pack => (0, Reason::Pack),
            Policy::Tiered => match tier::merge_from(&sizes, old, self.slots) {
                from if from >= old => (from, Reason::FirstLevel),
                from if old > self.slots => (from, Reason::TooMany),
                from => (from, Reason::Outgrown),
            },
        };
        let runs = tier::pack(&sizes[from..], config.target_file_size_bytes, config.group_files_max);
        let runs = runs.into_iter().filter(|run| run.len() >= config.min_input_files.max(2));
        runs.map(|run| self.group(&files[from..][run], reason)).collect()
    }

    /// Files that have lost much to deletes, those together of which little is left.
    fn purge(&self, files: impl Iterator<Item = &'a InputFile>) -> Vec<FileGroup> {
        let config = self.listing.config();
        let mut damaged = Vec::new();
        let mut sizes_left = Vec::new();
        for input in files {
            let (rows, deleted) = (input.file.record_count() as f64, self.deletes.rows_deleted(input));
            if deleted > 0.0 && deleted >= config.delete_ratio * rows {
                damaged.push(input);
                sizes_left.push((input.file.file_size_in_bytes() as f64 * (1.0 - deleted / rows)) as u64);
            }
        }
        let runs = tier::pack(&sizes_left, config.target_file_size_bytes, config.group_files_max);
        runs.into_iter().map(|run| self.group(&damaged[run], Reason::Deletes)).collect()
    }

    pub(crate) fn group(&self, inputs: &[&InputFile], reason: Reason) -> FileGroup {
        let metadata = self.listing.table.metadata();
        let (spec_id, partition) = self.partition;
        let path = metadata
            .partition_spec_by_id(*spec_id)
            .filter(|spec| !spec.is_unpartitioned())
            .map(|spec| spec.partition_to_path(partition, metadata.current_schema().clone()));
        let inputs: Vec<InputFile> = inputs.iter().map(|input| (*input).clone()).collect();
        let (base_snapshot_id, data_sequence_number) = self.base;
        FileGroup {
            partition_spec_id: *spec_id,
            partition: partition.clone(),
            partition_path: path.unwrap_or_default(),
            deletes: self.index.of_files(self.partition, &inputs),
            rows_deleted_max: inputs.iter().map(|input| self.deletes.rows_deleted(input)).sum::<f64>().ceil() as u64,
            data_sequence_number,
            base_snapshot_id,
            inputs,
            reason,
            clustering: None,
        }
    }
}

impl RewritePlan {
    /// Bytes of the data files that are read.
    pub fn bytes_in(&self) -> u64 {
        self.groups.iter().map(FileGroup::bytes_in).sum()
    }

    /// Files that go.
    pub fn files_in(&self) -> usize {
        self.groups.iter().map(|group| group.inputs.len()).sum()
    }

    /// Delete files and deletion vectors that are applied, each once.
    pub fn delete_files(&self) -> usize {
        let deletes: HashSet<_> = self.groups.iter().flat_map(|group| &group.deletes).map(InputFile::key).collect();
        deletes.len()
    }

    fn defer(&mut self, bytes_max: u64) {
        let mut bytes = 0;
        let fits = self.groups.iter().position(|group| {
            bytes += group.bytes_in();
            bytes > bytes_max
        });
        if let Some(first_left) = fits {
            let left = self.groups.split_off(first_left.max(1));
            self.deferred_groups = left.len();
        }
    }
}

impl fmt::Display for RewritePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(refusal) = &self.refusal {
            return writeln!(f, "{}: nothing can be rewritten: {refusal}", self.table);
        }
        if self.files_without_row_ids > 0 {
            let files = self.files_without_row_ids;
            writeln!(f, "{files} files are left alone until the table's next commit gives their rows ids")?;
        }
        if self.files_cooling > 0 {
            let files = self.files_cooling;
            writeln!(f, "{files} files rest, since other programs have just changed rows of them ({COOLING_MS})")?;
        }
        if self.groups.is_empty() {
            return writeln!(f, "{}: nothing to rewrite", self.table);
        }
        let width = self.groups.iter().map(|group| group.place().chars().count()).max().unwrap_or(0).max(9);
        let has_deletes = self.groups.iter().any(|group| !group.deletes.is_empty());
        write!(
            f,
            "{:width$}  {:<12}  {:>5} -> {:<3}  {:>10}  {:>12}",
            "partition", "why", "files", "out", "bytes", "rows"
        )?;
        writeln!(f, "{}", if has_deletes { "  deletes  deleted rows" } else { "" })?;
        for group in &self.groups {
            let (place, reason, files) = (group.place(), group.reason, group.inputs.len());
            let (bytes, rows) = (size(group.bytes_in()), group.rows_in());
            let outputs = group.outputs_estimate(self.target_file_size_bytes);
            write!(f, "{place:width$}  {reason:<12}  {files:>5} -> {outputs:<3}  {bytes:>10}  {rows:>12}")?;
            match has_deletes {
                true => writeln!(f, "  {:>7}  {:>12}", group.deletes.len(), group.rows_deleted_max)?,
                false => writeln!(f)?,
            }
        }
        let sum = |of: fn(&FileGroup) -> u64| self.groups.iter().map(of).sum::<u64>();
        let (groups, files, bytes) = (self.groups.len(), self.files_in(), self.bytes_in());
        let (delete_bytes, bytes_out) = (sum(FileGroup::delete_bytes), sum(FileGroup::bytes_out_estimate));
        match self.groups.iter().find_map(|group| group.clustering.as_ref()) {
            None => write!(f, "{}: {files} files become {groups}; ", self.table)?,
            Some(order) => write!(f, "{}: {files} files are put in order by {order}; ", self.table)?,
        }
        match has_deletes {
            false => writeln!(f, "{} to read and to write", size(bytes))?,
            true => writeln!(
                f,
                "{} to read, about {} to write; applies {} delete files, which take away up to {} rows",
                size(bytes + delete_bytes),
                size(bytes_out),
                self.delete_files(),
                sum(|group| group.rows_deleted_max),
            )?,
        }
        match self.deferred_groups {
            0 => Ok(()),
            more => writeln!(f, "{more} groups more wait for the next plan"),
        }
    }
}

/// Bytes for a person.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (bytes.max(1).ilog2() / 10).min(4);
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{:.1} {}", bytes as f64 / f64::from(1u32 << 10).powi(unit as i32), UNITS[unit as usize]),
    }
}

#[cfg(test)]
mod tests;
