//! What DataFusion is told of a session while it plans one query.
//!
//! DataFusion asks for tables by name from synchronous code, and a catalog answers over a network. So:
//! 1. [`Session::tables_of`] lists the names that a query and the views in it use, and resolves them.
//! 2. The caller makes a provider for each table, however long that takes.
//! 3. [`Session::planning_state`] builds a state that knows these tables and no others.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider,
    TableProvider,
};
use datafusion::common::TableReference;
use datafusion::datasource::ViewTable;
use datafusion::datasource::empty::EmptyTable;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{self, Spanned as _, Visit as _};
use futures::future::BoxFuture;

use super::external::ExternalTable;
use super::iceberg_options::iceberg_schema_of_options;
use super::resolve::{IcebergTable, Resolved, TablePath, View};
use super::text::refuse;
use super::{Current, Session};
use crate::Result;
use crate::batch::schema_of_changes;
use crate::options::Options;
use crate::provider::{METADATA_COLUMNS, MetadataTable, schema_of_metadata, with_metadata_fields};
use crate::sql::{AsOf, Name, Query, Span, TableRef, planner};

/// How deep views may stand on views.
const VIEW_DEPTH_MAX: usize = 16;

/// The tables of one query, resolved.
#[derive(Debug)]
pub struct Scope {
    tables: Vec<TableUse>,
    root: Names,
}

/// A table where a query uses it.
#[derive(Clone, Debug)]
pub struct TableUse {
    /// Counts the uses of a query from 0.
    pub id: usize,
    /// The table.
    pub table: UsedTable,
    /// The table's own options with those of a hint over them.
    pub options: Options,
    /// As of when it is read.
    pub as_of: Option<AsOf>,
    /// Whether it has the columns that say where each row is ([`crate::sql::TableRef::with_places`]).
    pub with_places: bool,
    /// The metadata columns that the query names, which the table shows if it has them.
    pub metadata_columns: Vec<&'static str>,
    /// Where its name stands.
    pub span: Span,
}

/// A table, with views taken apart.
#[derive(Clone, Debug)]
pub enum UsedTable {
    /// A table in a catalog.
    Iceberg(IcebergTable),
    /// A table of another connector.
    External(Arc<ExternalTable>),
    /// What a table in a catalog says of itself: `table$files`.
    Metadata(IcebergTable, MetadataTable),
}

/// The names in one query (or in the query of one view) and what they stand for.
#[derive(Debug)]
struct Names {
    current: Current,
    bound: Vec<(TableReference, Bound)>,
}

#[derive(Debug)]
enum Bound {
    /// An index into [`Scope::tables`].
    Table(usize),
    View(Arc<View>, Names),
}

/// Makes the provider of a table: of its physical and metadata columns, which [`ExternalTable::source_schema`] has.
pub type Provide<'a> = &'a (dyn Fn(&TableUse) -> Result<Arc<dyn TableProvider>> + Send + Sync);

impl Scope {
    /// The tables, through views too.
    pub fn tables(&self) -> &[TableUse] {
        &self.tables
    }
}

impl Session {
    /// The tables that a query reads. `script` is the text that it was parsed from.
    ///
    /// # Errors
    /// As [`Session::resolve`]; a hint or a version at what has none.
    pub async fn tables_of(&self, query: &Query, script: &str) -> Result<Scope> {
        self.tables_around(query, script, None).await
    }

    /// The same, with one of the tables loaded already.
    pub(crate) async fn tables_around(
        &self,
        query: &Query,
        script: &str,
        loaded: Option<&IcebergTable>,
    ) -> Result<Scope> {
        let mut found = Found { tables: Vec::new(), loaded };
        let root = self.names_in(query, self.current.clone(), script, 0, &mut found).await?;
        Ok(Scope { tables: found.tables, root })
    }

    /// A state in which the query's tables, and no others, can be planned.
    ///
    /// # Errors
    /// What `provide` says; a view or a computed column that can't be planned.
    pub async fn planning_state(&self, scope: &Scope, provide: Provide<'_>) -> Result<SessionState> {
        self.state_of(&scope.root, &scope.tables, provide).await
    }

    /// Plans a query whose tables are given by the caller.
    ///
    /// # Errors
    /// As [`Session::tables_of`], [`Session::planning_state`] and [`planner::plan_query`].
    pub async fn plan_query(&self, query: &Query, script: &str, provide: Provide<'_>) -> Result<LogicalPlan> {
        let scope = self.tables_of(query, script).await?;
        let state = self.planning_state(&scope, provide).await?;
        planner::plan_query(query, &state, script).await
    }

