//! What the manifests say of a scan's result before it is read.
//!
//! A number is exact only where the format promises it: row counts and null counts without deletes and conditions.
//! Column bounds may be wider than the values (Iceberg spec, "Data File Fields"), so they are estimates here, and no
//! query is ever answered from them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use frazil_reader::ScanTask;
use frazil_table::spec::{DataFile, Datum, PrimitiveLiteral, Schema};

use super::path::Output;

/// Statistics of the rows of `tasks`, as `outputs`. `is_plain`: no delete and no condition takes any of them away.
pub(super) fn of_tasks(tasks: &[&ScanTask], outputs: &[Output], schema: &Schema, is_plain: bool) -> Statistics {
    let files: HashMap<&str, &Arc<DataFile>> = tasks.iter().map(|task| (task.path(), &task.file)).collect();
    let rows: u64 = files.values().map(|file| file.record_count()).sum();
    let columns = outputs.iter().map(|output| column(&files, output, schema, is_plain)).collect();
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    Statistics {
        num_rows: if is_plain { Precision::Exact(rows) } else { Precision::Inexact(rows) },
        total_byte_size: Precision::Absent,
        column_statistics: columns,
    }
}

fn column(files: &HashMap<&str, &Arc<DataFile>>, output: &Output, schema: &Schema, is_plain: bool) -> ColumnStatistics {
    let mut found = ColumnStatistics::new_unknown();
    let Some(id) = schema.field_id_by_name(&output.path.dotted()) else { return found };
    let data_type = output.field.data_type();
    if data_type.is_nested() || files.is_empty() {
        return found;
    }
    let nulls: Option<u64> = files.values().map(|file| file.null_value_counts().get(&id).copied()).sum();
    if let Some(nulls) = nulls.and_then(|nulls| usize::try_from(nulls).ok()) {
        // Writers differ in whether a NULL struct counts as a NULL of its fields.
        let is_exact = is_plain && output.path.names().len() == 1;
        found.null_count = if is_exact { Precision::Exact(nulls) } else { Precision::Inexact(nulls) };
    }
    let bounds = |of: fn(&DataFile) -> &HashMap<i32, Datum>| -> Option<Vec<ScalarValue>> {
        files.values().map(|file| scalar(of(file).get(&id)?.literal(), data_type)).collect()
    };
    let least = bounds(DataFile::lower_bounds).and_then(|all| all.into_iter().reduce(smaller));
    let greatest = bounds(DataFile::upper_bounds).and_then(|all| all.into_iter().reduce(greater));
    found.min_value = least.map_or(Precision::Absent, Precision::Inexact);
    found.max_value = greatest.map_or(Precision::Absent, Precision::Inexact);
    found
}

fn smaller(a: ScalarValue, b: ScalarValue) -> ScalarValue {
    if a.partial_cmp(&b).is_some_and(|order| order.is_gt()) { b } else { a }
}

fn greater(a: ScalarValue, b: ScalarValue) -> ScalarValue {
    if a.partial_cmp(&b).is_some_and(|order| order.is_lt()) { b } else { a }
}

/// A bound in the column's type. Bounds that were written before a promotion have the narrower type.
fn scalar(literal: &PrimitiveLiteral, data_type: &DataType) -> Option<ScalarValue> {
    use PrimitiveLiteral as L;
    Some(match (data_type, literal) {
        (DataType::Boolean, L::Boolean(v)) => ScalarValue::Boolean(Some(*v)),
        (DataType::Int32, L::Int(v)) => ScalarValue::Int32(Some(*v)),
        (DataType::Int64, L::Int(v)) => ScalarValue::Int64(Some(i64::from(*v))),
        (DataType::Int64, L::Long(v)) => ScalarValue::Int64(Some(*v)),
        (DataType::Float32, L::Float(v)) => ScalarValue::Float32(Some(v.0)),
        (DataType::Float64, L::Float(v)) => ScalarValue::Float64(Some(f64::from(v.0))),
        (DataType::Float64, L::Double(v)) => ScalarValue::Float64(Some(v.0)),
        (DataType::Date32, L::Int(v)) => ScalarValue::Date32(Some(*v)),
        (DataType::Timestamp(TimeUnit::Microsecond, zone), L::Long(v)) => {
            ScalarValue::TimestampMicrosecond(Some(*v), zone.clone())
        }
        (DataType::Timestamp(TimeUnit::Nanosecond, zone), L::Long(v)) => {
            ScalarValue::TimestampNanosecond(Some(*v), zone.clone())
        }
        (DataType::Time64(TimeUnit::Microsecond), L::Long(v)) => ScalarValue::Time64Microsecond(Some(*v)),
        (DataType::Utf8, L::String(v)) => ScalarValue::Utf8(Some(v.clone())),
        (DataType::Decimal128(precision, scale), L::Int128(v)) => ScalarValue::Decimal128(Some(*v), *precision, *scale),
        _ => return None,
    })
}
