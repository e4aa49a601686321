//! Which files are put in order. Pure.
//!
//! A file *is in order* if its name or its sort order id says so; others are written anew in any case. Files that are in order are
//! written anew only with others that they overlap, by the bounds of their columns:
//! - sorted, the files of a partition are a sequence of spans. Those that overlap belong together, however long the chain; one that
//!   is in order and overlaps no other stays. Files of one run do not overlap: they are consecutive pieces of one sequence,
//!   whatever bounds that were cut short, or nulls, make of it;
//! - along a curve, each file is a box, and every box of a curve's own pieces may touch its neighbours'. So only a file that is not
//!   in order makes others go with it: those whose boxes it overlaps in all columns.
//!
//! **Fixed point.** What is written is in order and of one run; what stays is in order, and overlapped nothing that was written. So a
//! second plan is empty. Groups end where a file stays, or between files that do not overlap, once they have enough bytes; a chain
//! of more than [`GROUP_BYTES_MAX`] is cut all the same, by its lower bounds, and its parts may overlap at the cut.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use frazil_table::spec::DataFile;
use frazil_table::{LiveFile, TableState};

use super::range::{Range, Span, are_comparable, compare_keys};
use super::{Clustering, Mark};
use crate::group::Reason;
use crate::listing::{InputFile, Listing};
use crate::plan::{PartitionFiles, RewritePlan, plan_partitions};
use crate::{Config, Result};

/// A group of this many bytes ends where no overlap is cut by it: so that several can be written at the same time.
const GROUP_BYTES: u64 = 4 << 30;

/// What one group may have: rows that are ordered anew go through temporary files, a few times as large.
const GROUP_BYTES_MAX: u64 = 16 << 30;

/// Plans the rewrites that put a table's rows in order, partition by partition.
///
/// Cost: in a partition with `n` files `n log n`; along a curve files that are in order × files that are not.
///
/// # Errors
/// [`frazil_table::Error::InvalidChange`] if the state was loaded without its manifests' entries.
pub fn plan_clustering(state: &TableState, config: &Config, clustering: &Clustering) -> Result<RewritePlan> {
    let listing = Listing::of_all(state, config)?;
    let live = state.live_data_files_by_path()?;
    let choose = |files: &PartitionFiles<'_>| {
        let placed: Vec<Placed<'_>> = files.free().iter().map(|input| Placed::of(input, &live, clustering)).collect();
        let groups = match clustering.is_sort() {
            true => sorted_groups(placed),
            false => curve_groups(placed),
        };
        groups
            .into_iter()
            .map(|(inputs, reason)| {
                let mut group = files.group(&inputs, reason);
                group.clustering = Some(clustering.clone());
                group
            })
            .collect()
    };
    Ok(plan_partitions(&listing, &choose))
}

/// A file and where it lies.
struct Placed<'a> {
    input: &'a InputFile,
    is_in_order: bool,
    mark: Option<Mark>,
    ranges: Vec<Range>,
    span: Span,
}

impl<'a> Placed<'a> {
    fn of(input: &'a InputFile, live: &BTreeMap<&str, LiveFile<'_>>, clustering: &Clustering) -> Self {
        let path = input.file.file_path();
        // A listing keeps no bounds of large files.
        let file: &DataFile = live.get(path).map_or(&input.file, |live| live.file);
        let mark = Mark::of(path).filter(|mark| mark.order == clustering.mark().order);
        let by_id = clustering.sort_order_id().is_some() && file.sort_order_id() == clustering.sort_order_id();
        let ranges: Vec<Range> = clustering.columns().iter().map(|column| Range::of(file, *column)).collect();
        Self { input, is_in_order: mark.is_some() || by_id, mark, span: Span::of(&ranges), ranges }
    }

    fn bytes(&self) -> u64 {
        self.input.file.file_size_in_bytes()
    }
}

type Chosen<'a> = Vec<(Vec<&'a InputFile>, Reason)>;

