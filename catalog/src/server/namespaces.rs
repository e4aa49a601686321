//! Namespaces over HTTP.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use frazil_table::spec::NamespaceIdent;

use super::ServerState;
use super::error::Refusal;
use super::extract::{Body, InNamespace, Page, parse_namespace};
use crate::Catalog;
use crate::wire::{NamespaceBody, NamespaceList, PropertiesUpdate, PropertiesUpdated};

/// The property that tells where a namespace's tables go.
const LOCATION: &str = "location";

pub(super) async fn list(
    State(state): State<ServerState>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<NamespaceList>, Refusal> {
    let Query(page) = page?;
    let parent = page.parent.as_deref().filter(|parent| !parent.is_empty());
    let parent = parent.map(parse_namespace).transpose()?;
    let namespaces = state.catalog.list_namespaces(parent.as_ref()).await?;
    let last_level =
        |ident: &NamespaceIdent| -> String { ident.as_ref().last().expect("a namespace has a level").clone() };
    let named: Vec<_> = namespaces.into_iter().map(|ident| (last_level(&ident), ident)).collect();
    let (named, next_page_token) = page.cut(named, |(name, _)| name)?;
    let namespaces = named.into_iter().map(|(_, ident)| ident).collect();
    Ok(Json(NamespaceList { namespaces, next_page_token }))
}

pub(super) async fn create(
    State(state): State<ServerState>,
    Body(body): Body<NamespaceBody>,
) -> Result<Json<NamespaceBody>, Refusal> {
    let properties = body.properties.unwrap_or_default();
    let made = state.catalog.create_namespace(&body.namespace, properties).await?;
    Ok(Json(NamespaceBody { namespace: made.ident, properties: Some(made.properties) }))
}

pub(super) async fn load(
    State(state): State<ServerState>,
    InNamespace(ident): InNamespace,
) -> Result<Json<NamespaceBody>, Refusal> {
    let mut found = state.catalog.load_namespace(&ident).await?;
    if !found.properties.contains_key(LOCATION) {
        // Trino refuses to make a table in a namespace whose place it is not told.
        let location = state.catalog.namespace_location(&ident);
        found.properties.insert(LOCATION.to_owned(), location);
    }
    Ok(Json(NamespaceBody { namespace: found.ident, properties: Some(found.properties) }))
}

pub(super) async fn exists(
    State(state): State<ServerState>,
    InNamespace(ident): InNamespace,
) -> Result<StatusCode, Refusal> {
    state.catalog.load_namespace(&ident).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn drop(
    State(state): State<ServerState>,
    InNamespace(ident): InNamespace,
) -> Result<StatusCode, Refusal> {
    state.catalog.drop_namespace(&ident).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn update(
    State(state): State<ServerState>,
    InNamespace(ident): InNamespace,
    Body(body): Body<PropertiesUpdate>,
) -> Result<Json<PropertiesUpdated>, Refusal> {
    if let Some(key) = body.removals.iter().find(|key| body.updates.contains_key(*key)) {
        let message = format!("property {key:?} is to be set and to be removed");
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return Err(Refusal::new(status, "UnprocessableEntityException", message));
    }
    let before = state.catalog.load_namespace(&ident).await?.properties;
    let updated = body.updates.keys().cloned().collect();
    let (removed, missing) = body.removals.iter().cloned().partition(|key| before.contains_key(key));
    state.catalog.update_namespace(&ident, body.updates, body.removals).await?;
    Ok(Json(PropertiesUpdated { updated, removed, missing }))
}
