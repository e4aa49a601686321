//! How a store is reached: the properties of Iceberg's FileIO, by their names.
//!
//! Iceberg hands them about as strings, in a catalog's configuration and with each table, so that is what is kept here.
//! What is not given is taken from where a cloud's own tools look: environment variables, then the machine's role.

use std::collections::BTreeMap;
use std::fmt;

use crate::{Error, Result};

/// A property: its name, and whether its value is a secret.
const PROPERTIES: [(&str, bool); 30] = [
    ("s3.endpoint", false),
    ("s3.region", false),
    ("client.region", false),
    ("s3.path-style-access", false),
    ("s3.access-key-id", true),
    ("s3.secret-access-key", true),
    ("s3.session-token", true),
    ("s3.sse.type", false),
    ("s3.sse.key", true),
    ("gcs.service.host", false),
    ("gcs.project-id", false),
    ("gcs.no-auth", false),
    ("gcs.oauth2.token", true),
    ("gcs.oauth2.token-expires-at", false),
    ("gcs.credentials-path", false),
    ("gcs.credentials-json", true),
    ("adls.account-name", false),
    ("adls.account-key", true),
    ("adls.auth.shared-key.account.name", false),
    ("adls.auth.shared-key.account.key", true),
    ("adls.sas-token", true),
    ("adls.token", true),
    ("adls.tenant-id", false),
    ("adls.client-id", false),
    ("adls.client-secret", true),
    ("adls.connection-string", true),
    ("adls.authority-host", false),
    ("adls.account-host", false),
    ("adls.blob-storage-authority", false),
    ("adls.blob-storage-scheme", false),
];

/// Properties that end in the name of an account (Iceberg Java, `AzureProperties`).
const PER_ACCOUNT: [&str; 2] = ["adls.sas-token.", "adls.connection-string."];

/// Hadoop's own settings, which go to the HDFS client as they are.
const HADOOP: [&str; 3] = ["dfs.", "fs.", "hadoop."];

/// Properties of stores. Printed, it keeps its secrets.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct StoreConfig {
    properties: BTreeMap<String, String>,
}

impl StoreConfig {
    /// Properties that a person gave.
    ///
    /// # Errors
    /// [`Error::BadProperty`] for a name that no store knows.
    pub fn new(properties: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let properties: BTreeMap<_, _> = properties.into_iter().collect();
        match properties.keys().find(|key| secrecy(key).is_none()) {
            None => Ok(Self { properties }),
            Some(key) => {
                let family = key.split('.').next().unwrap_or_default();
                let alike: Vec<_> = PROPERTIES
                    .iter()
                    .map(|(name, _)| *name)
                    .filter(|name| name.split('.').next() == Some(family))
                    .collect();
                let reason = match alike.as_slice() {
                    [] => "no store knows it; names begin with s3., gcs., adls., dfs., fs. or hadoop.".to_owned(),
                    names => format!("no store knows it; there are {}", names.join(", ")),
                };
                Err(Error::BadProperty { key: key.clone(), reason })
            }
        }
    }

    /// The properties of stores among those that a catalog sent; others are for other clients.
    pub fn of_catalog(properties: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { properties: properties.into_iter().filter(|(key, _)| secrecy(key).is_some()).collect() }
    }

    /// These properties, and those of `other` that are not among them.
    #[must_use]
    pub fn or(mut self, other: &Self) -> Self {
        for (key, value) in &other.properties {
            self.properties.entry(key.clone()).or_insert_with(|| value.clone());
        }
        self
    }

    /// These properties for a part of a store, and what `whole` says of the rest. Secrets are not mixed: where some are
    /// given here, the others of that cloud do not count.
    #[must_use]
    pub(crate) fn granted_over(self, whole: &Self) -> Self {
        let cloud = |key: &str| key.split('.').next().unwrap_or_default().to_owned();
        let is_secret = |key: &String| secrecy(key) == Some(true);
        let own: Vec<_> = self.properties.keys().filter(|key| is_secret(key)).map(|key| cloud(key)).collect();
        let mut rest = whole.clone();
        rest.properties.retain(|key, _| !(is_secret(key) && own.contains(&cloud(key))));
        self.or(&rest)
    }

    /// Whether nothing is given.
    pub fn is_empty(&self) -> bool {
        self.properties.is_empty()
    }

