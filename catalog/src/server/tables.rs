//! Tables over HTTP.

use axum::Json;
use axum::body::Body as AnswerBody;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use frazil_table::spec::TableIdent;
use frazil_table::{MetadataText, Table};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::ServerState;
use super::error::Refusal;
use super::extract::{Body, InNamespace, InTable, Page, idempotency_key};
use crate::wire::{CommitTable, CommitTransaction, CreateTable, RegisterTable, RenameTable, TableAnswer, TableList};
use crate::{Catalog, CommitOutcome, TableCommit, TransactionOutcome};

/// Which snapshots an answer names (Iceberg REST, `loadTable`, `snapshots`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Snapshots {
    #[default]
    All,
    Refs,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct LoadQuery {
    #[serde(default)]
    snapshots: Snapshots,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DropQuery {
    /// Java clients write `true`, others `True`.
    #[serde(default)]
    purge_requested: String,
}

pub(super) async fn list(
    State(state): State<ServerState>,
    InNamespace(namespace): InNamespace,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<TableList>, Refusal> {
    let Query(page) = page?;
    let identifiers = state.catalog.list_tables(&namespace).await?;
    let (identifiers, next_page_token) = page.cut(identifiers, |ident| &ident.name)?;
    Ok(Json(TableList { identifiers, next_page_token }))
}

pub(super) async fn create(
    State(state): State<ServerState>,
    InNamespace(namespace): InNamespace,
    Body(body): Body<CreateTable>,
) -> Result<Response, Refusal> {
    if body.stage_create == Some(true) {
        let creation = body.into_creation()?;
        let ident = TableIdent::new(namespace.clone(), creation.name.clone());
        let metadata = state.catalog.stage_table(&namespace, creation).await?;
        state.catalog.make_folders(&metadata).await?;
        let text = MetadataText::new(&Table::new(ident, metadata.into(), "")).map_err(crate::Error::from)?;
        let json = RawValue::from_string(text.json()).expect("what was written as JSON is JSON");
        let config = Some(state.table_config());
        return Ok(Json(TableAnswer { metadata_location: None, metadata: &json, config }).into_response());
    }
    let creation = body.into_creation()?;
    let table = state.catalog.create_table(&namespace, creation).await?;
    Ok(state.answer(&table, Snapshots::All))
}

pub(super) async fn load(
    State(state): State<ServerState>,
    InTable(ident): InTable,
    query: Result<Query<LoadQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let Query(query) = query?;
    let table = state.catalog.load_table(&ident).await?;
    let etag = etag(&table, query.snapshots);
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    if known.flat_map(|list| list.split(',')).any(|known| known.trim().trim_start_matches("W/") == etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    Ok(state.answer(&table, query.snapshots))
}

pub(super) async fn exists(State(state): State<ServerState>, InTable(ident): InTable) -> Result<StatusCode, Refusal> {
    match state.catalog.table_exists(&ident).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(crate::Error::NoSuchTable(ident.to_string()).into()),
    }
}

pub(super) async fn drop(
    State(state): State<ServerState>,
    InTable(ident): InTable,
    query: Result<Query<DropQuery>, QueryRejection>,
) -> Result<StatusCode, Refusal> {
    let purge = query?.0.purge_requested.eq_ignore_ascii_case("true");
    let catalog = state.catalog.clone();
    to_the_end(async move { catalog.drop_table(&ident, purge).await }).await??;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn rename(
    State(state): State<ServerState>,
    Body(body): Body<RenameTable>,
) -> Result<StatusCode, Refusal> {
    state.catalog.rename_table(&body.source, &body.destination).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn register(
    State(state): State<ServerState>,
    InNamespace(namespace): InNamespace,
    Body(body): Body<RegisterTable>,
) -> Result<Response, Refusal> {
    if body.overwrite {
        return Err(Refusal::bad_request(
            "this catalog does not overwrite a table by registering another; drop it first",
        ));
    }
    let ident = TableIdent::new(namespace, body.name);
    let table = state.catalog.register_table(&ident, &body.metadata_location).await?;
    Ok(state.answer(&table, Snapshots::All))
}

/// A commit runs to its end whether the client waits for it or not.
pub(super) async fn commit(
    State(state): State<ServerState>,
    InTable(ident): InTable,
    headers: HeaderMap,
    Body(body): Body<CommitTable>,
) -> Result<Response, Refusal> {
    if body.identifier.as_ref().is_some_and(|named| *named != ident) {
        return Err(Refusal::bad_request(format!("the path names {ident} and the body another table")));
    }
    let commit = TableCommit {
        ident,
        requirements: body.requirements,
        updates: body.updates,
        idempotency_key: idempotency_key(&headers)?,
    };
    let catalog = state.catalog.clone();
    match to_the_end(async move { catalog.commit(commit).await }).await?? {
        CommitOutcome::Committed(table) => Ok(state.answer(&table, Snapshots::All)),
        CommitOutcome::Conflict(conflict) => Err(Refusal::conflict(&conflict)),
        CommitOutcome::Unknown { reason } => Err(Refusal::unknown(&reason)),
    }
}

pub(super) async fn commit_transaction(
    State(state): State<ServerState>,
    headers: HeaderMap,
    Body(body): Body<CommitTransaction>,
) -> Result<StatusCode, Refusal> {
    let key = idempotency_key(&headers)?;
    let mut commits = Vec::with_capacity(body.table_changes.len());
    for change in body.table_changes {
        let ident =
            change.identifier.ok_or_else(|| Refusal::bad_request("every change of a transaction names its table"))?;
        let (requirements, updates) = (change.requirements, change.updates);
        commits.push(TableCommit { ident, requirements, updates, idempotency_key: key });
    }
    let catalog = state.catalog.clone();
    match to_the_end(async move { catalog.commit_all(&commits, key).await }).await?? {
        TransactionOutcome::Committed(_) => Ok(StatusCode::NO_CONTENT),
        TransactionOutcome::Conflict(conflict) => Err(Refusal::conflict(&conflict)),
        TransactionOutcome::Unknown { reason } => Err(Refusal::unknown(&reason)),
    }
}

/// Engines report what they scanned and committed. Nothing is kept of it yet, but the table must be there.
pub(super) async fn report_metrics(
    State(state): State<ServerState>,
    table: InTable,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    tracing::debug!(table = %table.0, size_bytes = body.len(), "an engine reports metrics");
    exists(State(state), table).await
}

async fn to_the_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, Refusal> {
    tokio::spawn(work).await.map_err(|error| {
        tracing::error!(%error, "a commit's task ended early");
        Refusal::unknown("the server failed on the way")
    })
}

impl ServerState {
    fn answer(&self, table: &Table, snapshots: Snapshots) -> Response {
        let all = self.catalog.metadata_json(table).expect("it was stored as JSON");
        let only_refs;
        let metadata: &RawValue = match snapshots {
            Snapshots::All => &all,
            Snapshots::Refs => {
                only_refs = without_unreferenced(table, &all);
                &only_refs
            }
        };
        let config = Some(self.table_config());
        let answer = TableAnswer { metadata_location: Some(table.metadata_location()), metadata, config };
        let json = serde_json::to_vec(&answer).expect("an answer has a JSON form");
        Response::builder()
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ETAG, etag(table, snapshots))
            .body(AnswerBody::from(json))
            .expect("these headers are valid")
    }
}

/// Differs whenever the answer does.
fn etag(table: &Table, snapshots: Snapshots) -> String {
    let hash = Sha256::digest(format!("{snapshots:?} {}", table.metadata_location()));
    let hex: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

fn without_unreferenced(table: &Table, all: &RawValue) -> Box<RawValue> {
    let mut json: serde_json::Value = serde_json::from_str(all.get()).expect("it was made from metadata");
    let named: Vec<i64> = table.refs().values().map(|reference| reference.snapshot_id).collect();
    if let Some(snapshots) = json.get_mut("snapshots").and_then(|snapshots| snapshots.as_array_mut()) {
        snapshots.retain(|snapshot| snapshot["snapshot-id"].as_i64().is_some_and(|id| named.contains(&id)));
    }
    serde_json::value::to_raw_value(&json).expect("JSON has a JSON form")
}
