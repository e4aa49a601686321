//! How the rows of one file become rows of the projected schema.
//!
//! Made once for each file, in two passes:
//! 1. choose the Parquet leaves: every wanted leaf that the file has, by field id at every depth. Where a file has none of
//!    the wanted leaves of a struct, list or map, the cheapest leaf in it is read for its levels alone, since only they
//!    tell which structs are null and how long the lists are;
//! 2. build the steps that turn what is then read into the projected types: pick children by id, widen, fill in.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StructArray, new_null_array};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, SchemaRef as ArrowSchemaRef};
use arrow::error::ArrowError;
use frazil_table::arrow::arrow_type;
use frazil_table::row_lineage::{LAST_UPDATED_SEQUENCE_NUMBER, ROW_ID};
use frazil_table::spec::{Literal, NestedField, PrimitiveLiteral, PrimitiveType, Type};

use crate::context::KeyField;
use crate::file_schema::{FileField, FileKind, by_id};
use crate::literal::to_array;
use crate::projection::{FILE_FIELD_ID, PARTITION_FIELD_ID, POS_FIELD_ID, SPEC_ID_FIELD_ID};
use crate::reconcile::{Leaf, Step};
use crate::{Error, ProjectedSchema, Result};

/// What a file lacks but its partition says (Iceberg spec, "Column Projection": identity transforms), by field id.
pub(crate) type Constants = HashMap<i32, Option<PrimitiveLiteral>>;

/// How to read one file.
#[derive(Debug)]
pub(crate) struct RowPlan {
    /// The Parquet leaf columns to read. Empty: only the number of rows is needed.
    pub leaves: BTreeSet<usize>,
    /// The output columns.
    pub columns: Vec<OutputColumn>,
    /// The schema of the output.
    pub output: ArrowSchemaRef,
    /// Columns for conditions and keys, by field id.
    pub keys: HashMap<i32, Leaf>,
}

#[derive(Debug)]
pub(crate) enum OutputColumn {
    /// From a column of what is read, or from nothing.
    Read(Option<usize>, Step),
    /// The file's location.
    File,
    /// The row's position.
    Position,
    /// The same for every row of the file, as an array of length 1.
    Constant(ArrayRef),
    /// The row's id: what the file says, else counted from the file's first row id.
    RowId(Option<usize>, Option<i64>),
    /// The sequence number of the commit that last wrote the row's values: what the file says, else the file's own. Only
    /// of rows that have an id.
    LastUpdated(Option<usize>, Option<i64>),
}

/// What the table says of a file's rows as a whole (Iceberg spec, "Row Lineage").
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FileLineage {
    /// `None` before format version 3.
    pub first_row_id: Option<i64>,
    pub data_sequence_number: i64,
}

/// What the table says of a file's place in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct FilePartition {
    pub spec_id: i32,
    /// In the order of the fields of `_partition`; none where that is not wanted.
    pub values: Vec<Option<(PrimitiveLiteral, PrimitiveType)>>,
}

/// What a plan is made from.
pub(crate) struct RowPlanner<'a> {
    pub location: &'a str,
    pub file: &'a [FileField],
    /// Compressed bytes of each Parquet leaf column.
    pub leaf_bytes: &'a [u64],
    pub constants: &'a Constants,
    pub lineage: FileLineage,
    pub partition: &'a FilePartition,
}

