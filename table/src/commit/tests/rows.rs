//! Changes of rows and files, as plans: nothing is written but what a state is loaded from.

use super::*;
use crate::spec::DataContentType;
use crate::{
    CarriedDeletes, DeleteFiles, Error, Isolation, Overwrite, PartitionFilter, RemovedFiles, RewriteDeletes,
    RewriteManifests, RowDelta, Validation,
};

fn delete_file(path: &str, set: impl FnOnce(&mut DataFileBuilder)) -> TableFile {
    let mut builder = DataFileBuilder::default();
    builder
        .content(DataContentType::PositionDeletes)
        .file_path(path.to_owned())
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::empty())
        .record_count(1)
        .file_size_in_bytes(10);
    set(&mut builder);
    TableFile { file: builder.build().unwrap(), partition_spec_id: 0 }
}

fn positions(path: &str, of: &str) -> TableFile {
    delete_file(path, |builder| {
        builder.referenced_data_file(Some(of.to_owned()));
    })
}

fn equality(path: &str) -> TableFile {
    delete_file(path, |builder| {
        builder.content(DataContentType::EqualityDeletes).equality_ids(Some(vec![1]));
    })
}

fn vector(path: &str, of: &str, rows: u64) -> TableFile {
    delete_file(path, |builder| {
        builder
            .file_format(DataFileFormat::Puffin)
            .referenced_data_file(Some(of.to_owned()))
            .record_count(rows)
            .content_offset(Some(4))
            .content_size_in_bytes(Some(7));
    })
}

impl TestTable {
    fn head(&self) -> Option<i64> {
        self.table.current_snapshot().map(|snapshot| snapshot.snapshot_id())
    }

    fn delta(&self, data: &[&str], deletes: Vec<TableFile>) -> Change {
        Change::RowDelta(RowDelta {
            data_files: data.iter().map(|path| file(path)).collect(),
            delete_files: deletes,
            validation: Validation::snapshot(self.head()),
            ..RowDelta::default()
        })
    }

    /// What planning says of a change that no state could take.
    async fn refusal(&self, change: Change) -> Error {
        self.plan(change).await.unwrap_err()
    }

    /// What planning says of a change. Nothing is committed.
    async fn plan(&self, change: Change) -> Result<std::result::Result<CommitPlan, Conflict>> {
        let changes = [change];
        let identity = CommitIdentity::of(&self.env, &changes);
        let target = CommitTarget::default();
        let state = io::load_state_for(&self.env.store, &self.cache, &self.table, &target, &changes).await.unwrap();
        plan_commit(&state, &changes, &identity, self.env.now_ms())
    }

    async fn live_deletes(&self) -> Vec<(String, i64)> {
        let state = self.state().await;
        let live = state.live_delete_files().unwrap();
        let mut live: Vec<_> = live.iter().map(|l| (l.file.file_path().to_owned(), l.data_sequence_number)).collect();
        live.sort();
        live
    }
}

