//! What each partition of a snapshot holds.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use frazil_table::spec::{DataContentType, Struct};
use frazil_table::{LiveFile, Table};

use super::{Partitions, batch, moments, optional, required};
use crate::Result;

/// Numbers of one partition, by the kind of the file.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    data_rows: i64,
    data_files: i32,
    data_bytes: i64,
    position_rows: i64,
    position_files: i32,
    equality_rows: i64,
    equality_files: i32,
    /// Of the newest snapshot that added a file: when, and its id.
    newest: Option<(i64, i64)>,
}

impl Sums {
    fn add(&mut self, live: &LiveFile<'_>, committed_at_ms: Option<i64>) {
        let rows = i64::try_from(live.file.record_count()).unwrap_or(i64::MAX);
        match live.content() {
            DataContentType::Data => {
                self.data_rows += rows;
                self.data_files += 1;
                self.data_bytes += i64::try_from(live.file.file_size_in_bytes()).unwrap_or(i64::MAX);
            }
            DataContentType::PositionDeletes => {
                self.position_rows += rows;
                self.position_files += 1;
            }
            DataContentType::EqualityDeletes => {
                self.equality_rows += rows;
                self.equality_files += 1;
            }
        }
        self.newest = self.newest.max(committed_at_ms.map(|at| (at, live.added_snapshot_id)));
    }
}

pub(super) fn partitions(table: &Table, live: Vec<LiveFile<'_>>) -> Result<RecordBatch> {
    let all = Partitions::of(table);
    let mut order: Vec<(i32, Struct)> = Vec::new();
    let mut sums: HashMap<(i32, Struct), Sums> = HashMap::new();
    for live in live {
        let partition = (live.partition_spec_id, live.file.partition().clone());
        let added = table.metadata().snapshot_by_id(live.added_snapshot_id);
        let sum = sums.entry(partition.clone()).or_insert_with(|| {
            order.push(partition);
            Sums::default()
        });
        sum.add(&live, added.map(|snapshot| snapshot.timestamp_ms()));
    }
    let rows: Vec<Sums> = order.iter().map(|partition| sums[partition]).collect();
    let longs = |of: fn(&Sums) -> Option<i64>| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<Int64Array>()) };
    let ints =
        |of: fn(&Sums) -> i32| -> ArrayRef { Arc::new(rows.iter().map(|s| Some(of(s))).collect::<Int32Array>()) };
    let mut columns = Vec::new();
    if let Some(partitions) = all.array(order.iter().map(|(spec_id, tuple)| (*spec_id, tuple)))? {
        columns.push(required("partition", partitions));
        let specs = order.iter().map(|(spec_id, _)| Some(*spec_id));
        columns.push(required("spec_id", Arc::new(specs.collect::<Int32Array>())));
    }
    columns.extend([
        required("record_count", longs(|sums| Some(sums.data_rows))),
        required("file_count", ints(|sums| sums.data_files)),
        required("total_data_file_size_in_bytes", longs(|sums| Some(sums.data_bytes))),
        required("position_delete_record_count", longs(|sums| Some(sums.position_rows))),
        required("position_delete_file_count", ints(|sums| sums.position_files)),
        required("equality_delete_record_count", longs(|sums| Some(sums.equality_rows))),
        required("equality_delete_file_count", ints(|sums| sums.equality_files)),
        optional("last_updated_at", moments(rows.iter().map(|sums| Some(sums.newest?.0)))?),
        optional("last_updated_snapshot_id", longs(|sums| Some(sums.newest?.1))),
    ]);
    batch(columns)
}
