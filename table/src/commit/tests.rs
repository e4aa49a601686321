//! Changes on a table in memory, written and read back by the real code.

use std::collections::BTreeMap;
use std::sync::Arc;

use expect_test::expect;
use frazil_storage::Env;

use super::*;
use crate::change::{SnapshotProperties, TableFile};
use crate::spec::{
    DataContentType, DataFileBuilder, DataFileFormat, Literal, NestedField, PrimitiveType, Schema, Struct,
    TableCreation, TableIdent, TableMetadata, TableMetadataBuilder, Transform, Type, UnboundPartitionSpec,
};
use crate::{CommitTarget, ExpirePlan, ManifestCache, Retention, Table, io, plan_expire};

pub(crate) struct TestTable {
    pub(crate) env: Env,
    pub(crate) cache: ManifestCache,
    pub(crate) table: Table,
    version: u32,
}

impl TestTable {
    pub(crate) fn new(format_version: FormatVersion) -> Self {
        Self::with(format_version, UnboundPartitionSpec::builder().build())
    }

    /// Partitioned by the id itself.
    fn partitioned(format_version: FormatVersion) -> Self {
        let spec = UnboundPartitionSpec::builder().add_partition_field(1, "id", Transform::Identity).unwrap();
        Self::with(format_version, spec.build())
    }

    fn with(format_version: FormatVersion, spec: UnboundPartitionSpec) -> Self {
        let id = NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long));
        let creation = TableCreation::builder()
            .name("t".to_owned())
            .location("memory://w/t".to_owned())
            .schema(Schema::builder().with_fields([id.into()]).build().unwrap())
            .partition_spec(spec)
            .format_version(format_version)
            .build();
        let metadata = TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap().metadata;
        let env = Env::in_memory(1);
        Self { table: table(metadata, 0), env, cache: ManifestCache::default(), version: 0 }
    }

    pub(crate) async fn state(&self) -> TableState {
        // A cache of its own: what is read is what was stored.
        let cache = ManifestCache::default();
        io::load_state(&self.env.store, &cache, &self.table, io::Entries::All).await.unwrap()
    }

    pub(crate) async fn try_commit(&mut self, changes: &[Change]) -> std::result::Result<CommitPlan, Conflict> {
        let snapshots = changes.iter().filter(|change| change.makes_snapshot()).count();
        let identity = CommitIdentity::draw(&self.env, snapshots);
        let state = io::load_state_for(&self.env.store, &self.cache, &self.table, &CommitTarget::default(), changes)
            .await
            .unwrap();
        let plan = plan_commit(&state, changes, &identity, self.env.now_ms()).unwrap()?;
        let mut written = io::WrittenManifests::default();
        let prepared = io::store_commit(&self.env, &self.cache, &state, &plan, &mut written).await.unwrap();
        self.install(&prepared);
        Ok(plan)
    }

    pub(crate) async fn commit(&mut self, changes: &[Change]) -> CommitPlan {
        self.try_commit(changes).await.unwrap()
    }

    fn install(&mut self, prepared: &PreparedCommit) {
        let metadata = self.table.metadata();
        for requirement in &prepared.requirements {
            requirement.check(Some(metadata)).unwrap();
        }
        let current = Some(self.table.metadata_location().to_owned());
        let mut builder = metadata.as_ref().clone().into_builder(current);
        for update in prepared.updates.clone() {
            builder = update.apply(builder).unwrap();
        }
        self.version += 1;
        self.table = table(builder.build().unwrap().metadata, self.version);
    }

    /// Live files with their data sequence numbers.
    async fn live(&self) -> Vec<(String, i64)> {
        let state = self.state().await;
        let live = state.live_data_files().unwrap();
        let mut live: Vec<_> = live.iter().map(|l| (l.file.file_path().to_owned(), l.data_sequence_number)).collect();
        live.sort();
        live
    }

    /// A second after the last commit. The metadata builder of the ground crate looks at the machine's clock.
    fn later(&self) -> i64 {
        self.table.metadata().last_updated_ms() + 1_000
    }

    fn summary(&self) -> BTreeMap<String, String> {
        let summary = &self.table.current_snapshot().unwrap().summary().additional_properties;
        let fixed = |key: &str| !key.starts_with("frazil.") && !key.starts_with("engine-");
        summary.iter().filter(|(k, _)| fixed(k)).map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    async fn replace(&mut self, removed: &[&str], added: &[&str]) -> std::result::Result<CommitPlan, Conflict> {
        let live: HashMap<_, _> = self.live().await.into_iter().collect();
        let data_sequence_number = removed.iter().filter_map(|path| live.get(*path)).max().copied();
        let change = Change::Replace {
            removed: removed.iter().map(|&path| path.to_owned()).collect(),
            added: added.iter().map(|&path| file(path)).collect(),
            data_sequence_number: data_sequence_number.unwrap_or(1),
            base_snapshot_id: self.table.current_snapshot().unwrap().snapshot_id(),
            carried: None,
            properties: SnapshotProperties::new(),
        };
        self.try_commit(&[change]).await
    }
}