/// Files that overlap, from the least on; files that stay end a group.
fn sorted_groups(mut files: Vec<Placed<'_>>) -> Chosen<'_> {
    let mut groups = Groups::default();
    if !are_comparable(files.iter().map(|file| &file.span)) {
        let is_done = files.iter().all(|file| file.is_in_order) && is_one_run(&files);
        files.retain(|_| !is_done);
        groups.add(files);
        return groups.end();
    }
    files.sort_by(|a, b| a.span.compare(&b.span).then_with(|| a.input.by_age(b.input)));
    clip(&mut files);
    let mut files = files.into_iter().peekable();
    while let Some(first) = files.next() {
        let mut upper = first.span.upper.clone();
        let mut chain = vec![first];
        while let Some(next) = files.next_if(|next| compare_keys(&next.span.lower, &upper) == Ordering::Less) {
            if compare_keys(&next.span.upper, &upper) == Ordering::Greater {
                upper = next.span.upper.clone();
            }
            chain.push(next);
        }
        match chain.len() == 1 && chain[0].is_in_order {
            true => groups.cut(),
            false => groups.add(chain),
        }
    }
    groups.end()
}

/// Ends the span of each file where the next one of its run begins.
fn clip(files: &mut [Placed<'_>]) {
    let mut last_of_run: BTreeMap<Mark, usize> = BTreeMap::new();
    for index in 0..files.len() {
        let Some(mark) = files[index].mark else { continue };
        if let Some(before) = last_of_run.insert(mark, index) {
            let lower = files[index].span.lower.clone();
            if compare_keys(&files[before].span.upper, &lower) == Ordering::Greater {
                files[before].span.upper = lower;
            }
        }
    }
}

fn is_one_run(files: &[Placed<'_>]) -> bool {
    files.windows(2).all(|pair| pair[0].mark.is_some() && pair[0].mark == pair[1].mark)
}

/// Files that are not in order, and those that they overlap.
fn curve_groups(files: Vec<Placed<'_>>) -> Chosen<'_> {
    let (in_order, mut chosen): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.is_in_order);
    let overlaps = |a: &Placed<'_>, b: &Placed<'_>| a.ranges.iter().zip(&b.ranges).all(|(a, b)| a.overlaps(b));
    let new = chosen.len();
    for file in in_order {
        if chosen[..new].iter().any(|other| overlaps(&file, other)) {
            chosen.push(file);
        }
    }
    if are_comparable(chosen.iter().map(|file| &file.span)) {
        chosen.sort_by(|a, b| a.span.compare(&b.span).then_with(|| a.input.by_age(b.input)));
    }
    let mut groups = Groups::default();
    groups.add(chosen);
    groups.end()
}

/// Groups in the making.
#[derive(Default)]
struct Groups<'a> {
    done: Chosen<'a>,
    open: Vec<Placed<'a>>,
}

impl<'a> Groups<'a> {
    /// Files that belong together.
    fn add(&mut self, chain: Vec<Placed<'a>>) {
        for file in chain {
            if self.bytes() + file.bytes() > GROUP_BYTES_MAX {
                self.cut();
            }
            self.open.push(file);
        }
        if self.bytes() >= GROUP_BYTES {
            self.cut();
        }
    }

    fn bytes(&self) -> u64 {
        self.open.iter().map(Placed::bytes).sum()
    }

    fn cut(&mut self) {
        let files = std::mem::take(&mut self.open);
        if files.is_empty() {
            return;
        }
        let reason = match files.iter().all(|file| file.is_in_order) {
            true => Reason::Overlap,
            false => Reason::NotInOrder,
        };
        let mut inputs: Vec<&InputFile> = files.into_iter().map(|file| file.input).collect();
        inputs.sort_by(|a, b| a.by_age(b));
        self.done.push((inputs, reason));
    }

    fn end(mut self) -> Chosen<'a> {
        self.cut();
        self.done
    }
}
