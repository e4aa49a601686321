//! Deletes of every kind meet the compactor: what was deleted stays deleted, what was not stays, and dead deletes go.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use frazil_catalog::CommitQueue;
use frazil_compactor::{
    Config, Coordinator, FileGroup, Report, RewriteResult, commit_rewrite, compact_table, follow, plan_rewrite,
    run_group,
};
use frazil_reader::{Projection, ReadContext, ScanRequest, load_scan, scan};
use frazil_table::evolve::{FieldPath, NewField, SchemaChange, SchemaStep};
use frazil_table::spec::{FormatVersion, PrimitiveType, Type};
use frazil_table::{Change, MetadataChange, RowDelta, Validation};
use futures::TryStreamExt;
use tokio_util::sync::CancellationToken;

use crate::table::world::{Row, World, append, path};

pub fn packing() -> Config {
    Config::default().packing()
}

pub fn queue(world: &World) -> CommitQueue {
    CommitQueue::new(world.catalog.clone(), world.env.clone(), world.ident.clone())
}

pub async fn compact(world: &World, config: &Config) -> Report {
    let report = compact_table(&queue(world), config, false, &CancellationToken::new()).await.unwrap();
    assert!(report.dropped.is_empty() && report.failed.is_empty(), "{report}");
    report
}

pub async fn plan(world: &World, config: &Config) -> Vec<FileGroup> {
    plan_rewrite(&world.state().await, config).unwrap().groups
}

pub async fn run(world: &World, group: &FileGroup, config: &Config) -> RewriteResult {
    run_group(group, &world.env, &world.table().await, config, &CancellationToken::new()).await.unwrap()
}

fn schema_step(step: SchemaStep) -> MetadataChange {
    MetadataChange::Schema(SchemaChange { steps: vec![step], ..SchemaChange::default() })
}

pub async fn live_files(world: &World) -> usize {
    world.state().await.live_data_files().unwrap().len()
}

/// Columns of longs of every row, sorted.
pub async fn longs(world: &World, columns: &[&str]) -> Vec<Vec<Option<i64>>> {
    let request = ScanRequest { projection: Projection::paths(columns.iter().copied()), ..ScanRequest::default() };
    let context = ReadContext::new(&world.env);
    let plan = load_scan(&context, &world.table().await, &request).await.unwrap();
    let batches: Vec<RecordBatch> = scan(&context, &plan, 2).try_collect().await.unwrap();
    let mut rows = Vec::new();
    for batch in &batches {
        let value = |column: &ArrayRef, row: usize| column.as_primitive::<Int64Type>().iter().nth(row).flatten();
        rows.extend((0..batch.num_rows()).map(|row| batch.columns().iter().map(|c| value(c, row)).collect::<Vec<_>>()));
    }
    rows.sort();
    rows
}

#[tokio::test]
async fn deletes_of_every_kind_are_applied_and_go() {
    for version in [FormatVersion::V2, FormatVersion::V3] {
        let world = World::new(version).await;
        let a = world.append(&[(1, 0, "a"), (2, 0, "a"), (3, 0, "a"), (4, 0, "a")]).await;
        let b = world.append(&[(5, 0, "b"), (6, 0, "b"), (7, 0, "b")]).await;
        match version {
            FormatVersion::V2 => {
                let delta = world.delta(vec![], vec![world.positions(&a, &[0]).await]).await;
                world.commit(&[delta]).await;
                let delta = world.delta(vec![], vec![world.wide_positions(&[(&a, 1), (&b, 0)]).await]).await;
                world.commit(&[delta]).await;
            }
            _ => {
                let delta = world.delta(vec![], world.vectors(&[(&a, &[0, 1][..]), (&b, &[0])]).await).await;
                world.commit(&[delta]).await;
            }
        }
        let delta = world.delta(vec![], vec![world.equality(&[4, 6, 8], &a).await]).await;
        world.commit(&[delta]).await;
        // Younger than the delete of its key.
        world.append(&[(8, 0, "c")]).await;
        assert_eq!(world.ids().await, [3, 7, 8], "{version}");
        let report = compact(&world, &packing()).await;
        assert_eq!((report.files_in, report.files_out, report.rows_deleted), (3, 1, 5), "{version}: {report}");
        assert_eq!(world.ids().await, [3, 7, 8], "{version}");
        assert!(world.live_deletes().await.is_empty(), "{version}: {:?}", world.live_deletes().await);
        assert!(plan(&world, &packing()).await.is_empty(), "{version}: a rewritten file is no candidate");
        assert_eq!(world.summary().await["frazil.compaction.rows-deleted"], "5");
    }
}

