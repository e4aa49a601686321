//! Rows are put in order: the same rows as before, in files that overlap less, and what is in order stays as it is.

use frazil_catalog::CommitQueue;
use frazil_compactor::{
    Clustering, Config, FileGroup, RewriteResult, cluster_table, commit_rewrite, plan_clustering, run_group, run_verify,
};
use frazil_reader::{Comparison, Predicate, ReadContext, ScanRequest, SnapshotSelector, load_scan};
use frazil_table::evolve::SortTerm;
use frazil_table::spec::{Datum, FormatVersion, NullOrder, Operation, SortDirection, Transform};
use frazil_table::{MetadataChange, TableFile};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use tokio_util::sync::CancellationToken;

use super::deletes::{longs, queue};
use super::rebase::{Kind, assert_clean};
use crate::table::world::{Row, World, append, path};

/// Files of some hundred rows.
fn config() -> Config {
    Config { target_file_size_bytes: 3_000, ..Config::default().packing() }
}

async fn order(world: &World, text: &str) -> Clustering {
    Clustering::parse(Some(text), &world.table().await, &world.env).unwrap()
}

async fn cluster(world: &World, text: &str) -> frazil_compactor::Report {
    let (clustering, stop) = (order(world, text).await, CancellationToken::new());
    let report = cluster_table(&queue(world), &config(), &clustering, false, &stop).await.unwrap();
    assert!(report.dropped.is_empty() && report.failed.is_empty(), "{report}");
    report
}

async fn plan(world: &World, text: &str) -> Vec<FileGroup> {
    plan_clustering(&world.state().await, &config(), &order(world, text).await).unwrap().groups
}

/// Rows, and the values of each column, of the test of pruning.
const SIDE: i64 = 60_000;

/// Rows with these ids, in no order, with a `p` that has nothing to do with them, or none.
fn rows(ids: std::ops::Range<i64>, random: &mut StdRng) -> Vec<Row> {
    let mut rows: Vec<Row> = ids.map(|id| (id, random.random_range(0..SIDE as i32), "some text")).collect();
    rows.shuffle(random);
    rows
}

async fn data_files(world: &World) -> Vec<TableFile> {
    let state = world.state().await;
    let live = state.live_data_files_by_path().unwrap();
    let file = |live: &frazil_table::LiveFile<'_>| TableFile {
        file: live.file.clone(),
        partition_spec_id: live.partition_spec_id,
    };
    live.values().map(file).collect()
}

/// The lower and upper bound of `id` or `p` of each file, ascending.
async fn bounds(world: &World, column: i32) -> Vec<(i64, i64)> {
    let number = |datum: &Datum| datum.to_string().parse::<i64>().unwrap();
    let files = data_files(world).await;
    let bounds = files.iter().map(|of| (&of.file.lower_bounds()[&column], &of.file.upper_bounds()[&column]));
    let mut bounds: Vec<_> = bounds.map(|(lower, upper)| (number(lower), number(upper))).collect();
    bounds.sort_unstable();
    bounds
}

#[tokio::test]
async fn rows_stay_in_whatever_order_they_are_put() {
    let orders = ["id", "p DESC NULLS FIRST, id", "zorder(id, p)", "hilbert(p, id)", "hilbert(v)", "bucket(4, id), p"];
    for version in [FormatVersion::V2, FormatVersion::V3] {
        for (seed, text) in (0..).zip(orders) {
            let mut random = StdRng::seed_from_u64(seed);
            let world = World::new(version).await;
            let mut files = Vec::new();
            for file in 0..4 {
                files.push(world.append(&rows(file * 1_000..(file + 1) * 1_000 + 5, &mut random)).await);
            }
            let gone = world.equality(&[7, 1_001, 3_999], &files[0]).await;
            let delta = world.delta(vec![], vec![gone]).await;
            world.commit(&[delta]).await;
            let kind = if version == FormatVersion::V3 { Kind::Vectors } else { Kind::Positions };
            kind.delete(&world, &[(&files[1], &[0, 500]), (&files[3], &[1_004])]).await;
            let before = world.rows_of(SnapshotSelector::Latest).await;
            let lineage = ["id", "_row_id", "_last_updated_sequence_number"];
            let ids = longs(&world, &lineage).await;
            let report = cluster(&world, text).await;
            assert_eq!((report.groups, report.files_in), (1, 4), "{text}: {report}");
            assert_eq!(world.rows_of(SnapshotSelector::Latest).await, before, "{version} {text}");
            assert_eq!(longs(&world, &lineage).await, ids, "{version} {text}");
            assert_eq!(world.operation().await, Operation::Replace);
            assert!(world.live_deletes().await.is_empty());
            assert_eq!(world.summary().await["frazil.compaction.kind"], "cluster");
            let files = data_files(&world).await;
            assert!(files.len() > 2 && files.iter().all(|file| file.file.sort_order_id().is_none()), "{text}");
            assert!(plan(&world, text).await.is_empty(), "{text}: what is in order stays");
            assert!(!plan(&world, "v, id").await.is_empty(), "another order is another matter");
            assert_clean(&world).await;
        }
    }
}

