//! Which backend a location is reached with.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::backend::Backend;
use crate::disk::{Disk, RealDisk};
use crate::local::LocalBackend;
use crate::object::ObjectBackend;
use crate::{Error, Location, PowerDisk, Result, StoreKind};

/// Backends by what they reach.
#[derive(Debug)]
pub(crate) struct Stores {
    local: Arc<LocalBackend>,
    memory: Mutex<HashMap<String, Arc<ObjectBackend>>>,
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
        Self { local: Arc::new(LocalBackend::new(disk)), memory: Mutex::default() }
    }

    pub(crate) fn get(&self, location: &Location) -> Result<Arc<dyn Backend>> {
        match location.kind() {
            Some(StoreKind::Local) => Ok(self.local.clone()),
            Some(StoreKind::Memory) => {
                check(location)?;
                let mut memory = self.memory.lock().expect("no code panics while it holds this lock");
                let memory = memory.entry(location.authority().to_owned());
                Ok(memory.or_insert_with(|| Arc::new(ObjectBackend::memory())).clone())
            }
            _ => {
                let reason = format!("no store for scheme {:?}; use file or memory", location.scheme());
                Err(Error::BadLocation { location: location.to_string(), reason })
            }
        }
    }
}

/// Object stores tell `a//b` from `a/b`; many programs don't. Nor do all of them take control characters.
fn check(location: &Location) -> Result<()> {
    let bad = |reason: &str| Error::BadLocation { location: location.to_string(), reason: reason.to_owned() };
    if location.authority().is_empty() {
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

    #[test]
    fn names_that_programs_read_differently_are_refused() {
        let stores = Stores::default();
        for text in ["memory://w/a//b", "memory://w/a\nb", "memory:///a"] {
            let error = stores.get(&Location::parse(text).unwrap()).unwrap_err();
            assert!(matches!(error, Error::BadLocation { .. }), "{text}: {error}");
        }
    }
}
