//! The columns that tell a table's rows apart, and keys as bytes that can be compared and hashed.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StructArray};
use arrow::datatypes::{DataType, Fields, SchemaRef as ArrowSchemaRef};
use arrow::row::{RowConverter, Rows, SortField};
use frazil_table::arrow::arrow_schema;
use frazil_table::spec::{NestedField, NestedFieldRef, PrimitiveType, Schema, SchemaRef, StructType, Type};

use crate::{Error, Result};

/// The key of a table: leaf columns, in structs too, that have one value in every row and are never null.
///
/// Floating-point columns can't be in a key (Iceberg spec, "Identifier Field IDs"): NaN and the two zeros have no one
/// meaning of "equal" that all readers share.
#[derive(Debug)]
pub struct KeyColumns {
    ids: Vec<i32>,
    /// The table's schema without all other columns.
    schema: SchemaRef,
    arrow: ArrowSchemaRef,
    /// For each leaf, in the order of the schema: its places in the key's own schema, and its name.
    leaves: Vec<(Vec<usize>, String)>,
    /// For each top-level column of the key: the columns of the table that it is made of.
    picks: Vec<Pick>,
    converter: RowConverter,
}

/// A column, and what is taken of it.
#[derive(Debug)]
struct Pick {
    column: usize,
    /// `None`: all of it.
    children: Option<(Fields, Vec<Pick>)>,
}

/// Keys of rows, each as bytes that are equal exactly if the keys are.
#[derive(Debug)]
pub(crate) struct Keys {
    rows: Rows,
}

impl KeyColumns {
    /// The key that a table's identifier fields make (Iceberg spec, "Identifier Field IDs"); `None` if it has none.
    ///
    /// # Errors
    /// As [`KeyColumns::new`].
    pub fn of(schema: &Schema) -> Result<Option<Self>> {
        let ids: Vec<i32> = schema.identifier_field_ids().collect();
        if ids.is_empty() { Ok(None) } else { Self::new(schema, &ids).map(Some) }
    }

    /// A key of some columns by field id.
    ///
    /// # Errors
    /// [`Error::BadKey`] for an empty key, and for a column that is not there, nested in a list or map, a struct, or
    /// floating-point.
    pub fn new(schema: &Schema, ids: &[i32]) -> Result<Self> {
        let wanted: BTreeSet<i32> = ids.iter().copied().collect();
        let name = |id: i32| schema.name_by_field_id(id).map_or_else(|| format!("id {id}"), str::to_owned);
        let bad = |field: String, reason: &str| Err(Error::BadKey { field, reason: reason.to_owned() });
        if wanted.is_empty() {
            return bad("*".to_owned(), "a key has at least one column");
        }
        let mut leaves = Vec::new();
        let (fields, picks) = prune(schema.as_struct().fields(), &wanted, &mut Vec::new(), &mut leaves);
        for id in &wanted {
            match schema.field_by_id(*id).map(|field| field.field_type.as_ref()) {
                None => return bad(name(*id), "the table has no such column"),
                Some(Type::Primitive(PrimitiveType::Float | PrimitiveType::Double)) => {
                    return bad(name(*id), "a floating-point column can't be in a key");
                }
                Some(Type::Primitive(_)) if leaves.iter().any(|(leaf, _)| leaf == id) => {}
                Some(Type::Primitive(_)) => return bad(name(*id), "a column in a list or a map can't be in a key"),
                Some(_) => return bad(name(*id), "a column of a nested type can't be in a key: name its leaves"),
            }
        }
        let pruned = Schema::builder().with_schema_id(schema.schema_id()).with_fields(fields).build();
        let pruned = pruned.map_err(|error| Error::BadKey { field: "*".to_owned(), reason: error.to_string() })?;
        let arrow = Arc::new(arrow_schema(&pruned)?);
        let sort = leaves.iter().map(|(id, _)| {
            let field = schema.field_by_id(*id).expect("looked up above");
            Ok(SortField::new(frazil_table::arrow::arrow_type(&field.field_type)?))
        });
        let converter = RowConverter::new(sort.collect::<Result<_>>()?).map_err(Error::arrow("making a key"))?;
        Ok(Self {
            ids: leaves.iter().map(|(id, _)| *id).collect(),
            leaves: leaves.into_iter().map(|(id, places)| (places, name(id))).collect(),
            schema: Arc::new(pruned),
            arrow,
            picks,
            converter,
        })
    }

    /// The field ids, in the order of the schema.
    pub fn ids(&self) -> &[i32] {
        &self.ids
    }

