//! Columns that come with the rows that first have them.

use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};

use super::*;
use crate::{EvolutionStep, SchemaEvolution, plan_evolution};

fn rows(extra: &str) -> ArrowSchema {
    ArrowSchema::new(vec![Field::new("id", DataType::Int64, true), Field::new(extra, DataType::Utf8, true)])
}

async fn evolving(world: &World, id: u64, column: &str) -> Checkpoint {
    let table = world.table().await;
    let mut evolution = SchemaEvolution::new(&table);
    evolution.push(plan_evolution(table.metadata().current_schema(), &rows(column)).unwrap());
    let mut checkpoint = checkpoint(id);
    checkpoint.flushed.evolution = Some(evolution);
    checkpoint
}

async fn columns(world: &World) -> Vec<String> {
    let table = world.table().await;
    table.metadata().current_schema().as_struct().fields().iter().map(|field| field.name.clone()).collect()
}

#[tokio::test]
async fn columns_land_with_the_rows_that_first_have_them_or_not_at_all() {
    for (step, lands) in [(Step::ManifestsWritten, false), (Step::PointerSwapped, true)] {
        let world = World::new().await;
        let (mut run, _) = world.run_with(Steps::arm(step, 2, StepAction::Fail)).await.unwrap();
        let checkpoint = evolving(&world, 1, "a").await;
        run.commit(checkpoint).await.unwrap_err();
        let expected: (&[&str], &[&str]) = if lands { (&["id", "a"], &["f1"]) } else { (&["id"], &[]) };
        assert_eq!(
            (columns(&world).await, world.files().await),
            (expected.0.iter().map(|s| s.to_string()).collect(), expected.1.iter().map(|s| s.to_string()).collect()),
            "{step}"
        );
    }
}

#[tokio::test]
async fn a_schema_that_another_changed_meanwhile_is_not_written_to_under_ids_that_may_be_taken() {
    let world = World::new().await;
    let (mut run, _) = world.run().await.unwrap();
    let checkpoint = evolving(&world, 1, "mine").await;
    let queue = CommitQueue::new(world.catalog.clone(), world.env.clone(), world.ident.clone());
    let table = world.table().await;
    let mut theirs = SchemaEvolution::new(&table);
    theirs.push(plan_evolution(table.metadata().current_schema(), &rows("theirs")).unwrap());
    let identity = CommitIdentity::draw(&world.env, 0);
    let end = queue.commit(&[theirs.change()], identity, &|_| Precheck::Proceed).await.unwrap();
    assert!(matches!(end, CommitEnd::Committed(_)));
    let error = run.commit(checkpoint).await.unwrap_err();
    assert!(matches!(error, Error::SchemaMoved { .. }), "{error}");
    let (mut run, _) = world.run().await.unwrap();
    let checkpoint = evolving(&world, 1, "mine").await;
    let _ = run.commit(checkpoint).await.unwrap();
    assert_eq!(columns(&world).await, ["id", "theirs", "mine"]);
}

#[tokio::test]
async fn a_stored_committable_keeps_its_columns() {
    let world = World::new().await;
    let (mut run, _) = world.run().await.unwrap();
    let checkpoint = evolving(&world, 1, "a").await;
    let committable = run.0.prepare(checkpoint.id, vec![checkpoint.flushed], false).await.unwrap().unwrap();
    let table = world.table().await;
    let bytes = committable.to_json(|_| &table).unwrap();
    let again = Committable::from_json(&bytes, |_| &table).unwrap();
    assert_eq!(again.sinks[0].evolution, committable.sinks[0].evolution);
    let _ = run.0.commit(&again).await.unwrap();
    assert_eq!(
        (columns(&world).await, world.files().await),
        (vec!["id".to_owned(), "a".to_owned()], vec!["f1".to_owned()])
    );
    let step = EvolutionStep::Promote { path: vec!["id".to_owned()], field_type: PrimitiveType::Long };
    let json = serde_json::to_string(&step).unwrap();
    assert_eq!(serde_json::from_str::<EvolutionStep>(&json).unwrap(), step);
}