    /// A view's plan over empty tables: enough to tell its columns.
    pub(super) async fn plan_for_types(&self, view: &View) -> Result<LogicalPlan> {
        let mut found = Found { tables: Vec::new(), loaded: None };
        let names = self.names_in(&view.query, view.current.clone(), &view.script, 1, &mut found).await?;
        let state = self.state_of(&names, &found.tables, &empty_table).await?;
        planner::plan_query(&view.query, &state, &view.script).await
    }

    fn names_in<'a>(
        &'a self,
        query: &'a Query,
        current: Current,
        script: &'a str,
        depth: usize,
        found: &'a mut Found<'_>,
    ) -> BoxFuture<'a, Result<Names>> {
        Box::pin(async move {
            let spans = spans_of(query);
            let statement = ast::Statement::Query(query.ast.clone());
            let statement = DfStatement::Statement(Box::new(statement));
            let named = NamedColumns::of(query);
            let mut bound = Vec::new();
            for reference in self.state.resolve_table_references(&statement)? {
                let span = spans.get(&reference).copied().unwrap_or_else(Span::empty);
                let hinted = query.tables.iter().find(|hinted| hinted.planned_name == reference.table());
                let name = match hinted {
                    Some(hinted) => hinted.name.clone(),
                    None => name_of(&reference, span),
                };
                let mut path = self.path_from(&name, &current);
                let described = self.metadata_table_of(&mut path, &name, script).await?;
                // All uses of a table see the same snapshot.
                let resolved = match found.known(&path) {
                    Some(table) => Resolved::Iceberg(table),
                    None => self.resolve_path(&path, &name, script).await?,
                };
                let entry = match resolved {
                    Resolved::View(_) | Resolved::External(_) if described.is_some() => {
                        let message = format!("'{path}' is no Iceberg table, so it has no '{}'", name.last());
                        return refuse(message, None, &name, script);
                    }
                    Resolved::View(view) => {
                        if hinted.is_some() {
                            let help = Some("write them at the tables inside of the view".to_owned());
                            return refuse(
                                format!("the view '{name}' has no options and no versions"),
                                help,
                                &name,
                                script,
                            );
                        }
                        if depth == VIEW_DEPTH_MAX {
                            return refuse(
                                format!("views stand on views more than {VIEW_DEPTH_MAX} deep"),
                                None,
                                &name,
                                script,
                            );
                        }
                        let place = view.current.clone();
                        let names = self.names_in(&view.query, place, &view.script, depth + 1, &mut *found).await?;
                        Bound::View(Arc::clone(&view), names)
                    }
                    Resolved::Iceberg(table) => {
                        if let Some(kind) = described {
                            let options = check_metadata_table(kind, hinted, &name, script)?;
                            let table = UsedTable::Metadata(table, kind);
                            bound.push((reference, Bound::Table(put(&mut found.tables, table, options, hinted, span))));
                            continue;
                        }
                        let options = overlaid(&table.options, hinted);
                        iceberg_schema_of_options().check(&options)?;
                        let metadata_columns = named.of_table(&table, &name, script)?;
                        let index = put(&mut found.tables, UsedTable::Iceberg(table), options, hinted, span);
                        found.tables[index].metadata_columns = metadata_columns;
                        Bound::Table(index)
                    }
                    Resolved::External(table) => {
                        check_has_versions(&table, hinted, &name, script)?;
                        let options = overlaid(table.options(), hinted);
                        Bound::Table(put(&mut found.tables, UsedTable::External(table), options, hinted, span))
                    }
                };
                bound.push((reference, entry));
            }
            Ok(Names { current, bound })
        })
    }

    /// Which metadata table a name with a `$` means, if no table has that name; the path becomes that of the table that it
    /// is of.
    async fn metadata_table_of(
        &self,
        path: &mut TablePath,
        name: &Name,
        script: &str,
    ) -> Result<Option<MetadataTable>> {
        let Some(meant) = MetadataTable::split(&path.table) else { return Ok(None) };
        let there = self.resolve_path(path, name, script).await;
        match (there, meant) {
            (Ok(_), _) => Ok(None),
            (Err(_), Ok((table, kind))) => {
                path.table = table.to_owned();
                Ok(Some(kind))
            }
            (Err(error), Err(help)) => {
                let (table, suffix) = path.table.rsplit_once('$').expect("a name that was split has a $");
                let of = TablePath { table: table.to_owned(), ..path.clone() };
                match self.resolve_path(&of, name, script).await {
                    Ok(_) => refuse(format!("a table has no metadata table '{suffix}'"), Some(help), name, script),
                    Err(_) => Err(error),
                }
            }
        }
    }

    fn state_of<'a>(
        &'a self,
        names: &'a Names,
        tables: &'a [TableUse],
        provide: Provide<'a>,
    ) -> BoxFuture<'a, Result<SessionState>> {
        Box::pin(async move {
            let mut state = self.bare_state()?;
            let options = state.config_mut().options_mut();
            options.catalog.default_catalog.clone_from(&names.current.catalog);
            options.catalog.default_schema.clone_from(&names.current.database);
            let catalogs = Arc::new(MemoryCatalogProviderList::new());
            for (reference, bound) in &names.bound {
                let provider = match bound {
                    Bound::Table(index) => {
                        let used = &tables[*index];
                        let provider = provide(used)?;
                        match &used.table {
                            UsedTable::Iceberg(_) | UsedTable::Metadata(_, _) => provider,
                            UsedTable::External(table) => table.visible(provider, &state)?,
                        }
                    }
                    Bound::View(view, inner) => {
                        let inner = self.state_of(inner, tables, provide).await?;
                        planned_view(view, &inner).await?
                    }
                };
                register(&catalogs, reference, &names.current, provider)?;
            }
            state.register_catalog_list(catalogs);
            Ok(state)
        })
    }
}