/// nimtable/iceberg-compaction, by reading: its equality deletes are SQL joins by `=`, by which a row with NULL in the key
/// survives, and the delete file is dropped. NULL equals NULL (Iceberg spec, "Equality Delete Files"), also where a file is
/// older than the column.
#[tokio::test]
async fn nimtable_null_keys_are_equal() {
    let world = World::new(FormatVersion::V2).await;
    let old = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
    let column = NewField {
        parent: FieldPath::root(),
        name: "c".to_owned(),
        field_type: Type::Primitive(PrimitiveType::Int),
        required: false,
        doc: None,
        default: None,
        position: None,
    };
    world.evolve(schema_step(SchemaStep::Add(Box::new(column)))).await;
    let null: ArrayRef = Arc::new(Int32Array::from(vec![None]));
    let delta = world.delta(vec![], vec![world.equality_by(4, "c", null, &old).await]).await;
    world.commit(&[delta]).await;
    assert!(longs(&world, &["id"]).await.is_empty());
    assert_eq!(compact(&world, &packing()).await.rows_deleted, 2);
    assert!(longs(&world, &["id"]).await.is_empty());
    assert_eq!((live_files(&world).await, world.live_deletes().await.len()), (0, 0));
}

/// nimtable/iceberg-compaction, by reading: over files of several partitions its join has no partition in it, so a delete of
/// one partition hits rows of another.
#[tokio::test]
async fn nimtable_a_delete_of_a_partition_stays_in_it() {
    for version in [FormatVersion::V2, FormatVersion::V3] {
        let world = World::partitioned(version).await;
        let files = world.write(&[(1, 1, "a"), (2, 1, "a"), (1, 2, "a"), (2, 2, "a")]).await;
        world.commit(&[append(files.clone())]).await;
        let delta = world.delta(vec![], vec![world.equality(&[1], &files[0]).await]).await;
        world.commit(&[delta]).await;
        compact(&world, &Config { delete_ratio: 0.0, ..packing() }).await;
        assert_eq!(world.ids().await, [1, 2, 2], "{version}");
        assert!(world.live_deletes().await.is_empty(), "{version}");
    }
}

/// A column by which rows were deleted is dropped before the compaction: output files, which do not have it, must not
/// depend on the delete.
#[tokio::test]
async fn deletes_by_a_column_that_was_dropped_are_applied() {
    let world = World::new(FormatVersion::V2).await;
    let old = world.append(&[(1, 0, "a"), (2, 0, "b"), (3, 0, "a")]).await;
    world.append(&[(4, 0, "b")]).await;
    let key: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    let delta = world.delta(vec![], vec![world.equality_by(3, "v", key, &old).await]).await;
    world.commit(&[delta]).await;
    world.evolve(schema_step(SchemaStep::Drop(FieldPath::from("v")))).await;
    let ids = longs(&world, &["id"]).await;
    assert_eq!(ids, [[Some(2)], [Some(4)]]);
    assert_eq!(compact(&world, &packing()).await.rows_deleted, 2);
    assert_eq!(longs(&world, &["id"]).await, ids);
    assert!(world.live_deletes().await.is_empty());
}

/// moonlink#1172: the row index was not advanced past a batch that was deleted as a whole, and everything behind it was
/// deleted, too.
#[tokio::test]
async fn moonlink_1172_rows_behind_a_batch_that_is_all_deleted_stay() {
    for version in [FormatVersion::V2, FormatVersion::V3] {
        let world = World::new(version).await;
        let rows: Vec<Row> = (0..30_000).map(|id| (id, 0, "a")).collect();
        let file = world.append(&rows).await;
        let gone: Vec<u64> = (0..17_000).chain([20_000]).collect();
        let signed: Vec<i64> = gone.iter().map(|row| *row as i64).collect();
        let deletes = match version {
            FormatVersion::V2 => world.positions(&file, &signed).await,
            _ => world.vector(&file, &gone).await,
        };
        let delta = world.delta(vec![], vec![deletes]).await;
        world.commit(&[delta]).await;
        compact(&world, &packing()).await;
        let left: Vec<i64> = (17_000..30_000).filter(|id| *id != 20_000).collect();
        assert!(world.ids().await == left, "{version}");
    }
}

