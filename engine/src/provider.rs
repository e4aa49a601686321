//! Tables as DataFusion sees them.
//!
//! [`IcebergTableProvider`] is one Iceberg table at one snapshot. A query's way through it:
//! 1. Conditions that the reader can decide exactly become a [`Predicate`]; DataFusion keeps
//!    the others for itself (`filter`).
//! 2. Files are left out by their partition and column bounds, the rest is dealt out to partitions by size.
//! 3. The scan takes over projections that DataFusion's optimizer hands down, fields of structs too, so that only the
//!    leaves that a query uses are fetched (`scan`, `path`).
//! 4. Counts and bounds from the manifests tell the planner which side of a join is small, and answer `COUNT(*)`
//!    without a read (`statistics`).

mod changelog;
mod condition;
mod filter;
mod metadata_table;
mod path;
mod scan;
mod source;
mod statistics;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema as ArrowSchema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session as DfSession, TableProvider};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use frazil_reader::{
    FILE_COLUMN, LAST_UPDATED_COLUMN, PARTITION_COLUMN, POS_COLUMN, Predicate, Projection, ROW_ID_COLUMN, ReadContext,
    SPEC_ID_COLUMN, ScanRequest, SnapshotSelector, plan_scan, select_snapshot,
};
use frazil_table::spec::{FormatVersion, SchemaRef as TableSchemaRef, Type};
use frazil_table::{Table, TableState, io, partition_type};

use crate::{Error, Result};
pub(crate) use filter::equal_to;
use path::Output;

pub use changelog::ChangelogTableProvider;
pub use condition::ConditionParser;
pub use metadata_table::{MetadataTable, metadata_table, schema_of_metadata};
pub use scan::IcebergScanExec;
pub use source::SourceTableProvider;

/// One Iceberg table at one snapshot.
pub struct IcebergTableProvider {
    context: ReadContext,
    state: Arc<TableState>,
    selector: SnapshotSelector,
    table_schema: TableSchemaRef,
    /// The table's columns, then those of metadata that were asked for.
    schema: SchemaRef,
}

impl fmt::Debug for IcebergTableProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot_id = self.state.snapshot_id();
        f.debug_struct("IcebergTableProvider")
            .field("table", self.table().ident())
            .field("snapshot_id", &snapshot_id)
            .finish_non_exhaustive()
    }
}

impl IcebergTableProvider {
    /// Loads the manifests of a snapshot. Queries through this provider all see that snapshot.
    ///
    /// # Errors
    /// The snapshot does not exist, or its manifests can't be read.
    pub async fn load(context: ReadContext, table: &Table, selector: SnapshotSelector) -> Result<Self> {
        let selected = select_snapshot(table, &selector)?;
        let state = io::load_state_at(
            &context.env.store,
            &context.manifests,
            table,
            &selected.ref_name,
            selected.snapshot,
            io::Entries::All,
        );
        let state = Arc::new(state.await?);
        let schema = Arc::new(bare_schema(&frazil_table::arrow::arrow_schema(&selected.schema)?));
        Ok(Self { context, state, selector, table_schema: selected.schema, schema })
    }

    /// The same with metadata columns behind the table's own: `_file` and `_pos`, and in a table of format version 3
    /// `_row_id`. Where rows are changed, they say which.
    ///
    /// # Errors
    /// [`Error::Unfit`] if the table has a column of such a name.
    pub fn with_places(mut self) -> Result<Self> {
        let mut fields: Vec<_> = self.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        for place in place_fields(self.table()) {
            if self.schema.field_with_name(place.name()).is_ok() {
                let reason = "the name is one of Iceberg's own; rename the column first".to_owned();
                return Err(Error::Unfit { column: place.name().clone(), reason });
            }
            fields.push(place);
        }
        self.schema = Arc::new(ArrowSchema::new(fields));
        Ok(self)
    }

    /// The same with some of the metadata columns behind the table's own: [`METADATA_COLUMNS`]. Those that the table has
    /// no such thing for, or has a column of that name of its own, are left out.
    ///
    /// # Errors
    /// A partition of a type that Arrow lacks.
    pub fn with_metadata_columns(mut self, names: &[&str]) -> Result<Self> {
        let fields = with_metadata_fields(&self.schema, self.table(), names)?;
        self.schema = Arc::new(fields);
        Ok(self)
    }

    /// The condition on rows that all of the filters make, if the reader decides each of them exactly.
    pub fn predicate_of(&self, filters: &[Expr]) -> Option<Predicate> {
        filters.iter().map(|filter| self.predicate(filter)).try_fold(Predicate::True, |all, one| Some(all.and(one?)))
    }

