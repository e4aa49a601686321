//! `frazil serve`.

use std::collections::BTreeMap;
use std::sync::Arc;

use frazil_catalog::SqlCatalog;
use frazil_catalog::server::{self, ServerConfig};
use frazil_compactor::ServiceConfig;
use frazil_storage::Env;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::args::{Common, Output, Serve};
use crate::data_dir::{DataDir, ServerLock};
use crate::error::{Error, Result};
use crate::print::say;
use crate::{api, shutdown, world};

pub(crate) async fn serve(common: &Common, args: &Serve, output: Output) -> Result<()> {
    if common.catalog.is_some() {
        return Err(Error::BadInput("serve has a catalog of its own: leave --catalog out".to_owned()));
    }
    let stop = shutdown::on_signal().map_err(|e| Error::failed("listening for signals", e))?;
    let mut service = Service::bind(common, &args.listen, world::env(common)?).await?;
    if args.share_credentials {
        service.table_config = for_clients(service.env.store.config().with_secrets());
    }
    let (catalog, warehouse) = (service.data_dir.catalog_file(), service.catalog.warehouse());
    match output {
        Output::Text => {
            say(&format!("frazil serves {} (catalog {}, warehouse {warehouse})", service.url, catalog.display()));
        }
        Output::Json => say(&serde_json::json!({
            "event": "serving", "url": service.url, "catalog": catalog, "warehouse": warehouse,
        })
        .to_string()),
    }
    service.run(stop).await
}

/// A server that listens, and has not answered anything yet.
#[derive(Debug)]
pub(crate) struct Service {
    /// What clients take as their `uri`.
    pub(crate) url: String,
    pub(crate) data_dir: DataDir,
    pub(crate) catalog: Arc<SqlCatalog>,
    /// What clients are told with each table.
    table_config: BTreeMap<String, String>,
    env: Env,
    listener: TcpListener,
    host: String,
    _lock: ServerLock,
}

impl Service {
    /// Takes the folder and the port.
    pub(crate) async fn bind(common: &Common, address: &str, env: Env) -> Result<Self> {
        let data_dir = DataDir::open(&common.data_dir)?;
        let mut lock = data_dir.lock()?;
        let listener = TcpListener::bind(address).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => Error::BadInput(format!(
                "{address} is taken by another program: stop it, or name another address with --listen (port 0 takes a free \
                 one)"
            )),
            _ => Error::failed(format!("listening on {address}"), error),
        })?;
        let local = listener.local_addr().map_err(|e| Error::failed("reading the address", e))?;
        let url = format!("http://{local}");
        let catalog = world::embedded_catalog(common, &data_dir, &env).await?;
        lock.announce(&url)?;
        let table_config = for_clients(env.store.config().without_secrets());
        let host = local.ip().to_string();
        Ok(Self { url, data_dir, catalog, table_config, env, listener, host, _lock: lock })
    }

    /// Answers until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<()> {
        let catalog = self.catalog.clone();
        let api = api::router(self.catalog.clone(), &self.env, stop.clone());
        let compaction = tokio::spawn(frazil_compactor::run(ServiceConfig::default(), catalog, self.env, stop.clone()));
        let config =
            ServerConfig { hosts: vec![self.host], table_config: self.table_config, ..ServerConfig::default() };
        let router = server::router_with(self.catalog.clone(), config, api);
        let served = server::serve(self.listener, router, stop.clone()).await;
        stop.cancel();
        if let Err(error) = compaction.await {
            tracing::warn!(%error, "the compaction service ended unexpectedly");
        }
        self.catalog.close().await;
        served.map_err(|e| Error::failed("serving", e))
    }
}

/// Says what our own client takes for granted and others don't: a server of one's own has no name for each bucket.
fn for_clients(mut properties: BTreeMap<String, String>) -> BTreeMap<String, String> {
    if properties.contains_key("s3.endpoint") {
        properties.entry("s3.path-style-access".to_owned()).or_insert_with(|| "true".to_owned());
    }
    properties
}
