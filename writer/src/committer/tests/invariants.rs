//! What must hold of a streaming writer whatever happens, by the numbers of research on how others lost or repeated rows.

use frazil_table::spec::NestedField as Field;

use super::*;

async fn prepare(run: &mut Run, checkpoint: Checkpoint) -> Committable {
    run.0.prepare(checkpoint.id, vec![checkpoint.flushed], false).await.unwrap().expect("it has a file")
}

#[tokio::test]
async fn b2_a_checkpoint_begins_where_the_newest_one_in_the_base_ends() {
    // An exact match of checkpoint ids would let a strict prefix through (Materialize#38441).
    let world = World::new().await;
    let (mut run, _) = world.run().await.unwrap();
    let _ = run.commit(checkpoint(1)).await.unwrap();
    for begins in [9, 11] {
        let mut committable = prepare(&mut run, checkpoint(2)).await;
        committable.sinks[0].from = Some(StoredPositions::Inline(at(begins)));
        let error = run.0.commit(&committable).await.unwrap_err();
        assert!(matches!(error, Error::NotContiguous { .. }), "{error}");
        assert!(error.to_string().contains(&begins.to_string()), "{error}");
        run.0.under_way = None;
    }
    assert_eq!(world.files().await, ["f1"]);
    let _ = run.commit(checkpoint(2)).await.unwrap();
    assert_eq!(world.files().await, ["f1", "f2"]);
}

/// iceberg#17551 once more: with what had been prepared before the fence.
#[tokio::test]
async fn b3_what_a_zombie_had_prepared_does_not_land_after_the_fence() {
    let world = World::new().await;
    let (mut zombie, _) = world.run().await.unwrap();
    let committable = prepare(&mut zombie, checkpoint(1)).await;
    let (mut run, _) = world.run().await.unwrap();
    for _ in 0..3 {
        let error = zombie.0.commit(&committable).await.unwrap_err();
        assert!(matches!(error, Error::Fenced { .. }), "{error}");
    }
    let _ = run.commit(with(1, vec![file("of the new run")], at(10))).await.unwrap();
    assert_eq!(world.files().await, ["of the new run"]);
}

/// iceberg#17340, #17552: after a restart the offsets of older commits were taken up again, and 111,927 rows came twice.
#[tokio::test]
async fn b4_iceberg_17340_the_watermark_never_goes_back() {
    let world = World::new().await;
    let (mut run, _) = world.run().await.unwrap();
    let at_ms = |id, watermark_ms| {
        let mut checkpoint = checkpoint(id);
        checkpoint.flushed.watermark_ms = watermark_ms;
        checkpoint
    };
    let _ = run.commit(at_ms(1, Some(1_000))).await.unwrap();
    // One that does not know of a watermark leaves it where it is.
    let _ = run.commit(at_ms(2, None)).await.unwrap();
    let (mut run, recovered) = world.run().await.unwrap();
    assert_eq!(recovered.ledger.unwrap().watermark_ms, Some(1_000));
    let error = run.commit(at_ms(3, Some(999))).await.unwrap_err();
    assert!(matches!(error, Error::WatermarkRegressed { from_ms: 1_000, to_ms: 999, .. }), "{error}");
}

/// iceberg#12357: a topic that was made anew has smaller offsets, and its records were passed over in silence.
#[tokio::test]
async fn b5_iceberg_12357_a_source_that_stands_elsewhere_than_the_table_is_found_out() {
    let world = World::new().await;
    let (mut run, _) = world.run().await.unwrap();
    let _ = run.commit(checkpoint(1)).await.unwrap();
    // Restored to before the table knew the split, or made anew under another name: its position is gone.
    let other = SourcePositions::from([("topic/1".to_owned(), "5".to_owned())]);
    let error = run.commit(with(2, vec![file("f2")], other)).await.unwrap_err();
    assert!(matches!(&error, Error::SplitLost { split, .. } if split == "topic/0"), "{error}");
    // An older run, restored with what it had prepared then, and the table is further.
    let (mut old, _) = world.run().await.unwrap();
    let prepared = prepare(&mut old, checkpoint(2)).await;
    let _ = old.0.commit(&prepared).await.unwrap();
    let _ = old.commit(checkpoint(3)).await.unwrap();
    let error = old.0.commit(&prepared).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { .. } | Error::CheckpointOrder { .. }), "{error}");
    assert_eq!(world.files().await, ["f1", "f2", "f3"]);
}

