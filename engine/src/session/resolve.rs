//! Which table a name means.
//!
//! Missing parts of a name are the session's current catalog and database. The session's own tables and views come
//! before those of the catalog, so that a temporary table hides a lasting one.

use std::fmt;
use std::sync::Arc;

use frazil_catalog::CatalogRef;
use frazil_table::Table;
use frazil_table::spec::{NamespaceIdent, TableIdent};

use super::external::ExternalTable;
use super::iceberg_options;
use super::text::refuse;
use super::{Current, Session};
use crate::Result;
use crate::options::Options;
use crate::sql::{Name, Query};
use crate::suggest::{nearest, one_of};

/// How many near names an error lists.
const NEAR_MAX: usize = 3;
/// How many names an error lists when none is near.
const LISTED_MAX: usize = 8;

/// A table's name with all its parts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TablePath {
    /// The catalog, as the session calls it.
    pub catalog: String,
    /// The database: a namespace, its levels joined by dots.
    pub database: String,
    /// The table's own name.
    pub table: String,
}

impl TablePath {
    /// The name within its catalog.
    pub fn ident(&self) -> TableIdent {
        TableIdent::new(namespace(&self.database), self.table.clone())
    }

    /// As a name of three parts.
    pub fn name(&self) -> Name {
        Name::new([self.catalog.as_str(), &self.database, &self.table])
    }
}

impl fmt::Display for TablePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name().fmt(f)
    }
}

/// The namespace that a database's name means.
pub(super) fn namespace(database: &str) -> NamespaceIdent {
    NamespaceIdent::from_strs(database.split('.')).expect("a text that is split has at least one part")
}

/// What a name means.
#[derive(Clone, Debug)]
pub enum Resolved {
    /// A table in a catalog.
    Iceberg(IcebergTable),
    /// A table of another connector.
    External(Arc<ExternalTable>),
    /// A query with a name.
    View(Arc<View>),
}

/// A table in a catalog, as it was when its name was resolved.
#[derive(Clone, Debug)]
pub struct IcebergTable {
    /// Its name in the session.
    pub path: TablePath,
    /// Where it was found.
    pub catalog: CatalogRef,
    /// The table.
    pub table: Table,
    /// Its properties that say how a job reads or writes it, such as `auto-compact`.
    pub options: Options,
}

/// A view.
#[derive(Clone, Debug)]
pub struct View {
    /// Its name.
    pub path: TablePath,
    /// Names of its columns; those of the query when there are none.
    pub columns: Vec<String>,
    /// What it shows.
    pub query: Query,
    /// The text of the query's statement at its place in the script, for errors.
    pub(super) script: String,
    /// Where the names in the query are looked up.
    pub(super) current: Current,
    /// The comment.
    pub comment: Option<String>,
}

/// What lives in the session only.
#[derive(Clone, Debug)]
pub(super) enum Local {
    Table(Arc<ExternalTable>),
    View(Arc<View>),
}

impl Session {
    /// The full name of a table.
    pub fn path_of(&self, name: &Name) -> TablePath {
        self.path_from(name, &self.current)
    }

    pub(super) fn path_from(&self, name: &Name, current: &Current) -> TablePath {
        TablePath {
            catalog: name.catalog().unwrap_or(&current.catalog).to_owned(),
            database: name.database().unwrap_or(&current.database).to_owned(),
            table: name.last().to_owned(),
        }
    }

    /// What a name means now. `script` is the text that the name stands in; errors show its line.
    ///
    /// # Errors
    /// No such catalog, database or table, with the nearest names; what the catalog says.
    pub async fn resolve(&self, name: &Name, script: &str) -> Result<Resolved> {
        self.resolve_path(&self.path_of(name), name, script).await
    }

    pub(super) async fn resolve_path(&self, path: &TablePath, name: &Name, script: &str) -> Result<Resolved> {
        match self.locals.get(path) {
            Some(Local::Table(table)) => return Ok(Resolved::External(Arc::clone(table))),
            Some(Local::View(view)) => return Ok(Resolved::View(Arc::clone(view))),
            None => {}
        }
        let catalog = self.catalog_or_refuse(&path.catalog, name, script)?;
        match catalog.load_table(&path.ident()).await {
            Ok(table) => Ok(Resolved::Iceberg(IcebergTable {
                path: path.clone(),
                catalog: catalog.clone(),
                options: iceberg_options::of_table(&table),
                table,
            })),
            Err(frazil_catalog::Error::NoSuchTable(_) | frazil_catalog::Error::NoSuchNamespace(_)) => {
                self.refuse_unknown(path, name, script).await
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn catalog_or_refuse(&self, catalog: &str, name: &Name, script: &str) -> Result<&CatalogRef> {
        if let Some(catalog) = self.catalogs.get(catalog) {
            return Ok(catalog);
        }
        let known: Vec<&str> = self.catalogs.keys().map(String::as_str).collect();
        refuse(format!("there is no catalog '{catalog}'"), Some(near(catalog, &known, "catalogs")), name, script)
    }

    async fn refuse_unknown<T>(&self, path: &TablePath, name: &Name, script: &str) -> Result<T> {
        let catalog = self.catalog_or_refuse(&path.catalog, name, script)?;
        let mut tables = match catalog.list_tables(&namespace(&path.database)).await {
            Ok(idents) => idents.into_iter().map(|ident| ident.name).collect(),
            Err(frazil_catalog::Error::NoSuchNamespace(_)) if !self.has_locals_in(path) => {
                return self.refuse_unknown_database(&path.catalog, &path.database, name, script).await;
            }
            Err(frazil_catalog::Error::NoSuchNamespace(_)) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let here = |local: &&TablePath| local.catalog == path.catalog && local.database == path.database;
        tables.extend(self.locals.keys().filter(here).map(|local| local.table.clone()));
        tables.sort();
        let known: Vec<&str> = tables.iter().map(String::as_str).collect();
        let message = format!("there is no table '{}' in {}.{}", path.table, path.catalog, path.database);
        refuse(message, Some(near(&path.table, &known, "tables")), name, script)
    }

    pub(super) async fn refuse_unknown_database<T>(
        &self,
        catalog: &str,
        database: &str,
        name: &Name,
        script: &str,
    ) -> Result<T> {
        let found = self.catalog_or_refuse(catalog, name, script)?.list_namespaces(None).await?;
        let found: Vec<String> = found.iter().map(|ident| ident.as_ref().join(".")).collect();
        let known: Vec<&str> = found.iter().map(String::as_str).collect();
        let message = format!("there is no database '{database}' in the catalog '{catalog}'");
        refuse(message, Some(near(database, &known, "databases")), name, script)
    }

    fn has_locals_in(&self, path: &TablePath) -> bool {
        self.locals.keys().any(|local| local.catalog == path.catalog && local.database == path.database)
    }
}

/// What may have been meant, or what there is.
fn near(given: &str, known: &[&str], what: &str) -> String {
    let close = nearest(given, known.iter().copied(), NEAR_MAX);
    match (close.is_empty(), known.len()) {
        (false, _) => format!("did you mean {}?", one_of(&close)),
        (true, 0) => format!("it has no {what}"),
        (true, 1) => format!("there is only {}", known[0]),
        (true, 2..=LISTED_MAX) => format!("there are {}", known.join(", ")),
        (true, all) => format!("there are {} and {} more", known[..LISTED_MAX].join(", "), all - LISTED_MAX),
    }
}