fn table(metadata: TableMetadata, version: u32) -> Table {
    let ident = TableIdent::from_strs(["db", "t"]).unwrap();
    Table::new(ident, Arc::new(metadata), &format!("memory://w/t/metadata/{version:05}-x.metadata.json"))
}

pub(crate) fn file(path: &str) -> TableFile {
    let file = DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(path.to_owned())
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::empty())
        .record_count(10)
        .file_size_in_bytes(100)
        .build()
        .unwrap();
    TableFile { file, partition_spec_id: 0 }
}

fn file_in(path: &str, partition_spec_id: i32, tuple: &[i32]) -> TableFile {
    // `id` itself, then its bucket.
    let values = tuple.iter().enumerate().map(|(index, value)| match index {
        0 => Some(Literal::long(i64::from(*value))),
        _ => Some(Literal::int(*value)),
    });
    let file = DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(path.to_owned())
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::from_iter(values))
        .record_count(10)
        .file_size_in_bytes(100)
        .build()
        .unwrap();
    TableFile { file, partition_spec_id }
}

pub(crate) fn append(paths: &[&str]) -> Change {
    let files = paths.iter().map(|&path| file(path)).collect();
    Change::Append { files, properties: SnapshotProperties::new() }
}

mod rows;

fn names(live: &[(String, i64)]) -> Vec<(&str, i64)> {
    live.iter().map(|(path, number)| (path.as_str(), *number)).collect()
}

#[tokio::test]
async fn appended_files_are_live_in_every_format_version() {
    for version in [FormatVersion::V1, FormatVersion::V2, FormatVersion::V3] {
        let mut t = TestTable::new(version);
        t.commit(&[append(&["a", "b"])]).await;
        t.commit(&[append(&["c"])]).await;
        let numbers = if version == FormatVersion::V1 { [0, 0, 0] } else { [1, 1, 2] };
        let expected: Vec<_> = ["a", "b", "c"].into_iter().zip(numbers).collect();
        assert_eq!(names(&t.live().await), expected, "{version:?}");
    }
}

#[tokio::test]
async fn row_ids_are_given_out_once() {
    let mut t = TestTable::new(FormatVersion::V3);
    t.commit(&[append(&["a", "b"]), append(&["c"])]).await;
    t.commit(&[append(&["d"])]).await;
    let ranges: Vec<_> = t.table.ancestors("main").map(|s| s.row_range().unwrap()).collect();
    assert_eq!(ranges, [(30, 10), (20, 10), (0, 20)]);
    assert_eq!(t.table.metadata().next_row_id(), 40);
}

