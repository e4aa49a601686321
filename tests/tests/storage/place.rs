//! A folder of a store, and how it is reached.

use frazil_storage::{ObjectMeta, Store, StoreConfig};
use frazil_tests::peers::Skip;
use frazil_tests::stores::StoreServer;
use futures::TryStreamExt;
use tempfile::TempDir;

/// An empty folder of a store.
pub struct Place {
    pub store: Store,
    pub root: String,
    server: Option<&'static StoreServer>,
    /// Where the server knows the folder by another name.
    asked_as: String,
    folder: Option<TempDir>,
}

impl Place {
    pub fn local(_case: &str) -> Result<Self, Skip> {
        let folder = TempDir::with_prefix("frazil-storage-").unwrap();
        let root = format!("file://{}", folder.path().display());
        Ok(Self { store: Store::new(), asked_as: root.clone(), root, server: None, folder: Some(folder) })
    }

    pub fn memory(case: &str) -> Result<Self, Skip> {
        let root = format!("memory://{case}");
        Ok(Self { store: Store::new(), asked_as: root.clone(), root, server: None, folder: None })
    }

    pub fn s3(case: &str) -> Result<Self, Skip> {
        StoreServer::s3().map(|server| Self::on(server, case))
    }

    pub fn gcs(case: &str) -> Result<Self, Skip> {
        StoreServer::gcs().map(|server| Self::on(server, case))
    }

    /// The client of GCS, and moto for its XML API: uploads in parts are spelt there as in S3.
    pub fn gcs_xml(case: &str) -> Result<Self, Skip> {
        let server = StoreServer::s3()?;
        let root = format!("{}/gcs-xml/{case}", server.root().replacen("s3://", "gs://", 1));
        let asked_as = format!("{}/gcs-xml/{case}", server.root());
        let endpoint = server.endpoint().expect("S3 has an endpoint").to_owned();
        let properties = [("gcs.service.host".to_owned(), endpoint), ("gcs.oauth2.token".to_owned(), "any".to_owned())];
        Ok(Self { store: store(properties), root, server: Some(server), asked_as, folder: None })
    }

    pub fn azure(case: &str) -> Result<Self, Skip> {
        StoreServer::azure().map(|server| Self::on(server, case))
    }

    pub fn hdfs(case: &str) -> Result<Self, Skip> {
        StoreServer::hdfs().map(|server| Self::on(server, case))
    }

    fn on(server: &'static StoreServer, case: &str) -> Self {
        let root = format!("{}/{case}", server.root());
        let store = store(server.properties().iter().cloned());
        Self { store, asked_as: root.clone(), root, server: Some(server), folder: None }
    }

    /// Another program's view of the same place: clients of its own.
    pub fn other_store(&self) -> Store {
        match self.root.starts_with("memory:") {
            true => self.store.clone(),
            false => store(self.store.config().with_secrets()),
        }
    }

    pub fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }

    /// Everything at or below a folder, by name.
    pub async fn list(&self, location: &str) -> Vec<ObjectMeta> {
        let listing = self.store.list(location).await.unwrap();
        let mut found: Vec<_> = listing.try_collect().await.unwrap();
        found.sort_by(|a: &ObjectMeta, b| a.location.cmp(&b.location));
        found
    }

    pub async fn names(&self, location: &str) -> Vec<String> {
        self.list(location).await.into_iter().map(|meta| meta.location).collect()
    }

    /// Whatever is begun and not finished here, by somebody else than the code under test; `None` where nobody tells.
    pub fn unfinished(&self) -> Option<Vec<String>> {
        if let Some(folder) = &self.folder {
            let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
            return Some(
                std::fs::read_dir(folder.path()).unwrap().map(name).filter(|name| name.contains("tmp")).collect(),
            );
        }
        self.server.and_then(|server| server.unfinished(&self.asked_as))
    }

    /// Whether a scheme means HDFS, which refuses some names.
    pub fn is_hdfs(&self) -> bool {
        self.root.starts_with("hdfs:")
    }
}

pub fn store(properties: impl IntoIterator<Item = (String, String)>) -> Store {
    let store = Store::new();
    store.configure(StoreConfig::new(properties).unwrap());
    store
}

pub fn is_long() -> bool {
    std::env::var("FRAZIL_LONG").is_ok_and(|value| value == "1")
}
