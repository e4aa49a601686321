//! Requests and answers of the Iceberg REST protocol, as the service and the client both spell them.
//!
//! Fields that this catalog has no use for are read over; an unknown update or requirement is refused (Iceberg REST,
//! `CommitTableRequest`).

use std::collections::{BTreeMap, HashMap};

use frazil_table::spec::{
    NamespaceIdent, Schema, SortOrder, TableCreation, TableIdent, TableRequirement, TableUpdate, UnboundPartitionSpec,
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::{Result, apply};

/// `CatalogConfig`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct CatalogConfig {
    #[serde(default)]
    pub(crate) defaults: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) overrides: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) endpoints: Vec<String>,
}

/// `CreateNamespaceRequest` and `CreateNamespaceResponse`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NamespaceBody {
    pub(crate) namespace: NamespaceIdent,
    #[serde(default)]
    pub(crate) properties: Option<BTreeMap<String, String>>,
}

/// `ListNamespacesResponse`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NamespaceList {
    pub(crate) namespaces: Vec<NamespaceIdent>,
    #[serde(rename = "next-page-token", default)]
    pub(crate) next_page_token: Option<String>,
}

/// `ListTablesResponse`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TableList {
    pub(crate) identifiers: Vec<TableIdent>,
    #[serde(rename = "next-page-token", default)]
    pub(crate) next_page_token: Option<String>,
}

/// `UpdateNamespacePropertiesRequest`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PropertiesUpdate {
    pub(crate) removals: Vec<String>,
    pub(crate) updates: HashMap<String, String>,
}

/// `UpdateNamespacePropertiesResponse`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PropertiesUpdated {
    pub(crate) updated: Vec<String>,
    pub(crate) removed: Vec<String>,
    pub(crate) missing: Vec<String>,
}

/// `CreateTableRequest`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct CreateTable {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) location: Option<String>,
    pub(crate) schema: Schema,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) partition_spec: Option<UnboundPartitionSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) write_order: Option<SortOrder>,
    #[serde(default)]
    pub(crate) stage_create: Option<bool>,
    #[serde(default)]
    pub(crate) properties: Option<HashMap<String, String>>,
}

impl CreateTable {
    pub(crate) fn into_creation(self) -> Result<TableCreation> {
        let mut properties = self.properties.unwrap_or_default();
        let format_version = apply::parse_format_version(properties.remove("format-version"))?;
        Ok(TableCreation {
            name: self.name,
            location: self.location,
            schema: self.schema,
            partition_spec: self.partition_spec,
            sort_order: self.write_order,
            properties,
            format_version,
        })
    }

    pub(crate) fn of(creation: TableCreation) -> Self {
        let mut properties = creation.properties;
        properties.insert("format-version".to_owned(), (creation.format_version as u8).to_string());
        Self {
            name: creation.name,
            location: creation.location,
            schema: creation.schema,
            partition_spec: creation.partition_spec,
            write_order: creation.sort_order,
            stage_create: None,
            properties: Some(properties),
        }
    }
}

/// `RegisterTableRequest`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct RegisterTable {
    pub(crate) name: String,
    pub(crate) metadata_location: String,
    #[serde(default)]
    pub(crate) overwrite: bool,
}

/// `RenameTableRequest`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RenameTable {
    pub(crate) source: TableIdent,
    pub(crate) destination: TableIdent,
}

/// `CommitTableRequest`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CommitTable {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) identifier: Option<TableIdent>,
    pub(crate) requirements: Vec<TableRequirement>,
    #[serde(deserialize_with = "read_updates")]
    pub(crate) updates: Vec<TableUpdate>,
}

/// Reads updates as they are spelled today, and as Iceberg's Java library of 2022 spells changes of properties.
fn read_updates<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<TableUpdate>, D::Error> {
    const OLD_NAMES: [(&str, &str, &str); 2] =
        [("set-properties", "updated", "updates"), ("remove-properties", "removed", "removals")];
    let mut updates: Vec<Map<String, Value>> = Vec::deserialize(deserializer)?;
    for update in &mut updates {
        for (action, old, new) in OLD_NAMES {
            if update.get("action").is_some_and(|named| named == action)
                && let Some(value) = update.remove(old)
            {
                update.entry(new).or_insert(value);
            }
        }
    }
    let read = |update| serde_json::from_value(Value::Object(update)).map_err(serde::de::Error::custom);
    updates.into_iter().map(read).collect()
}

/// `CommitTransactionRequest`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct CommitTransaction {
    pub(crate) table_changes: Vec<CommitTable>,
}

/// `LoadTableResult` and `CommitTableResponse`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct TableAnswer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metadata_location: Option<&'a str>,
    pub(crate) metadata: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) config: Option<&'a BTreeMap<String, String>>,
}

/// The same as a client reads it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct LoadedTable {
    #[serde(default)]
    pub(crate) metadata_location: Option<String>,
    pub(crate) metadata: frazil_table::spec::TableMetadata,
    #[serde(default)]
    pub(crate) config: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) storage_credentials: Vec<StorageCredential>,
}

/// `StorageCredential`: properties for all that is at or below a prefix.
#[derive(Debug, Deserialize)]
pub(crate) struct StorageCredential {
    pub(crate) prefix: String,
    pub(crate) config: BTreeMap<String, String>,
}

/// `IcebergErrorResponse`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ErrorBody {
    pub(crate) error: ErrorModel,
}

/// `ErrorModel`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ErrorModel {
    pub(crate) message: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) code: u16,
}
