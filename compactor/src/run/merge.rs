//! What the manifest says of a file that was copied together: sums and extremes of what it says of the inputs.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use frazil_table::spec::{DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum};
use frazil_table::{TableFile, row_lineage};
use frazil_writer::{FileIdentity, FileOptions, NanCounts, data_file_from_parquet};
use parquet::file::metadata::ParquetMetaData;

use super::Rewrite;
use crate::Result;

/// The manifest entry of an output that holds exactly the inputs' rows. Sizes and offsets are of its own footer; counts
/// and bounds are the inputs' together, and where some input lacks them, what the footer tells.
pub(super) fn merged_data_file(
    rewrite: &Rewrite<'_>,
    parquet: &ParquetMetaData,
    location: &str,
    size_bytes: u64,
) -> Result<TableFile> {
    let group = rewrite.group;
    let identity = FileIdentity {
        location,
        size_bytes,
        partition_spec_id: group.partition_spec_id,
        partition: group.partition.clone(),
        sort_order_id: None,
    };
    let options = FileOptions::of(rewrite.table)?;
    let current = rewrite.table.metadata().current_schema();
    let schema = match rewrite.keeps_row_ids() {
        true => Cow::Owned(row_lineage::with_fields(current)?),
        false => Cow::Borrowed(current.as_ref()),
    };
    let own = data_file_from_parquet(parquet, identity, &schema, &options.metrics, NanCounts::Unknown);
    let inputs: Vec<&DataFile> = group.inputs.iter().map(|input| input.file.as_ref()).collect();
    let merged = Metrics::merge(&inputs);
    let file = DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(location.to_owned())
        .file_format(DataFileFormat::Parquet)
        .partition(own.partition().clone())
        .partition_spec_id(group.partition_spec_id)
        .record_count(own.record_count())
        .file_size_in_bytes(size_bytes)
        .column_sizes(own.column_sizes().clone())
        .split_offsets(own.split_offsets().map(<[i64]>::to_vec))
        .value_counts(over(own.value_counts(), merged.values))
        .null_value_counts(over(own.null_value_counts(), merged.nulls))
        .nan_value_counts(over(own.nan_value_counts(), merged.nans))
        .lower_bounds(over(own.lower_bounds(), merged.lower))
        .upper_bounds(over(own.upper_bounds(), merged.upper))
        .build()
        .expect("every field without a default is set above");
    Ok(TableFile { file, partition_spec_id: group.partition_spec_id })
}

fn over<V: Clone>(own: &HashMap<i32, V>, merged: HashMap<i32, V>) -> HashMap<i32, V> {
    let mut all = own.clone();
    all.extend(merged);
    all
}

/// Column metrics by field id.
#[derive(Debug, Default, PartialEq)]
struct Metrics {
    values: HashMap<i32, u64>,
    nulls: HashMap<i32, u64>,
    nans: HashMap<i32, u64>,
    lower: HashMap<i32, Datum>,
    upper: HashMap<i32, Datum>,
}

impl Metrics {
    /// A count is there if every file has it. A bound is there if every file has it or, by its counts, no value of the
    /// column: else some value might lie outside (Iceberg spec, "Data File Fields").
    fn merge(files: &[&DataFile]) -> Self {
        let files: Vec<&DataFile> = files.iter().copied().filter(|file| file.record_count() > 0).collect();
        Self {
            values: sums(&files, DataFile::value_counts),
            nulls: sums(&files, DataFile::null_value_counts),
            nans: sums(&files, DataFile::nan_value_counts),
            lower: bounds(&files, DataFile::lower_bounds, |new, old| new < old),
            upper: bounds(&files, DataFile::upper_bounds, |new, old| new > old),
        }
    }
}

fn sums(files: &[&DataFile], counts: fn(&DataFile) -> &HashMap<i32, u64>) -> HashMap<i32, u64> {
    let Some(first) = files.first() else { return HashMap::new() };
    let sum = |id: &i32| files.iter().map(|file| counts(file).get(id).copied()).sum::<Option<u64>>();
    counts(first).keys().filter_map(|id| Some((*id, sum(id)?))).collect()
}

fn bounds(
    files: &[&DataFile],
    of: fn(&DataFile) -> &HashMap<i32, Datum>,
    is_wider: fn(&Datum, &Datum) -> bool,
) -> HashMap<i32, Datum> {
    let ids: BTreeSet<i32> = files.iter().flat_map(|file| of(file).keys().copied()).collect();
    let merged = ids.into_iter().filter_map(|id| {
        let mut widest: Option<&Datum> = None;
        for file in files {
            match (of(file).get(&id), widest) {
                (None, _) if has_no_value(file, id) => {}
                (None, _) => return None,
                (Some(bound), None) => widest = Some(bound),
                (Some(bound), Some(old)) => {
                    // Not comparable: of another type, since the column's was promoted, or no number.
                    if bound.data_type() != old.data_type() {
                        return None;
                    }
                    bound.partial_cmp(old)?;
                    if is_wider(bound, old) {
                        widest = Some(bound);
                    }
                }
            }
        }
        Some((id, widest?.clone()))
    });
    merged.collect()
}

/// Whether all of a column's values in a file are null or no numbers.
fn has_no_value(file: &DataFile, id: i32) -> bool {
    let count = |counts: &HashMap<i32, u64>| counts.get(&id).copied();
    let nans = count(file.nan_value_counts()).unwrap_or(0);
    let nulls = count(file.null_value_counts());
    count(file.value_counts()).zip(nulls).is_some_and(|(values, nulls)| nulls + nans == values)
}

#[cfg(test)]
mod tests;
