//! Other engines on our catalog: each writes, and every one reads what each wrote.
//!
//! One test per kind of table. Every engine in turn creates a table and appends to it; all of them read it; all the
//! others append to it as well; all read again; its creator drops it. The rows read are compared as multisets with the
//! rows written, and by checksum. A test prints its matrix whether it passes or not.
//!
//! `FRAZIL_INTEROP_URI` runs the same against another catalog, to tell whether a failure is ours.

mod changes;
mod compacted;
mod evolved;
mod flights;
mod histories;
mod kafka;
mod matrix;
mod row_changes;
mod rows;
mod statistics;
mod two_snapshots;
mod upserts;

use std::sync::OnceLock;
use std::thread;

use frazil_tests::peers::{Engine, Error, FrazilSql, Peer, Skip};
use frazil_tests::server::Server;
use tempfile::TempDir;

use matrix::{run_matrix, table_of};

/// What the tests share: engines take up to half a minute to start.
struct World {
    uri: String,
    peers: Vec<Peer>,
    skips: Vec<Skip>,
    /// Our own reader, unless the catalog is another's.
    frazil: Option<FrazilSql>,
    /// Lives as long as the test process, and ends with it.
    server: Option<(Server, TempDir)>,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let (uri, server) = match std::env::var("FRAZIL_INTEROP_URI") {
            Ok(uri) => (uri, None),
            Err(_) => {
                let folder = TempDir::with_prefix("frazil-interop-").expect("a temporary folder");
                let server = Server::start(&folder.path().join("data"));
                (server.url(), Some((server, folder)))
            }
        };
        let started: Vec<Result<Peer, Skip>> = thread::scope(|scope| {
            let starting = Engine::ALL.map(|engine| {
                let uri = &uri;
                scope.spawn(move || engine.start(uri))
            });
            let joined = starting.into_iter().map(|peer| peer.join().expect("a peer starts"));
            joined.collect()
        });
        let mut world = World {
            uri: uri.clone(),
            peers: Vec::new(),
            skips: Vec::new(),
            frazil: server.as_ref().map(|_| FrazilSql::new(&uri)),
            server,
        };
        for peer in started {
            match peer {
                Ok(peer) => world.peers.push(peer),
                Err(skip) => world.skips.push(skip),
            }
        }
        world
    })
}

#[test]
fn every_engine_reads_every_engine_unpartitioned() {
    run_matrix(world(), "unpartitioned", &rows::primitives());
}

#[test]
fn every_engine_reads_every_engine_partitioned_by_month() {
    run_matrix(world(), "partitioned by month", &rows::by_month());
}

#[test]
fn every_engine_reads_every_engine_nested() {
    run_matrix(world(), "nested", &rows::nested());
}

#[test]
fn every_engine_reads_every_engine_nested_and_partitioned_by_month() {
    run_matrix(world(), "nested, by month", &rows::nested_by_month());
}

/// PyIceberg 0.12 writes and reads a null list of structs as an empty one. When this fails because it no longer does,
/// the row belongs to [`rows::nested`].
#[test]
fn only_pyiceberg_takes_a_null_list_of_structs_for_an_empty_one() -> Result<(), Error> {
    for skip in &world().skips {
        skip.report();
    }
    let rows = rows::null_list_of_structs();
    for writer in &world().peers {
        let table = table_of("null_list_of_structs", writer, &rows);
        writer.create_namespace(&table.namespace)?;
        writer.create(&table)?;
        writer.append(&table, &rows.batches[0])?;
        for reader in &world().peers {
            let touched = [writer, reader].iter().any(|peer| peer.engine() == Engine::PyIceberg);
            let wanted = if touched { "[1,[]]" } else { "[1,null]" };
            let found = reader.scan(&table.path())?.sorted_rows();
            assert_eq!(found, [wanted], "{} wrote, {} read", writer.engine(), reader.engine());
        }
        writer.drop_table(&table.path())?;
    }
    Ok(())
}
