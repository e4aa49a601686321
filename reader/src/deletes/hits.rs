//! Which rows equality deletes take away, told by their places: what somebody needs to know who turns such deletes into
//! position deletes or deletion vectors.
//!
//! 1. The deletes are cut into *passes*, each of whose keys should fit into memory;
//! 2. a pass loads its keys and reads, of the data files in its reach, nothing but the columns that it compares;
//! 3. a pass whose keys take more memory than there is becomes two: by files, and what is one file by the hash of its keys.
//!
//! So memory is bounded however many keys there are; what grows with them is how often the key columns are read.

use std::collections::BTreeMap;

use frazil_table::{LiveFile, Table};
use futures::StreamExt;
use roaring::RoaringTreemap;

use super::{DeleteIndex, KeyShare};
use crate::scan::side_by_side;
use crate::{Error, FileReader, Projection, ReadContext, ReadSpec, Result, ScanTask};

/// What finding may take.
#[derive(Clone, Copy, Debug)]
pub struct HitLimits {
    /// Keys of deletes that are in memory at a time, with what their table needs, in bytes.
    pub keys_bytes_max: usize,
    /// Data files that are read at the same time.
    pub parallelism: usize,
}

/// What equality deletes take away.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EqualityHits {
    /// The rows of each data file of which there are any, counted from 0. Whether other deletes had taken them before does
    /// not matter.
    pub rows: BTreeMap<String, RoaringTreemap>,
    /// How often keys were loaded, those that did not fit among them.
    pub passes: u32,
}

/// Keys of one pass.
struct Pass<'a> {
    deletes: Vec<LiveFile<'a>>,
    index: u64,
    of: u64,
}

/// About what a key takes before it is known: a row of one or two columns, and its place in the table.
const KEY_BYTES: u64 = 80;

/// One file's keys are cut into no more shares than this: then a single key is too large.
const SHARES_MAX: u64 = 1 << 20;

/// Finds the rows of live data files that live equality deletes take away: those of older data files in their reach (Iceberg
/// spec, "Scan Planning"), null being equal to null. Deletes of other kinds are not to be among `deletes`.
///
/// Cost: each pass reads the delete files of its own, and of the data files in their reach whose bounds allow a hit the
/// columns that are compared. Memory: [`HitLimits::keys_bytes_max`], for each data file that is read at the time a row group of
/// these columns, and about a bit for each row that is hit.
///
/// # Errors
/// [`Error::Damaged`] and [`Error::Unsupported`] name the file; [`Error::KeysExceedMemory`] if a single key is larger than the
/// limit.
pub async fn find_equality_deleted(
    context: &ReadContext,
    table: &Table,
    deletes: &[LiveFile<'_>],
    data: &[LiveFile<'_>],
    limits: HitLimits,
) -> Result<EqualityHits> {
    // Positions are counted by rows that are read, whatever the columns that come out.
    let spec = ReadSpec::new(table, table.metadata().current_schema(), &Projection::Paths(Vec::new()), None)?;
    let search = Search { context, table, spec, data, limits };
    let mut hits = EqualityHits::default();
    let mut waiting = plan_passes(deletes, limits.keys_bytes_max as u64);
    while let Some(pass) = waiting.pop() {
        hits.passes += 1;
        match search.run(&pass, &mut hits.rows).await {
            Ok(()) => {}
            Err(error @ Error::KeysExceedMemory { .. }) => waiting.extend(pass.split().ok_or(error)?),
            Err(error) => return Err(error),
        }
    }
    Ok(hits)
}

/// Deletes side by side that compare the same columns in the same partition, about as many as fit.
fn plan_passes<'a>(deletes: &[LiveFile<'a>], keys_bytes_max: u64) -> Vec<Pass<'a>> {
    let mut sorted: Vec<LiveFile<'a>> = deletes.to_vec();
    sorted.sort_by_cached_key(|live| {
        let file = live.file;
        (live.partition_spec_id, format!("{:?}", file.partition()), file.equality_ids(), file.file_path().to_owned())
    });
    let mut passes: Vec<Pass<'a>> = Vec::new();
    let mut room = 0;
    for live in sorted {
        let bytes = live.file.record_count().saturating_mul(KEY_BYTES);
        match passes.last_mut().filter(|_| bytes <= room) {
            Some(pass) => pass.deletes.push(live),
            None => {
                room = keys_bytes_max.max(bytes);
                passes.push(Pass { deletes: vec![live], index: 0, of: 1 });
            }
        }
        room -= bytes;
    }
    passes
}

impl Pass<'_> {
    /// `None` if it is as small as can be.
    fn split(mut self) -> Option<[Self; 2]> {
        let Self { index, of, .. } = self;
        if self.deletes.len() > 1 {
            let deletes = self.deletes.split_off(self.deletes.len() / 2);
            return Some([self, Self { deletes, index, of }]);
        }
        // What is `index` modulo `of` is one of these two modulo twice as much.
        let other = Self { deletes: self.deletes.clone(), index: index + of, of: of * 2 };
        self.of *= 2;
        (of < SHARES_MAX).then_some([self, other])
    }
}

/// What all passes have in common.
struct Search<'a> {
    context: &'a ReadContext,
    table: &'a Table,
    spec: ReadSpec,
    data: &'a [LiveFile<'a>],
    limits: HitLimits,
}

impl Search<'_> {
    async fn run(&self, pass: &Pass<'_>, rows: &mut BTreeMap<String, RoaringTreemap>) -> Result<()> {
        let share = KeyShare::new(pass.index, pass.of, self.limits.keys_bytes_max);
        let index = DeleteIndex::with_keys(&pass.deletes, self.table.metadata(), Some(share))?;
        let task = |live: &LiveFile<'_>| {
            let deletes = index.for_file(live).that_may_match(&self.spec, live);
            (!deletes.is_empty()).then(|| ScanTask { deletes, ..ScanTask::new(live) })
        };
        let tasks: Vec<ScanTask> = self.data.iter().filter_map(task).collect();
        let (context, spec) = (self.context.clone(), self.spec.clone());
        let mut found = side_by_side(tasks, self.limits.parallelism, move |task: ScanTask| {
            let (context, spec) = (context.clone(), spec.clone());
            futures::stream::once(async move {
                let mut reader = FileReader::open(&context, &spec, &task).await?.noting_deleted();
                while reader.next().await?.is_some() {}
                Ok((task.path().to_owned(), reader.into_deleted()))
            })
        });
        while let Some(found) = found.next().await {
            let (path, deleted) = found?;
            if !deleted.is_empty() {
                *rows.entry(path).or_default() |= deleted;
            }
        }
        Ok(())
    }
}
