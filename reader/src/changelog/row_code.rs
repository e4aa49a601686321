//! Rows as bytes: equal rows are equal bytes, and the bytes give the rows back.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, RecordBatchOptions, StructArray, new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, FieldRef, Fields, SchemaRef as ArrowSchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, RowParser, Rows, SortField};

type ArrowResult<T> = Result<T, ArrowError>;

/// Turns rows of one schema into bytes and back. Where rows have a key, its bytes go before those of the row, so that
/// rows of one key are side by side in the order of bytes.
#[derive(Debug)]
pub(crate) struct RowCode {
    schema: ArrowSchemaRef,
    /// `None` for a schema without columns, all of whose rows are equal.
    rows: Option<RowConverter>,
    parser: Option<RowParser>,
    key: Option<Key>,
}

#[derive(Debug)]
struct Key {
    converter: RowConverter,
    /// The way to each leaf through structs, by names.
    paths: Vec<Vec<String>>,
}

/// The bytes of a batch's rows.
#[derive(Debug)]
pub(crate) struct Encoded {
    count: usize,
    keys: Option<Rows>,
    rows: Option<Rows>,
}

impl RowCode {
    /// `key`: the leaves of the key, each by the names on the way to it; empty where rows have none.
    pub(crate) fn new(schema: &ArrowSchemaRef, key: Vec<Vec<String>>) -> ArrowResult<Self> {
        let converter = |types: Vec<DataType>| RowConverter::new(types.into_iter().map(SortField::new).collect());
        let types: Vec<DataType> = schema.fields().iter().map(|field| without_maps(field.data_type())).collect();
        let rows = if types.is_empty() { None } else { Some(converter(types)?) };
        let key = match key.is_empty() {
            true => None,
            false => {
                let leaves = key.iter().map(|path| leaf_type(schema.fields(), path)).collect::<ArrowResult<_>>()?;
                Some(Key { converter: converter(leaves)?, paths: key })
            }
        };
        Ok(Self { schema: schema.clone(), parser: rows.as_ref().map(RowConverter::parser), rows, key })
    }

    pub(crate) fn encode(&self, batch: &RecordBatch) -> ArrowResult<Encoded> {
        let columns = || batch.columns().iter().map(lists_for_maps).collect::<ArrowResult<Vec<_>>>();
        let rows = self.rows.as_ref().map(|converter| converter.convert_columns(&columns()?)).transpose()?;
        let keys = self.key.as_ref().map(|key| {
            let leaves = key.paths.iter().map(|path| leaf(batch, path)).collect::<ArrowResult<Vec<_>>>()?;
            key.converter.convert_columns(&leaves)
        });
        Ok(Encoded { count: batch.num_rows(), keys: keys.transpose()?, rows })
    }

    /// The rows again, from their bytes without those of their keys.
    pub(crate) fn decode<'a>(&self, rows: impl ExactSizeIterator<Item = &'a [u8]>) -> ArrowResult<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let (Some(converter), Some(parser)) = (&self.rows, &self.parser) else {
            return RecordBatch::try_new_with_options(self.schema.clone(), Vec::new(), &options);
        };
        let columns = converter.convert_rows(rows.map(|bytes| parser.parse(bytes)))?;
        let columns = columns.iter().zip(self.schema.fields());
        let columns = columns.map(|(column, field)| maps_from_lists(column, field.data_type()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns.collect::<ArrowResult<_>>()?, &options)
    }
}

impl Encoded {
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Writes the bytes of a row, its key first, and says how many of them are the key's.
    pub(crate) fn write(&self, row: usize, to: &mut Vec<u8>) -> usize {
        to.clear();
        let key = self.keys.as_ref().map_or(0, |keys| {
            to.extend_from_slice(keys.row(row).as_ref());
            to.len()
        });
        if let Some(rows) = &self.rows {
            to.extend_from_slice(rows.row(row).as_ref());
        }
        key
    }
}

