//! Several sinks of one job: in one catalog they commit as one, in several one after the other.

use futures::StreamExt;

use super::*;

/// Two tables, in one catalog or in one each.
struct Worlds {
    first: World,
    second: World,
}

impl Worlds {
    async fn in_one_catalog() -> Self {
        let first = World::new().await;
        let (catalog, env) = (first.catalog.clone(), first.env.clone());
        let namespace = NamespaceIdent::new("db".to_owned());
        let schema = first.table().await.metadata().current_schema().as_ref().clone();
        let creation = TableCreation::builder().name("u".to_owned()).schema(schema).build();
        let ident = catalog.create_table(&namespace, creation).await.unwrap().ident().clone();
        Self { second: World { env, catalog, ident }, first }
    }

    async fn in_two_catalogs() -> Self {
        Self { first: World::new().await, second: World::new().await }
    }

    async fn run(&self, steps: Steps) -> Result<(Committer, Vec<Recovered>)> {
        let mut sinks = vec![self.first.sink(steps.clone()), self.second.sink(steps)];
        sinks[1].id.sink_uid = "db.u".to_owned();
        Committer::recover(sinks).await
    }

    /// Files of both tables; those of the second without their mark.
    async fn files(&self) -> (Vec<String>, Vec<String>) {
        let second = self.second.files().await.into_iter().map(|name| name.replace("second-", ""));
        (self.first.files().await, second.collect())
    }
}

/// Commits a checkpoint with a file for each table.
async fn commit_both(run: &mut Committer, id: u64) -> Result<Vec<Landed>> {
    let first = checkpoint(id).flushed;
    let second = Flushed { files: vec![file(&format!("second-f{id}"))], ..first.clone() };
    let committable = run.prepare(CheckpointId(id), vec![first, second], false).await?.expect("there are files");
    run.commit(&committable).await
}

fn checkpoints(recovered: &[Recovered]) -> Vec<u64> {
    recovered.iter().map(|recovered| recovered.ledger.as_ref().map_or(0, |ledger| ledger.checkpoint_id.0)).collect()
}

#[tokio::test]
async fn b1_stopped_at_any_step_any_number_of_times_no_row_is_lost_or_twice_in_any_table() {
    let steps = [
        Step::FenceCommitted,
        Step::CommittableWritten,
        Step::ManifestsWritten,
        Step::ManifestListWritten,
        Step::PointerSwapped,
        Step::SinkCommitted,
        Step::CheckpointCommitted,
    ];
    for one_catalog in [true, false] {
        let worlds = match one_catalog {
            true => Worlds::in_one_catalog().await,
            false => Worlds::in_two_catalogs().await,
        };
        let mut stopped = std::collections::BTreeSet::new();
        let mut last = 0;
        for step in steps {
            for nth in 1..=5 {
                let Ok((mut run, recovered)) = worlds.run(Steps::arm(step, nth, StepAction::Fail)).await else {
                    stopped.insert(step);
                    continue;
                };
                let stands = checkpoints(&recovered);
                assert_eq!(stands[0], stands[1], "both tables are at the same checkpoint after {step}:{nth}");
                assert!(stands[0] >= last, "what had landed stays");
                last = stands[0];
                for id in last + 1..=last + 2 {
                    if commit_both(&mut run, id).await.is_err() {
                        stopped.insert(step);
                        break;
                    }
                    last = id;
                }
            }
        }
        let (mut run, recovered) = worlds.run(Steps::none()).await.unwrap();
        last = checkpoints(&recovered)[0];
        commit_both(&mut run, last + 1).await.unwrap();
        let mut expected: Vec<_> = (1..=last + 1).map(|id| format!("f{id}")).collect();
        expected.sort();
        assert_eq!(worlds.files().await, (expected.clone(), expected), "one catalog: {one_catalog}");
        let sequential = [Step::CommittableWritten, Step::SinkCommitted];
        let reached = steps.into_iter().filter(|step| !one_catalog || !sequential.contains(step));
        assert_eq!(stopped.into_iter().collect::<Vec<_>>(), {
            let mut reached: Vec<_> = reached.collect();
            reached.sort();
            reached
        });
    }
}

#[tokio::test]
async fn in_one_catalog_a_reader_never_sees_one_table_without_the_other() {
    let worlds = Worlds::in_one_catalog().await;
    // Each table's manifests are a step of their own; the pointers are swapped in one. The fence comes before.
    for (step, nth) in [(Step::ManifestListWritten, 3), (Step::ManifestListWritten, 4), (Step::PointerSwapped, 2)] {
        let (mut run, recovered) = worlds.run(Steps::arm(step, nth, StepAction::Fail)).await.unwrap();
        let last = checkpoints(&recovered)[0];
        commit_both(&mut run, last + 1).await.unwrap_err();
        let (first, second) = worlds.files().await;
        assert_eq!(first, second, "{step}");
    }
}

