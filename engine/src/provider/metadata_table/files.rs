//! The files of a snapshot, and the entries that name them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Int32Array, Int64Array, ListArray, MapArray, RecordBatch, StringArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Int64Type};
use frazil_table::spec::{DataFile, Datum, FormatVersion, ManifestEntry};
use frazil_table::{Table, TableState};

use super::{Partitions, batch, element, made, optional, required, structs};
use crate::Result;

/// An entry, and the spec of its partition.
pub(super) type Listed<'a> = (&'a ManifestEntry, i32);

pub(super) fn files(table: &Table, entries: &[Listed<'_>]) -> Result<RecordBatch> {
    let live: Vec<Listed<'_>> = entries.iter().filter(|(entry, _)| entry.is_alive()).copied().collect();
    batch(columns(table, &live)?)
}

pub(super) fn entries(table: &Table, all: &[Listed<'_>]) -> Result<RecordBatch> {
    let longs = |of: fn(&ManifestEntry) -> Option<i64>| -> ArrayRef {
        Arc::new(all.iter().map(|(entry, _)| of(entry)).collect::<Int64Array>())
    };
    let status: Int32Array = all.iter().map(|(entry, _)| Some(entry.status() as i32)).collect();
    batch(vec![
        required("status", Arc::new(status)),
        optional("snapshot_id", longs(ManifestEntry::snapshot_id)),
        optional("sequence_number", longs(ManifestEntry::sequence_number)),
        optional("file_sequence_number", longs(|entry| entry.file_sequence_number)),
        required("data_file", Arc::new(structs(columns(table, all)?)?)),
    ])
}

/// Every entry of a snapshot's manifests.
pub(super) fn listed(state: &TableState) -> Result<Vec<Listed<'_>>> {
    let mut all = Vec::new();
    for manifest in state.manifests() {
        all.extend(state.entries_of(manifest)?.iter().map(|entry| (entry, manifest.partition_spec_id)));
    }
    Ok(all)
}

fn columns(table: &Table, entries: &[Listed<'_>]) -> Result<Vec<(Field, ArrayRef)>> {
    let files: Vec<&DataFile> = entries.iter().map(|(entry, _)| entry.data_file()).collect();
    let long = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let partitions = entries.iter().map(|(entry, spec_id)| (*spec_id, entry.data_file().partition()));
    let partitions = Partitions::of(table).array(partitions)?;
    let formats = files.iter().map(|file| file.file_format().to_string().to_uppercase());
    let specs = entries.iter().map(|(_, spec_id)| Some(*spec_id));
    let mut columns = vec![
        required("content", Arc::new(files.iter().map(|f| Some(f.content_type() as i32)).collect::<Int32Array>())),
        required("file_path", Arc::new(StringArray::from_iter_values(files.iter().map(|file| file.file_path())))),
        required("file_format", Arc::new(StringArray::from_iter_values(formats))),
        required("spec_id", Arc::new(specs.collect::<Int32Array>())),
    ];
    columns.extend(partitions.map(|partitions| required("partition", partitions)));
    let bytes = |bounds: &HashMap<i32, Datum>| -> HashMap<i32, Vec<u8>> {
        bounds.iter().filter_map(|(id, bound)| Some((*id, bound.to_bytes().ok()?.to_vec()))).collect()
    };
    let lower: Vec<_> = files.iter().map(|file| bytes(file.lower_bounds())).collect();
    let upper: Vec<_> = files.iter().map(|file| bytes(file.upper_bounds())).collect();
    let offsets = files.iter().map(|file| Some(file.split_offsets()?.iter().copied().map(Some)));
    let ids = files.iter().map(|file| Some(file.equality_ids()?.into_iter().map(Some)));
    let counts =
        |of: for<'a> fn(&'a DataFile) -> &'a HashMap<i32, u64>| counts_by_id(files.iter().map(|file| of(file)));
    columns.extend([
        required("record_count", Arc::new(files.iter().map(|f| Some(long(f.record_count()))).collect::<Int64Array>())),
        required(
            "file_size_in_bytes",
            Arc::new(files.iter().map(|f| Some(long(f.file_size_in_bytes()))).collect::<Int64Array>()),
        ),
        optional("column_sizes", counts(DataFile::column_sizes)?),
        optional("value_counts", counts(DataFile::value_counts)?),
        optional("null_value_counts", counts(DataFile::null_value_counts)?),
        optional("nan_value_counts", counts(DataFile::nan_value_counts)?),
        optional("lower_bounds", bounds_by_id(&lower)?),
        optional("upper_bounds", bounds_by_id(&upper)?),
        optional("key_metadata", Arc::new(files.iter().map(|f| f.key_metadata()).collect::<BinaryArray>())),
        optional("split_offsets", renamed(ListArray::from_iter_primitive::<Int64Type, _, _>(offsets))?),
        optional("equality_ids", renamed(ListArray::from_iter_primitive::<Int32Type, _, _>(ids))?),
        optional("sort_order_id", Arc::new(files.iter().map(|f| f.sort_order_id()).collect::<Int32Array>())),
    ]);
    if table.metadata().format_version() >= FormatVersion::V3 {
        let longs = |of: fn(&DataFile) -> Option<i64>| -> ArrayRef {
            Arc::new(files.iter().map(|file| of(file)).collect::<Int64Array>())
        };
        let referenced = files.iter().map(|file| file.referenced_data_file());
        columns.extend([
            optional("first_row_id", longs(DataFile::first_row_id)),
            optional("referenced_data_file", Arc::new(referenced.collect::<StringArray>())),
            optional("content_offset", longs(DataFile::content_offset)),
            optional("content_size_in_bytes", longs(DataFile::content_size_in_bytes)),
        ]);
    }
    Ok(columns)
}

fn renamed(list: ListArray) -> Result<ArrayRef> {
    let (_, offsets, values, nulls) = list.into_parts();
    let item = element(values.data_type().clone(), false);
    Ok(Arc::new(made(ListArray::try_new(item, offsets, values, nulls))?))
}

fn counts_by_id<'a>(maps: impl Iterator<Item = &'a HashMap<i32, u64>>) -> Result<ArrayRef> {
    let (mut ids, mut values, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
    for map in maps {
        let mut entries: Vec<(i32, u64)> = map.iter().map(|(id, count)| (*id, *count)).collect();
        entries.sort_unstable();
        lengths.push(entries.len());
        ids.extend(entries.iter().map(|(id, _)| *id));
        values.extend(entries.iter().map(|(_, count)| i64::try_from(*count).unwrap_or(i64::MAX)));
    }
    by_id(ids, Arc::new(Int64Array::from(values)), lengths)
}

fn bounds_by_id(maps: &[HashMap<i32, Vec<u8>>]) -> Result<ArrayRef> {
    let (mut ids, mut values, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
    for map in maps {
        let mut entries: Vec<(&i32, &Vec<u8>)> = map.iter().collect();
        entries.sort_unstable();
        lengths.push(entries.len());
        ids.extend(entries.iter().map(|(id, _)| **id));
        values.extend(entries.iter().map(|(_, bound)| bound.as_slice()));
    }
    by_id(ids, Arc::new(BinaryArray::from_iter_values(values)), lengths)
}

/// Maps from field ids; null where there is nothing.
fn by_id(ids: Vec<i32>, values: ArrayRef, lengths: Vec<usize>) -> Result<ArrayRef> {
    let fields = Fields::from(vec![
        Field::new("key", DataType::Int32, false),
        Field::new("value", values.data_type().clone(), false),
    ]);
    let entries = made(StructArray::try_new(fields.clone(), vec![Arc::new(Int32Array::from(ids)), values], None))?;
    let field = Arc::new(Field::new("key_value", DataType::Struct(fields), false));
    let nulls: NullBuffer = lengths.iter().map(|length| *length > 0).collect();
    let maps = MapArray::try_new(field, OffsetBuffer::from_lengths(lengths), entries, Some(nulls), false);
    Ok(Arc::new(made(maps)?))
}
