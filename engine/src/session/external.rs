//! A table of a connector other than `iceberg`: its definition is all that the session keeps.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::ExprWithAlias;

use super::TablePath;
use crate::Result;
use crate::connectors::TableDefinition;
use crate::options::Options;
use crate::sql::{Column, ColumnKind, CreateTable, planner};

/// The key under which an Arrow field's metadata holds the connector's name of a `METADATA` column.
pub const METADATA_KEY: &str = "frazil.metadata";

/// A table that is no Iceberg table.
#[derive(Clone, Debug)]
pub struct ExternalTable {
    path: TablePath,
    definition: CreateTable,
    connector: String,
    script: String,
}

impl ExternalTable {
    pub(super) fn new(path: TablePath, definition: CreateTable, connector: String, script: &str) -> Self {
        Self { path, definition, connector, script: script.to_owned() }
    }

    /// Its name.
    pub fn path(&self) -> &TablePath {
        &self.path
    }

    /// The statement that made it: columns, watermark, key.
    pub fn definition(&self) -> &CreateTable {
        &self.definition
    }

    /// `kafka`, `filesystem`, …
    pub fn connector(&self) -> &str {
        &self.connector
    }

    /// What stands in `WITH`, `connector` too.
    pub fn options(&self) -> &Options {
        &self.definition.options
    }

    /// The text in which the definition stands at its place, for errors.
    pub fn script(&self) -> &str {
        &self.script
    }

    /// What a connector has to know of it. `options` are its own with those of a hint over them.
    pub fn to_connector(&self, options: &Options) -> TableDefinition {
        let definition = TableDefinition::from_statement(&self.definition);
        TableDefinition { name: self.path.to_string(), options: options.clone(), ..definition }
    }

    /// What the connector reads: physical and metadata columns in the order of the definition. A metadata column's field
    /// holds the connector's name for it under `METADATA_KEY`.
    pub fn source_schema(&self) -> SchemaRef {
        self.schema_of(|_| true)
    }

    /// What is written into the table: the same without virtual metadata columns.
    pub fn sink_schema(&self) -> SchemaRef {
        self.schema_of(|column| !matches!(column.kind, ColumnKind::Metadata { is_virtual: true, .. }))
    }

    fn schema_of(&self, keep: impl Fn(&Column) -> bool) -> SchemaRef {
        let columns = self.definition.columns.iter().filter(|column| keep(column));
        Arc::new(Schema::new(columns.filter_map(source_field).collect::<Vec<_>>()))
    }

    /// The table as queries see it: a provider of the source's columns with the computed ones between them.
    ///
    /// # Errors
    /// The expression of a computed column can't be planned.
    pub(super) fn visible(
        &self,
        source: Arc<dyn TableProvider>,
        state: &SessionState,
    ) -> Result<Arc<dyn TableProvider>> {
        let columns = &self.definition.columns;
        if columns.iter().all(|column| !matches!(column.kind, ColumnKind::Computed(_))) {
            return Ok(source);
        }
        let scan = LogicalPlanBuilder::scan(self.path.table.as_str(), provider_as_source(source), None)?;
        let placed = |error| planner::planning_error(error, &self.script);
        let mut outputs = Vec::with_capacity(columns.len());
        for column in columns {
            outputs.push(match &column.kind {
                ColumnKind::Computed(expr) => {
                    let expr = ExprWithAlias { expr: expr.as_ref().clone(), alias: None };
                    let planned = state.create_logical_expr_from_sql_expr(expr, scan.schema()).map_err(placed)?;
                    planned.alias(&column.name)
                }
                ColumnKind::Physical(_) | ColumnKind::Metadata { .. } => {
                    let (qualifier, field) = scan.schema().qualified_field_with_unqualified_name(&column.name)?;
                    Expr::from((qualifier, field))
                }
            });
        }
        // A source may find more columns than are declared.
        let declared = |name: &str| columns.iter().any(|column| column.name == name);
        let found = scan.schema().iter().filter(|(_, field)| !declared(field.name()));
        outputs.extend(found.map(|(qualifier, field)| Expr::from((qualifier, field))));
        let plan = scan.project(outputs).and_then(LogicalPlanBuilder::build).map_err(placed)?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }
}

fn source_field(column: &Column) -> Option<Field> {
    let field = column.data_type()?.to_field(&column.name);
    Some(match &column.kind {
        ColumnKind::Metadata { key, .. } => {
            let key = key.as_ref().unwrap_or(&column.name).clone();
            field.with_metadata(HashMap::from([(METADATA_KEY.to_owned(), key)]))
        }
        _ => field,
    })
}
