//! Frazil's own HTTP interface, beside the Iceberg REST protocol: `/api/v1/…`, described by `/api/openapi.json`.
//!
//! Decided here: which requests there are, and how many tables are followed at once. What a request asks for is read in
//! [`request`], what goes over the wire is made in [`encode`], when it goes in [`changes`].

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use frazil_catalog::SqlCatalog;
use frazil_catalog::server::{ApiTable, Refusal};
use frazil_engine::provider::ConditionParser;
use frazil_reader::ReadContext;
use frazil_storage::Env;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

mod changes;
pub(crate) mod encode;
pub(crate) mod refusal;
mod request;
#[cfg(test)]
mod tests;

/// Tables that are followed at once. Each holds a batch of at most 64 MiB, and what reads one file; rarely more than one.
const FEEDS_MAX: usize = 256;

/// The description of the interface, in OpenAPI 3.1.
const OPENAPI: &str = include_str!("api/openapi.json");

/// What the handlers share. Cheap to clone.
#[derive(Clone)]
struct Api {
    catalog: Arc<SqlCatalog>,
    context: ReadContext,
    conditions: ConditionParser,
    /// One permit for each table that is followed.
    feeds: Arc<Semaphore>,
    stop: CancellationToken,
}

type Handlers = MethodRouter<Api>;

/// Every route: OpenAPI path, methods, handlers.
fn routes() -> Vec<(&'static str, &'static [&'static str], Handlers)> {
    vec![
        ("/api/openapi.json", &["get"], get(describe)),
        ("/api/v1/tables/{namespace}/{table}/changes", &["get"], get(follow)),
    ]
}

/// The routes, for [`frazil_catalog::server::router_with`]. Streams end with `stop`.
pub(crate) fn router(catalog: Arc<SqlCatalog>, env: &Env, stop: CancellationToken) -> Router {
    let api = Api {
        catalog,
        context: ReadContext::new(env),
        conditions: ConditionParser::default(),
        feeds: Arc::new(Semaphore::new(FEEDS_MAX)),
        stop,
    };
    let routes = routes().into_iter();
    routes.fold(Router::new(), |router, (path, _, handlers)| router.route(path, handlers)).with_state(api)
}

async fn describe() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

async fn follow(
    State(api): State<Api>,
    ApiTable(ident): ApiTable,
    query: Result<Query<request::ChangesQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let Ok(permit) = Arc::clone(&api.feeds).try_acquire_owned() else {
        let message = format!("{FEEDS_MAX} tables are followed already; close some, or try again later");
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException", message));
    };
    let request = request::Request::parse(query?.0, &headers)?;
    changes::answer(&api, ident, request, permit).await
}
