//! What a script's statements act on: catalogs, tables that live only as long as the session, settings.
//!
//! Decided here: which table a name means ([`Session::resolve`]), what definitions do ([`Session::execute`]), and what
//! DataFusion sees of it all while it plans a query ([`Session::tables_of`], [`Session::planning_state`]). How rows get
//! into and out of tables is not known here.
//!
//! Tables of `'connector' = 'iceberg'` are real tables in a catalog. Every other one, and every view, is an entry of the
//! session and gone with it.

mod alter;
mod call;
mod change;
mod compaction;
mod constant;
mod create_table;
mod databases;
mod describe;
mod external;
mod iceberg_options;
mod resolve;
mod scope;
mod settings;
mod show;
#[cfg(test)]
mod tests;
mod text;
#[cfg(test)]
pub(crate) mod world;

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use datafusion::execution::SessionState;
use datafusion::prelude::SessionConfig;
use frazil_catalog::CatalogRef;
use frazil_storage::Env;
use frazil_table::ManifestCache;
use frazil_table::spec::NamespaceIdent;

pub(crate) use change::same_table;
pub(crate) use create_table::DEFAULT_PROPERTIES;
pub use external::ExternalTable;
pub use iceberg_options::iceberg_schema_of_options;
pub use resolve::{IcebergTable, Resolved, TablePath, View};
pub use scope::{Scope, TableUse, UsedTable};
pub use settings::{CHECKPOINT_INTERVAL_MIN, JobSettings, PARALLELISM_MAX, Settings, is_job_id};
pub(crate) use text::placed;
pub use text::script_around;

use crate::Result;
use crate::sql::{Spanned, Statement, planner};
use resolve::Local;

/// The name of the catalog that is there without `CREATE CATALOG`.
pub const BUILT_IN_CATALOG: &str = "frazil";
/// The database that is there without `CREATE DATABASE`.
pub const DEFAULT_DATABASE: &str = "default";

/// Memory that the operators of one session's queries may take together before they spill to disk, where they can.
const QUERY_MEMORY_BYTES_MAX: usize = 1 << 30;

/// A session. See the [module documentation](self).
#[derive(Clone, Debug)]
pub struct Session {
    env: Env,
    catalogs: BTreeMap<String, CatalogRef>,
    current: Current,
    locals: BTreeMap<TablePath, Local>,
    settings: Settings,
    state: SessionState,
    manifests: ManifestCache,
}

/// Where names with missing parts are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Current {
    pub(crate) catalog: String,
    pub(crate) database: String,
}

/// What became of a statement.
#[derive(Debug)]
pub enum Executed {
    /// It was done; what, in words.
    Done(String),
    /// What was asked for, in a few rows.
    Rows(RecordBatch),
}