#[tokio::test]
async fn a_replace_keeps_rows_and_sequence_numbers() {
    let mut t = TestTable::new(FormatVersion::V2);
    t.commit(&[append(&["a", "b"])]).await;
    t.commit(&[append(&["c"])]).await;
    t.commit(&[append(&["d"])]).await;
    let plan = t.replace(&["b", "c"], &["bc"]).await.unwrap();
    assert_eq!(names(&t.live().await), [("a", 1), ("bc", 2), ("d", 3)]);
    expect![[r#"
        replace snapshot on main: 3 manifests, 2 of them new; 1 files added, 2 removed
    "#]]
    .assert_eq(&plan.to_string());
    expect![[r#"
        {
            "added-data-files": "1",
            "added-files-size": "100",
            "added-records": "10",
            "changed-partition-count": "1",
            "deleted-data-files": "2",
            "deleted-records": "20",
            "removed-files-size": "200",
            "total-data-files": "3",
            "total-delete-files": "0",
            "total-equality-deletes": "0",
            "total-files-size": "300",
            "total-position-deletes": "0",
            "total-records": "30",
        }
    "#]]
    .assert_debug_eq(&t.summary());
    // Manifests that list nothing live any more are not carried on.
    t.replace(&["a", "bc", "d"], &["abcd"]).await.unwrap();
    t.commit(&[append(&["e"])]).await;
    assert_eq!(t.state().await.manifests().len(), 2);
    assert_eq!(names(&t.live().await), [("abcd", 3), ("e", 6)]);
}

#[tokio::test]
async fn append_and_replace_are_two_snapshots_under_one_swap() {
    let mut t = TestTable::new(FormatVersion::V2);
    t.commit(&[append(&["a"])]).await;
    let replace = Change::Replace {
        removed: vec!["a".to_owned(), "b".to_owned()],
        added: vec![file("ab")],
        data_sequence_number: 2,
        base_snapshot_id: t.table.current_snapshot().unwrap().snapshot_id(),
        carried: None,
        properties: SnapshotProperties::new(),
    };
    let plan = t.commit(&[append(&["b"]), replace]).await;
    assert_eq!(plan.snapshots.len(), 2);
    assert_eq!(names(&t.live().await), [("ab", 2)]);
    let chain: Vec<_> = t.table.ancestors("main").map(|s| s.sequence_number()).collect();
    assert_eq!(chain, [3, 2, 1]);
    let between = t.table.ancestors("main").nth(1).unwrap();
    let between = t.table.metadata().snapshot_by_id(between.snapshot_id()).unwrap().clone();
    let cache = ManifestCache::default();
    let state =
        io::load_state_at(&t.env.store, &cache, &t.table, "main", Some(between), io::Entries::All).await.unwrap();
    assert_eq!(state.live_data_files().unwrap().len(), 2, "a and b are live in the snapshot between");
}

#[tokio::test]
async fn conflict_when_a_replaced_file_is_gone() {
    let mut t = TestTable::new(FormatVersion::V2);
    t.commit(&[append(&["a", "b"])]).await;
    t.replace(&["a"], &["a2"]).await.unwrap();
    let conflict = t.replace(&["a", "b"], &["ab"]).await.unwrap_err();
    assert_eq!(conflict, Conflict::FileGone { path: "a".to_owned() });
    assert_eq!(names(&t.live().await), [("a2", 1), ("b", 1)]);
}

#[tokio::test]
async fn a_retry_uses_its_append_manifests_again() {
    let mut t = TestTable::new(FormatVersion::V2);
    t.commit(&[append(&["a"])]).await;
    let mut identity = CommitIdentity::draw(&t.env, 1);
    let mut written = io::WrittenManifests::default();
    let changes = [append(&["b"])];
    for attempt in 0..3 {
        identity.attempt = attempt;
        let state =
            io::load_state_for(&t.env.store, &t.cache, &t.table, &CommitTarget::default(), &changes).await.unwrap();
        let plan = plan_commit(&state, &changes, &identity, t.env.now_ms()).unwrap().unwrap();
        let writes = t.env.store.counters().snapshot().writes;
        let prepared = io::store_commit(&t.env, &t.cache, &state, &plan, &mut written).await.unwrap();
        let expected = if attempt == 0 { 2 } else { 1 };
        assert_eq!(t.env.store.counters().snapshot().writes - writes, expected);
        if attempt < 2 {
            t.commit(&[append(&[&format!("other{attempt}")])]).await;
        } else {
            t.install(&prepared);
        }
    }
    assert_eq!(names(&t.live().await), [("a", 1), ("b", 4), ("other0", 2), ("other1", 3)]);
}

#[tokio::test]
async fn many_small_manifests_become_one() {
    let mut t = TestTable::new(FormatVersion::V2);
    t.commit(&[Change::SetProperties([("commit.manifest.min-count-to-merge".to_owned(), "5".to_owned())].into())])
        .await;
    for i in 0..12 {
        t.commit(&[append(&[&format!("f{i:02}")])]).await;
        assert!(t.state().await.manifests().len() <= 6, "after {i}");
    }
    let live = t.live().await;
    let expected: Vec<_> = (0..12).map(|i| (format!("f{i:02}"), i + 1)).collect();
    assert_eq!(live, expected, "files and their sequence numbers stay");
}

#[tokio::test]
async fn expiry_deletes_what_only_old_snapshots_name() {
    let mut t = TestTable::new(FormatVersion::V2);
    for name in ["a", "b", "c"] {
        t.commit(&[append(&[name])]).await;
    }
    t.replace(&["a", "b", "c"], &["abc"]).await.unwrap();
    t.commit(&[append(&["d"])]).await;
    let keep_one = Retention { max_snapshot_age_ms: 0, min_snapshots_to_keep: 1 };
    let plan = plan_expire(&t.table, keep_one, &[], t.later());
    assert_eq!(plan.snapshot_ids.len(), 4);
    let before = t.table.clone();
    t.commit(&[Change::ExpireSnapshots { snapshot_ids: plan.snapshot_ids }]).await;
    let files = io::find_unreachable_files(&t.env.store, &t.cache, &before, &t.table).await.unwrap();
    let content: Vec<_> = files.content_files.iter().map(String::as_str).collect();
    assert_eq!(content, ["a", "b", "c"]);
    assert_eq!(files.manifest_lists.len(), 4);
    for path in files.in_order_of_deletion().filter(|path| path.starts_with("memory:")) {
        t.env.store.delete(path).await.unwrap();
    }
    assert_eq!(names(&t.live().await), [("abc", 3), ("d", 5)], "what is left reads on");
    let none = plan_expire(&t.table, keep_one, &[], t.later());
    assert_eq!(none, ExpirePlan::default());
}

#[tokio::test]
async fn expiry_keeps_what_is_young_or_protected() {
    let mut t = TestTable::new(FormatVersion::V2);
    for name in ["a", "b", "c", "d"] {
        t.commit(&[append(&[name])]).await;
    }
    let ids: Vec<_> = t.table.ancestors("main").map(|s| s.snapshot_id()).collect();
    let later = t.later();
    let all_young = Retention { max_snapshot_age_ms: 10_000, min_snapshots_to_keep: 1 };
    assert!(plan_expire(&t.table, all_young, &[], later).snapshot_ids.is_empty());
    let keep_two = Retention { max_snapshot_age_ms: 0, min_snapshots_to_keep: 2 };
    assert_eq!(plan_expire(&t.table, keep_two, &[], later).snapshot_ids, [ids[3], ids[2]]);
    assert_eq!(plan_expire(&t.table, keep_two, &[ids[2]], later).snapshot_ids, [ids[3]]);
}

/// The rows of the file of the older spec are out of the delete's reach once they lie in a file of the newer one, though
/// that file's partition is one of those that are rewritten.
#[tokio::test]
async fn conflict_when_rows_move_to_another_spec_while_an_equality_delete_comes() {
    let mut t = TestTable::partitioned(FormatVersion::V2);
    let steps = vec![crate::evolve::SpecStep::Add {
        source: crate::evolve::FieldPath::from("id"),
        transform: Transform::Bucket(2),
        name: None,
    }];
    t.commit(&[Change::Metadata(crate::MetadataChange::PartitionSpec(steps))]).await;
    let old = file_in("old", 0, &[1]);
    let new = file_in("new", 1, &[1, 0]);
    t.commit(&[Change::Append { files: vec![old, new], properties: SnapshotProperties::new() }]).await;
    let replace = |base_snapshot_id: i64| Change::Replace {
        removed: vec!["old".to_owned(), "new".to_owned()],
        added: vec![file_in("both", 1, &[1, 0])],
        data_sequence_number: 1,
        base_snapshot_id,
        carried: None,
        properties: SnapshotProperties::new(),
    };
    let base = t.table.current_snapshot().unwrap().snapshot_id();
    let mut builder = DataFileBuilder::default();
    builder
        .content(DataContentType::EqualityDeletes)
        .file_path("delete".to_owned())
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::from_iter([Some(Literal::long(1))]))
        .record_count(1)
        .file_size_in_bytes(100)
        .equality_ids(Some(vec![1]));
    let delete = TableFile { file: builder.build().unwrap(), partition_spec_id: 0 };
    let delta = crate::RowDelta { delete_files: vec![delete], ..crate::RowDelta::default() };
    t.commit(&[Change::RowDelta(delta)]).await;
    let conflict = t.try_commit(&[replace(base)]).await.unwrap_err();
    assert!(matches!(conflict, Conflict::RowsDeleted { .. }), "{conflict}");
    // One that read the delete may move the rows.
    t.try_commit(&[replace(t.table.current_snapshot().unwrap().snapshot_id())]).await.unwrap();
}

/// A file that is written after a column was dropped has null in it for every reader: no delete by that column may go on
/// applying to it, and none may come.
#[tokio::test]
async fn conflict_when_a_rewritten_file_lacks_a_column_that_deletes_are_by() {
    use crate::evolve::{FieldPath, SchemaChange, SchemaStep};
    let mut t = TestTable::new(FormatVersion::V2);
    let change = |step| {
        Change::Metadata(crate::MetadataChange::Schema(SchemaChange { steps: vec![step], ..Default::default() }))
    };
    let name = crate::evolve::NewField {
        parent: FieldPath::root(),
        name: "name".to_owned(),
        field_type: Type::Primitive(PrimitiveType::String),
        required: false,
        doc: None,
        default: None,
        position: None,
    };
    t.commit(&[change(SchemaStep::Add(Box::new(name)))]).await;
    t.commit(&[append(&["old"])]).await;
    let delete = |path: &str| {
        let mut builder = DataFileBuilder::default();
        builder
            .content(DataContentType::EqualityDeletes)
            .file_path(path.to_owned())
            .file_format(DataFileFormat::Parquet)
            .partition(Struct::empty())
            .record_count(1)
            .file_size_in_bytes(100)
            .equality_ids(Some(vec![2]));
        let delete_files = vec![TableFile { file: builder.build().unwrap(), partition_spec_id: 0 }];
        Change::RowDelta(crate::RowDelta { delete_files, ..crate::RowDelta::default() })
    };
    t.commit(&[delete("delete")]).await;
    let base = t.table.current_snapshot().unwrap().snapshot_id();
    let replace = |data_sequence_number: i64| Change::Replace {
        removed: vec!["old".to_owned()],
        added: vec![file("new")],
        data_sequence_number,
        base_snapshot_id: base,
        carried: None,
        properties: SnapshotProperties::new(),
    };
    t.commit(&[change(SchemaStep::Drop(FieldPath::from("name")))]).await;
    let conflict = t.try_commit(&[replace(1)]).await.unwrap_err();
    let why = "delete deletes rows of new by the field 2, which the schema has no more: rewrite new with its deletes \
               applied, under the sequence number of the snapshot that was read";
    assert_eq!(conflict.to_string(), why);
    // Such a one is behind the deletes.
    t.try_commit(&[replace(2)]).await.unwrap();
    let changes = [delete("late")];
    let target = CommitTarget::default();
    let state = io::load_state_for(&t.env.store, &t.cache, &t.table, &target, &changes).await.unwrap();
    let late = plan_commit(&state, &changes, &CommitIdentity::draw(&t.env, 1), t.env.now_ms()).unwrap_err();
    assert!(late.to_string().contains("late deletes by the field 2, which the schema has no more"), "{late}");
}

/// A cherry-pick lists files of a snapshot that is not its ancestor: when that one expires, they stay.
#[tokio::test]
async fn expiry_spares_what_a_later_snapshot_added_once_more() {
    let mut t = TestTable::new(FormatVersion::V2);
    t.commit(&[append(&["a"])]).await;
    let below = t.table.current_snapshot().unwrap().snapshot_id();
    t.commit(&[append(&["picked", "other"])]).await;
    let picked = t.table.current_snapshot().unwrap().snapshot_id();
    let branch = crate::spec::MAIN_BRANCH.to_owned();
    let rollback = crate::evolve::RefChange::Rollback { branch, snapshot_id: below };
    t.commit(&[Change::Metadata(crate::MetadataChange::Ref(rollback))]).await;
    t.commit(&[append(&["b"])]).await;
    let properties = SnapshotProperties::from([(crate::SOURCE_SNAPSHOT_ID.to_owned(), picked.to_string())]);
    t.commit(&[Change::Append { files: vec![file("picked")], properties }]).await;
    let before = t.table.clone();
    t.commit(&[Change::ExpireSnapshots { snapshot_ids: vec![picked] }]).await;
    let gone = io::find_unreachable_files(&t.env.store, &t.cache, &before, &t.table).await.unwrap();
    assert_eq!(gone.content_files.into_iter().collect::<Vec<_>>(), ["other"]);
}