#[tokio::test]
async fn a_file_without_rows_goes_without_an_output() {
    let world = World::new(FormatVersion::V3).await;
    let dead = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
    let lives = world.append(&[(3, 0, "b")]).await;
    let delta = world.delta(vec![], vec![world.vector(&dead, &[0, 1]).await]).await;
    world.commit(&[delta]).await;
    // Nothing is small: only the deletes are a reason.
    let config = Config { target_file_size_bytes: 1, ..packing() };
    let report = compact(&world, &config).await;
    assert_eq!((report.files_in, report.files_out), (1, 0), "{report}");
    let state = world.state().await;
    let live: Vec<_> = state.live_data_files().unwrap().iter().map(|live| live.file.file_path().to_owned()).collect();
    assert_eq!(live, [path(&lives)]);
    assert!(world.live_deletes().await.is_empty());
    assert_eq!(world.summary().await["frazil.compaction.reason"], "deletes");
}

#[tokio::test]
async fn a_large_file_waits_until_it_has_lost_enough() {
    let world = World::new(FormatVersion::V3).await;
    let rows: Vec<Row> = (0..10).map(|id| (id, 0, "a")).collect();
    let file = world.append(&rows).await;
    let config = Config { target_file_size_bytes: 1, ..packing() };
    let first = world.vector(&file, &[0, 1]).await;
    let delta = world.delta(vec![], vec![first.clone()]).await;
    world.commit(&[delta]).await;
    assert_eq!(compact(&world, &config).await.groups, 0, "a fifth is less than 0.3");
    let delta = RowDelta {
        delete_files: vec![world.vector(&file, &[0, 1, 2]).await],
        removed_delete_files: vec![first],
        validation: Validation::snapshot(Some(world.head().await)),
        ..RowDelta::default()
    };
    world.commit(&[Change::RowDelta(delta)]).await;
    assert_eq!(compact(&world, &config).await.rows_deleted, 3);
    assert_eq!(world.ids().await, [3, 4, 5, 6, 7, 8, 9]);
}

/// apache/iceberg#10312 from the other side: an equality delete that comes while its file is rewritten has a greater
/// number than the output, though the rewrite applied older ones.
#[tokio::test]
async fn iceberg_10312_equality_deletes_that_come_meanwhile_apply_to_the_output() {
    let world = World::new(FormatVersion::V2).await;
    let old = world.append(&[(1, 0, "a"), (2, 0, "a"), (3, 0, "a")]).await;
    let delta = world.delta(vec![], vec![world.equality(&[1], &old).await]).await;
    world.commit(&[delta]).await;
    let config = Config { delete_ratio: 0.0, ..packing() };
    let groups = plan(&world, &config).await;
    let result = run(&world, &groups[0], &config).await;
    let delta = world.delta(vec![], vec![world.equality(&[2], &old).await]).await;
    world.commit(&[delta]).await;
    // Written again after its delete: it stays.
    world.append(&[(1, 0, "b")]).await;
    let end = commit_rewrite(&queue(&world), vec![result]).await.unwrap();
    assert_eq!((end.committed.len(), end.dropped.len()), (1, 0));
    assert_eq!(world.ids().await, [1, 3]);
    assert_eq!(world.live_deletes().await.len(), 1, "the first has nothing to apply to any more");
}

/// nimtable/iceberg-compaction#163: positions that were deleted meanwhile are of files that are gone then, and the commit
/// looks only whether the files are there. Here they are deleted of the output.
#[tokio::test]
async fn nimtable_163_positions_that_are_deleted_meanwhile_are_deleted_of_the_output() {
    for version in [FormatVersion::V2, FormatVersion::V3] {
        let world = World::new(version).await;
        let a = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
        world.append(&[(3, 0, "b")]).await;
        let groups = plan(&world, &packing()).await;
        let result = run(&world, &groups[0], &packing()).await;
        let deletes = match version {
            FormatVersion::V2 => world.positions(&a, &[1]).await,
            _ => world.vector(&a, &[1]).await,
        };
        let delta = world.delta(vec![], vec![deletes]).await;
        world.commit(&[delta]).await;
        let end = commit_rewrite(&queue(&world), vec![result]).await.unwrap();
        assert!(end.dropped.is_empty(), "{version}: {end:?}");
        assert_eq!((world.ids().await, live_files(&world).await), (vec![1, 3], 1), "{version}");
    }
}

