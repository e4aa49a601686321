//! Steps that turn arrays as a file has them into arrays as the projected schema has them.

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, StructArray, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, FieldRef, Fields};
use arrow::error::ArrowError;
use std::sync::Arc;

use crate::literal::repeat;

/// What is done to one array. Children are found by their place among those that are read, which the plan looked up by
/// field id: no name is compared here.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// It is right as it is.
    Keep,
    /// A wider type.
    Cast(DataType),
    /// The file does not have it.
    Null(DataType),
    /// The file does not have it: a default or a partition value, as an array of length 1.
    Constant(ArrayRef),
    /// A struct; each child from a child of what is read, or from nothing.
    Struct(Fields, Vec<(Option<usize>, Step)>),
    /// A struct of which nothing is read and that is never null.
    NewStruct(Fields, Vec<Step>),
    /// A list and its element.
    List(FieldRef, Box<Step>),
    /// A map's entries, key and value.
    Map(FieldRef, Box<(Step, Step)>),
}

/// A leaf in structs, with the way to it.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    /// The place among what is read, struct by struct, as far as the file has it.
    pub path: Vec<usize>,
    /// Whether the way leads to the leaf, not only to structs around it.
    pub is_read: bool,
    pub step: Step,
}

impl Step {
    /// `array` is `None` for what is not read.
    pub(crate) fn apply(&self, array: Option<&ArrayRef>, rows: usize) -> Result<ArrayRef, ArrowError> {
        let read =
            || array.ok_or_else(|| ArrowError::InvalidArgumentError("a column that is needed was not read".to_owned()));
        Ok(match self {
            Self::Keep => read()?.clone(),
            Self::Cast(to) => cast_with_options(read()?, to, &CastOptions { safe: false, ..Default::default() })?,
            Self::Null(to) => new_null_array(to, rows),
            Self::Constant(value) => repeat(value, rows),
            Self::Struct(fields, steps) => {
                let from = read()?;
                let from = from.as_struct_opt().ok_or_else(|| not_a("struct", from))?;
                let columns = steps
                    .iter()
                    .map(|(index, step)| step.apply(index.map(|index| from.column(index)), rows))
                    .collect::<Result<Vec<_>, _>>()?;
                Arc::new(new_struct(fields, columns, from.nulls().cloned(), rows)?)
            }
            Self::NewStruct(fields, steps) => {
                let columns = steps.iter().map(|step| step.apply(None, rows)).collect::<Result<Vec<_>, _>>()?;
                Arc::new(new_struct(fields, columns, None, rows)?)
            }
            Self::List(element, step) => {
                let from = read()?;
                let from = from.as_list_opt::<i32>().ok_or_else(|| not_a("list", from))?;
                let values = step.apply(Some(from.values()), from.values().len())?;
                Arc::new(ListArray::try_new(element.clone(), from.offsets().clone(), values, from.nulls().cloned())?)
            }
            Self::Map(entries, steps) => {
                let from = read()?;
                let from = from.as_map_opt().ok_or_else(|| not_a("map", from))?;
                let count = from.keys().len();
                let key = steps.0.apply(Some(from.keys()), count)?;
                let value = steps.1.apply(Some(from.values()), count)?;
                let DataType::Struct(pair) = entries.data_type() else { return Err(not_a("map", array_of(array))) };
                let pairs = new_struct(pair, vec![key, value], None, count)?;
                Arc::new(MapArray::try_new(
                    entries.clone(),
                    from.offsets().clone(),
                    pairs,
                    from.nulls().cloned(),
                    false,
                )?)
            }
        })
    }
}

impl Leaf {
    /// The leaf's values, null wherever a struct around it is.
    pub(crate) fn read(&self, batch: &RecordBatch) -> Result<ArrayRef, ArrowError> {
        let mut array: Option<ArrayRef> = None;
        let mut nulls: Option<NullBuffer> = None;
        for (depth, index) in self.path.iter().enumerate() {
            let child = match &array {
                None => batch.column(*index).clone(),
                Some(around) => around.as_struct_opt().ok_or_else(|| not_a("struct", around))?.column(*index).clone(),
            };
            let is_around = !self.is_read || depth + 1 < self.path.len();
            if is_around {
                nulls = NullBuffer::union(nulls.as_ref(), child.nulls());
            }
            array = Some(child);
        }
        let leaf = self.step.apply(array.as_ref().filter(|_| self.is_read), batch.num_rows())?;
        match nulls {
            None => Ok(leaf),
            Some(nulls) => {
                let nulls = NullBuffer::union(Some(&nulls), leaf.nulls());
                Ok(arrow::array::make_array(leaf.to_data().into_builder().nulls(nulls).build()?))
            }
        }
    }
}

fn new_struct(
    fields: &Fields,
    columns: Vec<ArrayRef>,
    nulls: Option<NullBuffer>,
    rows: usize,
) -> Result<StructArray, ArrowError> {
    StructArray::try_new_with_length(fields.clone(), columns, nulls, rows)
}

fn array_of(array: Option<&ArrayRef>) -> &ArrayRef {
    array.expect("it was read above")
}

fn not_a(kind: &str, array: &ArrayRef) -> ArrowError {
    ArrowError::InvalidArgumentError(format!("a {kind} was expected, {} was read", array.data_type()))
}
