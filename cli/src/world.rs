//! The parts that every command is wired from: the world, and the catalog that is meant.

use std::sync::Arc;

use frazil_catalog::{CatalogRef, RestCatalog, RestOptions, SqlCatalog};
use frazil_engine::Session;
use frazil_engine::sql::Name;
use frazil_storage::{Env, Steps};

use crate::args::Common;
use crate::data_dir::DataDir;
use crate::error::{Error, Result};

/// Names a step at which the process stops (see [`Steps`]); for tests of what a stop leaves behind.
const STOP_AT: &str = "FRAZIL_STOP_AT";

/// The real world.
pub(crate) fn env() -> Result<Env> {
    let steps = match std::env::var(STOP_AT) {
        Err(_) => Steps::none(),
        Ok(text) => text.parse().map_err(|e| Error::BadInput(format!("{STOP_AT}: {e}")))?,
    };
    Ok(Env { steps, ..Env::system() })
}

/// Opens the catalog in a data folder.
pub(crate) async fn embedded_catalog(data_dir: &DataDir, env: &Env) -> Result<Arc<SqlCatalog>> {
    let file = data_dir.catalog_file();
    Ok(Arc::new(SqlCatalog::open(&file, env.clone(), &data_dir.warehouse()).await?))
}

/// The catalog that is meant: the one that was named, the server on the data folder, or the folder itself.
pub(crate) async fn catalog(common: &Common, env: &Env) -> Result<CatalogRef> {
    if let Some(uri) = &common.catalog {
        let options = RestOptions {
            token: common.catalog_token.clone(),
            warehouse: common.catalog_warehouse.clone(),
            ..RestOptions::default()
        };
        return Ok(Arc::new(RestCatalog::connect(uri, options).await?));
    }
    let data_dir = DataDir::open(&common.data_dir)?;
    match data_dir.running_server() {
        Some(server) => Ok(Arc::new(RestCatalog::connect(&server.url, Default::default()).await?)),
        None => Ok(embedded_catalog(&data_dir, env).await?),
    }
}

/// A session on the catalog that is meant.
pub(crate) async fn session(common: &Common) -> Result<Session> {
    let env = env()?;
    let catalog = catalog(common, &env).await?;
    Ok(Session::open(env, catalog).await?)
}

/// A table's name as it is typed outside of SQL: `[[catalog.]database.]table`.
pub(crate) fn table_name(text: &str) -> Name {
    Name::new(text.split('.'))
}