    /// Everything, with its secrets.
    pub fn with_secrets(&self) -> BTreeMap<String, String> {
        self.properties.clone()
    }

    /// What anybody may know: where a store is and how it is spoken to.
    pub fn without_secrets(&self) -> BTreeMap<String, String> {
        let is_public = |key: &&String| secrecy(key) == Some(false) && !HADOOP.iter().any(|head| key.starts_with(head));
        let public = self.properties.keys().filter(is_public);
        public.map(|key| (key.clone(), self.properties[key].clone())).collect()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.properties.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The first of several names of one thing.
    pub(crate) fn any(&self, keys: &[&str]) -> Option<&str> {
        keys.iter().find_map(|key| self.get(key))
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>> {
        match self.get(key) {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(text) => Err(bad(key, format!("{text:?} is neither true nor false"))),
        }
    }

    /// Hadoop's settings.
    pub(crate) fn hadoop(&self) -> BTreeMap<String, String> {
        let is_hadoop = |key: &String| HADOOP.iter().any(|head| key.starts_with(head));
        self.properties.iter().filter(|(key, _)| is_hadoop(key)).map(|(k, v)| (k.clone(), v.clone())).collect()
    }
}

impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let public = |key: &str| secrecy(key) == Some(false);
        let shown = self.properties.iter().map(|(key, value)| (key, if public(key) { value.as_str() } else { "***" }));
        f.debug_map().entries(shown).finish()
    }
}

/// Whether a property is secret, `None` if no store knows it.
fn secrecy(key: &str) -> Option<bool> {
    if let Some((_, secret)) = PROPERTIES.iter().find(|(name, _)| *name == key) {
        return Some(*secret);
    }
    if PER_ACCOUNT.iter().any(|head| key.starts_with(head)) {
        return Some(true);
    }
    HADOOP.iter().any(|head| key.starts_with(head)).then_some(false)
}

pub(crate) fn bad(key: &str, reason: impl Into<String>) -> Error {
    Error::BadProperty { key: key.to_owned(), reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(properties: &[(&str, &str)]) -> Result<StoreConfig> {
        StoreConfig::new(properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn a_misspelt_property_names_the_right_ones() {
        let error = config(&[("s3.endpont", "x")]).unwrap_err().to_string();
        assert!(error.contains("s3.endpont") && error.contains("s3.endpoint"), "{error}");
        assert!(config(&[("dfs.replication", "1"), ("adls.sas-token.account.dfs.core.windows.net", "x")]).is_ok());
    }

    #[test]
    fn secrets_are_neither_printed_nor_public() {
        let config = config(&[
            ("s3.endpoint", "http://e"),
            ("s3.secret-access-key", "hush"),
            ("adls.sas-token.a", "hush"),
            ("gcs.oauth2.token", "hush"),
        ])
        .unwrap();
        let shown = format!("{config:?} {:?}", config.without_secrets());
        assert!(shown.contains("http://e") && !shown.contains("hush"), "{shown}");
        assert_eq!(config.with_secrets().len(), 4);
    }

    #[test]
    fn of_a_catalogs_properties_only_those_of_stores_count() {
        let sent = [("s3.endpoint", "e"), ("prefix", "p"), ("s3.remote-signing-enabled", "true")];
        let config = StoreConfig::of_catalog(sent.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(config.with_secrets().into_keys().collect::<Vec<_>>(), ["s3.endpoint"]);
        let ours = StoreConfig::of_catalog([("s3.endpoint".to_owned(), "ours".to_owned())]);
        assert_eq!(ours.or(&config).get("s3.endpoint"), Some("ours"));
    }

    #[test]
    fn granted_secrets_are_not_mixed_with_others() {
        let whole = config(&[("s3.access-key-id", "a"), ("s3.session-token", "old"), ("s3.region", "r")]).unwrap();
        let granted = config(&[("s3.access-key-id", "b"), ("s3.secret-access-key", "s")]).unwrap().granted_over(&whole);
        assert_eq!((granted.get("s3.session-token"), granted.get("s3.region")), (None, Some("r")));
        let plain = config(&[("s3.endpoint", "e")]).unwrap().granted_over(&whole);
        assert_eq!(plain.get("s3.access-key-id"), Some("a"));
    }
}