impl RowPlanner<'_> {
    /// Plans the output columns, and beside them `keys`: leaves in structs, by field id.
    ///
    /// # Errors
    /// [`Error::Damaged`] if a column of the file can't be what the table says it is, or a required one is missing.
    pub(crate) fn plan(&self, output: &ProjectedSchema, keys: &BTreeMap<i32, KeyField>) -> Result<RowPlan> {
        let mut leaves = BTreeSet::new();
        let wanted = output.schema().as_struct().fields();
        for field in wanted {
            self.choose(field, by_id(self.file, field.id), &mut leaves);
        }
        for key in keys.values() {
            for part in self.find(key) {
                match part.kind {
                    FileKind::Leaf => drop(leaves.insert(part.leaves.start)),
                    // Whether it is null decides about a default in it.
                    _ => self.choose_cheapest(part, &mut leaves),
                }
            }
        }
        let columns = wanted
            .iter()
            .zip(output.arrow().fields())
            .map(|(field, arrow)| self.output_column(field, arrow, &leaves))
            .collect::<Result<_>>()?;
        let keys = keys.iter().map(|(id, key)| Ok((*id, self.key(key, &leaves)?))).collect::<Result<_>>()?;
        Ok(RowPlan { leaves, columns, output: output.arrow().clone(), keys })
    }

    /// Pass 1.
    fn choose(&self, field: &NestedField, file: Option<&FileField>, leaves: &mut BTreeSet<usize>) {
        let Some(file) = file else { return };
        match (field.field_type.as_ref(), &file.kind) {
            (Type::Primitive(_), FileKind::Leaf) => {
                leaves.insert(file.leaves.start);
            }
            (Type::Struct(fields), FileKind::Struct(children)) => {
                for field in fields.fields() {
                    self.choose(field, by_id(children, field.id), leaves);
                }
                if file.nullable {
                    self.choose_cheapest(file, leaves);
                }
            }
            (Type::List(list), FileKind::List(element)) => {
                self.choose(&list.element_field, Some(element.as_ref()), leaves);
                self.choose_cheapest(element, leaves);
            }
            (Type::Map(map), FileKind::Map(key, value)) => {
                self.choose(&map.key_field, Some(key.as_ref()), leaves);
                self.choose_cheapest(key, leaves);
                self.choose(&map.value_field, Some(value.as_ref()), leaves);
                self.choose_cheapest(value, leaves);
            }
            // Pass 2 says what is wrong.
            _ => {}
        }
    }

    /// What is cheapest to read below a field, unless something below it is read already.
    fn choose_cheapest(&self, file: &FileField, leaves: &mut BTreeSet<usize>) {
        if leaves.range(file.leaves.clone()).next().is_none() {
            leaves.extend(self.cheapest(file).1);
        }
    }

    /// The fewest bytes that tell of each row whether the field is null, and their leaves. Of a map the decoder needs keys
    /// and values.
    fn cheapest(&self, file: &FileField) -> (u64, Vec<usize>) {
        match &file.kind {
            FileKind::Leaf => {
                let leaf = file.leaves.start;
                (self.leaf_bytes.get(leaf).copied().unwrap_or(u64::MAX), vec![leaf])
            }
            FileKind::Struct(children) => {
                let children = children.iter().map(|child| self.cheapest(child));
                children.min_by_key(|(bytes, _)| *bytes).unwrap_or_default()
            }
            FileKind::List(element) => self.cheapest(element),
            FileKind::Map(key, value) => {
                let ((key_bytes, mut leaves), (value_bytes, values)) = (self.cheapest(key), self.cheapest(value));
                leaves.extend(values);
                (key_bytes.saturating_add(value_bytes), leaves)
            }
        }
    }

    fn output_column(&self, field: &NestedField, arrow: &FieldRef, leaves: &BTreeSet<usize>) -> Result<OutputColumn> {
        match field.id {
            FILE_FIELD_ID => return Ok(OutputColumn::File),
            POS_FIELD_ID => return Ok(OutputColumn::Position),
            SPEC_ID_FIELD_ID => {
                return Ok(OutputColumn::Constant(Arc::new(Int32Array::from(vec![self.partition.spec_id]))));
            }
            PARTITION_FIELD_ID => return self.partition_struct(arrow).map(OutputColumn::Constant),
            _ => {}
        }
        let file = by_id(self.file, field.id);
        let index = file.and_then(|file| index_in(self.file, file, leaves));
        let first_row_id = self.lineage.first_row_id;
        match field.id {
            ROW_ID => return Ok(OutputColumn::RowId(index, first_row_id)),
            LAST_UPDATED_SEQUENCE_NUMBER => {
                let number = first_row_id.map(|_| self.lineage.data_sequence_number);
                return Ok(OutputColumn::LastUpdated(index, number));
            }
            _ => {}
        }
        Ok(OutputColumn::Read(index, self.step(field, arrow, file, leaves, &field.name)?))
    }

    fn partition_struct(&self, arrow: &FieldRef) -> Result<ArrayRef> {
        let DataType::Struct(fields) = arrow.data_type() else { unreachable!("a struct is made as a struct") };
        let mut columns = Vec::with_capacity(fields.len());
        for (field, value) in fields.iter().zip(&self.partition.values) {
            let made = value.as_ref().map(|(literal, primitive)| {
                let array = to_array(literal, primitive).filter(|array| array.data_type() == field.data_type());
                array.ok_or_else(|| {
                    let reason = format!("its partition {literal:?} does not fit the partition field {}", field.name());
                    Error::damaged(self.location, reason)
                })
            });
            columns.push(made.unwrap_or_else(|| Ok(new_null_array(field.data_type(), 1)))?);
        }
        let made = StructArray::try_new_with_length(fields.clone(), columns, None, 1);
        Ok(Arc::new(made.map_err(|error| Error::damaged(self.location, error))?))
    }

    /// Pass 2.
    fn step(
        &self,
        field: &NestedField,
        arrow: &Field,
        file: Option<&FileField>,
        leaves: &BTreeSet<usize>,
        path: &str,
    ) -> Result<Step> {
        let Some(file) = file else { return self.absent(field, arrow, path) };
        match (field.field_type.as_ref(), &file.kind, arrow.data_type()) {
            (Type::Primitive(_), FileKind::Leaf, to) => self.leaf_step(&file.data_type, to, path),
            (Type::Struct(wanted), FileKind::Struct(children), DataType::Struct(fields)) => {
                let mut steps = Vec::with_capacity(fields.len());
                for (field, arrow) in wanted.fields().iter().zip(fields) {
                    let child = by_id(children, field.id);
                    let index = child.and_then(|child| index_in(children, child, leaves));
                    let path = format!("{path}.{}", field.name);
                    steps.push((index, self.step(field, arrow, child, leaves, &path)?));
                }
                let is_read = leaves.range(file.leaves.clone()).next().is_some();
                Ok(match is_read {
                    true => Step::Struct(fields.clone(), steps),
                    false => Step::NewStruct(fields.clone(), steps.into_iter().map(|(_, s)| s).collect()),
                })
            }
            (Type::List(list), FileKind::List(element), DataType::List(arrow)) => {
                let path = format!("{path}.element");
                let step = self.step(&list.element_field, arrow, Some(element.as_ref()), leaves, &path)?;
                Ok(Step::List(arrow.clone(), Box::new(step)))
            }
            (Type::Map(map), FileKind::Map(key, value), DataType::Map(entries, _)) => {
                let DataType::Struct(pair) = entries.data_type() else {
                    unreachable!("map entries are made as structs")
                };
                let (key_path, value_path) = (format!("{path}.key"), format!("{path}.value"));
                let key = self.step(&map.key_field, &pair[0], Some(key.as_ref()), leaves, &key_path)?;
                let value = self.step(&map.value_field, &pair[1], Some(value.as_ref()), leaves, &value_path)?;
                Ok(Step::Map(entries.clone(), Box::new((key, value))))
            }
            _ => Err(self.mismatch(path, &file.data_type, arrow.data_type())),
        }
    }

    /// A field that the file does not have (Iceberg spec, "Column Projection" and "Default Values").
    fn absent(&self, field: &NestedField, arrow: &Field, path: &str) -> Result<Step> {
        let to = arrow.data_type().clone();
        if let Some(constant) = self.constants.get(&field.id) {
            return self.constant(field, constant.as_ref(), to, path);
        }
        match (&field.initial_default, field.field_type.as_ref()) {
            (Some(Literal::Primitive(value)), _) => self.constant(field, Some(value), to, path),
            (Some(Literal::Struct(_)), Type::Struct(wanted)) => {
                let DataType::Struct(fields) = &to else { unreachable!("a struct is made as a struct") };
                let steps = wanted
                    .fields()
                    .iter()
                    .zip(fields)
                    .map(|(field, arrow)| self.absent(field, arrow, &format!("{path}.{}", field.name)));
                Ok(Step::NewStruct(fields.clone(), steps.collect::<Result<_>>()?))
            }
            (Some(_), _) => {
                let reason = format!("the default of column {path} is of a kind that is not supported yet");
                Err(Error::unsupported(self.location, reason))
            }
            (None, _) if field.required => {
                let reason = format!("it lacks column {path}, which is required and has no default");
                Err(Error::damaged(self.location, reason))
            }
            (None, _) => Ok(Step::Null(to)),
        }
    }

    fn constant(
        &self,
        field: &NestedField,
        value: Option<&PrimitiveLiteral>,
        to: DataType,
        path: &str,
    ) -> Result<Step> {
        let Some(value) = value else { return Ok(Step::Null(to)) };
        let array = field.field_type.as_primitive_type().and_then(|primitive| to_array(value, primitive));
        array
            .map(Step::Constant)
            .ok_or_else(|| Error::damaged(self.location, format!("the value {value:?} does not fit column {path}")))
    }

    fn leaf_step(&self, from: &DataType, to: &DataType, path: &str) -> Result<Step> {
        if from == to {
            return Ok(Step::Keep);
        }
        match is_widening(from, to) {
            true => Ok(Step::Cast(to.clone())),
            false => Err(self.mismatch(path, from, to)),
        }
    }

    fn mismatch(&self, path: &str, from: &DataType, to: &DataType) -> Error {
        let (from, to) = (kind_of(from), kind_of(to));
        Error::damaged(self.location, format!("column {path} is {from} in it and {to} in the table"))
    }

    fn key(&self, key: &KeyField, leaves: &BTreeSet<usize>) -> Result<Leaf> {
        let KeyField { field, path: name, .. } = key;
        let to = arrow_type(&field.field_type)?;
        let arrow = Field::new(name, to, true);
        let optional = NestedField { required: false, ..field.as_ref().clone() };
        let mut siblings = self.file;
        let mut indexes = Vec::with_capacity(key.ids.len());
        let mut leaf = None;
        for part in self.find(key) {
            indexes.push(index_in(siblings, part, leaves).expect("a key's leaves are among those that are read"));
            match &part.kind {
                FileKind::Struct(children) => siblings = children,
                _ => leaf = Some(part),
            }
        }
        let is_read = leaf.is_some();
        let step = match leaf {
            Some(leaf) => self.step(&optional, &arrow, Some(leaf), leaves, name)?,
            None => self.absent(&optional, &arrow, name)?,
        };
        Ok(Leaf { path: indexes, is_read, step })
    }

    /// The way to a key as far as the file has it.
    fn find(&self, key: &KeyField) -> Vec<&FileField> {
        let mut siblings = self.file;
        let mut found = Vec::with_capacity(key.ids.len());
        for id in &key.ids {
            let Some(field) = by_id(siblings, *id) else { break };
            found.push(field);
            match &field.kind {
                FileKind::Struct(children) => siblings = children,
                _ => break,
            }
        }
        found
    }
}

