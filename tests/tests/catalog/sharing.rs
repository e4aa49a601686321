//! Several programs on one database file.

use std::sync::Arc;

use frazil_catalog::{Catalog, CommitEnd, Error, Retry, SqlCatalog};
use frazil_storage::Env;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::fixture::*;

async fn open(dir: &TempDir) -> Result<SqlCatalog, Error> {
    let warehouse = format!("file://{}/wh", dir.path().display());
    SqlCatalog::open(&dir.path().join("catalog.db"), Env::system(), &warehouse).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_openers_of_one_file_lose_no_append() {
    let dir = TempDir::new().unwrap();
    let openers = [Arc::new(open(&dir).await.unwrap()), Arc::new(open(&dir).await.unwrap())];
    openers[0].create_namespace(&namespace("db"), Default::default()).await.unwrap();
    let table = openers[1].create_table(&namespace("db"), creation("t")).await.unwrap();
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let (catalog, ident) = (Arc::clone(&openers[writer % 2]), table.ident().clone());
        writers.spawn(async move {
            for n in 0..4 {
                let file = format!("memory://x/{writer}-{n}.parquet");
                let end = append(catalog.as_ref(), &Env::system(), &ident, &file, Retry::default()).await;
                assert!(matches!(end, Ok(CommitEnd::Committed(_))), "{end:?}");
            }
        });
    }
    writers.join_all().await;
    let now = openers[0].load_table(table.ident()).await.unwrap();
    assert_eq!(live(&Env::system(), &now).await.len(), 32);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_open_a_new_file_at_once() {
    for _ in 0..5 {
        let dir = Arc::new(TempDir::new().unwrap());
        let mut openers = JoinSet::new();
        for n in 0..8 {
            let dir = Arc::clone(&dir);
            openers.spawn(async move {
                let catalog = open(&dir).await.unwrap();
                catalog.create_namespace(&namespace(&format!("n{n}")), Default::default()).await.unwrap();
                catalog
            });
        }
        for catalog in openers.join_all().await {
            assert_eq!(catalog.list_namespaces(None).await.unwrap().len(), 8);
        }
    }
}

#[tokio::test]
async fn what_was_committed_is_there_after_opening_again() {
    let dir = TempDir::new().unwrap();
    let catalog = open(&dir).await.unwrap();
    catalog.create_namespace(&namespace("db"), Default::default()).await.unwrap();
    let table = catalog.create_table(&namespace("db"), creation("t")).await.unwrap();
    let commit = request(table.ident(), vec![], vec![set(&[("k", "v")])]);
    let after = catalog.commit(commit.clone()).await.unwrap().committed();
    drop(catalog);
    let catalog = open(&dir).await.unwrap();
    let found = catalog.load_table(table.ident()).await.unwrap();
    assert_eq!(found.metadata_location(), after.metadata_location());
    let again = catalog.commit(commit).await.unwrap().committed();
    assert_eq!(again.metadata_location(), after.metadata_location(), "the key is remembered too");
}

#[tokio::test]
async fn a_file_of_the_first_version_gets_what_is_new() {
    let dir = TempDir::new().unwrap();
    let catalog = open(&dir).await.unwrap();
    catalog.create_namespace(&namespace("db"), Default::default()).await.unwrap();
    let table = catalog.create_table(&namespace("db"), creation("t")).await.unwrap();
    catalog.close().await;
    let path = dir.path().join("catalog.db");
    let script = format!(
        "import sqlite3; c = sqlite3.connect({:?}); c.execute('DROP TABLE frazil_consumers'); \
         c.execute('UPDATE frazil_schema SET version = 1'); c.commit()",
        path.display().to_string()
    );
    assert!(std::process::Command::new("python3").args(["-c", &script]).status().unwrap().success());
    let catalog = open(&dir).await.unwrap();
    assert_eq!(catalog.join_consumer(table.ident(), "c", 1_000).await.unwrap().epoch, 1);
    catalog.close().await;
    let catalog = open(&dir).await.unwrap();
    assert_eq!(catalog.consumers(table.ident()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_file_of_a_newer_program_is_refused() {
    let dir = TempDir::new().unwrap();
    open(&dir).await.unwrap().close().await;
    let path = dir.path().join("catalog.db");
    let script = format!(
        "import sqlite3; c = sqlite3.connect({:?}); c.execute('UPDATE frazil_schema SET version = 99'); c.commit()",
        path.display().to_string()
    );
    let done = std::process::Command::new("python3").args(["-c", &script]).status().unwrap();
    assert!(done.success());
    let refused = open(&dir).await.unwrap_err().to_string();
    assert!(refused.contains("version 99") && refused.contains("newer program"), "{refused}");
}

#[tokio::test]
async fn a_listener_hears_of_every_pointer_that_moves() {
    let catalog = SqlCatalog::in_memory(Env::in_memory(1), "memory://w/wh").await.unwrap();
    let mut changes = catalog.subscribe();
    catalog.create_namespace(&namespace("db"), Default::default()).await.unwrap();
    let table = catalog.create_table(&namespace("db"), creation("t")).await.unwrap();
    assert_eq!(changes.recv().await.unwrap().metadata_location, table.metadata_location());
    let commit = request(table.ident(), vec![], vec![set(&[("k", "v")])]);
    let after = catalog.commit(commit).await.unwrap().committed();
    let heard = changes.recv().await.unwrap();
    assert_eq!((heard.ident, heard.metadata_location.as_str()), (ident("db.t"), after.metadata_location()));
}
