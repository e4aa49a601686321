//! Numbers of distinct values, as theta sketches that other engines read and go on with (Puffin spec,
//! `apache-datasketches-theta-v1`): each value's single-value serialization (Iceberg spec, "Appendix D") is hashed as the
//! Apache DataSketches library hashes bytes.
//!
//! A sketch keeps up to 4,096 hashes: exact until then, within 3 % (two standard deviations) beyond. Sketches of parts
//! of a table are united into one of the whole without its rows being read again. The first [`NDV_COLUMNS_MAX`] leaf
//! columns are counted, so that a wide table's sketches stay within a few MiB.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use datasketches::hash::value::raw_bytes;
use datasketches::theta::{CompactThetaSketch, ThetaSketch, ThetaSketchBuilder, ThetaUnionBuilder};
use frazil_table::arrow::shortest_bytes;
use frazil_table::spec::Schema;

use crate::leaf::leaves;
use crate::nested::{position, values_at};
use crate::{Error, Result};

/// Leaf columns of a table that are counted, the first ones: as many as have bounds by default
/// (`write.metadata.metrics.max-inferred-column-defaults`). A sketch takes up to 32 KiB, twice that while it grows.
pub const NDV_COLUMNS_MAX: usize = 100;

/// Counts the distinct values of one column.
pub(crate) struct ColumnSketch {
    field_id: i32,
    path: Vec<usize>,
    sketch: ThetaSketch,
}

/// A sketch for each of the first leaf columns outside of lists and maps.
pub(crate) fn column_sketches(schema: &Schema) -> Vec<ColumnSketch> {
    NdvCounter::new(schema, |_| true).columns
}

fn new_sketch() -> ThetaSketch {
    ThetaSketchBuilder::default().build().expect("the default settings are valid")
}

impl ColumnSketch {
    /// Takes in the values of its column.
    pub fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        let array = values_at(batch, &self.path).map_err(Error::arrow("counting distinct values"))?;
        let sketch = &mut self.sketch;
        let mut last: Vec<u8> = Vec::new();
        let mut is_first = true;
        for_each_value(&array, |value| {
            // What repeats itself has been counted.
            if is_first || last != value {
                sketch.update(raw_bytes::from_slice(value));
                value.clone_into(&mut last);
                is_first = false;
            }
        });
        Ok(())
    }

    /// What was counted so far; begins anew.
    pub fn take(&mut self) -> (i32, CompactThetaSketch) {
        let sketch = std::mem::replace(&mut self.sketch, new_sketch());
        (self.field_id, sketch.compact(true))
    }
}

/// Calls `each` with the single-value serialization of every value that is not null.
fn for_each_value(array: &ArrayRef, mut each: impl FnMut(&[u8])) {
    macro_rules! primitive {
        ($kind:ty) => {
            array.as_primitive::<$kind>().iter().flatten().for_each(|value| each(&value.to_le_bytes()))
        };
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().iter().flatten().for_each(|value| each(&[u8::from(value)])),
        DataType::Int32 => primitive!(Int32Type),
        DataType::Int64 => primitive!(Int64Type),
        DataType::Float32 => primitive!(Float32Type),
        DataType::Float64 => primitive!(Float64Type),
        DataType::Date32 => primitive!(Date32Type),
        DataType::Time64(_) => primitive!(Time64MicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => primitive!(TimestampNanosecondType),
        DataType::Timestamp(_, _) => primitive!(TimestampMicrosecondType),
        DataType::Decimal128(_, _) => {
            let values = array.as_primitive::<Decimal128Type>().iter().flatten();
            values.for_each(|value| each(shortest_bytes(&value.to_be_bytes())));
        }
        DataType::Utf8 => array.as_string::<i32>().iter().flatten().for_each(|value| each(value.as_bytes())),
        DataType::Binary => array.as_binary::<i32>().iter().flatten().for_each(each),
        DataType::FixedSizeBinary(_) => array.as_fixed_size_binary().iter().flatten().for_each(each),
        other => unreachable!("{other} is no leaf of a table's Arrow schema"),
    }
}

/// Counts the distinct values of rows that come from elsewhere than a [`TableWriter`](crate::TableWriter): those that are
/// in a table already.
pub struct NdvCounter {
    columns: Vec<ColumnSketch>,
}

impl std::fmt::Debug for NdvCounter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NdvCounter").field("columns", &self.columns.len()).finish()
    }
}