/// Where a field is among those of its siblings that are read.
fn index_in(siblings: &[FileField], field: &FileField, leaves: &BTreeSet<usize>) -> Option<usize> {
    let is_read = |field: &FileField| leaves.range(field.leaves.clone()).next().is_some();
    if !is_read(field) {
        return None;
    }
    Some(siblings.iter().take_while(|f| f.leaves.start < field.leaves.start).filter(|f| is_read(f)).count())
}

/// Types that Parquet has for an Iceberg type, and the promotions (Iceberg spec, "Schema Evolution").
fn is_widening(from: &DataType, to: &DataType) -> bool {
    use DataType::{
        Binary, Date32, Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, Time32, Time64, Timestamp, UInt8,
        UInt16, UInt32, Utf8,
    };
    match (from, to) {
        (Int8 | Int16 | UInt8 | UInt16, Int32 | Int64) | (Int32 | UInt32, Int64) => true,
        (Float32, Float64) | (Binary, Utf8) | (Date32, Timestamp(_, None)) => true,
        (Decimal128(from, scale), Decimal128(to, same)) => scale == same && from <= to,
        (Timestamp(_, from), Timestamp(_, to)) => from.is_some() == to.is_some(),
        (Time32(_) | Time64(_), Time64(_)) => true,
        _ => false,
    }
}