#[tokio::test]
async fn in_two_catalogs_what_the_first_table_decided_comes_into_the_second_at_the_next_start() {
    let worlds = Worlds::in_two_catalogs().await;
    let (mut run, _) = worlds.run(Steps::arm(Step::SinkCommitted, 1, StepAction::Fail)).await.unwrap();
    commit_both(&mut run, 1).await.unwrap_err();
    assert_eq!(worlds.files().await, (vec!["f1".to_owned()], vec![]), "stopped between the two");
    // The second start is stopped right behind the fence of the first table: the third still finds the committable.
    worlds.run(Steps::arm(Step::PointerSwapped, 1, StepAction::Fail)).await.unwrap_err();
    let (mut run, recovered) = worlds.run(Steps::none()).await.unwrap();
    assert_eq!(checkpoints(&recovered), [1, 1]);
    assert_eq!(recovered[1].ledger.as_ref().unwrap().positions, at(10));
    commit_both(&mut run, 2).await.unwrap();
    let expected = vec!["f1".to_owned(), "f2".to_owned()];
    assert_eq!(worlds.files().await, (expected.clone(), expected));
}

#[tokio::test]
async fn a_zombie_between_two_tables_and_the_run_that_took_over_land_its_checkpoint_once() {
    let worlds = Worlds::in_two_catalogs().await;
    let (mut zombie, _) = worlds.run(Steps::arm(Step::SinkCommitted, 1, StepAction::Fail)).await.unwrap();
    let first = checkpoint(1).flushed;
    let second = Flushed { files: vec![file("second-f1")], ..first.clone() };
    let committable = zombie.prepare(CheckpointId(1), vec![first, second], false).await.unwrap().unwrap();
    zombie.commit(&committable).await.unwrap_err();
    let (_, recovered) = worlds.run(Steps::none()).await.unwrap();
    assert_eq!(checkpoints(&recovered), [1, 1]);
    let error = zombie.commit(&committable).await.unwrap_err();
    assert!(matches!(error, Error::Fenced { .. }), "{error}");
    assert_eq!(worlds.files().await, (vec!["f1".to_owned()], vec!["f1".to_owned()]));
}

#[tokio::test]
async fn committables_of_the_past_are_not_left_behind() {
    let worlds = Worlds::in_two_catalogs().await;
    let (mut run, _) = worlds.run(Steps::none()).await.unwrap();
    for id in 1..=5 {
        commit_both(&mut run, id).await.unwrap();
    }
    let entry = run.sinks[0].newest.clone().unwrap();
    let newest = entry.committable.expect("the first of two catalogs names it").location;
    let listing = worlds.first.env.store.list("memory://w/db/t/metadata").await.unwrap();
    let listed: Vec<_> = listing.map(|meta| meta.unwrap().location.to_string()).collect().await;
    let left: Vec<_> = listed.into_iter().filter(|name| name.contains("committable")).collect();
    assert_eq!(left, [newest]);
}

#[tokio::test]
async fn a_sink_that_follows_commits_with_the_one_it_follows() {
    let worlds = Worlds::in_one_catalog().await;
    let (run, _) = worlds.first.run().await.unwrap();
    let mut run = run.0;
    let mut follower = worlds.second.sink(Steps::none());
    follower.id.sink_uid = "db.t__dlq".to_owned();
    follower.follows = Some(0);
    assert_eq!(run.add_sink(follower).await.unwrap(), 1);
    // Only the follower has rows: the positions that cover them are committed with them.
    let counts = RowCounts { late_rows: 0, dead_letters: 1 };
    let first = Flushed { positions: at(10), counts, ..Flushed::default() };
    let second = Flushed { files: vec![file("second-f1")], ..Flushed::default() };
    let committable = run.prepare(CheckpointId(1), vec![first, second], false).await.unwrap().unwrap();
    assert_eq!(committable.sinks().count(), 2);
    let _ = run.commit(&committable).await.unwrap();
    let (_, recovered) = worlds.first.run().await.unwrap();
    assert_eq!(stands_at(&recovered), Some((1, &at(10))));
    let table = worlds.first.table().await;
    let summary = table.ancestors(MAIN_BRANCH).nth(1).unwrap().summary().clone();
    assert_eq!(summary.additional_properties["frazil.dead-letters"], "1");
    assert_eq!(worlds.files().await, (vec![], vec!["f1".to_owned()]));
}

#[tokio::test]
async fn two_sinks_of_one_table_commit_with_one_swap() {
    let world = World::new().await;
    let first = world.sink(Steps::none());
    let mut second = first.clone();
    second.id.sink_uid = "db.t#2".to_owned();
    let (mut run, _) = Committer::recover(vec![first.clone(), second.clone()]).await.unwrap();
    let location = world.table().await.metadata_location().to_owned();
    commit_both(&mut run, 1).await.unwrap();
    let log = world.table().await.metadata().metadata_log().last().unwrap().metadata_file.clone();
    assert_eq!(log, location, "one swap for both");
    assert_eq!(world.files().await, ["f1", "second-f1"]);
    let (_, recovered) = Committer::recover(vec![first, second]).await.unwrap();
    assert_eq!(checkpoints(&recovered), [1, 1]);
}
