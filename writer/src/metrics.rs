//! What a manifest says of a Parquet file, read off the file's own metadata.

use std::collections::HashMap;

use frazil_table::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, NestedField, PrimitiveType, Schema, Struct, Type,
};
use parquet::basic::{ColumnOrder, LogicalType, TimeUnit};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::schema::types::ColumnDescriptor;

use crate::bound::{Value, truncate_lower, truncate_upper};
use crate::metrics_mode::{MetricsConfig, MetricsMode};

/// How many NaNs a file's float and double columns have, by field id. Parquet does not keep them.
#[derive(Clone, Copy, Debug)]
pub enum NanCounts<'a> {
    /// Nobody counted. A row group without bounds may be one of NaNs or one without statistics, so the column has none.
    Unknown,
    /// For the file as a whole, as its manifest entry has them.
    File(&'a HashMap<i32, u64>),
    /// For each row group, in order. A column that is missing has none.
    RowGroups(&'a [HashMap<i32, u64>]),
}

/// What must be known of a data file beside its Parquet metadata.
#[derive(Clone, Debug)]
pub struct FileIdentity<'a> {
    /// Full location.
    pub location: &'a str,
    /// Size in bytes, footer included.
    pub size_bytes: u64,
    /// The partition spec it was written with.
    pub partition_spec_id: i32,
    /// Its partition tuple; empty if the spec has no fields.
    pub partition: Struct,
    /// The table's sort order that the rows follow, if they do.
    pub sort_order_id: Option<i32>,
}