fn kind_of(data_type: &DataType) -> String {
    match data_type {
        DataType::Struct(_) => "a struct".to_owned(),
        DataType::List(_) => "a list".to_owned(),
        DataType::Map(_, _) => "a map".to_owned(),
        leaf => leaf.to_string(),
    }
}

impl RowPlan {
    /// Whether a row's position is wanted.
    pub(crate) fn has_positions(&self) -> bool {
        self.columns.iter().any(|column| matches!(column, OutputColumn::Position | OutputColumn::RowId(_, Some(_))))
    }

    /// The output rows of a batch as it was read. `positions` are those of its rows, where they are wanted.
    pub(crate) fn output(&self, read: &RecordBatch, positions: &Int64Array, location: &str) -> Result<RecordBatch> {
        let rows = read.num_rows();
        let damaged = |error: ArrowError| Error::damaged(location, error);
        let mut columns = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            columns.push(match column {
                OutputColumn::Read(index, step) => {
                    let array = index.map(|index| read.column(index));
                    step.apply(array, rows).map_err(damaged)?
                }
                OutputColumn::File => {
                    let file = to_array(&PrimitiveLiteral::String(location.to_owned()), &PrimitiveType::String);
                    crate::literal::repeat(&file.expect("a string is a string"), rows)
                }
                OutputColumn::Position => Arc::new(positions.clone()),
                OutputColumn::Constant(value) => crate::literal::repeat(value, rows),
                OutputColumn::RowId(index, first) => {
                    let inherited = |row: usize| first.map(|first| first + positions.value(row));
                    inherit(index.map(|index| read.column(index)), rows, inherited).map_err(damaged)?
                }
                OutputColumn::LastUpdated(index, number) => {
                    inherit(index.map(|index| read.column(index)), rows, |_| *number).map_err(damaged)?
                }
            });
        }
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.output.clone(), columns, &options).map_err(damaged)
    }

    /// The columns for conditions and keys.
    pub(crate) fn keys(&self, read: &RecordBatch, location: &str) -> Result<HashMap<i32, ArrayRef>> {
        self.keys
            .iter()
            .map(|(id, leaf)| {
                let array = leaf.read(read).map_err(|error| Error::damaged(location, error))?;
                Ok((*id, array))
            })
            .collect()
    }
}

/// The stored values of a lineage column, and where there are none what the row inherits.
fn inherit(
    stored: Option<&ArrayRef>,
    rows: usize,
    inherited: impl Fn(usize) -> Option<i64>,
) -> std::result::Result<ArrayRef, ArrowError> {
    let Some(stored) = stored else {
        return Ok(Arc::new((0..rows).map(inherited).collect::<Int64Array>()));
    };
    let Some(stored) = stored.as_primitive_opt::<Int64Type>() else {
        let reason = format!("a lineage column is {}", stored.data_type());
        return Err(ArrowError::InvalidArgumentError(reason));
    };
    let values = stored.iter().enumerate().map(|(row, value)| value.or_else(|| inherited(row)));
    Ok(Arc::new(values.collect::<Int64Array>()))
}
