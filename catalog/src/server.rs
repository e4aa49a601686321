//! The Iceberg REST service.
//!
//! Every answer that is an error has the protocol's envelope. What a client is told was done is done: handlers that
//! change something run to their end even if the client goes away.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router, middleware};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;

use crate::SqlCatalog;
use crate::wire::CatalogConfig;

mod consumers;
mod error;
mod extract;
mod guard;
mod namespaces;
mod tables;

pub(crate) use consumers::{ConsumerList, Join, path_to};
pub use error::Refusal;
pub use extract::ApiTable;

/// A commit request of a table with very wide schemas and thousands of expired snapshots takes a few MiB.
const BODY_BYTES_MAX: usize = 32 << 20;

/// What an operator chooses.
#[derive(Clone, Debug, Default)]
pub struct ServerConfig {
    /// Host names besides loopback ones under which the server answers: the address it listens on, and names in front of
    /// it.
    pub hosts: Vec<String>,
    /// A first path segment after `/v1` under which the catalog is found as well (Iceberg REST, `prefix`), and to which
    /// clients are led.
    pub prefix: Option<String>,
    /// Told to clients as the catalog's name: a `warehouse` that they ask for must be this, or the warehouse's location.
    /// `None` takes any.
    pub warehouse_name: Option<String>,
    /// Told to clients with each table (Iceberg REST, `LoadTableResult.config`): how its files are reached, such as
    /// `s3.endpoint`. Secrets that are in it are told as well.
    pub table_config: BTreeMap<String, String>,
}

#[derive(Clone)]
pub(crate) struct ServerState {
    catalog: Arc<SqlCatalog>,
    config: Arc<ServerConfig>,
    /// One permit for each request that is being answered.
    permits: Arc<Semaphore>,
}

type Handlers = MethodRouter<ServerState>;

