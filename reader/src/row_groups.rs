//! Which row groups of a file are read.

use std::collections::HashMap;
use std::ops::Range;

use arrow::datatypes::{DataType, TimeUnit};
use frazil_table::spec::{PrimitiveLiteral, PrimitiveType};
use parquet::arrow::arrow_reader::RowSelection;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;
use roaring::RoaringBitmap;

use crate::file_schema::{FileField, FileKind};
use crate::predicate::{BoundColumn, BoundPredicate, Bounds, ColumnBounds, may_match};

/// A row group to read, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowGroup {
    /// Its place in the file.
    pub index: usize,
    /// The positions of its rows in the file.
    pub rows: Range<u64>,
    /// Rows at its beginning that are passed over.
    pub skip: u64,
    /// Only these rows of it, counted from its beginning.
    pub only: Option<RowSelection>,
}

/// Of chosen row groups those that have some of the wanted rows, which are counted in the file.
pub(crate) fn select_rows(groups: Vec<RowGroup>, wanted: &RoaringBitmap) -> Vec<RowGroup> {
    let selected = groups.into_iter().filter_map(|group| {
        let bounds = group.rows.start..group.rows.end.min(1 << 32);
        let last = u32::try_from(bounds.end.checked_sub(1)?).ok()?;
        let here = wanted.range(u32::try_from(bounds.start).ok()?..=last);
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for row in here {
            let row = (u64::from(row) - bounds.start) as usize;
            match ranges.last_mut().filter(|range| range.end == row) {
                Some(range) => range.end += 1,
                None => ranges.push(row..row + 1),
            }
        }
        let rows = (group.rows.end - group.rows.start) as usize;
        let only = (!ranges.is_empty()).then(|| RowSelection::from_consecutive_ranges(ranges.into_iter(), rows))?;
        Some(RowGroup { only: Some(only), ..group })
    });
    selected.collect()
}

/// Row groups that begin in `split` (bytes), from row `first_row` of the file on, and may hold a matching row; and how
/// many of them statistics ruled out.
pub(crate) fn choose_row_groups(
    metadata: &ParquetMetaData,
    file: &[FileField],
    split: Option<&Range<u64>>,
    first_row: u64,
    predicate: &BoundPredicate,
) -> (Vec<RowGroup>, u64) {
    let leaves = leaves_by_id(file);
    let (mut chosen, mut pruned) = (Vec::new(), 0);
    let mut next_row = 0_u64;
    for (index, group) in metadata.row_groups().iter().enumerate() {
        let rows = next_row..next_row + group.num_rows().unsigned_abs();
        next_row = rows.end;
        let begins_in_split = split.is_none_or(|split| split.contains(&start_of(group)));
        if !begins_in_split || rows.end <= first_row || rows.is_empty() {
            continue;
        }
        if !may_match(predicate, &GroupBounds { group, leaves: &leaves }) {
            pruned += 1;
            continue;
        }
        let skip = first_row.saturating_sub(rows.start);
        chosen.push(RowGroup { index, rows, skip, only: None });
    }
    (chosen, pruned)
}

/// Where a row group begins: what `split_offsets` of its file list.
fn start_of(group: &RowGroupMetaData) -> u64 {
    let starts = group.columns().iter().map(|chunk| {
        let data = chunk.data_page_offset();
        chunk.dictionary_page_offset().map_or(data, |dictionary| dictionary.min(data))
    });
    starts.min().unwrap_or(0).unsigned_abs()
}

/// Leaves that have one value in a row.
fn leaves_by_id(fields: &[FileField]) -> HashMap<i32, &FileField> {
    let mut leaves = HashMap::new();
    let mut open: Vec<&FileField> = fields.iter().collect();
    while let Some(field) = open.pop() {
        match (&field.kind, field.id) {
            (FileKind::Leaf, Some(id)) => drop(leaves.insert(id, field)),
            (FileKind::Struct(children), _) => open.extend(children),
            _ => {}
        }
    }
    leaves
}

struct GroupBounds<'a> {
    group: &'a RowGroupMetaData,
    leaves: &'a HashMap<i32, &'a FileField>,
}