/// Only what overlaps is written again, and what lies beside it stays.
#[tokio::test]
async fn only_files_that_overlap_are_put_in_order_again() {
    let mut random = StdRng::seed_from_u64(1);
    let world = World::new(FormatVersion::V2).await;
    world.append(&rows(0..6_000, &mut random)).await;
    cluster(&world, "id").await;
    let spans = bounds(&world, 1).await;
    assert!(spans.len() > 4 && spans.windows(2).all(|pair| pair[0].1 < pair[1].0), "{spans:?}");
    // Within one file; in the gap behind all of them.
    let (inside, behind) = (spans[2].0 + 5..spans[2].0 + 9, 10_000..10_050);
    let first = world.append(&rows(inside, &mut random)).await;
    let second = world.append(&rows(behind, &mut random)).await;
    let groups = plan(&world, "id").await;
    let paths: Vec<Vec<&str>> = groups.iter().map(|group| group.paths().collect()).collect();
    assert_eq!(
        groups.iter().map(|group| (group.inputs.len(), group.reason.name())).collect::<Vec<_>>(),
        [(2, "not-in-order"), (1, "not-in-order")]
    );
    assert!(paths[0].contains(&&*path(&first)) && paths[1] == [path(&second)]);
    let report = cluster(&world, "id").await;
    assert_eq!((report.groups, report.files_in), (2, 3));
    assert!(plan(&world, "id").await.is_empty());
    assert!(bounds(&world, 1).await.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    // Along a curve: a small box takes only the boxes along that it overlaps.
    cluster(&world, "hilbert(id, p)").await;
    let all = data_files(&world).await.len();
    world.append(&[(100, 100, "x"), (101, 120, "x")]).await;
    let groups = plan(&world, "hilbert(id, p)").await;
    assert!(groups.len() == 1 && (2..all / 2).contains(&groups[0].inputs.len()), "{} of {all}", groups[0].inputs.len());
    cluster(&world, "hilbert(id, p)").await;
    assert!(plan(&world, "hilbert(id, p)").await.is_empty());
    assert_eq!(world.ids().await.len(), 6_000 + 4 + 50 + 2);
}

/// Nulls, and texts whose bounds are cut short, make files look as if they overlapped that do not.
#[tokio::test]
async fn bounds_that_say_too_little_do_not_make_work_for_ever() {
    let world = World::new(FormatVersion::V2).await;
    for _ in 0..2 {
        let text = "the first sixteen characters are the same";
        let rows: Vec<Row> = (0..3_000).map(|id| (id, 0, if id % 3 == 0 { "" } else { text })).collect();
        world.append(&rows).await;
    }
    let before = world.rows_of(SnapshotSelector::Latest).await;
    for text in ["v NULLS LAST", "v DESC, p", "hilbert(v, p)", "zorder(p)"] {
        let report = cluster(&world, text).await;
        assert!(report.groups == 1, "{text}: {report}");
        assert!(plan(&world, text).await.is_empty(), "{text}");
        assert_eq!(world.rows_of(SnapshotSelector::Latest).await, before);
    }
}

/// What the table's own writers have sorted is in order: only what overlaps is merged, and what comes out says so.
#[tokio::test]
async fn the_sort_order_of_a_table_is_told_by_its_id() {
    let mut random = StdRng::seed_from_u64(2);
    let world = World::new(FormatVersion::V2).await;
    let refusal = Clustering::parse(None, &world.table().await, &world.env).unwrap_err();
    assert!(refusal.to_string().contains("no sort order of its own"), "{refusal}");
    let term = SortTerm {
        source: "id".into(),
        transform: Transform::Identity,
        direction: SortDirection::Ascending,
        null_order: NullOrder::First,
    };
    world.evolve(MetadataChange::SortOrder(vec![term])).await;
    for begin in [0, 3_000, 1_500] {
        world.append(&rows(begin..begin + 1_000, &mut random)).await;
    }
    let own = Clustering::parse(None, &world.table().await, &world.env).unwrap();
    assert!(plan_clustering(&world.state().await, &config(), &own).unwrap().groups.is_empty(), "sorted and apart");
    world.append(&rows(900..1_600, &mut random)).await;
    let groups = plan_clustering(&world.state().await, &config(), &own).unwrap().groups;
    assert_eq!((groups.len(), groups[0].inputs.len(), groups[0].reason.name()), (1, 3, "overlap"));
    // Written out in words it is the same order.
    let report = cluster(&world, "id ASC NULLS FIRST").await;
    assert_eq!(report.files_in, 3, "{report}");
    let id = world.table().await.metadata().default_sort_order_id();
    assert!(data_files(&world).await.iter().all(|file| file.file.sort_order_id() == Some(id as i32)));
    assert!(plan_clustering(&world.state().await, &config(), &own).unwrap().groups.is_empty());
}

/// Museum: moonlink#1172, #1042 and #1051 (deletes that come during a compaction are lost, or hit other rows), iceberg#5397 (they throw
/// it away), where rows don't even keep their order. Rows are deleted while their files are put in another order: each is found where it went, in one of several outputs.
#[tokio::test]
async fn what_is_deleted_meanwhile_is_deleted_where_it_went() {
    for kind in Kind::ALL {
        for text in ["p, id", "hilbert(id, p)"] {
            let mut random = StdRng::seed_from_u64(3);
            let world = World::new(kind.version()).await;
            let (one, two) = (rows(0..2_500, &mut random), rows(2_500..6_000, &mut random));
            let (a, b) = (world.append(&one).await, world.append(&two).await);
            kind.delete(&world, &[(&a, &[17, 18])]).await;
            let groups = plan(&world, text).await;
            assert_eq!(groups.len(), 1);
            let result = run(&world, &groups[0]).await;
            assert!(result.outputs.len() > 3 && result.rows_deleted == 2);
            // Once more, of both, and by key.
            let (of_a, of_b) = ([0, 17, 2_499], [0, 1, 2, 1_000, 3_499]);
            match kind {
                Kind::Vectors => {
                    let state = world.state().await;
                    let old = state.live_delete_files().unwrap()[0];
                    let old = TableFile { file: old.file.clone(), partition_spec_id: 0 };
                    let mut delta = kind.delta(&world, &[(&a, &[0, 17, 18, 2_499]), (&b, &of_b)]).await;
                    if let frazil_table::Change::RowDelta(delta) = &mut delta {
                        delta.removed_delete_files.push(old);
                    }
                    world.commit(&[delta]).await;
                }
                _ => kind.delete(&world, &[(&a, &of_a), (&b, &of_b)]).await,
            }
            let delta = world.delta(vec![], vec![world.equality(&[one[3].0, two[9].0], &a).await]).await;
            world.commit(&[delta]).await;
            let expected = world.ids().await;
            assert_eq!(expected.len(), 6_000 - 2 - 2 - 5 - 2);
            let end = commit_rewrite(&queue(&world), vec![result]).await.unwrap();
            assert!(end.dropped.is_empty() && end.rows_rebased == 7, "{end:?}");
            assert_eq!(world.ids().await, expected, "{kind:?} {text}");
            assert_clean(&world).await;
        }
    }
}

async fn run(world: &World, group: &FileGroup) -> RewriteResult {
    run_group(group, &world.env, &world.table().await, &config(), &CancellationToken::new()).await.unwrap()
}

/// Queries for boxes of both columns: how many files are read, and what share of the rows, for each order.
#[tokio::test]
async fn curves_prune_boxes_of_several_columns() {
    let mut read = Vec::new();
    for text in ["", "id", "zorder(id, p)", "hilbert(id, p)"] {
        let mut random = StdRng::seed_from_u64(4);
        let world = World::new(FormatVersion::V2).await;
        let all = rows(0..SIDE, &mut random);
        for part in all.chunks(3_000) {
            world.commit(&[append(vec![world.write_one(part).await])]).await;
        }
        if !text.is_empty() {
            cluster(&world, text).await;
        }
        let (mut files, mut rows_read) = (0, 0_u64);
        let mut random = StdRng::seed_from_u64(5);
        for _ in 0..40 {
            let at = [random.random_range(0..SIDE / 10 * 9), random.random_range(0..SIDE / 10 * 9)];
            let (tasks, rows) = boxes(&world, at, SIDE / 10).await;
            files += tasks;
            rows_read += rows;
        }
        read.push((
            text,
            data_files(&world).await.len(),
            f64::from(files) / 40.0,
            rows_read as f64 / 40.0 / SIDE as f64,
        ));
    }
    for (text, of, files, share) in &read {
        let name = if text.is_empty() { "as they came" } else { text };
        println!("{name:14}  {files:5.1} of {of} files, {:5.1} % of the rows", share * 100.0);
    }
    let share = |index: usize| read[index].3;
    assert!(share(0) > 0.99, "rows as they came are everywhere");
    assert!(share(1) < 0.2, "one column prunes by itself");
    assert!(share(2) < 0.8 * share(1) && share(3) < 0.6 * share(1), "two columns prune more: {read:?}");
    assert!(share(3) < share(2), "a Hilbert curve has smaller boxes than z-order: {read:?}");
}

/// Files that a query for a box reads, and their rows.
async fn boxes(world: &World, [id, p]: [i64; 2], side: i64) -> (u32, u64) {
    let compare =
        |path: &str, comparison, value: Datum| Predicate::Compare { path: path.to_owned(), comparison, value };
    let predicate = Predicate::And(vec![
        compare("id", Comparison::GreaterOrEqual, Datum::long(id)),
        compare("id", Comparison::Less, Datum::long(id + side)),
        compare("p", Comparison::GreaterOrEqual, Datum::int(p as i32)),
        compare("p", Comparison::Less, Datum::int((p + side) as i32)),
    ]);
    let request = ScanRequest { predicate: Some(predicate), ..ScanRequest::default() };
    let plan = load_scan(&ReadContext::new(&world.env), &world.table().await, &request).await.unwrap();
    (plan.tasks.len() as u32, plan.tasks.iter().map(|task| task.file.record_count()).sum())
}

#[tokio::test]
async fn an_order_that_makes_no_sense_is_refused_with_what_is_wrong() {
    let world = World::new(FormatVersion::V2).await;
    let queue: CommitQueue = queue(&world);
    for (text, wanted) in [
        ("nothing", "nothing"),
        ("zorder(id, x)", "\"x\""),
        ("zorder()", "column"),
        ("id SIDEWAYS", "id SIDEWAYS"),
        ("bucket(id)", "bucket(id)"),
        ("day(id)", "day(id)"),
        ("id,", "\"\""),
        ("zorder(id, p, v, id, p, v, id, p, v)", "8 columns"),
    ] {
        let error = Clustering::parse(Some(text), &world.table().await, &world.env).unwrap_err().to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    }
    for (text, said) in [
        ("id", "id asc nulls first"),
        ("P desc, bucket(8, id) ASC nulls last", "p desc nulls last, bucket[8](id) asc nulls last"),
        (" ZORDER ( id , p )", "zorder(id, p)"),
        ("truncate(2, v)", "truncate[2](v) asc nulls first"),
    ] {
        assert_eq!(order(&world, text).await.to_string(), said);
    }
    assert!(run_verify(&queue).await.unwrap().is_sound());
}
