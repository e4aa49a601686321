//! Snapshots that come over to `main`, in tables that the real code writes.

use super::*;
use crate::ManifestCache;
use crate::commit::tests::{TestTable, append, file};
use crate::evolve::IfThere;
use crate::io::load_added_files;
use crate::spec::{FormatVersion, SnapshotRetention};

fn to(snapshot_id: i64) -> Change {
    Change::Metadata(MetadataChange::Ref(RefChange::SetSnapshot { branch: MAIN_BRANCH.to_owned(), snapshot_id }))
}

fn head(t: &TestTable) -> i64 {
    t.table.current_snapshot().unwrap().snapshot_id()
}

/// A table whose main has `a`, and a snapshot beside it that appended `b` under the wap.id `w`.
async fn staged(version: FormatVersion) -> (TestTable, i64) {
    let mut t = TestTable::new(version);
    t.commit(&[append(&["a"])]).await;
    let before = head(&t);
    let properties = SnapshotProperties::from([(STAGED_WAP_ID.to_owned(), "w".to_owned())]);
    t.commit(&[Change::Append { files: vec![file("b")], properties }]).await;
    let staged = head(&t);
    t.commit(&[to(before)]).await;
    (t, staged)
}

async fn pick(t: &mut TestTable, snapshot_id: i64) -> Result<()> {
    let pick = plan_cherry_pick(&t.table, snapshot_id)?;
    let files = match pick.needs_files() {
        true => load_added_files(&t.env.store, &ManifestCache::default(), &t.table, snapshot_id).await?,
        false => Vec::new(),
    };
    t.commit(&[pick.into_change(files)]).await;
    Ok(())
}

async fn live(t: &TestTable) -> Vec<String> {
    let state = t.state().await;
    let mut live: Vec<_> =
        state.live_data_files().unwrap().iter().map(|live| live.file.file_path().to_owned()).collect();
    live.sort();
    live
}

#[tokio::test]
async fn main_moves_to_a_snapshot_that_was_made_from_its_head() {
    for version in [FormatVersion::V1, FormatVersion::V2, FormatVersion::V3] {
        let (mut t, staged) = staged(version).await;
        assert_eq!(live(&t).await, ["a"]);
        assert_eq!(find_staged(&t.table, "w").unwrap(), staged);
        pick(&mut t, staged).await.unwrap();
        assert_eq!((head(&t), live(&t).await), (staged, vec!["a".to_owned(), "b".to_owned()]));
        let twice = plan_cherry_pick(&t.table, staged).unwrap_err().to_string();
        assert!(twice.contains("in the history of main already"), "{twice}");
    }
}

#[tokio::test]
async fn what_was_appended_is_appended_again_once_if_main_has_moved_on() {
    for version in [FormatVersion::V1, FormatVersion::V2, FormatVersion::V3] {
        let (mut t, staged) = staged(version).await;
        t.commit(&[append(&["c"])]).await;
        pick(&mut t, staged).await.unwrap();
        assert_eq!(live(&t).await, ["a", "b", "c"]);
        let summary = t.table.current_snapshot().unwrap().summary().clone();
        assert_eq!(summary.additional_properties[SOURCE_SNAPSHOT_ID], staged.to_string());
        assert_eq!(summary.additional_properties[PUBLISHED_WAP_ID], "w");
        assert_eq!(summary.additional_properties["total-data-files"], "3");
        let twice = plan_cherry_pick(&t.table, staged).unwrap_err().to_string();
        assert!(twice.contains("was picked already"), "{twice}");
    }
}

#[tokio::test]
async fn the_same_changes_are_not_published_from_two_snapshots() {
    let (mut t, staged) = staged(FormatVersion::V2).await;
    let before = head(&t);
    let properties = SnapshotProperties::from([(STAGED_WAP_ID.to_owned(), "w".to_owned())]);
    t.commit(&[Change::Append { files: vec![file("b2")], properties }]).await;
    let again = head(&t);
    t.commit(&[to(before)]).await;
    assert!(find_staged(&t.table, "w").unwrap_err().to_string().contains("both staged"));
    assert!(find_staged(&t.table, "v").unwrap_err().to_string().contains("no snapshot is staged"));
    pick(&mut t, staged).await.unwrap();
    let refused = plan_cherry_pick(&t.table, again).unwrap_err().to_string();
    assert!(refused.contains("'w' were published already"), "{refused}");
}

#[tokio::test]
async fn a_rewrite_is_picked_only_onto_the_head_that_it_was_made_from() {
    let mut t = TestTable::new(FormatVersion::V2);
    t.commit(&[append(&["a"])]).await;
    let before = head(&t);
    let replace = Change::Replace {
        removed: vec!["a".to_owned()],
        added: vec![file("a2")],
        data_sequence_number: 1,
        base_snapshot_id: before,
        carried: None,
        properties: SnapshotProperties::new(),
    };
    t.commit(&[replace]).await;
    let rewritten = head(&t);
    t.commit(&[to(before)]).await;
    assert!(matches!(plan_cherry_pick(&t.table, rewritten).unwrap(), CherryPick::FastForward { .. }));
    t.commit(&[append(&["c"])]).await;
    let refused = plan_cherry_pick(&t.table, rewritten).unwrap_err().to_string();
    assert!(refused.contains("of the kind replace"), "{refused}");
}

#[tokio::test]
async fn a_branch_takes_part_in_a_commit_with_files() {
    let mut t = TestTable::new(FormatVersion::V2);
    t.commit(&[append(&["a"])]).await;
    let before = head(&t);
    let branch = MetadataChange::Ref(RefChange::Create {
        name: "before".to_owned(),
        snapshot_id: None,
        retention: SnapshotRetention::branch(Some(2), None, Some(5)),
        if_there: IfThere::Refuse,
    });
    // The branch is made of what was there before the append.
    let plan = t.commit(&[append(&["b"]), Change::Metadata(branch)]).await;
    assert!(plan.to_string().starts_with("branch before points to"), "{plan}");
    // Planning takes no time from the machine's clock.
    assert!(plan.snapshots[0].timestamp_ms <= t.table.metadata().last_updated_ms(), "{plan:?}");
    assert_eq!(t.table.refs()["before"].snapshot_id, before);
    assert_eq!(live(&t).await, ["a", "b"]);
}

#[tokio::test]
async fn what_main_may_have_had_before_its_history_was_cut_is_not_added_again() {
    for version in [FormatVersion::V1, FormatVersion::V2, FormatVersion::V3] {
        let mut t = TestTable::new(version);
        t.commit(&[append(&["a"])]).await;
        let first = head(&t);
        t.commit(&[append(&["b"])]).await;
        let middle = head(&t);
        t.commit(&[append(&["c"])]).await;
        // The one between goes, and with it the way from the head to the first.
        t.commit(&[Change::ExpireSnapshots { snapshot_ids: vec![middle] }]).await;
        let refused = plan_cherry_pick(&t.table, first).unwrap_err().to_string();
        assert!(refused.contains("does not say any more"), "{refused}");
        assert_eq!(live(&t).await, ["a", "b", "c"]);
        // What came later is told apart still.
        let properties = SnapshotProperties::from([(STAGED_WAP_ID.to_owned(), "w".to_owned())]);
        let before = head(&t);
        t.commit(&[Change::Append { files: vec![file("d")], properties }]).await;
        let staged = head(&t);
        t.commit(&[to(before)]).await;
        t.commit(&[append(&["e"])]).await;
        pick(&mut t, staged).await.unwrap();
        assert_eq!(live(&t).await, ["a", "b", "c", "d", "e"]);
    }
}
