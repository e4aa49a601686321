//! Rows by partition.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{is_null, nullif, take_record_batch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use arrow::row::{RowConverter, SortField};
use frazil_table::arrow::{arrow_type, transform_array};
use frazil_table::spec::{Literal, PartitionSpec, PrimitiveType, Schema, Struct, Transform, Type};

use crate::partition_path::segment;
use crate::{Error, Result};

/// A partition: its tuple for the manifest and its folder's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    pub tuple: Struct,
    /// Empty for a spec without fields.
    pub folder: String,
}

/// Which partition a row is in, as bytes: equal for rows of the same partition.
pub(crate) type PartitionKey = Box<[u8]>;

/// The rows of one partition in a batch.
pub(crate) struct PartitionRows {
    pub key: PartitionKey,
    /// Given for keys that the caller doesn't know yet.
    pub partition: Option<Partition>,
    pub rows: RecordBatch,
}

/// Splits batches by a partition spec.
#[derive(Debug)]
pub(crate) struct PartitionSplitter {
    fields: Vec<SplitField>,
    converter: RowConverter,
}

#[derive(Debug)]
struct SplitField {
    name: String,
    transform: Transform,
    /// Column of the batch, then positions in nested structs.
    source: Vec<usize>,
    result_type: PrimitiveType,
}

impl PartitionSplitter {
    pub fn new(spec: &PartitionSpec, schema: &Schema) -> Result<Self> {
        let result_types = spec.partition_type(schema).map_err(|source| bad_spec(spec, source.to_string()))?;
        let mut fields = Vec::new();
        for (field, result) in spec.fields().iter().zip(result_types.fields()) {
            let Type::Primitive(result_type) = result.field_type.as_ref() else {
                return Err(bad_spec(spec, format!("field {} is of a nested type", field.name)));
            };
            let source = position(schema.as_struct().fields(), field.source_id).ok_or_else(|| {
                bad_spec(spec, format!("field {} has no column outside of lists and maps", field.name))
            })?;
            fields.push(SplitField {
                name: field.name.clone(),
                transform: field.transform,
                source,
                result_type: result_type.clone(),
            });
        }
        let sort_fields =
            fields.iter().map(|field| Ok(SortField::new(arrow_type(&Type::Primitive(field.result_type.clone()))?)));
        let sort_fields = sort_fields.collect::<Result<Vec<_>>>()?;
        let converter = RowConverter::new(sort_fields).map_err(Error::arrow("partitioning"))?;
        Ok(Self { fields, converter })
    }

    /// The batch's rows by partition, in the order in which each partition is first seen; rows of a partition keep
    /// their order. A partition's rows are copied, so that they don't keep the others alive.
    pub fn split(&self, batch: RecordBatch, is_known: impl Fn(&[u8]) -> bool) -> Result<Vec<PartitionRows>> {
        if self.fields.is_empty() {
            let key = PartitionKey::default();
            let whole = || Partition { tuple: Struct::empty(), folder: String::new() };
            let partition = (!is_known(&key)).then(whole);
            return Ok(vec![PartitionRows { key, partition, rows: batch }]);
        }
        let values = self.fields.iter().map(|field| field.values(&batch)).collect::<Result<Vec<_>>>()?;
        let rows = self.converter.convert_columns(&values).map_err(Error::arrow("partitioning"))?;
        let mut groups: Vec<Vec<u32>> = Vec::new();
        let mut group_of: HashMap<&[u8], usize> = HashMap::new();
        let keys: Vec<_> = rows.iter().collect();
        for (row, key) in (0u32..).zip(&keys) {
            let group = *group_of.entry(key.as_ref()).or_insert(groups.len());
            if group == groups.len() {
                groups.push(Vec::new());
            }
            groups[group].push(row);
        }
        let single = groups.len() == 1;
        groups
            .into_iter()
            .map(|indices| {
                let first = indices[0] as usize;
                let rows = if single {
                    batch.clone()
                } else {
                    take_record_batch(&batch, &UInt32Array::from(indices)).map_err(Error::arrow("partitioning"))?
                };
                let key = keys[first].as_ref();
                let partition = if is_known(key) { None } else { Some(self.partition(&values, first)?) };
                Ok(PartitionRows { key: key.into(), partition, rows })
            })
            .collect()
    }