/// iceberg#11008, #10431, databricks/iceberg-kafka-connect#303: a checkpoint that failed and the next one became one
/// snapshot, in which the equality deletes of the second did not apply to the rows of the first.
#[tokio::test]
async fn b6_iceberg_11008_a_checkpoint_that_failed_and_the_next_are_never_one() {
    let world = World::new().await;
    let (mut run, _) = world.run_with(Steps::arm(Step::ManifestsWritten, 2, StepAction::Fail)).await.unwrap();
    let committable = prepare(&mut run, checkpoint(1)).await;
    run.0.commit(&committable).await.unwrap_err();
    let error = run.commit(checkpoint(2)).await.unwrap_err();
    assert!(matches!(error, Error::CheckpointOrder { given: 2, last: 1 }), "{error}");
    assert_eq!(world.files().await, Vec::<String>::new());
    // The same one again is no other one.
    let _ = run.0.commit(&committable).await.unwrap();
    let _ = run.commit(checkpoint(2)).await.unwrap();
    assert_eq!(world.files().await, ["f1", "f2"]);
    let table = world.table().await;
    let appends =
        table.ancestors(MAIN_BRANCH).filter(|s| s.summary().additional_properties.contains_key("added-data-files"));
    assert_eq!(appends.count(), 2, "one snapshot for each");
}

#[tokio::test]
async fn b6_a_second_checkpoint_is_not_prepared_before_the_first_has_landed() {
    let world = World::new().await;
    let (mut run, _) = world.run().await.unwrap();
    let first = prepare(&mut run, checkpoint(1)).await;
    let error = run.commit(checkpoint(2)).await.unwrap_err();
    assert!(matches!(error, Error::CheckpointOrder { .. }), "{error}");
    let _ = run.0.commit(&first).await.unwrap();
    let error = run.commit(checkpoint(1)).await.unwrap_err();
    assert!(matches!(error, Error::CheckpointOrder { given: 1, last: 1 }), "{error}");
}

async fn replace(world: &World, removed: &str, added: &str) {
    let queue = CommitQueue::new(world.catalog.clone(), world.env.clone(), world.ident.clone());
    let table = world.table().await;
    let base = table.current_snapshot().unwrap();
    let change = Change::Replace {
        removed: vec![removed.to_owned()],
        added: vec![file(added)],
        data_sequence_number: base.sequence_number(),
        base_snapshot_id: base.snapshot_id(),
        carried: None,
        properties: BTreeMap::new(),
    };
    let identity = CommitIdentity::draw(&world.env, 1);
    let end = queue.commit(&[change], identity, &|_| Precheck::Proceed).await.unwrap();
    assert!(matches!(end, CommitEnd::Committed(_)), "{end:?}");
}

