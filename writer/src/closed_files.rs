//! Files that a writer has closed and given to nobody yet.

use frazil_storage::{Env, Store};
use frazil_table::TableFile;
use tokio_util::task::TaskTracker;

/// Durable files that no one else knows of, so no commit can name them. Those that are dropped here are deleted.
pub(crate) struct ClosedFiles {
    store: Store,
    files: Vec<TableFile>,
    deletions: TaskTracker,
}

impl ClosedFiles {
    /// None yet. What is deleted later is a task of `deletions`.
    pub fn new(store: &Store, deletions: &TaskTracker) -> Self {
        Self { store: store.clone(), files: Vec::new(), deletions: deletions.clone() }
    }

    /// None yet, of writers that have no way to wait for deletions.
    pub fn of(env: &Env) -> Self {
        Self::new(&env.store, &TaskTracker::new())
    }

    pub fn push(&mut self, file: TableFile) {
        self.files.push(file);
    }

    pub fn extend(&mut self, files: Vec<TableFile>) {
        self.files.extend(files);
    }

    pub fn append(&mut self, mut others: Self) {
        self.files.append(&mut others.files);
    }

    pub fn as_slice(&self) -> &[TableFile] {
        &self.files
    }

    /// The files, which from now on are the caller's.
    pub fn give_out(&mut self) -> Vec<TableFile> {
        std::mem::take(&mut self.files)
    }
}

impl Drop for ClosedFiles {
    /// In the background. What can't be deleted, for want of a runtime too, stays as an orphan.
    fn drop(&mut self) {
        let files = self.give_out();
        if files.is_empty() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let store = self.store.clone();
        let delete = async move {
            for file in &files {
                let location = file.file.file_path();
                if let Err(error) = store.delete(location).await {
                    tracing::warn!(location, %error, "a file that no snapshot names stays as an orphan");
                }
            }
        };
        self.deletions.spawn_on(delete, &runtime);
    }
}