    /// The names of the leaves, dotted, in the order of the schema.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.leaves.iter().map(|(_, name)| name.as_str())
    }

    /// The table's columns that the key's leaves are, or stand in, by their position.
    pub fn columns(&self) -> impl Iterator<Item = usize> {
        self.picks.iter().map(|pick| pick.column)
    }

    /// The table's schema with the key's columns alone.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The same in Arrow's terms: what batches of keys look like.
    pub fn arrow_schema(&self) -> &ArrowSchemaRef {
        &self.arrow
    }

    /// The keys of a batch that has the table's columns.
    ///
    /// # Errors
    /// [`Error::RequiredNull`] names the column and the row of the first key that is null, or has a null in it.
    pub fn keys_of(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.picks.iter().map(|pick| pick.take(batch.column(pick.column))).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        self.check_nulls(&columns)?;
        RecordBatch::try_new_with_options(self.arrow.clone(), columns, &options).map_err(Error::arrow("taking keys"))
    }

    /// Keys as bytes. `keys` has the columns of [`KeyColumns::arrow_schema`] first, by position.
    ///
    /// # Errors
    /// As [`KeyColumns::keys_of`]; [`Error::BadBatch`] for columns of other types.
    pub(crate) fn encode(&self, keys: &RecordBatch) -> Result<Keys> {
        if keys.num_columns() < self.arrow.fields().len() {
            return Err(Error::bad_batch("*", "a batch of keys lacks columns of the key"));
        }
        let leaves = self.leaf_arrays(keys.columns());
        self.check_nulls(keys.columns())?;
        let rows = self.converter.convert_columns(&leaves).map_err(Error::arrow("encoding keys"))?;
        Ok(Keys { rows })
    }

    /// Which rows of a batch have a whole key, where that is not sure: rows of other writers.
    pub(crate) fn complete_rows(&self, keys: &RecordBatch) -> Option<Vec<bool>> {
        let mut complete: Option<Vec<bool>> = None;
        let mut note = |array: &ArrayRef| {
            if let Some(nulls) = array.logical_nulls().filter(|nulls| nulls.null_count() > 0) {
                let complete = complete.get_or_insert_with(|| vec![true; array.len()]);
                complete.iter_mut().zip(nulls.iter()).for_each(|(complete, valid)| *complete &= valid);
            }
        };
        for (places, _) in &self.leaves {
            let mut array = keys.column(places[0]).clone();
            note(&array);
            for child in &places[1..] {
                array = array.as_struct().column(*child).clone();
                note(&array);
            }
        }
        complete
    }

    fn leaf_arrays(&self, columns: &[ArrayRef]) -> Vec<ArrayRef> {
        let leaf = |places: &Vec<usize>| {
            let top = columns[places[0]].clone();
            places[1..].iter().fold(top, |array, child| array.as_struct().column(*child).clone())
        };
        self.leaves.iter().map(|(places, _)| leaf(places)).collect()
    }

    fn check_nulls(&self, columns: &[ArrayRef]) -> Result<()> {
        for (places, name) in &self.leaves {
            let mut array = columns[places[0]].clone();
            for depth in 1..=places.len() {
                if let Some(nulls) = array.logical_nulls().filter(|nulls| nulls.null_count() > 0) {
                    let row = nulls.iter().position(|valid| !valid).expect("a null was counted");
                    return Err(Error::RequiredNull { field: name.clone(), row });
                }
                let Some(child) = places.get(depth) else { break };
                array = array.as_struct().column(*child).clone();
            }
        }
        Ok(())
    }
}

impl Pick {
    fn take(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let Some((fields, picks)) = &self.children else { return Ok(array.clone()) };
        let structs = array.as_struct();
        let children = picks.iter().map(|pick| pick.take(structs.column(pick.column))).collect::<Result<Vec<_>>>()?;
        let nulls = structs.nulls().cloned();
        let taken = StructArray::try_new_with_length(fields.clone(), children, nulls, structs.len());
        Ok(Arc::new(taken.map_err(Error::arrow("taking keys"))?))
    }
}

/// The fields that are wanted or hold one that is, the way to take them, and each wanted leaf with its places.
fn prune(
    fields: &[NestedFieldRef],
    wanted: &BTreeSet<i32>,
    around: &mut Vec<usize>,
    leaves: &mut Vec<(i32, Vec<usize>)>,
) -> (Vec<NestedFieldRef>, Vec<Pick>) {
    let (mut kept, mut picks) = (Vec::new(), Vec::new());
    for (column, field) in fields.iter().enumerate() {
        around.push(kept.len());
        match field.field_type.as_ref() {
            Type::Primitive(_) if wanted.contains(&field.id) => {
                leaves.push((field.id, around.clone()));
                kept.push(field.clone());
                picks.push(Pick { column, children: None });
            }
            Type::Struct(nested) => {
                let (inner, inner_picks) = prune(nested.fields(), wanted, around, leaves);
                if !inner.is_empty() {
                    let pruned = NestedField {
                        field_type: Box::new(Type::Struct(StructType::new(inner))),
                        ..field.as_ref().clone()
                    };
                    let children = match frazil_table::arrow::arrow_type(&pruned.field_type) {
                        Ok(DataType::Struct(fields)) => Some((fields, inner_picks)),
                        _ => None,
                    };
                    kept.push(Arc::new(pruned));
                    picks.push(Pick { column, children });
                }
            }
            _ => {}
        }
        around.pop();
    }
    (kept, picks)
}

impl Keys {
    pub(crate) fn len(&self) -> usize {
        self.rows.num_rows()
    }

    pub(crate) fn get(&self, row: usize) -> &[u8] {
        self.rows.row(row).data()
    }

    /// A hash for each key. `seed` differs from run to run, so that nobody can prepare keys that collide.
    pub(crate) fn hashes(&self, seed: u64) -> impl Iterator<Item = u64> + '_ {
        let build = BuildHasherDefault::<DefaultHasher>::default();
        self.rows.iter().map(move |row| {
            let mut hasher = build.build_hasher();
            hasher.write_u64(seed);
            hasher.write(row.data());
            hasher.finish()
        })
    }
}

#[cfg(test)]
mod tests;
