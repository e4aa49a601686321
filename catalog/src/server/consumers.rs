//! Consumers over HTTP: Frazil's own interface, beside the Iceberg REST protocol.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{MethodRouter, delete, get, post};
use frazil_table::spec::TableIdent;
use serde::{Deserialize, Serialize};

use super::extract::{ApiConsumer, ApiTable, Body};
use super::{Refusal, ServerState};
use crate::{CONSUMER_LEASE_MS, Catalog, Consumer, ConsumerCommit};

/// OpenAPI path, methods, handlers.
pub(super) fn routes() -> [(&'static str, &'static [&'static str], MethodRouter<ServerState>); 4] {
    [
        ("/api/v1/tables/{namespace}/{table}/consumers", &["get"], get(list)),
        ("/api/v1/tables/{namespace}/{table}/consumers/{consumer}", &["delete"], delete(drop)),
        ("/api/v1/tables/{namespace}/{table}/consumers/{consumer}/join", &["post"], post(join)),
        ("/api/v1/tables/{namespace}/{table}/consumers/{consumer}/commit", &["post"], post(commit)),
    ]
}

/// The consumers of a table.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ConsumerList {
    pub(crate) consumers: Vec<Consumer>,
}

/// What a new member asks for.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Join {
    pub(crate) lease_ms: Option<i64>,
}

async fn list(State(state): State<ServerState>, ApiTable(ident): ApiTable) -> Result<Json<ConsumerList>, Refusal> {
    Ok(Json(ConsumerList { consumers: state.catalog.consumers(&ident).await? }))
}

async fn join(
    State(state): State<ServerState>,
    ApiConsumer { ident, name }: ApiConsumer,
    Body(body): Body<Join>,
) -> Result<Json<Consumer>, Refusal> {
    let lease_ms = body.lease_ms.unwrap_or(CONSUMER_LEASE_MS);
    Ok(Json(state.catalog.join_consumer(&ident, &name, lease_ms).await?))
}

async fn commit(
    State(state): State<ServerState>,
    ApiConsumer { ident, name }: ApiConsumer,
    Body(body): Body<ConsumerCommit>,
) -> Result<StatusCode, Refusal> {
    state.catalog.commit_consumer(&ident, &name, body).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn drop(
    State(state): State<ServerState>,
    ApiConsumer { ident, name }: ApiConsumer,
) -> Result<StatusCode, Refusal> {
    state.catalog.drop_consumer(&ident, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A path of the interface on a table, as clients write it.
pub(crate) fn path_to(ident: &TableIdent) -> [String; 5] {
    // With the last separator a name that has dots in it is one level.
    let namespace: String = ident.namespace.as_ref().iter().flat_map(|level| [level.as_str(), "\u{1f}"]).collect();
    ["api".into(), "v1".into(), "tables".into(), namespace, ident.name.clone()]
}