/// Every route below the prefix: OpenAPI path, methods, handlers. The list of endpoints that clients get is made of it.
fn routes() -> [(&'static str, &'static [&'static str], Handlers); 11] {
    [
        ("/namespaces", &["GET", "POST"], get(namespaces::list).post(namespaces::create)),
        (
            "/namespaces/{namespace}",
            &["GET", "HEAD", "DELETE"],
            get(namespaces::load).head(namespaces::exists).delete(namespaces::drop),
        ),
        ("/namespaces/{namespace}/properties", &["POST"], post(namespaces::update)),
        ("/namespaces/{namespace}/tables", &["GET", "POST"], get(tables::list).post(tables::create)),
        ("/namespaces/{namespace}/register", &["POST"], post(tables::register)),
        (
            "/namespaces/{namespace}/tables/{table}",
            &["GET", "POST", "HEAD", "DELETE"],
            get(tables::load).post(tables::commit).head(tables::exists).delete(tables::drop),
        ),
        ("/namespaces/{namespace}/tables/{table}/metrics", &["POST"], post(tables::report_metrics)),
        ("/tables/rename", &["POST"], post(tables::rename)),
        ("/transactions/commit", &["POST"], post(tables::commit_transaction)),
        // No views: a list without entries keeps engines that ask for both kinds going.
        ("/namespaces/{namespace}/views", &[], get(no_views)),
        ("/namespaces/{namespace}/views/{view}", &[], get(no_view).head(no_view)),
    ]
}

/// The service: `/v1/…` and `/health`.
pub fn router(catalog: Arc<SqlCatalog>, config: ServerConfig) -> Router {
    router_with(catalog, config, Router::new())
}

/// The service with further routes beside its own. They are guarded as those are: known host names only, so many requests
/// at once, so long until an answer begins, errors in the protocol's envelope. A body that is streamed has no such limits.
pub fn router_with(catalog: Arc<SqlCatalog>, config: ServerConfig, more: Router) -> Router {
    let state =
        ServerState { catalog, config: Arc::new(config), permits: Arc::new(Semaphore::new(guard::REQUESTS_MAX)) };
    let mut router = Router::new().route("/v1/config", get(load_config)).route("/health", get(health));
    for (path, _, handlers) in routes() {
        router = router.route(&format!("/v1{path}"), handlers);
    }
    if let Some(prefix) = &state.config.prefix {
        for (path, _, handlers) in routes() {
            router = router.route(&format!("/v1/{prefix}{path}"), handlers);
        }
    }
    for (path, _, handlers) in consumers::routes() {
        router = router.route(path, handlers);
    }
    guarded(router.merge(more.with_state(())).fallback(no_route), state)
}

/// Everything around the handlers, innermost first.
fn guarded(router: Router<ServerState>, state: ServerState) -> Router {
    router
        .layer(middleware::from_fn(guard::envelope))
        .layer(middleware::from_fn_with_state(state.clone(), guard::limit_number))
        .layer(middleware::from_fn(guard::limit_time))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(CatchPanicLayer::custom(guard::of_panic))
        .layer(middleware::from_fn_with_state(state.clone(), guard::check_host))
        .with_state(state)
}

/// Serves until `shutdown`, then lets requests that are under way finish.
///
/// # Errors
/// If the listener fails.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) -> std::io::Result<()> {
    let service = router.map_request(guard::plus_is_space as fn(Request) -> Request);
    let make = tower::make::Shared::new(service);
    axum::serve(listener, make).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

/// The routes of Frazil's own interface that the service has by itself: OpenAPI path and methods.
pub fn api_routes() -> Vec<(&'static str, &'static [&'static str])> {
    consumers::routes().into_iter().map(|(path, methods, _)| (path, methods)).collect()
}

async fn load_config(
    State(state): State<ServerState>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Json<CatalogConfig>, Refusal> {
    let warehouse = state.catalog.warehouse();
    if let (Some(name), Some(asked)) = (&state.config.warehouse_name, query.get("warehouse"))
        && asked != name
        && asked.trim_end_matches('/') != warehouse
    {
        let message = format!("there is no warehouse {asked:?} here, only {name:?}");
        return Err(Refusal::new(StatusCode::NOT_FOUND, "NoSuchWarehouseException", message));
    }
    let mut overrides = BTreeMap::new();
    if let Some(prefix) = &state.config.prefix {
        overrides.insert("prefix".to_owned(), prefix.clone());
    }
    Ok(Json(CatalogConfig { defaults: BTreeMap::new(), overrides, endpoints: endpoints() }))
}

fn endpoints() -> Vec<String> {
    let of_route = |(path, methods, _): (&str, &[&str], Handlers)| -> Vec<String> {
        methods.iter().map(|method| format!("{method} /v1/{{prefix}}{path}")).collect()
    };
    let own = consumers::routes()
        .into_iter()
        .flat_map(|(path, methods, _)| methods.iter().map(move |method| format!("{} {path}", method.to_uppercase())));
    let protocol = routes().into_iter().flat_map(of_route);
    std::iter::once("GET /v1/config".to_owned()).chain(protocol).chain(own).collect()
}

async fn health() -> Json<serde_json::Value> {
    Json(serde_json::json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))
}

async fn no_route(uri: Uri) -> Response {
    let message = format!("there is nothing at {}", uri.path());
    Refusal::new(StatusCode::NOT_FOUND, "NotFoundException", message).into_response()
}

async fn no_views() -> Json<serde_json::Value> {
    Json(serde_json::json!({"identifiers": [], "next-page-token": null}))
}

async fn no_view(uri: Uri) -> Refusal {
    let message = format!("this catalog holds no views: {}", uri.path());
    Refusal::new(StatusCode::NOT_FOUND, "NoSuchViewException", message)
}

impl ServerState {
    /// What a client needs to reach a table's files.
    fn table_config(&self) -> &BTreeMap<String, String> {
        &self.config.table_config
    }
}

#[cfg(test)]
mod tests;