/// Vectors of one Puffin file live and die one by one, and a coordinator that follows commits knows which.
#[tokio::test]
async fn a_coordinator_follows_vectors_that_share_a_file() {
    let world = World::partitioned(FormatVersion::V3).await;
    let queue = queue(&world);
    let config = Config { delta_commits: 3, delete_ratio: 1.0, ..packing() };
    let mut coordinator = Coordinator::new(&world.state().await, &config).unwrap();
    let files = world.write(&[(1, 1, "a"), (2, 1, "a"), (1, 2, "a"), (2, 2, "a")]).await;
    world.commit(&[append(files.clone())]).await;
    let vectors = world.vectors(&[(&files[0], &[0]), (&files[1], &[1])]).await;
    let delta = world.delta(vec![], vectors).await;
    world.commit(&[delta]).await;
    assert!(follow(&mut coordinator, &queue, &world.table().await, &config).await.unwrap().is_empty());
    world.append(&[(3, 1, "b")]).await;
    let groups = follow(&mut coordinator, &queue, &world.table().await, &config).await.unwrap();
    let said = |group: &FileGroup| (group.partition_path.clone(), group.inputs.len(), group.rows_deleted_max);
    assert_eq!(groups.iter().map(said).collect::<Vec<_>>(), [("p=1".to_owned(), 2, 1)]);
    let result = run(&world, &groups[0], &config).await;
    commit_rewrite(&queue, vec![result]).await.unwrap();
    coordinator.on_end(&groups[0]);
    assert!(follow(&mut coordinator, &queue, &world.table().await, &config).await.unwrap().is_empty());
    // The vector of the other file, in the same Puffin file, is known still.
    world.append(&[(4, 2, "b")]).await;
    for id in [5, 6] {
        world.append(&[(id, 3, "b")]).await;
    }
    let groups = follow(&mut coordinator, &queue, &world.table().await, &config).await.unwrap();
    assert_eq!(groups, plan(&world, &config).await);
    assert_eq!(groups.iter().map(said).collect::<Vec<_>>()[0], ("p=2".to_owned(), 2, 1));
}

/// Each row keeps its id and the number of its last update, through a rewrite and a rewrite of its output, whether rows are
/// written anew or row groups copied.
#[tokio::test]
async fn rows_of_version_3_keep_their_ids() {
    for (row_group_size_bytes, kind) in [(128 << 20, "encode"), (4, "copy")] {
        let config = Config { row_group_size_bytes, ..packing() };
        let world = World::new(FormatVersion::V3).await;
        let lineage = ["id", "_row_id", "_last_updated_sequence_number"];
        let a = world.append(&[(10, 0, "a"), (20, 0, "a"), (30, 0, "a")]).await;
        world.append(&[(40, 0, "b")]).await;
        let delta = world.delta(vec![], vec![world.vector(&a, &[1]).await]).await;
        world.commit(&[delta]).await;
        let expected = |rows: &[[i64; 3]]| rows.iter().map(|row| row.map(Some).to_vec()).collect::<Vec<_>>();
        let rows = expected(&[[10, 0, 1], [30, 2, 1], [40, 3, 2]]);
        assert_eq!(longs(&world, &lineage).await, rows);
        assert_eq!(compact(&world, &config).await.files_out, 1);
        assert_eq!(world.summary().await["frazil.compaction.kind"], "encode", "there were deletes");
        assert_eq!(longs(&world, &lineage).await, rows);
        // Ids that the output has of its own, and ids that other files inherit, side by side; then the output of that.
        for id in [50, 60] {
            world.append(&[(id, 0, "c"), (id + 1, 0, "c")]).await;
            let before = longs(&world, &lineage).await;
            assert_eq!(before[..3], rows);
            assert_eq!(before.iter().map(|row| row[1]).collect::<BTreeSet<_>>().len(), before.len());
            assert_eq!(compact(&world, &config).await.files_in, 2);
            assert_eq!(world.summary().await["frazil.compaction.kind"], kind);
            assert_eq!(longs(&world, &lineage).await, before, "{kind}");
        }
        let all: Vec<i64> = vec![10, 30, 40, 50, 51, 60, 61];
        assert_eq!((world.ids().await, live_files(&world).await), (all, 1), "{kind}");
    }
}
