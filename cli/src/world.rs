//! The parts that every command is wired from: the world, and the catalog that is meant.

use std::sync::Arc;

use frazil_catalog::{CatalogRef, RestCatalog, RestOptions, SqlCatalog};
use frazil_engine::Session;
use frazil_engine::sql::Name;
use frazil_storage::{Env, Steps, StoreConfig};

use crate::args::Common;
use crate::data_dir::DataDir;
use crate::error::{Error, Result};

/// Names a step at which the process stops (see [`Steps`]); for tests of what a stop leaves behind.
const STOP_AT: &str = "FRAZIL_STOP_AT";

/// The real world, its stores reached as was typed.
pub(crate) fn env(common: &Common) -> Result<Env> {
    let steps = match std::env::var(STOP_AT) {
        Err(_) => Steps::none(),
        Ok(text) => text.parse().map_err(|e| Error::BadInput(format!("{STOP_AT}: {e}")))?,
    };
    let env = Env { steps, ..Env::system() };
    let config = StoreConfig::new(common.storage.iter().cloned());
    env.store.configure(config.map_err(|error| Error::BadInput(error.to_string()))?);
    Ok(env)
}

/// Opens the catalog in a data folder.
pub(crate) async fn embedded_catalog(common: &Common, data_dir: &DataDir, env: &Env) -> Result<Arc<SqlCatalog>> {
    let warehouse = data_dir.warehouse(common.warehouse.as_deref())?;
    Ok(Arc::new(SqlCatalog::open(&data_dir.catalog_file(), env.clone(), &warehouse).await?))
}

/// The catalog that is meant: the one that was named, the server on the data folder, or the folder itself.
pub(crate) async fn catalog(common: &Common, env: &Env) -> Result<CatalogRef> {
    if let Some(uri) = &common.catalog {
        let options = RestOptions {
            token: common.catalog_token.clone(),
            warehouse: common.catalog_warehouse.clone(),
            ..RestOptions::default()
        };
        return rest_catalog(uri, env, options).await;
    }
    let data_dir = DataDir::open(&common.data_dir)?;
    let Some(server) = data_dir.running_server() else {
        return Ok(embedded_catalog(common, &data_dir, env).await?);
    };
    // Another one than the server's is a mistake.
    data_dir.warehouse(common.warehouse.as_deref())?;
    rest_catalog(&server.url, env, RestOptions::default()).await
}

async fn rest_catalog(uri: &str, env: &Env, options: RestOptions) -> Result<CatalogRef> {
    let options = RestOptions { store: Some(env.store.clone()), ..options };
    Ok(Arc::new(RestCatalog::connect(uri, options).await?))
}

/// A session on the catalog that is meant.
pub(crate) async fn session(common: &Common) -> Result<Session> {
    let env = env(common)?;
    let catalog = catalog(common, &env).await?;
    Ok(Session::open(env, catalog).await?)
}

/// A table's name as it is typed outside of SQL: `[[catalog.]database.]table`.
pub(crate) fn table_name(text: &str) -> Name {
    Name::new(text.split('.'))
}