    /// The snapshot with all of its files.
    pub fn state(&self) -> &Arc<TableState> {
        &self.state
    }

    /// The table.
    pub fn table(&self) -> &Table {
        self.state.table()
    }

    /// The condition that the reader decides exactly, or `None`: then DataFusion has to.
    fn predicate(&self, filter: &Expr) -> Option<Predicate> {
        let predicate = filter::predicate(filter, &self.schema)?;
        predicate.bind(&self.table_schema).is_ok().then_some(predicate)
    }
}

#[async_trait]
impl TableProvider for IcebergTableProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        Ok(filter::support(filters, |filter| self.predicate(filter)))
    }

    async fn scan(
        &self,
        state: &dyn DfSession,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let columns = projection.unwrap_or(&all);
        let outputs: Vec<Output> = columns.iter().map(|index| Output::column(self.schema.field(*index))).collect();
        let predicate = filter::all_of(filters, |filter| self.predicate(filter))?;
        let request = ScanRequest {
            snapshot: self.selector.clone(),
            projection: projection_of(&outputs),
            predicate: predicate.clone(),
            split_size_bytes: None,
        };
        let plan = plan_scan(&self.state, &request).map_err(external)?;
        let scan = IcebergScanExec::new(scan::Scan {
            context: self.context.with_fresh_counters(),
            table: self.table().clone(),
            table_schema: Arc::clone(&self.table_schema),
            schema: Arc::clone(&self.schema),
            predicate,
            partitions: plan.partitions(state.config().target_partitions()),
            plan: Arc::new(plan),
            outputs,
            limit,
        })?;
        Ok(Arc::new(scan))
    }
}

/// The metadata columns, which a query sees where it names them.
pub const METADATA_COLUMNS: [&str; 6] =
    [FILE_COLUMN, POS_COLUMN, SPEC_ID_COLUMN, PARTITION_COLUMN, ROW_ID_COLUMN, LAST_UPDATED_COLUMN];

/// A table's columns, and behind them those of metadata that are named.
pub(crate) fn with_metadata_fields(schema: &ArrowSchema, table: &Table, names: &[&str]) -> Result<ArrowSchema> {
    let metadata = table.metadata();
    let has_lineage = metadata.format_version() >= FormatVersion::V3;
    let mut fields: Vec<_> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    for name in names.iter().copied().filter(|name| schema.field_with_name(name).is_err()) {
        fields.push(match name {
            FILE_COLUMN => Field::new(name, DataType::Utf8, false),
            POS_COLUMN => Field::new(name, DataType::Int64, false),
            SPEC_ID_COLUMN => Field::new(name, DataType::Int32, false),
            ROW_ID_COLUMN | LAST_UPDATED_COLUMN if has_lineage => Field::new(name, DataType::Int64, true),
            PARTITION_COLUMN => {
                let partition = partition_type(metadata);
                if partition.fields().is_empty() {
                    continue;
                }
                let data_type = frazil_table::arrow::arrow_type(&Type::Struct(partition))?;
                Field::new(name, bare_type(&data_type), false)
            }
            _ => continue,
        });
    }
    Ok(ArrowSchema::new(fields))
}

/// The columns of [`IcebergTableProvider::with_places`].
pub(crate) fn place_fields(table: &Table) -> Vec<Field> {
    let mut fields =
        vec![Field::new(FILE_COLUMN, DataType::Utf8, false), Field::new(POS_COLUMN, DataType::Int64, false)];
    if table.metadata().format_version() >= FormatVersion::V3 {
        fields.push(Field::new(ROW_ID_COLUMN, DataType::Int64, true));
    }
    fields
}

fn projection_of(outputs: &[Output]) -> Projection {
    Projection::paths(outputs.iter().map(|output| output.path.dotted()))
}

fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The schema without the fields' metadata: two tables' columns are the same to DataFusion only if that is.
fn bare_schema(schema: &ArrowSchema) -> ArrowSchema {
    ArrowSchema::new(bare_fields(schema.fields()))
}

fn bare_fields(fields: &Fields) -> Fields {
    fields.iter().map(|field| Arc::new(bare_field(field))).collect()
}

fn bare_field(field: &Field) -> Field {
    Field::new(field.name(), bare_type(field.data_type()), field.is_nullable())
}

fn bare_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Struct(fields) => DataType::Struct(bare_fields(fields)),
        DataType::List(element) => DataType::List(Arc::new(bare_field(element))),
        DataType::Map(entries, sorted) => DataType::Map(Arc::new(bare_field(entries)), *sorted),
        leaf => leaf.clone(),
    }
}
