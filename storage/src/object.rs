//! Stores behind the `object_store` crate. Today: memory, one per authority.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, WriteMultipart};

use crate::store::object_error;
use crate::{Error, Location, Result};

/// Bytes gathered before a multipart part is sent.
const PART_SIZE_BYTES: usize = 8 << 20;

#[derive(Debug, Default)]
pub(crate) struct ObjectStores {
    memory: Mutex<HashMap<String, Arc<InMemory>>>,
}

impl ObjectStores {
    pub(crate) fn get(&self, location: &Location) -> Result<Arc<dyn ObjectStore>> {
        if location.scheme() != "memory" {
            return Err(Error::BadLocation {
                location: location.to_string(),
                reason: format!("no store for scheme {:?}; use file or memory", location.scheme()),
            });
        }
        let mut stores = self.memory.lock().expect("no code panics while it holds this lock");
        Ok(stores.entry(location.authority().to_owned()).or_default().clone())
    }
}

/// Small files go in one request under a name that must be new; larger ones in parts, aborted when dropped.
#[derive(Debug)]
pub(crate) struct ObjectWriter {
    store: Arc<dyn ObjectStore>,
    path: Path,
    location: String,
    head: Vec<u8>,
    parts: Option<WriteMultipart>,
}

impl ObjectWriter {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, path: Path, location: &str) -> Self {
        Self { store, path, location: location.to_owned(), head: Vec::new(), parts: None }
    }

    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<()> {
        if let Some(parts) = &mut self.parts {
            parts.wait_for_capacity(4).await.map_err(|e| self.error(e))?;
            self.parts.as_mut().expect("checked above").put(bytes);
            return Ok(());
        }
        self.head.extend_from_slice(&bytes);
        if self.head.len() > PART_SIZE_BYTES {
            let upload = self.store.put_multipart(&self.path).await.map_err(|e| self.error(e))?;
            let mut parts = WriteMultipart::new_with_chunk_size(upload, PART_SIZE_BYTES);
            parts.put(std::mem::take(&mut self.head).into());
            self.parts = Some(parts);
        }
        Ok(())
    }

    pub(crate) async fn finish(mut self) -> Result<()> {
        let result = match self.parts.take() {
            Some(parts) => parts.finish().await,
            None => {
                let bytes = std::mem::take(&mut self.head);
                self.store.put_opts(&self.path, bytes.into(), PutMode::Create.into()).await
            }
        };
        result.map(drop).map_err(|e| self.error(e))
    }

    fn error(&self, error: object_store::Error) -> Error {
        object_error("write", &self.location, error)
    }
}

impl Drop for ObjectWriter {
    fn drop(&mut self) {
        let Some(parts) = self.parts.take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { parts.abort().await.ok() });
        }
    }
}
