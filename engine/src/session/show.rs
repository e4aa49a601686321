//! `SHOW …`.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::logical_expr::{col, lit};
use frazil_catalog::Error as CatalogError;

use super::describe;
use super::resolve::{Local, Resolved, namespace};
use super::text::refuse;
use super::{Executed, Session};
use crate::Result;
use crate::sql::{Name, Show};

impl Session {
    pub(super) async fn show(&self, show: &Show, script: &str) -> Result<Executed> {
        let rows = match show {
            Show::Catalogs => names("catalog name", self.catalogs.keys().cloned().collect()),
            Show::CurrentCatalog => names("current catalog name", vec![self.current.catalog.clone()]),
            Show::CurrentDatabase => names("current database name", vec![self.current.database.clone()]),
            Show::Databases { catalog } => {
                let (name, at) = match catalog {
                    Some(name) => (name.last(), name.clone()),
                    None => (self.current.catalog.as_str(), Name::new([self.current.catalog.as_str()])),
                };
                let found = self.catalog_or_refuse(name, &at, script)?.list_namespaces(None).await?;
                names("database name", found.iter().map(|ident| ident.as_ref().join(".")).collect())
            }
            Show::Tables { database, like } => self.show_tables(database.as_ref(), like.as_deref(), script).await?,
            Show::Views => names("view name", self.locals_in(&self.current.catalog, &self.current.database, true)),
            Show::CreateTable(name) => {
                let text = match self.resolve(name, script).await? {
                    Resolved::Iceberg(table) => describe::create_iceberg(&table),
                    Resolved::External(table) => describe::create_external(&table),
                    Resolved::View(view) => {
                        let help = Some(format!("DESCRIBE {name} shows its columns"));
                        return refuse(format!("'{}' is a view", view.path.table), help, name, script);
                    }
                };
                names("create table", vec![text])
            }
            Show::Jobs => {
                let name = Name::new(["jobs"]);
                let help = Some("a job runs in the program that was started with it".to_owned());
                return refuse("SHOW JOBS is not supported", help, &name, script);
            }
        };
        Ok(Executed::Rows(rows))
    }

    async fn show_tables(&self, database: Option<&Name>, like: Option<&str>, script: &str) -> Result<RecordBatch> {
        let here = Name::new([self.current.database.as_str()]);
        let at = database.unwrap_or(&here);
        let (catalog, database) = self.database_of(at);
        let mut tables: Vec<String> =
            match self.catalog_or_refuse(&catalog, at, script)?.list_tables(&namespace(&database)).await {
                Ok(idents) => idents.into_iter().map(|ident| ident.name).collect(),
                Err(CatalogError::NoSuchNamespace(_)) => {
                    return self.refuse_unknown_database(&catalog, &database, at, script).await;
                }
                Err(error) => return Err(error.into()),
            };
        tables.extend(self.locals_in(&catalog, &database, false));
        tables.sort();
        tables.dedup();
        let rows = names("table name", tables);
        match like {
            Some(pattern) => self.filtered(&rows, pattern),
            None => Ok(rows),
        }
    }

    fn locals_in(&self, catalog: &str, database: &str, views_only: bool) -> Vec<String> {
        let here = self.locals.iter().filter(|(path, local)| {
            path.catalog == catalog && path.database == database && (!views_only || matches!(local, Local::View(_)))
        });
        here.map(|(path, _)| path.table.clone()).collect()
    }

    /// The rows whose name is like the pattern.
    fn filtered(&self, rows: &RecordBatch, pattern: &str) -> Result<RecordBatch> {
        use datafusion::common::{DFSchema, ToDFSchema};
        let schema: DFSchema = rows.schema().to_dfschema()?;
        let column = col(datafusion::common::Column::new_unqualified(rows.schema_ref().field(0).name()));
        let expr = self.state.create_physical_expr(column.like(lit(pattern)), &schema)?;
        let kept = expr.evaluate(rows)?.into_array(rows.num_rows())?;
        let kept = arrow::array::AsArray::as_boolean(&kept);
        Ok(arrow::compute::filter_record_batch(rows, kept).map_err(datafusion::error::DataFusionError::from)?)
    }
}

fn names(title: &str, names: Vec<String>) -> RecordBatch {
    let column = Arc::new(StringArray::from(names)) as ArrayRef;
    RecordBatch::try_from_iter([(title, column)]).expect("one column")
}
