//! Sorted runs become one sequence again: partition after partition, and within a partition in the table's sort order,
//! or without one in the order of the runs.
//!
//! 1. Each run has one block in memory.
//! 2. The partition with the least number among the blocks' next rows is the one that is given out.
//! 3. Without a sort order, its rows are taken from run after run as slices of their blocks. With one, rows are picked
//!    from the run whose next key is least for as long as it is no greater than the others' next keys; what is picked is
//!    put together later, column by column.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::row::Rows as Keys;

use crate::Result;
use crate::partition::PartitionId;
use crate::rows::{Pick, Rows};
use crate::run::{Block, Run, RunFolder, RunReader};
use crate::sort::SortKeys;

/// Some rows of one partition.
pub(crate) struct Merged {
    pub partition: PartitionId,
    pub rows: Rows,
    /// No row of the partition follows.
    pub is_last: bool,
}

pub(crate) struct Merge {
    sources: Vec<Source>,
    keys: Option<Arc<SortKeys>>,
}

enum Blocks {
    Disk(Box<RunReader>),
    Memory(std::vec::IntoIter<Block>),
}

struct Source {
    blocks: Blocks,
    /// None at the end.
    current: Option<Current>,
}

struct Current {
    block: Block,
    bytes: usize,
    keys: Option<Keys>,
    row: usize,
}

impl Merge {
    /// The runs in the order in which they were written, then what is still in memory. Blocks the thread, as everything
    /// here does.
    pub fn new(folder: &RunFolder, runs: Vec<Run>, memory: Vec<Block>, keys: Option<Arc<SortKeys>>) -> Result<Self> {
        let mut all = Vec::new();
        for run in runs {
            all.push(Blocks::Disk(Box::new(folder.open(run)?)));
        }
        all.push(Blocks::Memory(memory.into_iter()));
        let mut sources: Vec<_> = all.into_iter().map(|blocks| Source { blocks, current: None }).collect();
        for source in &mut sources {
            source.advance(keys.as_deref())?;
        }
        Ok(Self { sources, keys })
    }

    /// The next rows: of several partitions if they are small, and about `bytes_max` in all. Empty at the end.
    pub fn next(&mut self, bytes_max: usize) -> Result<Vec<Merged>> {
        let (mut group, mut bytes) = (Vec::new(), 0);
        while bytes < bytes_max
            && let Some(partition) = self.partition()
        {
            let rows = match self.keys.clone() {
                None => self.take_slices(partition, bytes_max - bytes)?,
                Some(keys) => self.take_sorted(partition, bytes_max - bytes, &keys)?,
            };
            bytes += rows.bytes();
            let is_last = self.partition() != Some(partition);
            group.push(Merged { partition, rows, is_last });
        }
        Ok(group)
    }

    fn partition(&self) -> Option<PartitionId> {
        self.sources.iter().filter_map(Source::partition).min()
    }

    fn take_slices(&mut self, partition: PartitionId, bytes_max: usize) -> Result<Rows> {
        let (mut slices, mut bytes, mut rows) = (Vec::new(), 0.0, 0);
        for source in &mut self.sources {
            while source.partition() == Some(partition) && bytes < bytes_max as f64 {
                let current = source.current.as_mut().expect("it has a partition");
                let end = current.end_of(partition);
                slices.push(current.block.rows.slice(current.row, end - current.row));
                bytes += current.row_bytes() * (end - current.row) as f64;
                rows += end - current.row;
                current.row = end;
                source.advance(None)?;
            }
        }
        Ok(Rows::slices(slices, bytes / rows.max(1) as f64))
    }

    fn take_sorted(&mut self, partition: PartitionId, bytes_max: usize, keys: &SortKeys) -> Result<Rows> {
        let mut blocks: Vec<RecordBatch> = Vec::new();
        // Where a source's current block is among them.
        let mut block_of: Vec<Option<usize>> = vec![None; self.sources.len()];
        let (mut picks, mut bytes): (Vec<Pick>, f64) = (Vec::new(), 0.0);
        while bytes < bytes_max as f64
            && let Some((least, next)) = self.least_two(partition)
        {
            let others = next.map(|next| {
                let current = self.sources[next].current.as_ref().expect("it has a next row");
                (current.key().owned(), next)
            });
            let current = self.sources[least].current.as_mut().expect("it has a next row");
            let block = *block_of[least].get_or_insert_with(|| {
                blocks.push(current.block.rows.clone());
                blocks.len() - 1
            });
            let end = current.end_of(partition);
            let start = current.row;
            while current.row < end
                && others.as_ref().is_none_or(|(key, next)| {
                    let ordering = current.key().cmp(&key.row());
                    ordering.is_lt() || ordering.is_eq() && least < *next
                })
            {
                picks.push((block, current.row));
                current.row += 1;
            }
            bytes += current.row_bytes() * (current.row - start) as f64;
            if current.row == current.block.rows.num_rows() {
                block_of[least] = None;
                self.sources[least].advance(Some(keys))?;
            }
        }
        let row_bytes = bytes / picks.len().max(1) as f64;
        Ok(Rows::slices(blocks, row_bytes).pick(picks))
    }

    /// The source whose next row of the partition comes first, and the one whose comes second.
    fn least_two(&self, partition: PartitionId) -> Option<(usize, Option<usize>)> {
        let mut least: Option<usize> = None;
        let mut second: Option<usize> = None;
        for (index, source) in self.sources.iter().enumerate() {
            if source.partition() != Some(partition) {
                continue;
            }
            let before = |other: Option<usize>| other.is_none_or(|other| source.cmp_next(&self.sources[other]).is_lt());
            if before(least) {
                second = least.replace(index);
            } else if before(second) {
                second = Some(index);
            }
        }
        least.map(|least| (least, second))
    }
}

impl Source {
    fn partition(&self) -> Option<PartitionId> {
        self.current.as_ref().map(Current::partition)
    }

    fn cmp_next(&self, other: &Self) -> Ordering {
        match (&self.current, &other.current) {
            (Some(current), Some(other)) => current.key().cmp(&other.key()),
            _ => unreachable!("both have a next row of the partition"),
        }
    }

    /// Goes to the next block if the rows of this one are all taken.
    fn advance(&mut self, keys: Option<&SortKeys>) -> Result<()> {
        while self.current.as_ref().is_none_or(|current| current.row == current.block.rows.num_rows()) {
            let block = match &mut self.blocks {
                Blocks::Disk(run) => run.next()?,
                Blocks::Memory(blocks) => blocks.next(),
            };
            let Some(block) = block else {
                self.current = None;
                return Ok(());
            };
            let keys = keys.map(|keys| keys.keys(&block.rows)).transpose()?;
            self.current = Some(Current { bytes: block.bytes(), block, keys, row: 0 });
        }
        Ok(())
    }
}

impl Current {
    fn partition(&self) -> PartitionId {
        self.block.partitions.value(self.row)
    }

    /// Where the partition's rows end in the block.
    fn end_of(&self, partition: PartitionId) -> usize {
        let values = &self.block.partitions.values()[self.row..];
        self.row + values.partition_point(|of| *of <= partition)
    }

    fn row_bytes(&self) -> f64 {
        self.bytes as f64 / self.block.rows.num_rows() as f64
    }

    fn key(&self) -> arrow::row::Row<'_> {
        self.keys.as_ref().expect("a merge with a sort order has keys for each block").row(self.row)
    }
}

#[cfg(test)]
mod tests;