#[tokio::test]
async fn b8_positions_survive_whatever_comes_between() {
    let world = World::new().await;
    let mut last = 0;
    for between in ["compaction", "expiry", "foreign commit", "schema change", "branch", "fast-forward", "tag"] {
        let (mut run, recovered) = world.run().await.unwrap();
        if last > 0 {
            assert_eq!(stands_at(&recovered), Some((last, &at(last * 10))), "before {between}");
        }
        last += 1;
        let _ = run.commit(checkpoint(last)).await.unwrap();
        let table = world.table().await;
        let head = table.current_snapshot().unwrap().snapshot_id();
        let reference = |snapshot_id, retention| SnapshotReference::new(snapshot_id, retention);
        let branch = SnapshotRetention::branch(None, None, None);
        match between {
            "compaction" => replace(&world, &format!("f{last}"), "compacted").await,
            "expiry" => {
                world.foreign_append("foreign1").await;
                world.expire_all_but_newest().await;
            }
            "foreign commit" => world.foreign_append("foreign2").await,
            "schema change" => {
                let column = Field::optional(9, "added", Type::Primitive(PrimitiveType::String));
                let fields = table.metadata().current_schema().as_struct().fields().iter().cloned();
                let schema = Schema::builder().with_fields(fields.chain([column.into()])).build().unwrap();
                let add = TableUpdate::AddSchema { schema };
                world.update(vec![add, TableUpdate::SetCurrentSchema { schema_id: -1 }]).await;
            }
            "branch" => {
                let reference = reference(head, branch);
                world.update(vec![TableUpdate::SetSnapshotRef { ref_name: "audit".to_owned(), reference }]).await;
            }
            "fast-forward" => {
                // Main is moved to the head of another branch that has grown out of it.
                world.foreign_append("foreign3").await;
                let grown = world.table().await.current_snapshot().unwrap().snapshot_id();
                let reference = reference(grown, branch);
                world.update(vec![TableUpdate::SetSnapshotRef { ref_name: "audit".to_owned(), reference }]).await;
                world.roll_back_to(head).await;
                world.roll_back_to(grown).await;
            }
            _ => {
                let reference = reference(head, SnapshotRetention::Tag { max_ref_age_ms: None });
                world.update(vec![TableUpdate::SetSnapshotRef { ref_name: "t1".to_owned(), reference }]).await;
            }
        }
    }
    let (_, recovered) = world.run().await.unwrap();
    assert_eq!(stands_at(&recovered), Some((last, &at(last * 10))));
    let mut expected: Vec<_> = (2..=last).map(|id| format!("f{id}")).collect();
    expected.extend(["compacted", "foreign1", "foreign2", "foreign3"].map(str::to_owned));
    expected.sort();
    assert_eq!(world.files().await, expected);
}

#[tokio::test]
async fn b9_a_landed_checkpoint_whose_files_were_compacted_is_not_appended_again() {
    let world = World::new().await;
    let (mut run, _) = world.run_with(Steps::arm(Step::PointerSwapped, 2, StepAction::Fail)).await.unwrap();
    let committable = prepare(&mut run, checkpoint(1)).await;
    run.0.commit(&committable).await.unwrap_err();
    // It had landed. Nothing in the table has its file's path any more.
    replace(&world, "f1", "compacted").await;
    let landed = run.0.commit(&committable).await.unwrap();
    assert!(matches!(landed[..], [Landed::Before(_)]), "{landed:?}");
    assert_eq!(world.files().await, ["compacted"]);
    let _ = run.commit(checkpoint(2)).await.unwrap();
    assert_eq!(world.files().await, ["compacted", "f2"]);
}

#[tokio::test]
async fn b10_however_often_a_committable_is_committed_its_files_are_live_once() {
    let world = World::new().await;
    let (mut run, _) = world.run().await.unwrap();
    let committable = prepare(&mut run, checkpoint(1)).await;
    for _ in 0..3 {
        let _ = run.0.commit(&committable).await.unwrap();
        world.foreign_append("foreign").await;
        world.expire_all_but_newest().await;
        assert_eq!(world.files().await.iter().filter(|name| *name == "f1").count(), 1);
    }
}

#[tokio::test]
async fn a_committable_is_the_same_in_another_process() {
    let world = World::new().await;
    let (mut run, _) = world.run().await.unwrap();
    let committable = prepare(&mut run, checkpoint(1)).await;
    let table = world.table().await;
    let bytes = committable.to_json(|_| &table).unwrap();
    let again = Committable::from_json(&bytes, |_| &table).unwrap();
    assert_eq!(again.sinks[0].files, committable.sinks[0].files);
    assert_eq!(again.to_string(), committable.to_string());
    let _ = run.0.commit(&again).await.unwrap();
    let landed = run.0.commit(&committable).await.unwrap();
    assert!(matches!(landed[..], [Landed::Before(_)]), "they are one");
    assert_eq!(world.files().await, ["f1"]);
    let error = Committable::from_json(&bytes[..bytes.len() / 2], |_| &table).unwrap_err();
    assert!(matches!(error, Error::DamagedLedger { .. }), "{error}");
}
