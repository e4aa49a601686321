//! What a REST catalog says about the stores of its tables.
//!
//! What it says of a table goes before what it says of all, and that before what is set here, as in Iceberg's own
//! clients; its defaults come last. Each holds for the table's files only: one catalog does not decide how the files of
//! another are reached.

use std::collections::BTreeMap;

use frazil_storage::{Location, Store, StoreConfig};
use frazil_table::spec::TableMetadata;

use crate::wire::{CatalogConfig, StorageCredential};

/// Table properties that put files outside of the table's location (Iceberg, "Write properties").
const OTHER_PLACES: [&str; 2] = ["write.data.path", "write.metadata.path"];

/// Passes a catalog's properties on to a store.
#[derive(Debug)]
pub(crate) struct TableAccess {
    store: Store,
    overrides: StoreConfig,
    defaults: StoreConfig,
}

impl TableAccess {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, overrides: StoreConfig::default(), defaults: StoreConfig::default() }
    }

    /// Takes what the catalog says of all of its tables.
    pub(crate) fn configure(&mut self, config: &CatalogConfig) {
        let ours = self.store.config().with_secrets();
        let unset = config.defaults.clone().into_iter().filter(|(key, _)| !ours.contains_key(key));
        self.defaults = StoreConfig::of_catalog(unset);
        self.overrides = StoreConfig::of_catalog(config.overrides.clone());
    }

    /// Takes what it says of one table.
    pub(crate) fn grant(
        &self,
        metadata: &TableMetadata,
        config: BTreeMap<String, String>,
        credentials: Vec<StorageCredential>,
    ) {
        let of_table = StoreConfig::of_catalog(config).or(&self.overrides).or(&self.defaults);
        let other = OTHER_PLACES.iter().filter_map(|key| metadata.properties().get(*key));
        for place in std::iter::once(metadata.location()).chain(other.map(String::as_str)) {
            self.grant_at(place, of_table.clone());
        }
        for credential in credentials {
            self.grant_at(&credential.prefix, StoreConfig::of_catalog(credential.config).or(&of_table));
        }
    }

    /// A place that is no location has no files of ours.
    fn grant_at(&self, place: &str, config: StoreConfig) {
        if !config.is_empty()
            && let Ok(prefix) = Location::parse(place)
        {
            self.store.grant(&prefix, config);
        }
    }
}
