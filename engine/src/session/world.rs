//! Sessions for tests: scripts of definitions, inserts and queries on tables in memory, and what they answer.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use expect_test::Expect;
use frazil_catalog::SqlCatalog;
use frazil_storage::{Env, ManualClock};
use frazil_table::Table;

use super::{Resolved, Session};
use crate::batch::{Outcome, execute};
use crate::sql::{Name, parse_script};

pub(crate) struct World {
    pub(crate) session: Session,
    clock: Arc<ManualClock>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let clock = Arc::new(ManualClock::at(1_700_000_000_000));
        let env = Env { clock: clock.clone(), ..Env::in_memory(7) };
        let catalog = SqlCatalog::in_memory(env.clone(), "memory://warehouse").await.expect("a catalog in memory");
        let session = Session::open(env, Arc::new(catalog)).await.expect("a session");
        let mut world = Self { session, clock };
        // One partition, so that rows come in an order.
        world.done("SET 'datafusion.execution.target_partitions' = '1'").await;
        world
    }

    /// A second goes by.
    pub(crate) fn tick(&self) {
        self.clock.advance(1_000);
    }

    /// The answers of a script's statements, errors too.
    pub(crate) async fn answers(&mut self, script: &str) -> String {
        let mut shown = String::new();
        for statement in parse_script(script).unwrap_or_else(|error| panic!("{script}: {error}")) {
            let answer = match execute(&mut self.session, &statement).await {
                Ok(Outcome::Done(text)) => text,
                Ok(Outcome::Rows(rows)) => {
                    let rows = rows.collect().await.expect("the query runs");
                    pretty_format_batches(&rows).expect("a table").to_string()
                }
                Ok(Outcome::Inserted(inserted)) => {
                    let told = inserted.iter().map(|one| format!("{} rows into {}", one.rows, one.table));
                    told.collect::<Vec<_>>().join(", ")
                }
                Ok(Outcome::Changed(changed)) => format!("{} {} rows", changed.kind, changed.rows),
                Err(error) => error.to_string(),
            };
            writeln!(shown, "{answer}").expect("a text");
        }
        shown
    }

    pub(crate) async fn check(&mut self, script: &str, expected: Expect) {
        expected.assert_eq(&self.answers(script).await);
    }

    /// Runs statements that have to succeed.
    pub(crate) async fn done(&mut self, script: &str) {
        for statement in parse_script(script).expect("the script parses") {
            let outcome = execute(&mut self.session, &statement).await;
            if let Outcome::Rows(rows) = outcome.unwrap_or_else(|error| panic!("{script}: {error}")) {
                rows.collect().await.expect("it runs");
            }
        }
    }

    /// A table as it is now.
    pub(crate) async fn table(&self, name: &str) -> Table {
        match self.session.resolve(&Name::new([name]), name).await.expect("it is there") {
            Resolved::Iceberg(table) => table.table,
            other => panic!("{other:?}"),
        }
    }

    /// The snapshots of a table's main, newest first.
    pub(crate) async fn history(&self, name: &str) -> Vec<i64> {
        self.table(name).await.ancestors("main").map(|snapshot| snapshot.snapshot_id()).collect()
    }
}