/// A batch as a narrower schema of the same table has it: columns and fields are found by name, in structs, lists and maps.
pub(crate) fn narrow(batch: &RecordBatch, to: &ArrowSchemaRef) -> ArrowResult<RecordBatch> {
    let columns = to.fields().iter().map(|field| {
        let column = batch.column_by_name(field.name()).ok_or_else(|| missing(field.name()))?;
        narrow_array(column, field.data_type())
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(to.clone(), columns.collect::<ArrowResult<_>>()?, &options)
}

fn narrow_array(array: &ArrayRef, to: &DataType) -> ArrowResult<ArrayRef> {
    if array.data_type() == to {
        return Ok(array.clone());
    }
    Ok(match to {
        DataType::Struct(fields) => {
            let from = array.as_struct();
            let columns = fields.iter().map(|field| {
                let column = from.column_by_name(field.name()).ok_or_else(|| missing(field.name()))?;
                narrow_array(column, field.data_type())
            });
            Arc::new(new_struct(fields, columns.collect::<ArrowResult<_>>()?, from.nulls(), from.len())?)
        }
        DataType::List(element) => {
            let from = array.as_list::<i32>();
            let values = narrow_array(from.values(), element.data_type())?;
            Arc::new(ListArray::try_new(element.clone(), from.offsets().clone(), values, from.nulls().cloned())?)
        }
        DataType::Map(entries, sorted) => {
            let from = array.as_map();
            let pairs: ArrayRef = Arc::new(from.entries().clone());
            let pairs = narrow_array(&pairs, entries.data_type())?.as_struct().clone();
            let nulls = from.nulls().cloned();
            Arc::new(MapArray::try_new(entries.clone(), from.offsets().clone(), pairs, nulls, *sorted)?)
        }
        // Fields carry ids, which make types differ that hold the same.
        _ => arrow::array::make_array(array.to_data().into_builder().data_type(to.clone()).build()?),
    })
}

/// The type in which maps are lists of their entries: rows with maps have no bytes.
fn without_maps(data_type: &DataType) -> DataType {
    let field = |field: &FieldRef| -> FieldRef {
        Arc::new(field.as_ref().clone().with_data_type(without_maps(field.data_type())))
    };
    match data_type {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect()),
        DataType::List(element) => DataType::List(field(element)),
        DataType::Map(entries, _) => DataType::List(field(entries)),
        leaf => leaf.clone(),
    }
}

fn lists_for_maps(array: &ArrayRef) -> ArrowResult<ArrayRef> {
    let to = without_maps(array.data_type());
    Ok(match (array.data_type(), &to) {
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let from = array.as_struct();
            let columns = from.columns().iter().map(lists_for_maps).collect::<ArrowResult<_>>()?;
            Arc::new(new_struct(fields, columns, from.nulls(), from.len())?)
        }
        (DataType::List(_), DataType::List(element)) => {
            let from = array.as_list::<i32>();
            let values = lists_for_maps(from.values())?;
            Arc::new(ListArray::try_new(element.clone(), from.offsets().clone(), values, from.nulls().cloned())?)
        }
        (DataType::Map(_, _), DataType::List(element)) => {
            let from = array.as_map();
            let pairs: ArrayRef = Arc::new(from.entries().clone());
            let pairs = lists_for_maps(&pairs)?;
            Arc::new(ListArray::try_new(element.clone(), from.offsets().clone(), pairs, from.nulls().cloned())?)
        }
        _ => array.clone(),
    })
}

fn maps_from_lists(array: &ArrayRef, to: &DataType) -> ArrowResult<ArrayRef> {
    Ok(match to {
        DataType::Struct(fields) => {
            let from = array.as_struct();
            let columns = from.columns().iter().zip(fields).map(|(c, field)| maps_from_lists(c, field.data_type()));
            Arc::new(new_struct(fields, columns.collect::<ArrowResult<_>>()?, from.nulls(), from.len())?)
        }
        DataType::List(element) => {
            let from = array.as_list::<i32>();
            let values = maps_from_lists(from.values(), element.data_type())?;
            Arc::new(ListArray::try_new(element.clone(), from.offsets().clone(), values, from.nulls().cloned())?)
        }
        DataType::Map(entries, sorted) => {
            let from = array.as_list::<i32>();
            let pairs = maps_from_lists(from.values(), entries.data_type())?.as_struct().clone();
            let nulls = from.nulls().cloned();
            Arc::new(MapArray::try_new(entries.clone(), from.offsets().clone(), pairs, nulls, *sorted)?)
        }
        _ => array.clone(),
    })
}

fn new_struct(
    fields: &Fields,
    columns: Vec<ArrayRef>,
    nulls: Option<&NullBuffer>,
    rows: usize,
) -> ArrowResult<StructArray> {
    StructArray::try_new_with_length(fields.clone(), columns, nulls.cloned(), rows)
}

fn leaf_type(fields: &Fields, path: &[String]) -> ArrowResult<DataType> {
    let (name, rest) = path.split_first().ok_or_else(|| missing(""))?;
    let (_, field) = fields.find(name).ok_or_else(|| missing(name))?;
    match (field.data_type(), rest) {
        (leaf, []) => Ok(leaf.clone()),
        (DataType::Struct(inner), rest) => leaf_type(inner, rest),
        _ => Err(missing(&path.join("."))),
    }
}

/// A leaf's values, null wherever a struct around it is.
fn leaf(batch: &RecordBatch, path: &[String]) -> ArrowResult<ArrayRef> {
    let (first, rest) = path.split_first().ok_or_else(|| missing(""))?;
    let mut array = batch.column_by_name(first).ok_or_else(|| missing(first))?.clone();
    let mut nulls = array.nulls().cloned();
    for name in rest {
        let inner = array.as_struct_opt().and_then(|around| around.column_by_name(name));
        array = inner.ok_or_else(|| missing(name))?.clone();
        nulls = NullBuffer::union(nulls.as_ref(), array.nulls());
    }
    match nulls {
        Some(nulls) if nulls.null_count() == array.len() => Ok(new_null_array(array.data_type(), array.len())),
        nulls => Ok(arrow::array::make_array(array.to_data().into_builder().nulls(nulls).build()?)),
    }
}

fn missing(name: &str) -> ArrowError {
    ArrowError::SchemaError(format!("there is no column {name:?}"))
}
