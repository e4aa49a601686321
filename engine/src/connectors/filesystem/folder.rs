//! Which files a path stands for.

use std::collections::BTreeMap;

use frazil_storage::{Env, Location};
use futures::TryStreamExt;

use super::position::stable_hash;
use crate::Result;
use crate::connectors::error::SourceError;

/// A file, or a folder with everything below it.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    table: String,
    path: Location,
}

/// A file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceFile {
    pub(super) location: String,
    pub(super) size_bytes: u64,
}

impl Folder {
    /// `path` is absolute, relative to the working directory, or a URL.
    ///
    /// # Errors
    /// [`SourceError::Definition`] when it is none of them.
    pub(super) fn new(table: &str, path: &str) -> Result<Self, Box<SourceError>> {
        let wrong = |reason: String| {
            Box::new(SourceError::Definition {
                table: table.to_owned(),
                reason: format!("'path' = '{path}' can't be used: {reason}"),
            })
        };
        let absolute = match Location::parse(path) {
            Ok(location) => {
                return Ok(Self { table: table.to_owned(), path: location });
            }
            Err(error) if path.contains("://") => return Err(wrong(error.to_string())),
            Err(_) => std::path::absolute(path).map_err(|error| wrong(error.to_string()))?,
        };
        // `..` is resolved by name: the path of a source is compared with nothing.
        let mut segments = Vec::new();
        for segment in absolute.to_str().ok_or_else(|| wrong("it is not UTF-8".to_owned()))?.split('/') {
            match segment {
                "" | "." => {}
                ".." => drop(segments.pop()),
                name => segments.push(name),
            }
        }
        let path = Location::parse(&format!("/{}", segments.join("/")));
        let path = path.map_err(|error| wrong(error.to_string()))?;
        Ok(Self { table: table.to_owned(), path })
    }

    /// The files by their name relative to the folder; a single file by its own name. Names that begin with `.` or `_`
    /// are passed over, folders too: other programs write there.
    ///
    /// # Errors
    /// [`SourceError::Unavailable`] when nothing is there.
    pub(super) async fn list(&self, env: &Env) -> Result<BTreeMap<String, SourceFile>> {
        let root = self.path.to_string();
        let found: Vec<_> = env.store.list(&root).await?.try_collect().await?;
        if found.is_empty() && !self.is_empty_folder().await {
            return Err(Box::new(SourceError::Unavailable {
                table: self.table.clone(),
                what: format!("there is no file or folder {}", self.shown()),
                help: "check the option 'path'".to_owned(),
            })
            .into());
        }
        let mut files = BTreeMap::new();
        for meta in found {
            let location = Location::parse(&meta.location)?;
            let below = location.path().strip_prefix(self.path.path()).unwrap_or_default();
            let name = match below.trim_start_matches('/') {
                "" => self.path.path().rsplit('/').next().unwrap_or_default(),
                name if name.split('/').any(|part| part.starts_with(['.', '_'])) => continue,
                name => name,
            };
            let file = SourceFile { location: meta.location.clone(), size_bytes: meta.size_bytes };
            files.insert(name.to_owned(), file);
        }
        Ok(files)
    }

    /// Object stores have no folders without files in them.
    async fn is_empty_folder(&self) -> bool {
        match self.path.local_path() {
            Some(path) => tokio::fs::metadata(path).await.is_ok_and(|metadata| metadata.is_dir()),
            None => false,
        }
    }

    /// For a person.
    pub(super) fn shown(&self) -> String {
        match self.path.local_path() {
            Some(path) => path.display().to_string(),
            None => self.path.to_string(),
        }
    }
}

/// Which subtask reads a file. Needs nothing but its name, so that all subtasks agree without talking.
pub(super) fn subtask_of(name: &str, parallelism: usize) -> usize {
    (stable_hash(name.as_bytes()) % parallelism.max(1) as u64) as usize
}