/// Only Iceberg tables can be read as they were.
fn check_has_versions(table: &ExternalTable, hinted: Option<&TableRef>, name: &Name, script: &str) -> Result<()> {
    let as_of = hinted.and_then(|hinted| hinted.as_of.as_ref());
    let Some(AsOf::Time(_) | AsOf::Snapshot(_) | AsOf::Ref(_)) = as_of else { return Ok(()) };
    let message = format!("'{name}' is a {} table, which has no versions", table.connector());
    let help = "FOR SYSTEM_TIME AS OF a constant is for Iceberg tables";
    refuse(message, Some(help.to_owned()), name, script)
}

/// The options of a hint at a metadata table; the table's own are for its rows.
fn check_metadata_table(kind: MetadataTable, hinted: Option<&TableRef>, name: &Name, script: &str) -> Result<Options> {
    let options = hinted.map(|hinted| hinted.options.clone()).unwrap_or_default();
    if kind == MetadataTable::Changes {
        schema_of_changes().check(&options)?;
        return Ok(options);
    }
    if !options.is_empty() {
        return refuse(format!("'{}' has no options", name.last()), None, name, script);
    }
    if hinted.is_some_and(|hinted| hinted.as_of.is_some()) && !kind.is_of_snapshot() {
        let help = "it tells of all snapshots; look for the one that is meant in its rows".to_owned();
        return refuse(format!("'{}' has no versions", name.last()), Some(help), name, script);
    }
    Ok(options)
}

/// The metadata columns that a query names.
struct NamedColumns {
    columns: Vec<&'static str>,
    /// Whether `*` stands among what a SELECT shows.
    has_wildcard: bool,
}

impl NamedColumns {
    fn of(query: &Query) -> Self {
        let mut named = Self { columns: Vec::new(), has_wildcard: false };
        let _all: ControlFlow<()> = ast::visit_expressions(&query.ast, |expr| {
            let parts = match expr {
                ast::Expr::Identifier(ident) => std::slice::from_ref(ident),
                ast::Expr::CompoundIdentifier(parts) => parts,
                _ => &[],
            };
            let meant = METADATA_COLUMNS.into_iter().filter(|name| parts.iter().any(|part| part.value == *name));
            named.columns.extend(meant);
            ControlFlow::Continue(())
        });
        let mut order = METADATA_COLUMNS.to_vec();
        order.retain(|name| named.columns.contains(name));
        named.columns = order;
        let _all: ControlFlow<()> = query.ast.visit(&mut named);
        named
    }

    /// Those that are not columns of the table's own.
    fn of_table(&self, table: &IcebergTable, name: &Name, script: &str) -> Result<Vec<&'static str>> {
        let schema = table.table.metadata().current_schema();
        let mut columns = self.columns.clone();
        columns.retain(|column| schema.field_by_name(column).is_none());
        match columns.first() {
            Some(column) if self.has_wildcard => {
                let message = format!("'*' can't stand in a query that names the metadata column {column}");
                refuse(message, Some("name the columns".to_owned()), name, script)
            }
            _ => Ok(columns),
        }
    }
}

impl ast::Visitor for NamedColumns {
    type Break = ();

    fn pre_visit_select(&mut self, select: &ast::Select) -> ControlFlow<()> {
        let is_wildcard = |item: &ast::SelectItem| {
            matches!(item, ast::SelectItem::Wildcard(_) | ast::SelectItem::QualifiedWildcard(_, _))
        };
        self.has_wildcard |= select.projection.iter().any(is_wildcard);
        ControlFlow::Continue(())
    }
}

