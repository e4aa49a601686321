//! Which files are merged into which. Pure.
//!
//! The steps of [`plan_rewrite`]:
//! 1. candidates are data files below ¾ of the target size, by partition spec and partition, oldest first;
//! 2. files whose rows position deletes or deletion vectors may name are left alone: they are to be merged with their
//!    deletes, which a plain merge does not do;
//! 3. the list is parted wherever an equality delete applies to an older file and not to a newer one, so that the merged
//!    file can take the greatest sequence number (DESIGN, rule 5);
//! 4. of each part, [`crate::tier`] chooses what is merged, and the choice is cut into outputs of the target size;
//! 5. groups are taken until the plan has `plan_bytes_max` to read; the rest waits for the next plan.
//!
//! **Fixed point.** Every group has two files or more and becomes one. So a plan that is carried out lowers the number of
//! files, an output that reached ¾ of the target is no candidate any more, and a lone small file is in no group: planning
//! over and over comes to an end without a memory of what was rewritten.

use std::collections::HashSet;
use std::fmt;

use frazil_table::TableState;
use frazil_table::spec::Struct;

use crate::listing::{InputFile, Listing, PartitionKey};
use crate::{Config, Policy, Result, tier};

/// Why files are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// They are of the last commits.
    FirstLevel,
    /// Newer files outgrew older ones.
    Outgrown,
    /// A partition has more small files than it may keep.
    TooMany,
    /// Everything small is packed.
    Pack,
}

impl Reason {
    /// As it is printed and put into a snapshot's summary.
    pub fn name(self) -> &'static str {
        match self {
            Self::FirstLevel => "first-level",
            Self::Outgrown => "outgrown",
            Self::TooMany => "too-many",
            Self::Pack => "pack",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Files of one partition that become one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileGroup {
    /// The partition spec of all of them, and of the output.
    pub partition_spec_id: i32,
    /// The partition of all of them, and of the output.
    pub partition: Struct,
    /// The same for a person: `month=2013-01/…`; empty if unpartitioned.
    pub partition_path: String,
    /// Two files or more, oldest first.
    pub inputs: Vec<InputFile>,
    /// Why.
    pub reason: Reason,
    /// The output's data sequence number: the greatest of the inputs'.
    pub data_sequence_number: i64,
    /// Whether the output must have that number and no greater one, since equality deletes are live.
    pub exact_sequence_number: bool,
    /// The snapshot in which the inputs were seen.
    pub base_snapshot_id: i64,
}

impl FileGroup {
    /// Bytes of the inputs.
    pub fn bytes_in(&self) -> u64 {
        self.inputs.iter().map(|input| input.file.file_size_in_bytes()).sum()
    }

    /// Rows of the inputs.
    pub fn rows_in(&self) -> u64 {
        self.inputs.iter().map(|input| input.file.record_count()).sum()
    }

    /// The inputs' paths.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().map(|input| input.file.file_path())
    }

    /// `month=2013-01`, or `the table` if unpartitioned.
    pub fn place(&self) -> &str {
        if self.partition_path.is_empty() { "the table" } else { &self.partition_path }
    }
}

/// What would be merged, and what not. Prints as a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewritePlan {
    /// The table's full name.
    pub table: String,
    /// The snapshot that was looked at; `None` for an empty table.
    pub base_snapshot_id: Option<i64>,
    /// What is merged, by partition and age.
    pub groups: Vec<FileGroup>,
    /// Groups that wait for the next plan because this one has enough to do.
    pub deferred_groups: usize,
    /// Small files that are left alone because position deletes or deletion vectors may name their rows.
    pub files_with_deletes: usize,
    /// Places where small files can't be merged because an equality delete came between them.
    pub parted_by_deletes: usize,
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

/// Plans on a listing. Cost: linear in the small files, and in partitions × delete files.
pub(crate) fn plan_listing(listing: &Listing, in_flight: &InFlight) -> RewritePlan {
    let config = listing.config();
    let mut plan = RewritePlan {
        table: listing.table.ident().to_string(),
        base_snapshot_id: listing.snapshot_id,
        groups: Vec::new(),
        deferred_groups: 0,
        files_with_deletes: 0,
        parted_by_deletes: 0,
        refusal: listing.refusal(),
    };
    let Some(base_snapshot_id) = listing.snapshot_id.filter(|_| plan.refusal.is_none()) else { return plan };
    for (partition, files) in &listing.partitions {
        let taken = in_flight.partitions.iter().filter(|other| *other == partition).count();
        let planner = PartitionPlanner {
            listing,
            partition,
            base_snapshot_id,
            slots: config.slots().saturating_sub(taken).max(1),
        };
        let free = files.iter().filter(|input| !in_flight.paths.contains(input.file.file_path()));
        planner.plan(free, &mut plan);
    }
    plan.groups.sort_by(|a, b| {
        let key = |group: &FileGroup| (group.partition_spec_id, group.partition_path.clone());
        let first = |group: &FileGroup| group.inputs[0].file.file_path().to_owned();
        key(a)
            .cmp(&key(b))
            .then_with(|| a.inputs[0].data_sequence_number.cmp(&b.inputs[0].data_sequence_number))
            .then_with(|| first(a).cmp(&first(b)))
    });
    plan.defer(config.plan_bytes_max);
    plan
}

struct PartitionPlanner<'a> {
    listing: &'a Listing,
    partition: &'a PartitionKey,
    base_snapshot_id: i64,
    slots: usize,
}