impl Session {
    /// A session on a catalog, which it calls `frazil`. The database `default` is made if it is not there.
    ///
    /// # Errors
    /// If the catalog can't be reached.
    pub async fn open(env: Env, catalog: CatalogRef) -> Result<Self> {
        let database = NamespaceIdent::new(DEFAULT_DATABASE.to_owned());
        match catalog.create_namespace(&database, BTreeMap::new()).await {
            Ok(_) | Err(frazil_catalog::Error::NamespaceExists(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let current = Current { catalog: BUILT_IN_CATALOG.to_owned(), database: DEFAULT_DATABASE.to_owned() };
        Ok(Self {
            env,
            catalogs: BTreeMap::from([(BUILT_IN_CATALOG.to_owned(), catalog)]),
            current,
            locals: BTreeMap::new(),
            settings: Settings::default(),
            state: base_state()?,
            manifests: ManifestCache::default(),
        })
    }

    /// The world that the session lives in.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// A catalog by its name in this session.
    pub fn catalog(&self, name: &str) -> Option<&CatalogRef> {
        self.catalogs.get(name)
    }

    /// The catalog of names without one.
    pub fn current_catalog(&self) -> &str {
        &self.current.catalog
    }

    /// The database of names without one.
    pub fn current_database(&self) -> &str {
        &self.current.database
    }

    /// What `SET` has set.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The manifests that queries of this session have read lately.
    pub fn manifests(&self) -> &ManifestCache {
        &self.manifests
    }

    /// Carries out a definition, `USE`, `SHOW`, `DESCRIBE` or `SET`. `None`: the statement is of another kind (`SELECT`,
    /// `INSERT`, `EXPLAIN`), which has to be planned and run.
    ///
    /// # Errors
    /// What is wrong with the statement, with its place; what the catalog refuses.
    pub async fn execute(&mut self, statement: &Spanned<Statement>) -> Result<Option<Executed>> {
        let script = script_around(statement);
        let executed = self.execute_in(&statement.node, &script).await;
        executed.map_err(|error| placed(error, statement.node.kind(), &script))
    }

    async fn execute_in(&mut self, statement: &Statement, script: &str) -> Result<Option<Executed>> {
        let done = match statement {
            Statement::CreateCatalog(create) => self.create_catalog(create, script).await?,
            Statement::DropCatalog { name, if_exists } => self.drop_catalog(name, *if_exists, script)?,
            Statement::UseCatalog(name) => self.use_catalog(name, script)?,
            Statement::Use(name) => self.use_database(name, script).await?,
            Statement::CreateDatabase(create) => self.create_database(create, script).await?,
            Statement::DropDatabase { name, if_exists, cascade } => {
                self.drop_database(name, *if_exists, *cascade, script).await?
            }
            Statement::CreateTable(create) => match create.query {
                // Made by whoever can run the query.
                Some(_) => return Ok(None),
                None => self.create_table(create, script).await?,
            },
            Statement::CreateView(create) => self.create_view(create, script).await?,
            Statement::AlterTable(alter) => self.alter_table(alter, script).await?,
            Statement::Call(call) => return self.call(call, script).await.map(Some),
            Statement::DropTable { name, temporary, if_exists, purge } => {
                self.drop_table(name, *temporary, *if_exists, *purge, script).await?
            }
            Statement::DropView { name, if_exists, .. } => self.drop_view(name, *if_exists, script)?,
            Statement::Set(Some(setting)) => self.settings.set(setting)?,
            Statement::Reset(key) => self.settings.reset(key.as_deref())?,
            Statement::Set(None) => return Ok(Some(Executed::Rows(self.settings.list()))),
            Statement::Show(show) => return self.show(show, script).await.map(Some),
            Statement::Describe(name) => return self.describe(name, script).await.map(Some),
            Statement::ExplainCompaction(name) => return self.explain_compaction(name, script).await.map(Some),
            Statement::Insert(_)
            | Statement::StatementSet(_)
            | Statement::Explain(_)
            | Statement::Query(_)
            | Statement::RowChange(_)
            | Statement::Truncate(_)
            | Statement::Other(_) => return Ok(None),
        };
        Ok(Some(Executed::Done(done)))
    }

    /// DataFusion's state without any table, with the session's settings and place.
    pub(crate) fn bare_state(&self) -> Result<SessionState> {
        let mut state = self.state.clone();
        let options = state.config_mut().options_mut();
        options.catalog.default_catalog.clone_from(&self.current.catalog);
        options.catalog.default_schema.clone_from(&self.current.database);
        self.settings.apply_to(options)?;
        state.mark_start_execution();
        Ok(state)
    }
}

fn base_state() -> Result<SessionState> {
    let config = SessionConfig::new().with_create_default_catalog_and_schema(false).with_information_schema(false);
    let runtime = datafusion::execution::runtime_env::RuntimeEnvBuilder::new()
        .with_memory_limit(QUERY_MEMORY_BYTES_MAX, 1.0)
        .build_arc()?;
    Ok(planner::session(config).with_runtime_env(runtime).build())
}
