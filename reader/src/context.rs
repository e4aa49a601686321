//! What every read needs, and what every row of a read is to look like.

use std::sync::Arc;

use frazil_storage::Env;
use frazil_table::spec::{
    NameMapping, NestedFieldRef, PartitionSpecRef, SchemaRef, Struct, TableMetadata, Transform, Type,
};
use frazil_table::{ManifestCache, Table, partition_type, partition_values};

use crate::footer::FooterCache;
use crate::predicate::{BoundPredicate, struct_path};
use crate::projection::{PARTITION_FIELD_ID, project_of_table};
use crate::row_plan::{Constants, FilePartition};
use crate::stats::ReadCounters;
use crate::{Error, Predicate, ProjectedSchema, Projection, ReadStats, Result};

/// Where bytes come from, what is kept of them, and what reading has cost. Cheap to clone; clones share all of it.
#[derive(Clone, Debug)]
pub struct ReadContext {
    /// Storage, clock, ids.
    pub env: Env,
    /// Manifests that were read lately.
    pub manifests: ManifestCache,
    /// Footers that were read lately.
    pub footers: FooterCache,
    pub(crate) counters: ReadCounters,
}

impl ReadContext {
    /// A context with caches of its own.
    pub fn new(env: &Env) -> Self {
        Self::with_manifests(env, &ManifestCache::default())
    }

    /// A context that shares the manifests that other parts of the program read and write.
    pub fn with_manifests(env: &Env, manifests: &ManifestCache) -> Self {
        Self {
            env: env.clone(),
            manifests: manifests.clone(),
            footers: FooterCache::default(),
            counters: ReadCounters::default(),
        }
    }

    /// The same caches with counters that begin at zero: one for each scan whose cost is asked for.
    pub fn with_fresh_counters(&self) -> Self {
        Self { counters: ReadCounters::default(), ..self.clone() }
    }

    /// What reads through this context have cost.
    pub fn stats(&self) -> ReadStats {
        self.counters.stats()
    }
}

/// What is wanted of every file: columns and a condition, bound to field ids, so that later renames change nothing.
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct ReadSpec(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    metadata: Arc<TableMetadata>,
    schema: SchemaRef,
    projected: ProjectedSchema,
    predicate: BoundPredicate,
    name_mapping: Option<NameMapping>,
    batch_rows: usize,
}

/// Rows of a batch: enough that the cost of a batch is small beside that of its rows, few enough to stay in a cache.
const BATCH_ROWS: usize = 8_192;

impl ReadSpec {
    /// Binds a projection and a condition to one of a table's schemas. Rows that do not match are filtered out exactly.
    ///
    /// # Errors
    /// [`Error::UnknownColumn`] and [`Error::InvalidPredicate`]; [`Error::Damaged`] if the table's name mapping is none.
    pub fn new(
        table: &Table,
        schema: &SchemaRef,
        projection: &Projection,
        predicate: Option<&Predicate>,
    ) -> Result<Self> {
        const NAME_MAPPING: &str = "schema.name-mapping.default";
        let mapping = table.property(NAME_MAPPING).map(serde_json::from_str).transpose();
        let name_mapping = mapping.map_err(|error| {
            Error::damaged(table.metadata_location(), format!("the table property {NAME_MAPPING}: {error}"))
        })?;
        Ok(Self(Arc::new(Inner {
            metadata: table.metadata().clone(),
            schema: schema.clone(),
            projected: project_of_table(schema, projection, &partition_type(table.metadata()))?,
            predicate: predicate.map_or(Ok(BoundPredicate::True), |p| p.bind(schema))?,
            name_mapping,
            batch_rows: BATCH_ROWS,
        })))
    }

    /// The same condition with other columns.
    pub(crate) fn of_columns(&self, projection: &Projection) -> Result<Self> {
        let inner = &self.0;
        Ok(Self(Arc::new(Inner {
            metadata: inner.metadata.clone(),
            schema: inner.schema.clone(),
            projected: project_of_table(&inner.schema, projection, &partition_type(&inner.metadata))?,
            predicate: inner.predicate.clone(),
            name_mapping: inner.name_mapping.clone(),
            batch_rows: inner.batch_rows,
        })))
    }

    /// The same for a newer state of the table, which may have more partition specs.
    pub(crate) fn for_table(&self, table: &Table) -> Self {
        let inner = &self.0;
        Self(Arc::new(Inner {
            metadata: table.metadata().clone(),
            schema: inner.schema.clone(),
            projected: inner.projected.clone(),
            predicate: inner.predicate.clone(),
            name_mapping: inner.name_mapping.clone(),
            batch_rows: inner.batch_rows,
        }))
    }

    /// The columns that come out.
    pub fn projected(&self) -> &ProjectedSchema {
        &self.0.projected
    }

    /// The condition.
    pub fn predicate(&self) -> &BoundPredicate {
        &self.0.predicate
    }

    /// The table's schema that the request was bound to.
    pub fn schema(&self) -> &SchemaRef {
        &self.0.schema
    }

    pub(crate) fn name_mapping(&self) -> Option<&NameMapping> {
        self.0.name_mapping.as_ref()
    }

    pub(crate) fn batch_rows(&self) -> usize {
        self.0.batch_rows
    }

    pub(crate) fn partition_spec(&self, id: i32) -> Option<&PartitionSpecRef> {
        self.0.metadata.partition_spec_by_id(id)
    }

    /// A leaf that has one value in a row, by id, with its dotted path. Equality deletes may name fields that only an
    /// older schema has.
    pub(crate) fn key_field(&self, id: i32) -> Option<KeyField> {
        // The newest of them has the widest type, and so holds what files of all of them hold.
        let mut older: Vec<&SchemaRef> = self.0.metadata.schemas_iter().collect();
        older.sort_by_key(|schema| std::cmp::Reverse(schema.schema_id()));
        std::iter::once(&self.0.schema).chain(older).find_map(|schema| {
            let ids = struct_path(schema.as_struct().fields(), id)?;
            let field = schema.field_by_id(id)?.clone();
            Some(KeyField { field, ids, path: schema.name_by_field_id(id)?.to_owned() })
        })
    }

    /// What the columns of a file's partition show, if one of them is wanted.
    pub(crate) fn partition_of(&self, spec_id: i32, partition: &Struct) -> FilePartition {
        let wanted = self.0.projected.schema().field_by_id(PARTITION_FIELD_ID);
        let values = match wanted.map(|field| field.field_type.as_ref()) {
            Some(Type::Struct(fields)) => partition_values(&self.0.metadata, fields, spec_id, partition),
            _ => Vec::new(),
        };
        FilePartition { spec_id, values }
    }

    /// What a file's partition says of its rows.
    pub(crate) fn constants(&self, partition_spec_id: i32, partition: &Struct) -> Constants {
        let Some(spec) = self.partition_spec(partition_spec_id) else { return Constants::new() };
        let identities = spec.fields().iter().zip(partition.iter());
        identities
            .filter(|(field, _)| field.transform == Transform::Identity)
            .map(|(field, value)| (field.source_id, value.and_then(|v| v.as_primitive_literal())))
            .collect()
    }
}

/// A leaf that conditions and equality deletes look at.
#[derive(Clone, Debug)]
pub(crate) struct KeyField {
    pub field: NestedFieldRef,
    /// The structs around it, outermost first, and itself.
    pub ids: Vec<i32>,
    /// Dotted, for people.
    pub path: String,
}
