//! Which partition a row is in.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use arrow::row::{RowConverter, Rows as Keys, SortField};
use frazil_table::arrow::{arrow_type, transform_array};
use frazil_table::spec::{Literal, PartitionSpec, PrimitiveType, Schema, Struct, Transform, Type};

use crate::distribution::share_out;
use crate::nested::{position, values_at};
use crate::partition_path::segment;
use crate::{Error, Result};

/// A partition: its tuple for the manifest and its folder's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    pub tuple: Struct,
    /// Empty for a spec without fields.
    pub folder: String,
}

/// A partition's number among those that a splitter has seen, in the order in which it saw them.
pub(crate) type PartitionId = u32;

/// Which partition each row of a batch is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Assignment {
    /// All rows are in this one.
    One(PartitionId),
    /// For each row.
    Each(Vec<PartitionId>),
}

/// Tells partitions apart by a partition spec.
pub(crate) struct PartitionSplitter {
    fields: Vec<SplitField>,
    converter: RowConverter,
    ids: HashMap<Box<[u8]>, PartitionId>,
    partitions: Vec<Arc<Partition>>,
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
            if field.transform == Transform::Unknown {
                return Err(bad_spec(spec, format!("the transform of field {} is not known", field.name)));
            }
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
        Ok(Self { fields, converter, ids: HashMap::new(), partitions: Vec::new() })
    }

    /// The partitions of a batch's rows. New ones get the next numbers.
    pub fn assign(&mut self, batch: &RecordBatch) -> Result<Assignment> {
        if self.fields.is_empty() {
            if self.partitions.is_empty() {
                self.partitions.push(Arc::new(Partition { tuple: Struct::empty(), folder: String::new() }));
            }
            return Ok(Assignment::One(0));
        }
        let values = self.values(batch)?;
        let keys = self.converter.convert_columns(&values).map_err(Error::arrow("partitioning"))?;
        let mut ids: Vec<PartitionId> = Vec::with_capacity(batch.num_rows());
        let mut last: Option<(&[u8], PartitionId)> = None;
        let mut is_one = true;
        for row in 0..batch.num_rows() {
            let key = keys.row(row).data();
            let id = match last {
                Some((last, id)) if last == key => id,
                _ => match self.ids.get(key) {
                    Some(id) => *id,
                    None => self.intern(key, &values, row)?,
                },
            };
            is_one &= last.is_none_or(|(_, last)| last == id);
            last = Some((key, id));
            ids.push(id);
        }
        match last {
            Some((_, id)) if is_one => Ok(Assignment::One(id)),
            _ => Ok(Assignment::Each(ids)),
        }
    }

    /// A batch's rows by partition; those of a partition keep their order.
    pub fn split(&mut self, batch: &RecordBatch) -> Result<Vec<(Arc<Partition>, RecordBatch)>> {
        let ids = match self.assign(batch)? {
            Assignment::One(id) => return Ok(vec![(Arc::clone(&self.partitions[id as usize]), batch.clone())]),
            Assignment::Each(ids) => ids,
        };
        let ids: Vec<usize> = ids.into_iter().map(|id| id as usize).collect();
        let parts = share_out(batch, &ids, self.partitions.len())?.into_iter();
        Ok(parts.map(|(id, rows)| (Arc::clone(&self.partitions[id]), rows)).collect())
    }

    /// Partition tuples as bytes, ordered as the tuples are, nulls first.
    pub fn keys(&self, batch: &RecordBatch) -> Result<Keys> {
        self.converter.convert_columns(&self.values(batch)?).map_err(Error::arrow("partitioning"))
    }

    /// All partitions that it has seen, by their numbers.
    pub fn partitions(&self) -> &[Arc<Partition>] {
        &self.partitions
    }

    /// Forgets all partitions and their numbers.
    pub fn clear(&mut self) {
        self.ids.clear();
        self.partitions.clear();
    }

    fn values(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        self.fields.iter().map(|field| field.values(batch)).collect()
    }

    fn intern(&mut self, key: &[u8], values: &[ArrayRef], row: usize) -> Result<PartitionId> {
        let id = PartitionId::try_from(self.partitions.len()).expect("memory ends before 32 bits of partitions");
        self.partitions.push(Arc::new(self.build(values, row)?));
        self.ids.insert(key.into(), id);
        Ok(id)
    }

    fn build(&self, values: &[ArrayRef], row: usize) -> Result<Partition> {
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
        let array = values_at(batch, &self.source).map_err(Error::arrow("partitioning"))?;
        Ok(transform_array(&self.transform, &array)?)
    }
}

fn bad_spec(spec: &PartitionSpec, reason: String) -> Error {
    let reason = format!("partition spec {} can't be written: {reason}", spec.spec_id());
    Error::Table(frazil_table::Error::InvalidChange(reason))
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