/// A data file's manifest entry: counts, sizes, split offsets and column bounds (Iceberg spec, "Data File Fields").
///
/// Columns are matched by field id; columns without one, or that `schema` doesn't have, are passed over. A bound is
/// given only if it holds for every value: a row group whose statistics are missing takes the bound with it, unless all
/// of its values are null or NaN. Leaves in lists and maps have counts and no bounds.
pub fn data_file_from_parquet(
    parquet: &ParquetMetaData,
    identity: FileIdentity<'_>,
    schema: &Schema,
    metrics: &MetricsConfig,
    nan_counts: NanCounts<'_>,
) -> DataFile {
    let mut columns = Columns::default();
    for (index, column) in parquet.file_metadata().schema_descr().columns().iter().enumerate() {
        let info = column.self_type().get_basic_info();
        let field = info.has_id().then(|| schema.field_by_id(info.id())).flatten();
        let Some((field, r#type)) = field.and_then(primitive) else { continue };
        let column = Column { parquet, index, descriptor: column, id: field.id, r#type };
        columns.add(&column, metrics.mode(field.id), nan_counts);
    }
    let split_offsets: Vec<i64> = parquet.row_groups().iter().map(start_offset).collect();
    let mut builder = DataFileBuilder::default();
    builder
        .content(DataContentType::Data)
        .file_path(identity.location.to_owned())
        .file_format(DataFileFormat::Parquet)
        .partition(identity.partition)
        .partition_spec_id(identity.partition_spec_id)
        .record_count(parquet.row_groups().iter().map(|group| group.num_rows() as u64).sum())
        .file_size_in_bytes(identity.size_bytes)
        .column_sizes(columns.sizes)
        .value_counts(columns.values)
        .null_value_counts(columns.nulls)
        .nan_value_counts(columns.nans)
        .lower_bounds(columns.lower)
        .upper_bounds(columns.upper)
        .split_offsets(Some(split_offsets));
    if let Some(sort_order_id) = identity.sort_order_id {
        builder.sort_order_id(sort_order_id);
    }
    builder.build().expect("every field without a default is set above")
}

fn primitive(field: &std::sync::Arc<NestedField>) -> Option<(&NestedField, &PrimitiveType)> {
    match field.field_type.as_ref() {
        Type::Primitive(primitive) => Some((field, primitive)),
        _ => None,
    }
}

/// Where a row group begins: at the dictionary of its first column if that comes first.
fn start_offset(group: &RowGroupMetaData) -> i64 {
    let starts = group.columns().iter().map(|column| column.byte_range().0 as i64);
    starts.min().or(group.file_offset()).unwrap_or_default()
}

#[derive(Default)]
struct Columns {
    sizes: HashMap<i32, u64>,
    values: HashMap<i32, u64>,
    nulls: HashMap<i32, u64>,
    nans: HashMap<i32, u64>,
    lower: HashMap<i32, Datum>,
    upper: HashMap<i32, Datum>,
}

struct Column<'a> {
    parquet: &'a ParquetMetaData,
    index: usize,
    descriptor: &'a ColumnDescriptor,
    id: i32,
    r#type: &'a PrimitiveType,
}

impl Columns {
    fn add(&mut self, column: &Column<'_>, mode: MetricsMode, nan_counts: NanCounts<'_>) {
        let chunks = || column.parquet.row_groups().iter().map(|group| group.column(column.index));
        self.sizes.insert(column.id, chunks().map(|chunk| chunk.compressed_size().max(0) as u64).sum());
        if mode == MetricsMode::None {
            return;
        }
        self.values.insert(column.id, chunks().map(|chunk| chunk.num_values().max(0) as u64).sum());
        let nulls = chunks().map(|chunk| match column.descriptor.max_def_level() {
            0 => Some(0),
            _ => chunk.statistics()?.null_count_opt(),
        });
        if let Some(nulls) = nulls.sum() {
            self.nulls.insert(column.id, nulls);
        }
        if column.descriptor.max_rep_level() > 0 {
            return;
        }
        if let Some(nans) = column.nan_count(nan_counts) {
            self.nans.insert(column.id, nans);
        }
        let length = match mode {
            MetricsMode::None | MetricsMode::Counts => return,
            MetricsMode::Truncate(length) => length,
            MetricsMode::Full => usize::MAX,
        };
        let Some((lower, upper)) = column.bounds(nan_counts) else { return };
        let lower = truncate_lower(lower, column.r#type, length).and_then(|v| v.to_datum(column.r#type));
        let upper = truncate_upper(upper, column.r#type, length).and_then(|v| v.to_datum(column.r#type));
        self.lower.extend(lower.map(|datum| (column.id, datum)));
        self.upper.extend(upper.map(|datum| (column.id, datum)));
    }
}

impl Column<'_> {
    fn is_float(&self) -> bool {
        matches!(self.r#type, PrimitiveType::Float | PrimitiveType::Double)
    }

    fn nan_count(&self, nan_counts: NanCounts<'_>) -> Option<u64> {
        if !self.is_float() {
            return None;
        }
        let of = |counts: &HashMap<i32, u64>| counts.get(&self.id).copied();
        match nan_counts {
            NanCounts::Unknown => None,
            NanCounts::File(counts) => of(counts),
            NanCounts::RowGroups(groups) => Some(groups.iter().map(|counts| of(counts).unwrap_or(0)).sum()),
        }
    }

    /// Bounds over all row groups; `None` if some row group might have values outside, or if there are no values.
    fn bounds(&self, nan_counts: NanCounts<'_>) -> Option<(Value, Value)> {
        if !self.is_order_known() {
            return None;
        }
        let mut bounds: Option<(Value, Value)> = None;
        for (group_index, group) in self.parquet.row_groups().iter().enumerate() {
            if group.num_rows() == 0 || self.is_without_values(group_index, group, nan_counts) {
                continue;
            }
            let (low, high) = Value::of_statistics(self.r#type, group.column(self.index).statistics()?)?;
            bounds = Some(match bounds {
                None => (low, high),
                Some((lower, upper)) => (
                    if low.cmp(&lower).is_lt() { low } else { lower },
                    if high.cmp(&upper).is_gt() { high } else { upper },
                ),
            });
        }
        bounds
    }

    /// Whether all of a row group's values are null or NaN, so that it bounds nothing.
    fn is_without_values(&self, group_index: usize, group: &RowGroupMetaData, nan_counts: NanCounts<'_>) -> bool {
        let chunk = group.column(self.index);
        let nulls = match self.descriptor.max_def_level() {
            0 => 0,
            _ => chunk.statistics().and_then(|statistics| statistics.null_count_opt()).unwrap_or(0),
        };
        let nans = match nan_counts {
            NanCounts::RowGroups(groups) if self.is_float() => {
                groups.get(group_index).and_then(|counts| counts.get(&self.id)).copied().unwrap_or(0)
            }
            NanCounts::File(counts) if self.is_float() && self.parquet.num_row_groups() == 1 => {
                counts.get(&self.id).copied().unwrap_or(0)
            }
            _ => 0,
        };
        nulls + nans == chunk.num_values().max(0) as u64
    }

    /// Whether statistics of this column are ordered and counted as the table's type is: bytes need a declared order,
    /// moments the unit that the table's type has.
    fn is_order_known(&self) -> bool {
        let orders = self.parquet.file_metadata().column_orders();
        let order = orders.and_then(|orders| orders.get(self.index));
        let unit = match self.descriptor.logical_type_ref() {
            Some(LogicalType::Timestamp { unit, .. } | LogicalType::Time { unit, .. }) => Some(unit),
            _ => None,
        };
        match self.r#type {
            PrimitiveType::String | PrimitiveType::Binary | PrimitiveType::Uuid | PrimitiveType::Fixed(_) => {
                matches!(order, Some(ColumnOrder::TYPE_DEFINED_ORDER(_)))
            }
            PrimitiveType::Time | PrimitiveType::Timestamp | PrimitiveType::Timestamptz => {
                matches!(unit, Some(TimeUnit::MICROS))
            }
            PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs => matches!(unit, Some(TimeUnit::NANOS)),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests;