#[tokio::test]
async fn a_row_delta_prints_and_counts_its_deletes() {
    let mut t = TestTable::new(FormatVersion::V2);
    t.commit(&[append(&["a", "b"])]).await;
    let plan = t.commit(&[t.delta(&["c"], vec![positions("p", "a"), equality("e")])]).await;
    expect![[r#"
        overwrite snapshot on main: 3 manifests, 2 of them new; 1 files added, 0 removed; 2 delete files added, 0 removed
    "#]]
    .assert_eq(&plan.to_string());
    expect![[r#"
        {
            "added-data-files": "1",
            "added-delete-files": "2",
            "added-equality-delete-files": "1",
            "added-equality-deletes": "1",
            "added-files-size": "120",
            "added-position-delete-files": "1",
            "added-position-deletes": "1",
            "added-records": "10",
            "changed-partition-count": "1",
            "total-data-files": "3",
            "total-delete-files": "2",
            "total-equality-deletes": "1",
            "total-files-size": "320",
            "total-position-deletes": "1",
            "total-records": "30",
        }
    "#]]
    .assert_debug_eq(&t.summary());
    // What goes is counted back, the deletes that are dead with the files too.
    t.commit(&[Change::DeleteFiles(DeleteFiles {
        removed: RemovedFiles::Files(["a", "b", "c"].map(str::to_owned).to_vec()),
        validation: Validation::default(),
        properties: SnapshotProperties::new(),
    })])
    .await;
    let summary = t.summary();
    for key in ["data-files", "delete-files", "equality-deletes", "position-deletes", "records", "files-size"] {
        assert_eq!(summary[&format!("total-{key}")], "0", "{key}");
    }
    assert_eq!((summary["removed-delete-files"].as_str(), summary["removed-equality-deletes"].as_str()), ("2", "1"));
}

#[tokio::test]
async fn only_the_part_of_a_puffin_file_counts() {
    let mut t = TestTable::new(FormatVersion::V3);
    t.commit(&[append(&["a"])]).await;
    t.commit(&[t.delta(&[], vec![vector("dv", "a", 3)])]).await;
    let summary = t.summary();
    let counts = ["added-dvs", "added-files-size", "added-position-deletes", "total-delete-files"].map(|k| &summary[k]);
    assert_eq!(counts, ["1", "7", "3", "1"]);
    assert!(!summary.contains_key("added-position-delete-files"));
}

#[tokio::test]
async fn each_format_version_has_its_delete_files() {
    let cases = [
        (FormatVersion::V1, positions("p", "a"), Some("format version 1 has no delete files")),
        (FormatVersion::V1, equality("e"), Some("format version 1 has no delete files")),
        (FormatVersion::V2, positions("p", "a"), None),
        (FormatVersion::V2, equality("e"), None),
        (FormatVersion::V2, vector("v", "a", 1), Some("which format version 3 has first")),
        (FormatVersion::V3, positions("p", "a"), Some("with deletion vectors only")),
        (FormatVersion::V3, equality("e"), None),
        (FormatVersion::V3, vector("v", "a", 1), None),
        (
            FormatVersion::V3,
            delete_file("v", |b| {
                b.file_format(DataFileFormat::Puffin);
            }),
            Some("without data file"),
        ),
        (
            FormatVersion::V2,
            delete_file("e", |b| {
                b.content(DataContentType::EqualityDeletes);
            }),
            Some("equality ids"),
        ),
        (FormatVersion::V2, file("f"), Some("holds rows, not deletes")),
    ];
    for (version, delete, expected) in cases {
        let mut t = TestTable::new(version);
        t.commit(&[append(&["a"])]).await;
        let change = t.delta(&[], vec![delete]);
        match expected {
            None => drop(t.commit(&[change]).await),
            Some(reason) => {
                let refusal = t.refusal(change).await.to_string();
                assert!(refusal.contains(reason), "{version:?}: {refusal}");
            }
        }
    }
}

#[tokio::test]
async fn a_data_file_has_one_live_vector() {
    let mut t = TestTable::new(FormatVersion::V3);
    t.commit(&[append(&["a", "b"])]).await;
    let twice = t.refusal(t.delta(&[], vec![vector("v", "a", 1), vector("w", "a", 1)])).await.to_string();
    assert!(twice.contains("a gets two deletion vectors in one change"), "{twice}");
    t.commit(&[t.delta(&[], vec![vector("v", "a", 2)])]).await;
    let beside = t.refusal(t.delta(&[], vec![vector("w", "a", 3)])).await;
    assert!(
        matches!(&beside, Error::DeletesNotAbsorbed { data_file, delete_file } if data_file == "a" && delete_file == "v"),
        "{beside}"
    );
    t.commit(&[t.delta(&[], vec![vector("x", "b", 1)])]).await;
    // Two changes of one commit see each other.
    let both = [t.delta(&["c"], vec![vector("y", "c", 1)]), t.delta(&[], vec![vector("z", "c", 2)])];
    let identity = CommitIdentity::of(&t.env, &both);
    let target = CommitTarget::default();
    let state = io::load_state_for(&t.env.store, &t.cache, &t.table, &target, &both).await.unwrap();
    let refusal = plan_commit(&state, &both, &identity, t.env.now_ms()).unwrap_err();
    assert!(matches!(refusal, Error::DeletesNotAbsorbed { .. }), "{refusal}");
}

#[tokio::test]
async fn position_deletes_of_files_of_the_same_change_need_no_base() {
    let mut t = TestTable::new(FormatVersion::V2);
    t.commit(&[append(&["a"])]).await;
    let upsert = Change::RowDelta(RowDelta {
        data_files: vec![file("b")],
        delete_files: vec![positions("p", "b"), equality("e")],
        validation: Validation { base_snapshot_id: Some(4711), ..Validation::default() },
        ..RowDelta::default()
    });
    t.commit(&[upsert]).await;
    assert_eq!(t.live_deletes().await, [("e".to_owned(), 2), ("p".to_owned(), 2)]);
    let of_a = Change::RowDelta(RowDelta {
        delete_files: vec![positions("q", "a")],
        validation: Validation { base_snapshot_id: Some(4711), ..Validation::default() },
        ..RowDelta::default()
    });
    let conflict = t.try_commit(&[of_a]).await.unwrap_err();
    assert_eq!(conflict, Conflict::BaseGone { base_snapshot_id: Some(4711) });
}

/// A position delete file of several data files stands for its whole partition, unless the change names the files.
#[tokio::test]
async fn wide_position_deletes_refer_to_the_files_that_are_named() {
    for (named, of, lands) in [(None, "b", false), (Some("a"), "b", true), (Some("a"), "a", false)] {
        let mut t = TestTable::new(FormatVersion::V2);
        t.commit(&[append(&["a", "b"])]).await;
        let wide = RowDelta {
            delete_files: vec![delete_file("p", |_| {})],
            validation: Validation {
                referenced_data_files: named.map(str::to_owned).into_iter().collect(),
                ..Validation::snapshot(t.head())
            },
            ..RowDelta::default()
        };
        t.commit(&[t.delta(&[], vec![positions("q", of)])]).await;
        let end = t.try_commit(&[Change::RowDelta(wide)]).await;
        assert_eq!(end.is_ok(), lands, "{named:?} named, rows of {of} deleted: {end:?}");
    }
}

#[tokio::test]
async fn an_empty_branch_is_a_base_too() {
    let mut t = TestTable::new(FormatVersion::V2);
    let validation = Validation { isolation: Isolation::Serializable, ..Validation::default() };
    let overwrite = |path: &str| {
        Change::Overwrite(Overwrite {
            removed: RemovedFiles::PartitionsOfAdded,
            added: vec![file(path)],
            validation: validation.clone(),
            properties: SnapshotProperties::new(),
        })
    };
    t.commit(&[overwrite("a")]).await;
    let conflict = t.try_commit(&[overwrite("b")]).await.unwrap_err();
    assert_eq!(conflict, Conflict::RowsAdded { path: "a".to_owned() });
    assert_eq!(names(&t.live().await), [("a", 1)]);
}

#[tokio::test]
async fn a_filter_of_partitions_takes_files_of_its_spec_only() {
    let mut t = TestTable::new(FormatVersion::V2);
    t.commit(&[append(&["a", "b"])]).await;
    let here = Arc::new(PartitionFilter::of(&[file("a")]));
    let elsewhere = Arc::new(PartitionFilter::new([(7, Struct::empty())]));
    let delete = |filter| {
        Change::DeleteFiles(DeleteFiles {
            removed: RemovedFiles::Filter(filter),
            validation: Validation::default(),
            properties: SnapshotProperties::new(),
        })
    };
    let conflict = t.try_commit(&[delete(elsewhere)]).await.unwrap_err();
    assert!(matches!(conflict, Conflict::PartialMatch { .. }), "{conflict}");
    t.commit(&[delete(here)]).await;
    assert!(t.live().await.is_empty());
}

#[tokio::test]
async fn a_rewrite_of_deletes_turns_equality_deletes_into_positions() {
    let mut t = TestTable::new(FormatVersion::V2);
    t.commit(&[append(&["a"])]).await;
    t.commit(&[t.delta(&[], vec![equality("e")])]).await;
    let rewrite = |removed: TableFile, added: TableFile| {
        Change::RewriteDeletes(RewriteDeletes {
            removed: vec![removed],
            added: vec![added],
            validation: Validation::snapshot(t.head()),
            properties: SnapshotProperties::new(),
        })
    };
    let (good, bad) = (rewrite(equality("e"), positions("p", "a")), rewrite(equality("e"), equality("f")));
    let refusal = t.refusal(bad).await.to_string();
    assert!(refusal.contains("equality deletes of different numbers can't be one"), "{refusal}");
    t.commit(&[good]).await;
    assert_eq!(t.live_deletes().await, [("p".to_owned(), 2)]);
}

#[tokio::test]
async fn rewritten_manifests_have_the_wanted_size_and_the_same_entries() {
    let mut t = TestTable::new(FormatVersion::V2);
    for i in 0..6 {
        t.commit(&[append(&[&format!("f{i}")])]).await;
    }
    t.commit(&[t.delta(&[], vec![positions("p", "f0")])]).await;
    let (data, deletes) = (t.live().await, t.live_deletes().await);
    let rewrite = |target_size_bytes| {
        Change::RewriteManifests(RewriteManifests { target_size_bytes, properties: SnapshotProperties::new() })
    };
    let plan = t.commit(&[rewrite(None)]).await;
    assert_eq!(plan.snapshots[0].manifests.len(), 2, "one for data, one for deletes");
    assert_eq!((t.live().await, t.live_deletes().await), (data.clone(), deletes.clone()));
    let summary = t.summary();
    let counts = ["manifests-created", "manifests-replaced", "entries-processed"].map(|key| &summary[key]);
    assert_eq!(counts, ["2", "7", "7"]);
    t.commit(&[rewrite(Some(1))]).await;
    assert_eq!(t.state().await.manifests().len(), 7, "an entry for each is the least there is");
    assert_eq!((t.live().await, t.live_deletes().await), (data, deletes));
}

/// Merging concerns manifests of deletes as well.
#[tokio::test]
async fn small_manifests_of_deletes_become_one() {
    let mut t = TestTable::new(FormatVersion::V2);
    t.commit(&[Change::SetProperties([("commit.manifest.min-count-to-merge".to_owned(), "3".to_owned())].into())])
        .await;
    t.commit(&[append(&["a"])]).await;
    for i in 0..7 {
        t.commit(&[t.delta(&[], vec![equality(&format!("e{i}"))])]).await;
        assert!(t.state().await.manifests().len() <= 5, "after {i}");
    }
    let expected: Vec<_> = (0..7).map(|i| (format!("e{i}"), i + 2)).collect();
    assert_eq!(t.live_deletes().await, expected);
}

impl TestTable {
    /// A rewrite of `old` into `new` that read `base` and carries deletes up to a later snapshot.
    fn carrying(&self, base: Option<i64>, deletes: Vec<TableFile>, up_to: Option<i64>) -> Change {
        Change::Replace {
            removed: vec!["old".to_owned()],
            added: vec![file("new")],
            data_sequence_number: 1,
            base_snapshot_id: base.unwrap(),
            carried: up_to.map(|up_to_snapshot_id| CarriedDeletes { delete_files: deletes, up_to_snapshot_id }),
            properties: SnapshotProperties::new(),
        }
    }
}

/// Deletes that a rewrite carries account for those of the snapshot that they are up to, and for no others.
#[tokio::test]
async fn carried_deletes_answer_for_what_came_up_to_their_snapshot() {
    let mut t = TestTable::new(FormatVersion::V2);
    t.commit(&[append(&["old", "other"])]).await;
    let base = t.head();
    t.commit(&[t.delta(&[], vec![positions("first", "old")])]).await;
    let first = t.head();
    let carried = || vec![positions("moved", "new")];
    let conflict = t.plan(t.carrying(base, vec![], None)).await.unwrap().unwrap_err();
    assert!(matches!(&conflict, Conflict::RowsDeleted { delete_file, .. } if delete_file == "first"), "{conflict}");
    let conflict = t.plan(t.carrying(base, vec![], base)).await.unwrap().unwrap_err();
    assert!(matches!(&conflict, Conflict::RowsDeleted { delete_file, .. } if delete_file == "first"), "{conflict}");
    // Of another file, and by equality: neither is in the way.
    let equal = equality("equal");
    t.commit(&[t.delta(&[], vec![positions("elsewhere", "other"), equal])]).await;
    t.plan(t.carrying(base, carried(), first)).await.unwrap().unwrap();

    t.commit(&[t.delta(&[], vec![positions("second", "old")])]).await;
    let conflict = t.plan(t.carrying(base, carried(), first)).await.unwrap().unwrap_err();
    assert!(matches!(&conflict, Conflict::RowsDeleted { delete_file, .. } if delete_file == "second"), "{conflict}");
    let head = t.head();
    t.commit(&[t.carrying(base, carried(), head)]).await;
    let summary = &t.table.current_snapshot().unwrap().summary().additional_properties;
    assert_eq!((&*summary["added-delete-files"], &*summary["removed-delete-files"]), ("1", "2"));
    let state = t.state().await;
    let number = |path: &str| {
        let all = [state.live_data_files().unwrap(), state.live_delete_files().unwrap()].concat();
        all.iter().find(|live| live.file.file_path() == path).map(|live| live.data_sequence_number)
    };
    // The output is older than the equality delete, and not younger than what is carried.
    let numbers = ["new", "moved", "equal", "elsewhere", "first", "second"].map(number);
    assert_eq!(numbers, [Some(1), Some(5), Some(3), Some(3), None, None]);
}

/// What is carried is of the rewrite's own outputs, and of a time after its base.
#[tokio::test]
async fn carried_deletes_of_other_files_or_times_are_refused() {
    let mut t = TestTable::new(FormatVersion::V2);
    t.commit(&[append(&["old", "other"])]).await;
    let before = t.head();
    t.commit(&[append(&["more"])]).await;
    let base = t.head();
    let wide = delete_file("wide", |_| {});
    for (deletes, what) in [
        (vec![positions("moved", "other")], "moved is carried by a rewrite, but does not delete by position"),
        (vec![positions("moved", "old")], "moved is carried by a rewrite, but does not delete by position"),
        (vec![wide], "wide is carried by a rewrite, but does not delete by position"),
        (vec![equality("equal")], "equal is carried by a rewrite, but does not delete by position"),
        (vec![vector("vector", "new", 1)], "vector is a deletion vector, which format version 3 has first"),
    ] {
        let refusal = t.refusal(t.carrying(base, deletes, base)).await.to_string();
        assert!(refusal.contains(what), "{refusal}");
    }
    let refusal = t.refusal(t.carrying(base, vec![], before)).await.to_string();
    assert!(refusal.contains("can't be carried: it is older than the base"), "{refusal}");
    let conflict = t.plan(t.carrying(base, vec![], Some(4711))).await.unwrap().unwrap_err();
    assert_eq!(conflict, Conflict::BaseGone { base_snapshot_id: Some(4711) });
    t.plan(t.carrying(base, vec![positions("moved", "new")], base)).await.unwrap().unwrap();
}

/// A `replace` may put a position delete in the place of an equality delete, which the outputs of a rewrite would have had
/// applied by number.
#[tokio::test]
async fn conflict_when_an_equality_delete_became_positions_while_a_rewrite_ran() {
    let mut t = TestTable::new(FormatVersion::V2);
    t.commit(&[append(&["old"])]).await;
    let base = t.head();
    t.commit(&[t.delta(&[], vec![equality("equal")])]).await;
    t.plan(t.carrying(base, vec![], None)).await.unwrap().unwrap();
    let convert = RewriteDeletes {
        removed: vec![equality("equal")],
        added: vec![positions("converted", "old")],
        validation: Validation::snapshot(t.head()),
        ..RewriteDeletes::default()
    };
    t.commit(&[Change::RewriteDeletes(convert)]).await;
    let conflict = t.plan(t.carrying(base, vec![], None)).await.unwrap().unwrap_err();
    assert!(matches!(&conflict, Conflict::RowsDeleted { delete_file, .. } if delete_file == "converted"), "{conflict}");
    t.plan(t.carrying(base, vec![positions("moved", "new")], t.head())).await.unwrap().unwrap();
}