impl Bounds for GroupBounds<'_> {
    fn column(&self, column: &BoundColumn) -> ColumnBounds {
        let Some(leaf) = self.leaves.get(&column.field_id) else { return ColumnBounds::default() };
        let Some(chunk) = self.group.columns().get(leaf.leaves.start) else { return ColumnBounds::default() };
        let Some(statistics) = chunk.statistics() else { return ColumnBounds::default() };
        let mut bounds = ColumnBounds {
            null_count: statistics.null_count_opt(),
            value_count: Some(self.group.num_rows().unsigned_abs()),
            ..ColumnBounds::default()
        };
        // The older fields were written with orders that differ from program to program.
        if !statistics.is_min_max_deprecated() {
            (bounds.lower, bounds.upper) = min_max(statistics, &leaf.data_type, &column.primitive);
        }
        bounds
    }
}

type Bound = Option<PrimitiveLiteral>;

fn min_max(statistics: &Statistics, from: &DataType, to: &PrimitiveType) -> (Bound, Bound) {
    use PrimitiveLiteral as L;
    match statistics {
        Statistics::Boolean(s) => (s.min_opt().map(|v| L::Boolean(*v)), s.max_opt().map(|v| L::Boolean(*v))),
        Statistics::Int32(s) => {
            let convert = |v: &i32| from_int(i64::from(*v), from, to);
            (s.min_opt().and_then(convert), s.max_opt().and_then(convert))
        }
        Statistics::Int64(s) => {
            let convert = |v: &i64| from_int(*v, from, to);
            (s.min_opt().and_then(convert), s.max_opt().and_then(convert))
        }
        Statistics::Float(s) => {
            (s.min_opt().map(|v| L::Float((*v).into())), s.max_opt().map(|v| L::Float((*v).into())))
        }
        Statistics::Double(s) => {
            (s.min_opt().map(|v| L::Double((*v).into())), s.max_opt().map(|v| L::Double((*v).into())))
        }
        Statistics::ByteArray(s) => {
            let convert = |v: &parquet::data_type::ByteArray| from_bytes(v.data(), from, to);
            (s.min_opt().and_then(convert), s.max_opt().and_then(convert))
        }
        Statistics::FixedLenByteArray(s) => {
            let convert = |v: &parquet::data_type::FixedLenByteArray| from_bytes(v.data(), from, to);
            (s.min_opt().and_then(convert), s.max_opt().and_then(convert))
        }
        Statistics::Int96(_) => (None, None),
    }
}

fn from_int(value: i64, from: &DataType, to: &PrimitiveType) -> Bound {
    use PrimitiveLiteral as L;
    match (from, to) {
        (DataType::Int8 | DataType::Int16 | DataType::Int32, PrimitiveType::Int | PrimitiveType::Long) => {
            i32::try_from(value).ok().map(L::Int)
        }
        (DataType::Date32, PrimitiveType::Date) => i32::try_from(value).ok().map(L::Int),
        (DataType::Int64, PrimitiveType::Long) => Some(L::Long(value)),
        (DataType::Decimal128(_, _), PrimitiveType::Decimal { .. }) => Some(L::Int128(value.into())),
        (DataType::Time64(TimeUnit::Microsecond), PrimitiveType::Time) => Some(L::Long(value)),
        (DataType::Timestamp(unit, _), PrimitiveType::Timestamp | PrimitiveType::Timestamptz) => match unit {
            TimeUnit::Microsecond => Some(L::Long(value)),
            TimeUnit::Millisecond => value.checked_mul(1_000).map(L::Long),
            _ => None,
        },
        (DataType::Timestamp(TimeUnit::Nanosecond, _), PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs) => {
            Some(L::Long(value))
        }
        _ => None,
    }
}

fn from_bytes(bytes: &[u8], from: &DataType, to: &PrimitiveType) -> Bound {
    use PrimitiveLiteral as L;
    match (from, to) {
        (DataType::Utf8, PrimitiveType::String) => {
            std::str::from_utf8(bytes).ok().map(|text| L::String(text.to_owned()))
        }
        (DataType::Binary, PrimitiveType::Binary) => Some(L::Binary(bytes.to_vec())),
        (DataType::FixedSizeBinary(_), PrimitiveType::Fixed(_)) => Some(L::Binary(bytes.to_vec())),
        (DataType::FixedSizeBinary(16), PrimitiveType::Uuid) => {
            bytes.try_into().ok().map(|bytes| L::UInt128(u128::from_be_bytes(bytes)))
        }
        (DataType::Decimal128(_, _), PrimitiveType::Decimal { .. }) if (1..=16).contains(&bytes.len()) => {
            let sign = if bytes[0] & 0x80 == 0 { 0 } else { 0xff };
            let mut wide = [sign; 16];
            wide[16 - bytes.len()..].copy_from_slice(bytes);
            Some(L::Int128(i128::from_be_bytes(wide)))
        }
        _ => None,
    }
}