impl<'a> PartitionPlanner<'a> {
    fn plan(&self, files: impl Iterator<Item = &'a InputFile>, plan: &mut RewritePlan) {
        let deletes = self.listing.deletes_of(self.partition);
        let mut part: Vec<&InputFile> = Vec::new();
        for input in files {
            if deletes.may_name_rows_of(input) {
                plan.files_with_deletes += 1;
                continue;
            }
            if part.last().is_some_and(|older| deletes.part(older, input)) {
                plan.parted_by_deletes += 1;
                self.plan_part(&std::mem::take(&mut part), plan);
            }
            part.push(input);
        }
        self.plan_part(&part, plan);
    }

    /// Files, oldest first, any neighbours of which may be merged.
    fn plan_part(&self, files: &[&InputFile], plan: &mut RewritePlan) {
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
        for run in tier::pack(&sizes[from..], config.target_file_size_bytes, config.group_files_max) {
            let inputs: Vec<InputFile> = files[from..][run].iter().map(|input| (*input).clone()).collect();
            if inputs.len() >= config.min_input_files.max(2) {
                plan.groups.push(self.group(inputs, reason));
            }
        }
    }

    fn group(&self, inputs: Vec<InputFile>, reason: Reason) -> FileGroup {
        let metadata = self.listing.table.metadata();
        let (spec_id, partition) = self.partition;
        let path = metadata
            .partition_spec_by_id(*spec_id)
            .filter(|spec| !spec.is_unpartitioned())
            .map(|spec| spec.partition_to_path(partition, metadata.current_schema().clone()));
        FileGroup {
            partition_spec_id: *spec_id,
            partition: partition.clone(),
            partition_path: path.unwrap_or_default(),
            data_sequence_number: inputs.iter().map(|input| input.data_sequence_number).max().unwrap_or(0),
            exact_sequence_number: self.listing.has_equality_deletes(),
            base_snapshot_id: self.base_snapshot_id,
            inputs,
            reason,
        }
    }
}

impl RewritePlan {
    /// Bytes to read.
    pub fn bytes_in(&self) -> u64 {
        self.groups.iter().map(FileGroup::bytes_in).sum()
    }

    /// Files that go.
    pub fn files_in(&self) -> usize {
        self.groups.iter().map(|group| group.inputs.len()).sum()
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
        if self.groups.is_empty() {
            writeln!(f, "{}: nothing to rewrite", self.table)?;
        } else {
            let width = self.groups.iter().map(|group| group.place().chars().count()).max().unwrap_or(0).max(9);
            writeln!(
                f,
                "{:width$}  {:<11}  {:>5} -> {:<3}  {:>10}  {:>12}",
                "partition", "why", "files", "out", "bytes", "rows"
            )?;
            for group in &self.groups {
                let (place, reason, files) = (group.place(), group.reason, group.inputs.len());
                let bytes = size(group.bytes_in());
                writeln!(
                    f,
                    "{place:width$}  {reason:<11}  {files:>5} -> {:<3}  {bytes:>10}  {:>12}",
                    1,
                    group.rows_in()
                )?;
            }
            let (groups, files, bytes) = (self.groups.len(), self.files_in(), size(self.bytes_in()));
            writeln!(f, "{}: {files} files become {groups}; {bytes} to read and to write", self.table)?;
        }
        if self.deferred_groups > 0 {
            writeln!(f, "{} groups more wait for the next plan", self.deferred_groups)?;
        }
        if self.files_with_deletes > 0 {
            writeln!(
                f,
                "{} small files are left alone: position deletes may name their rows",
                self.files_with_deletes
            )?;
        }
        if self.parted_by_deletes > 0 {
            writeln!(
                f,
                "{} times neighbours can't be merged: an equality delete came between them",
                self.parted_by_deletes
            )?;
        }
        Ok(())
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
