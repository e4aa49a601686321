//! Partition values of before a column's type was widened (Iceberg spec, "Schema Evolution").
//!
//! A file keeps the partition that it was written into, and its manifest the type of that time: a partition of the int 1
//! is one of the long 1 once the column is a long. Partitions are compared and written anew as values, so whatever comes
//! from a manifest or from a caller who saw an older schema is widened to the types of now first.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::TableFile;
use crate::change::{Change, DeleteFiles, Overwrite, RewriteDeletes, RowDelta};
use crate::data_file_builder;
use crate::spec::{
    DataFile, Literal, ManifestEntry, PartitionSpec, PrimitiveLiteral, PrimitiveType, SchemaRef, Struct, TableMetadata,
    Type,
};

/// The schema that a partition spec's types come from: the current one, or the newest that still has the columns that the
/// spec is made from. A column may go once no new file is partitioned by it, and its old files stay.
pub(crate) fn schema_of_spec(metadata: &TableMetadata, spec: &PartitionSpec) -> SchemaRef {
    let current = metadata.current_schema();
    let has_sources = |schema: &SchemaRef| spec.partition_type(schema).is_ok();
    let older = metadata.schemas_iter().filter(|schema| has_sources(schema)).max_by_key(|schema| schema.schema_id());
    match has_sources(current) {
        true => current.clone(),
        false => older.unwrap_or(current).clone(),
    }
}

/// A value in the wider of the two types that it may have; others as they are.
fn widest(value: &Literal) -> Literal {
    match value {
        Literal::Primitive(PrimitiveLiteral::Int(v)) => Literal::long(i64::from(*v)),
        Literal::Primitive(PrimitiveLiteral::Float(v)) => Literal::double(f64::from(v.0)),
        other => other.clone(),
    }
}

/// A tuple whose values have the widest types: equal for equal partitions, whatever their schemas.
pub(crate) fn widest_tuple(tuple: &Struct) -> Struct {
    Struct::from_iter(tuple.iter().map(|value| value.map(widest)))
}

/// Which partition fields of a table's specs have a type now that another one may become.
#[derive(Debug, Default)]
pub(crate) struct Promotions {
    /// By spec id; specs without such a field are left out.
    wide_fields: HashMap<i32, Vec<bool>>,
}

impl Promotions {
    pub(crate) fn of(metadata: &TableMetadata) -> Self {
        // Types only change with schemas.
        if metadata.schemas_iter().len() < 2 {
            return Self::default();
        }
        let wide_fields = metadata.partition_specs_iter().filter_map(|spec| {
            let types = spec.partition_type(&schema_of_spec(metadata, spec)).ok()?;
            let is_wide =
                |field_type: &Type| matches!(field_type, Type::Primitive(PrimitiveType::Long | PrimitiveType::Double));
            let wide: Vec<bool> = types.fields().iter().map(|field| is_wide(&field.field_type)).collect();
            wide.contains(&true).then_some((spec.spec_id(), wide))
        });
        Self { wide_fields: wide_fields.collect() }
    }

    /// The tuple in the types of now; `None` if it is in them.
    fn widen(&self, partition_spec_id: i32, tuple: &Struct) -> Option<Struct> {
        let wide = self.wide_fields.get(&partition_spec_id)?;
        let is_narrow = |value: Option<&Literal>| {
            matches!(value, Some(Literal::Primitive(PrimitiveLiteral::Int(_) | PrimitiveLiteral::Float(_))))
        };
        let due = wide.iter().zip(tuple.iter()).any(|(wide, value)| *wide && is_narrow(value));
        let widened =
            |(wide, value): (&bool, Option<&Literal>)| value.map(|v| if *wide { widest(v) } else { v.clone() });
        due.then(|| Struct::from_iter(wide.iter().zip(tuple.iter()).map(widened)))
    }

    fn widen_file(&self, partition_spec_id: i32, file: &DataFile) -> Option<DataFile> {
        let tuple = self.widen(partition_spec_id, file.partition())?;
        let mut builder = data_file_builder(file, partition_spec_id);
        Some(builder.partition(tuple).build().expect("every field that must be set is set"))
    }

    /// The entries of a manifest with partitions in the types of now; the same ones if they are in them.
    pub(crate) fn widen_entries(
        &self,
        partition_spec_id: i32,
        entries: Arc<Vec<ManifestEntry>>,
    ) -> Arc<Vec<ManifestEntry>> {
        let is_due = |entry: &ManifestEntry| self.widen(partition_spec_id, entry.data_file.partition()).is_some();
        if !self.wide_fields.contains_key(&partition_spec_id) || !entries.iter().any(is_due) {
            return entries;
        }
        let mut entries = Arc::unwrap_or_clone(entries);
        for entry in &mut entries {
            if let Some(file) = self.widen_file(partition_spec_id, &entry.data_file) {
                entry.data_file = file;
            }
        }
        Arc::new(entries)
    }

    /// Changes whose files have partitions in the types of now. They are copied only where a type has changed.
    pub(crate) fn widen_changes<'a>(&self, changes: &'a [Change]) -> Cow<'a, [Change]> {
        if self.wide_fields.is_empty() {
            return Cow::Borrowed(changes);
        }
        let mut changes = changes.to_vec();
        for file in changes.iter_mut().flat_map(files_of).flatten() {
            if let Some(widened) = self.widen_file(file.partition_spec_id, &file.file) {
                file.file = widened;
            }
        }
        Cow::Owned(changes)
    }
}

/// The files that a change brings or names.
fn files_of(change: &mut Change) -> Vec<&mut [TableFile]> {
    match change {
        Change::Append { files, .. } => vec![files],
        Change::RowDelta(RowDelta { data_files, delete_files, removed_delete_files, .. }) => {
            vec![data_files, delete_files, removed_delete_files]
        }
        Change::Replace { added, carried, .. } => {
            let carried = carried.as_mut().map(|carried| carried.delete_files.as_mut_slice());
            std::iter::once(added.as_mut_slice()).chain(carried).collect()
        }
        Change::Overwrite(Overwrite { added, .. }) => vec![added],
        Change::RewriteDeletes(RewriteDeletes { removed, added, .. }) => vec![removed, added],
        Change::DeleteFiles(DeleteFiles { .. })
        | Change::RewriteManifests(_)
        | Change::ExpireSnapshots { .. }
        | Change::SetProperties(_)
        | Change::RemoveProperties(_)
        | Change::Metadata(_) => Vec::new(),
    }
}