/// A table of the right schema without a row.
fn empty_table(used: &TableUse) -> Result<Arc<dyn TableProvider>> {
    let schema = match &used.table {
        UsedTable::External(table) => table.source_schema(),
        UsedTable::Iceberg(table) => {
            let schema = frazil_table::arrow::arrow_schema(table.table.metadata().current_schema())?;
            Arc::new(with_metadata_fields(&schema, &table.table, &used.metadata_columns)?)
        }
        UsedTable::Metadata(table, kind) => schema_of_metadata(&table.table, *kind)?,
    };
    Ok(Arc::new(EmptyTable::new(schema)))
}

fn overlaid(own: &Options, hinted: Option<&TableRef>) -> Options {
    hinted.map_or_else(|| own.clone(), |hinted| own.overlaid(&hinted.options))
}

/// The tables of a query, as far as they are found.
struct Found<'a> {
    tables: Vec<TableUse>,
    /// One that was loaded before.
    loaded: Option<&'a IcebergTable>,
}

impl Found<'_> {
    fn known(&self, path: &TablePath) -> Option<IcebergTable> {
        let used = self.tables.iter().filter_map(|used| match &used.table {
            UsedTable::Iceberg(table) | UsedTable::Metadata(table, _) => Some(table),
            UsedTable::External(_) => None,
        });
        self.loaded.into_iter().chain(used).find(|table| table.path == *path).cloned()
    }
}

fn put(tables: &mut Vec<TableUse>, table: UsedTable, options: Options, hinted: Option<&TableRef>, span: Span) -> usize {
    let id = tables.len();
    let as_of = hinted.and_then(|hinted| hinted.as_of.clone());
    let with_places = hinted.is_some_and(|hinted| hinted.with_places);
    tables.push(TableUse { id, table, options, as_of, with_places, metadata_columns: Vec::new(), span });
    id
}

async fn planned_view(view: &View, state: &SessionState) -> Result<Arc<dyn TableProvider>> {
    let mut plan = planner::plan_query(&view.query, state, &view.script).await?;
    if !view.columns.is_empty() {
        let fields = plan.schema().fields().len();
        if fields != view.columns.len() {
            let named = view.columns.len();
            let message = format!("the view '{}' names {named} columns, but its query has {fields}", view.path);
            return Err(crate::sql::SqlError::new(message, Span::empty(), "").into());
        }
        let columns = plan.schema().columns();
        let renamed = columns.into_iter().zip(&view.columns).map(|(column, name)| Expr::Column(column).alias(name));
        let renamed: Vec<_> = renamed.collect();
        plan = LogicalPlanBuilder::from(plan).project(renamed)?.build()?;
    }
    Ok(Arc::new(ViewTable::new(plan, None)))
}

fn register(
    catalogs: &Arc<MemoryCatalogProviderList>,
    reference: &TableReference,
    current: &Current,
    provider: Arc<dyn TableProvider>,
) -> Result<()> {
    let full = reference.clone().resolve(&current.catalog, &current.database);
    let catalog = match catalogs.catalog(&full.catalog) {
        Some(catalog) => catalog,
        None => {
            let catalog = Arc::new(MemoryCatalogProvider::new());
            catalogs.register_catalog(full.catalog.to_string(), Arc::clone(&catalog) as Arc<dyn CatalogProvider>);
            catalog
        }
    };
    let schema = match catalog.schema(&full.schema) {
        Some(schema) => schema,
        None => {
            let schema = Arc::new(MemorySchemaProvider::new());
            catalog.register_schema(&full.schema, Arc::clone(&schema) as _)?;
            schema
        }
    };
    // `t` and `db.t` may be the same table: the provider is, too.
    if !schema.table_exist(&full.table) {
        schema.register_table(full.table.to_string(), provider)?;
    }
    Ok(())
}

/// Where the names of tables stand; the first place of each.
fn spans_of(query: &Query) -> HashMap<TableReference, Span> {
    let mut spans = HashMap::new();
    let _all: ControlFlow<()> = ast::visit_relations(&query.ast, |name| {
        let parts: Option<Vec<&str>> = name.0.iter().map(|part| Some(part.as_ident()?.value.as_str())).collect();
        let reference = match parts.as_deref() {
            Some([table]) => TableReference::bare(*table),
            Some([database, table]) => TableReference::partial(*database, *table),
            Some([catalog, database, table]) => TableReference::full(*catalog, *database, *table),
            _ => return ControlFlow::Continue(()),
        };
        spans.entry(reference).or_insert_with(|| name.span());
        ControlFlow::Continue(())
    });
    spans
}

fn name_of(reference: &TableReference, span: Span) -> Name {
    Name::new(reference.to_vec()).at(span)
}
