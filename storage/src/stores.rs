//! Which client a location is reached with.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::backend::Backend;
use crate::connect;
use crate::disk::{Disk, RealDisk};
use crate::hdfs::HdfsBackend;
use crate::local::LocalBackend;
use crate::object::ObjectBackend;
use crate::{Error, Location, PowerDisk, Result, StoreConfig, StoreKind};

/// Clients that are kept. A client holds connections; one more than these makes all of them anew.
const CLIENTS_MAX: usize = 256;
/// Prefixes with properties of their own.
const GRANTS_MAX: usize = 1_000;

/// Clients by what they reach and with which properties.
#[derive(Debug)]
pub(crate) struct Stores {
    local: Arc<LocalBackend>,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    config: StoreConfig,
    /// Oldest first.
    grants: Vec<(Location, StoreConfig)>,
    memory: HashMap<String, Arc<ObjectBackend>>,
    clients: HashMap<(StoreKind, String, StoreConfig), Arc<dyn Backend>>,
}

impl Default for Stores {
    fn default() -> Self {
        Self::with_disk(Arc::new(RealDisk))
    }
}

impl Stores {
    pub(crate) fn on_disk(disk: Arc<PowerDisk>) -> Self {
        Self::with_disk(disk)
    }

    fn with_disk(disk: Arc<dyn Disk>) -> Self {
        Self { local: Arc::new(LocalBackend::new(disk)), shared: Mutex::default() }
    }

    pub(crate) fn configure(&self, config: StoreConfig) {
        self.shared().config = config;
    }

    pub(crate) fn config(&self) -> StoreConfig {
        self.shared().config.clone()
    }

    pub(crate) fn grant(&self, prefix: &Location, config: StoreConfig) {
        let mut shared = self.shared();
        shared.grants.retain(|(granted, _)| granted != prefix);
        if shared.grants.len() >= GRANTS_MAX {
            shared.grants.remove(0);
        }
        shared.grants.push((prefix.clone(), config));
    }

    pub(crate) fn get(&self, location: &Location) -> Result<Arc<dyn Backend>> {
        let Some(kind) = location.kind() else {
            let reason =
                format!("no store for scheme {:?}; there are file, s3, gs, abfss, hdfs and memory", location.scheme());
            return Err(Error::BadLocation { location: location.to_string(), reason });
        };
        if kind == StoreKind::Local {
            return Ok(self.local.clone());
        }
        check(location)?;
        let mut shared = self.shared();
        if kind == StoreKind::Memory {
            let memory = shared.memory.entry(location.authority().to_owned());
            return Ok(memory.or_insert_with(|| Arc::new(ObjectBackend::memory())).clone());
        }
        let config = shared.config_of(location);
        let id = (kind, location.authority().to_owned(), config);
        if let Some(client) = shared.clients.get(&id) {
            return Ok(Arc::clone(client));
        }
        let client = connect(kind, location, &id.2)?;
        if shared.clients.len() >= CLIENTS_MAX {
            shared.clients.clear();
        }
        shared.clients.insert(id, Arc::clone(&client));
        Ok(client)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("no code panics while it holds this lock")
    }
}

impl Shared {
    /// Those of the longest prefix that was granted, and of the whole store where it says nothing.
    fn config_of(&self, location: &Location) -> StoreConfig {
        let granted = self.grants.iter().filter(|(prefix, _)| location.is_within(prefix));
        match granted.max_by_key(|(prefix, _)| prefix.path().len()) {
            Some((_, config)) => config.clone().granted_over(&self.config),
            None => self.config.clone(),
        }
    }
}

fn connect(kind: StoreKind, location: &Location, config: &StoreConfig) -> Result<Arc<dyn Backend>> {
    Ok(match kind {
        StoreKind::S3 => Arc::new(connect::s3(location, config)?),
        StoreKind::Gcs => Arc::new(connect::gcs(location, config)?),
        StoreKind::Azure => Arc::new(connect::azure(location, config)?),
        StoreKind::Hdfs => Arc::new(HdfsBackend::new(location, config)?),
        StoreKind::Local | StoreKind::Memory => unreachable!("these have no clients"),
    })
}

/// Object stores tell `a//b` from `a/b`; many programs don't. Nor do all of them take control characters.
fn check(location: &Location) -> Result<()> {
    let bad = |reason: &str| Error::BadLocation { location: location.to_string(), reason: reason.to_owned() };
    if location.authority().is_empty() && location.kind() != Some(StoreKind::Hdfs) {
        return Err(bad("it must name its bucket or container"));
    }
    if !location.path().is_empty() && location.path().split('/').any(str::is_empty) {
        return Err(bad("it must not have empty path segments"));
    }
    if location.path().chars().any(|c| c.is_ascii_control()) {
        return Err(bad("it must not have control characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(key: &str, value: &str) -> StoreConfig {
        StoreConfig::new([(key.to_owned(), value.to_owned())]).unwrap()
    }

    #[test]
    fn the_longest_granted_prefix_counts() {
        let stores = Stores::default();
        stores.configure(config("s3.region", "r").or(&config("s3.endpoint", "http://base")));
        let at = |text: &str| Location::parse(text).unwrap();
        stores.grant(&at("s3://b/w"), config("s3.endpoint", "http://w"));
        stores.grant(&at("s3a://b/w/t"), config("s3.endpoint", "http://t"));
        stores.grant(&at("s3a://b/w/t"), config("s3.endpoint", "http://newer"));
        let endpoint = |text: &str| stores.shared().config_of(&at(text)).get("s3.endpoint").map(str::to_owned);
        assert_eq!(endpoint("s3://b/x").as_deref(), Some("http://base"));
        assert_eq!(endpoint("s3://b/w/t2/f").as_deref(), Some("http://w"));
        assert_eq!(endpoint("s3://b/w/t/f").as_deref(), Some("http://newer"));
        assert_eq!(stores.shared().config_of(&at("s3://b/w/t/f")).get("s3.region"), Some("r"));
    }

    #[test]
    fn names_that_programs_read_differently_are_refused() {
        let stores = Stores::default();
        for text in ["memory://w/a//b", "memory://w/a\nb", "s3:///a"] {
            let error = stores.get(&Location::parse(text).unwrap()).unwrap_err();
            assert!(matches!(error, Error::BadLocation { .. }), "{text}: {error}");
        }
    }
}