impl NdvCounter {
    /// Counts the first [`NDV_COLUMNS_MAX`] leaf columns of a schema outside of lists and maps, of those that `wanted`
    /// (by field id) says.
    pub fn new(schema: &Schema, wanted: impl Fn(i32) -> bool) -> Self {
        let leaves = leaves(schema).into_iter().filter(|leaf| !leaf.repeated && wanted(leaf.id));
        let paths = leaves.filter_map(|leaf| Some((leaf.id, position(schema.as_struct().fields(), leaf.id)?)));
        let columns = paths.map(|(field_id, path)| ColumnSketch { field_id, path, sketch: new_sketch() });
        Self { columns: columns.take(NDV_COLUMNS_MAX).collect() }
    }

    /// Takes rows in, which have the schema's columns in their order. Costs a hash for each value.
    ///
    /// # Errors
    /// [`Error::Arrow`] for a batch of another schema.
    pub fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        self.columns.iter_mut().try_for_each(|column| column.update(batch))
    }

    /// What was counted.
    pub fn finish(mut self) -> NdvSketches {
        NdvSketches::new(self.columns.iter_mut().map(ColumnSketch::take))
    }
}

/// Sketches of the distinct values of columns, by field id.
#[derive(Clone, Debug, Default)]
pub struct NdvSketches {
    sketches: BTreeMap<i32, CompactThetaSketch>,
}

impl NdvSketches {
    pub(crate) fn new(sketches: impl IntoIterator<Item = (i32, CompactThetaSketch)>) -> Self {
        Self { sketches: sketches.into_iter().collect() }
    }

    /// Makes these the sketches of both parts' rows. A column that only one part has is dropped: of the other's rows
    /// nothing is known.
    pub fn unite(&mut self, other: &Self) {
        let mine = std::mem::take(&mut self.sketches);
        let both = mine.into_iter().filter_map(|(id, sketch)| {
            let mut union = ThetaUnionBuilder::default().build().ok()?;
            union.update(&sketch).ok()?;
            union.update(other.sketches.get(&id)?).ok()?;
            Some((id, union.to_sketch(true)))
        });
        self.sketches = both.collect();
    }

    /// About how many distinct values a column has; nulls don't count.
    pub fn estimate(&self, field_id: i32) -> Option<f64> {
        self.sketches.get(&field_id).map(CompactThetaSketch::estimate)
    }

    /// Field ids and serialized sketches.
    pub fn serialized(&self) -> impl Iterator<Item = (i32, Vec<u8>)> + '_ {
        self.sketches.iter().map(|(id, sketch)| (*id, sketch.serialize()))
    }

    /// The sketches back from their bytes; `None` for bytes that are none.
    pub fn deserialize<'a>(sketches: impl IntoIterator<Item = (i32, &'a [u8])>) -> Option<Self> {
        let sketches = sketches.into_iter().map(|(id, bytes)| Some((id, CompactThetaSketch::deserialize(bytes).ok()?)));
        Some(Self { sketches: sketches.collect::<Option<_>>()? })
    }

    /// Keeps the sketches of some columns, by field id.
    pub fn retain(&mut self, keep: impl Fn(i32) -> bool) {
        self.sketches.retain(|id, _| keep(*id));
    }

    /// Whether no column has a sketch.
    pub fn is_empty(&self) -> bool {
        self.sketches.is_empty()
    }
}

#[cfg(test)]
mod tests;
