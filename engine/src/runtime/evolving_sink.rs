//! A table that grows with the rows that come.
//!
//! All writer tasks of a pipeline agree here on the columns, and on their field ids, before the first row of a new column
//! is written. The steps are committed with the first checkpoint that has such rows, not before and not after: each
//! writer's share says up to which version of the schema its files go.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use frazil_catalog::CommitQueue;
use frazil_table::Table;
use frazil_writer::{EvolutionStep, SchemaEvolution, plan_evolution};
use tokio::sync::Mutex;

use crate::Result;

/// The schema of a sink, shared by the writers of a pipeline. A lock is held over the catalog's answer: while the first
/// writer finds out what to add, the others must not write under ids of their own.
#[derive(Debug)]
pub(super) struct EvolvingSink {
    queue: Arc<CommitQueue>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The table as it was committed.
    base: Table,
    now: SinkSchema,
    /// Steps that are not committed yet, by the version that they lead to.
    pending: Vec<(u64, Vec<EvolutionStep>)>,
}

/// A sink's schema in one version.
#[derive(Clone, Debug)]
pub(super) struct SinkSchema {
    pub(super) version: u64,
    /// The table as it will be.
    pub(super) table: Table,
    pub(super) schema: SchemaRef,
}

impl SinkSchema {
    fn new(version: u64, table: Table) -> Result<Self> {
        let schema = Arc::new(frazil_table::arrow::arrow_schema(table.metadata().current_schema())?);
        Ok(Self { version, table, schema })
    }
}

impl EvolvingSink {
    pub(super) fn new(queue: Arc<CommitQueue>, table: &Table) -> Result<Self> {
        let now = SinkSchema::new(0, table.clone())?;
        Ok(Self { queue, state: Mutex::new(State { base: table.clone(), now, pending: Vec::new() }) })
    }

    /// A schema that takes these rows; it grows if it must.
    ///
    /// # Errors
    /// [`frazil_writer::Error::BadBatch`] for a column that can't become what the rows need.
    pub(super) async fn fit(&self, rows: &SchemaRef) -> Result<SinkSchema> {
        let mut state = self.state.lock().await;
        let mut steps = plan_evolution(state.now.table.metadata().current_schema(), rows)?;
        if steps.is_empty() {
            return Ok(state.now.clone());
        }
        if state.pending.is_empty() {
            // Others may have changed the table since; what is planned now is planned on that.
            state.base = self.queue.load().await?;
            steps = plan_evolution(state.base.metadata().current_schema(), rows)?;
        }
        let version = state.now.version + 1;
        state.pending.push((version, steps));
        match state.preview(version).and_then(|table| SinkSchema::new(version, table)) {
            Ok(now) => {
                state.now = now;
                Ok(state.now.clone())
            }
            Err(error) => {
                state.pending.pop();
                Err(error)
            }
        }
    }

    /// What has to be committed with files of this version, if anything.
    pub(super) async fn evolution(&self, version: u64) -> Option<SchemaEvolution> {
        let state = self.state.lock().await;
        state.pending.iter().any(|(step, _)| *step <= version).then(|| state.evolution(version))
    }

    /// The steps up to a version are committed.
    pub(super) async fn landed(&self, version: u64, table: &Table) {
        let mut state = self.state.lock().await;
        let waiting = state.pending.len();
        state.pending.retain(|(step, _)| *step > version);
        // A commit without steps may have found columns of others: steps that wait are planned on what was before.
        if state.pending.is_empty() || state.pending.len() < waiting {
            state.base = table.clone();
        }
    }
}

impl State {
    fn evolution(&self, version: u64) -> SchemaEvolution {
        let mut evolution = SchemaEvolution::new(&self.base);
        let taken = self.pending.iter().filter(|(step, _)| *step <= version);
        evolution.push(taken.flat_map(|(_, steps)| steps.iter().cloned()));
        evolution
    }

    fn preview(&self, version: u64) -> Result<Table> {
        Ok(self.evolution(version).preview(&self.base)?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::datatypes::{DataType, Field, Schema};
    use frazil_catalog::{Catalog, CommitEnd, Precheck, SqlCatalog};
    use frazil_storage::Env;
    use frazil_table::CommitIdentity;
    use frazil_table::spec::{NamespaceIdent, TableCreation};

    use super::*;

    async fn sink() -> EvolvingSink {
        let env = Env::in_memory(5);
        let catalog = Arc::new(SqlCatalog::in_memory(env.clone(), "memory://w").await.unwrap());
        let namespace = NamespaceIdent::new("db".to_owned());
        catalog.create_namespace(&namespace, BTreeMap::new()).await.unwrap();
        let schema = frazil_table::arrow::iceberg_schema(&Schema::empty()).unwrap();
        let creation = TableCreation::builder().name("t".to_owned()).schema(schema).build();
        let table = catalog.create_table(&namespace, creation).await.unwrap();
        let queue = CommitQueue::new(catalog, env, table.ident().clone());
        EvolvingSink::new(Arc::new(queue), &table).unwrap()
    }

    fn rows(names: &[&str]) -> SchemaRef {
        let fields: Vec<_> = names.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect();
        Arc::new(Schema::new(fields))
    }

    fn ids(schema: &SinkSchema) -> Vec<(String, i32)> {
        let fields = schema.table.metadata().current_schema().as_struct().fields().to_vec();
        fields.iter().map(|field| (field.name.clone(), field.id)).collect()
    }

    async fn commit(sink: &EvolvingSink, evolution: &SchemaEvolution) -> Table {
        let identity = CommitIdentity::draw(sink.queue.env(), 0);
        let end = sink.queue.commit(&[evolution.change()], identity, &|_| Precheck::Proceed).await.unwrap();
        let CommitEnd::Committed(done) = end else { panic!("{end:?}") };
        done.table
    }

    #[tokio::test]
    async fn fields_keep_the_ids_that_files_were_written_with() {
        let sink = sink().await;
        let first = sink.fit(&rows(&["a"])).await.unwrap();
        let second = sink.fit(&rows(&["b", "a"])).await.unwrap();
        assert_eq!((first.version, second.version), (1, 2));
        assert_eq!(sink.fit(&rows(&["a"])).await.unwrap().version, 2, "nothing new in it");
        // The first checkpoint has files of the first version only; the steps of the second wait.
        let table = commit(&sink, &sink.evolution(1).await.unwrap()).await;
        sink.landed(1, &table).await;
        assert!(sink.evolution(1).await.is_none());
        let table = commit(&sink, &sink.evolution(2).await.unwrap()).await;
        let landed = SinkSchema::new(2, table).unwrap();
        assert_eq!(ids(&landed), ids(&second));
        assert_eq!(ids(&second)[..1], ids(&first)[..]);
    }

    #[tokio::test]
    async fn steps_are_planned_on_what_others_have_made_of_the_table() {
        let sink = sink().await;
        let mut theirs = SchemaEvolution::new(&sink.queue.load().await.unwrap());
        theirs.push(
            plan_evolution(&frazil_table::arrow::iceberg_schema(&Schema::empty()).unwrap(), &rows(&["theirs"]))
                .unwrap(),
        );
        commit(&sink, &theirs).await;
        let mine = sink.fit(&rows(&["mine"])).await.unwrap();
        assert_eq!(ids(&mine), [("theirs".to_owned(), 1), ("mine".to_owned(), 2)]);
    }
}