    fn partition(&self, values: &[ArrayRef], row: usize) -> Result<Partition> {
        let literals = self.fields.iter().zip(values).map(|(field, values)| literal(values, row, &field.result_type));
        let literals = literals.collect::<Result<Vec<_>>>()?;
        let segments = self
            .fields
            .iter()
            .zip(&literals)
            .map(|(field, literal)| segment(&field.name, &field.transform, &field.result_type, literal.as_ref()));
        let folder = segments.collect::<Vec<_>>().join("/");
        Ok(Partition { tuple: literals.into_iter().collect(), folder })
    }
}

impl SplitField {
    fn values(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let mut array = batch.column(self.source[0]).clone();
        for child in &self.source[1..] {
            let column = array.as_struct().column(*child).clone();
            // What a null struct holds inside is nothing.
            array = match array.null_count() {
                0 => column,
                _ => {
                    let outside = is_null(&array).map_err(Error::arrow("partitioning"))?;
                    nullif(&column, &outside).map_err(Error::arrow("partitioning"))?
                }
            };
        }
        Ok(transform_array(&self.transform, &array)?)
    }
}

fn bad_spec(spec: &PartitionSpec, reason: String) -> Error {
    let reason = format!("partition spec {} can't be written: {reason}", spec.spec_id());
    Error::Table(frazil_table::Error::InvalidChange(reason))
}

fn position(fields: &[Arc<frazil_table::spec::NestedField>], id: i32) -> Option<Vec<usize>> {
    for (index, field) in fields.iter().enumerate() {
        if field.id == id {
            return Some(vec![index]);
        }
        if let Type::Struct(nested) = field.field_type.as_ref()
            && let Some(rest) = position(nested.fields(), id)
        {
            return Some([vec![index], rest].concat());
        }
    }
    None
}

/// The value of a row as the specification's literal; `None` for a null.
fn literal(array: &ArrayRef, row: usize, r#type: &PrimitiveType) -> Result<Option<Literal>> {
    if array.is_null(row) {
        return Ok(None);
    }
    let bytes = |bytes: &[u8]| match r#type {
        PrimitiveType::Uuid => {
            let bytes = bytes.try_into().expect("the table's Arrow type for UUIDs has 16 bytes");
            Literal::uuid(uuid::Uuid::from_bytes(bytes))
        }
        _ => Literal::binary(bytes.to_vec()),
    };
    let moment = |value| match r#type {
        PrimitiveType::Timestamptz | PrimitiveType::TimestamptzNs => Literal::timestamptz(value),
        _ => Literal::timestamp(value),
    };
    Ok(Some(match array.data_type() {
        DataType::Boolean => Literal::bool(array.as_boolean().value(row)),
        DataType::Int32 => Literal::int(array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => Literal::long(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float32 => Literal::float(array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => Literal::double(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(_, _) => Literal::decimal(array.as_primitive::<Decimal128Type>().value(row)),
        DataType::Date32 => Literal::date(array.as_primitive::<Date32Type>().value(row)),
        DataType::Time64(_) => Literal::time(array.as_primitive::<Time64MicrosecondType>().value(row)),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            moment(array.as_primitive::<TimestampNanosecondType>().value(row))
        }
        DataType::Timestamp(_, _) => moment(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        DataType::Utf8 => Literal::string(array.as_string::<i32>().value(row)),
        DataType::Binary => bytes(array.as_binary::<i32>().value(row)),
        DataType::FixedSizeBinary(_) => bytes(array.as_fixed_size_binary().value(row)),
        other => return Err(Error::bad_batch("*", format!("{other} can't be a partition value"))),
    }))
}

#[cfg(test)]
mod tests;
