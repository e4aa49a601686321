//! Branches and tags of a table that the real code writes.

use expect_test::expect;

use super::*;
use crate::commit::tests::{TestTable, append};
use crate::evolve::{MetadataChange, plan_metadata};
use crate::{Change, Retention, plan_expire};

/// A table with three appends; its snapshots, oldest first.
async fn three() -> (TestTable, Vec<i64>) {
    let mut t = TestTable::new(FormatVersion::V2);
    let mut snapshots = Vec::new();
    for name in ["a", "b", "c"] {
        t.commit(&[append(&[name])]).await;
        snapshots.push(t.table.current_snapshot().unwrap().snapshot_id());
    }
    (t, snapshots)
}

fn create(name: &str, snapshot_id: Option<i64>, if_there: IfThere) -> RefChange {
    let retention = SnapshotRetention::branch(None, None, None);
    RefChange::Create { name: name.to_owned(), snapshot_id, retention, if_there }
}

fn tag(name: &str, snapshot_id: i64) -> RefChange {
    let retention = SnapshotRetention::Tag { max_ref_age_ms: None };
    RefChange::Create { name: name.to_owned(), snapshot_id: Some(snapshot_id), retention, if_there: IfThere::Refuse }
}

async fn change(t: &mut TestTable, change: RefChange) {
    t.commit(&[Change::Metadata(MetadataChange::Ref(change))]).await;
}

/// The plan or the refusal, with the table's snapshots called s0, s1, s2.
fn text(t: &TestTable, snapshots: &[i64], change: RefChange) -> String {
    let mut text = match plan_metadata(&t.table, &MetadataChange::Ref(change)) {
        Ok(plan) => plan.to_string(),
        Err(error) => format!("{error}\n"),
    };
    for (index, id) in snapshots.iter().enumerate() {
        text = text.replace(&id.to_string(), &format!("s{index}"));
    }
    text
}

fn drop_of(name: &str, kind: RefKind, if_exists: bool) -> RefChange {
    RefChange::Drop { name: name.to_owned(), kind, if_exists }
}

#[tokio::test]
async fn a_branch_is_made_replaced_and_dropped() {
    let (mut t, s) = three().await;
    change(&mut t, create("audit", Some(s[0]), IfThere::Refuse)).await;
    change(&mut t, tag("first", s[0])).await;
    let texts: String = [
        create("audit", None, IfThere::Refuse),
        create("audit", None, IfThere::Keep),
        create("audit", None, IfThere::Replace),
        create("other", None, IfThere::ReplaceOnly),
        create("other", Some(17), IfThere::Refuse),
        create("first", None, IfThere::Replace),
        create("", None, IfThere::Replace),
        tag("main", s[0]),
        RefChange::Create {
            name: "audit".to_owned(),
            snapshot_id: Some(s[1]),
            retention: SnapshotRetention::branch(Some(3), Some(1_000), Some(60_000)),
            if_there: IfThere::ReplaceOnly,
        },
        RefChange::Create {
            name: "n".to_owned(),
            snapshot_id: None,
            retention: SnapshotRetention::branch(Some(0), None, None),
            if_there: IfThere::Refuse,
        },
        drop_of("audit", RefKind::Branch, false),
        drop_of("audit", RefKind::Tag, false),
        drop_of("audti", RefKind::Branch, false),
        drop_of("audti", RefKind::Branch, true),
        drop_of("main", RefKind::Branch, false),
    ]
    .map(|change| text(&t, &s, change))
    .concat();
    expect![[r#"
        the change can't be made: there is a branch 'audit' already
        nothing to change
        branch audit points to s2
        requires audit at s0
        the change can't be made: there is no branch 'other'; there are audit, first, main
        the change can't be made: the table has no snapshot 17; has it expired?
        the change can't be made: 'first' is a tag, which can't be replaced by a branch
        the change can't be made: a branch's name can't be empty
        the change can't be made: main is a branch, so no tag can have its name
        branch audit points to s1, at least 3 snapshots, snapshots of 1000 ms, itself for 60000 ms
        requires audit at s0
        the change can't be made: what a branch or tag retains is counted from 1 up
        ref audit is removed
        requires audit at s0
        the change can't be made: 'audit' is a branch, not a tag
        the change can't be made: there is no branch 'audti'; there are audit, first, main
        nothing to change
        the change can't be made: main can't be dropped: it is the table
    "#]]
    .assert_eq(&texts);
    let empty = TestTable::new(FormatVersion::V2);
    expect![[r#"
        the change can't be made: the table has no snapshot yet that a branch could point to; write to it first
    "#]]
    .assert_eq(&text(&empty, &[], create("audit", None, IfThere::Refuse)));
    let mut old = TestTable::new(FormatVersion::V1);
    old.commit(&[append(&["a"])]).await;
    expect![[r#"
        the change can't be made: a table of format version 1 keeps no branch but main here; ALTER TABLE … SET ('format-version' = '2') upgrades it
    "#]].assert_eq(&text(&old, &[], create("audit", None, IfThere::Refuse)));
}

#[tokio::test]
async fn a_branch_moves_forward_only_along_its_own_history_and_back_only_into_it() {
    let (mut t, s) = three().await;
    change(&mut t, create("behind", Some(s[0]), IfThere::Refuse)).await;
    let forward = |branch: &str, to: &str| RefChange::FastForward { branch: branch.to_owned(), to: to.to_owned() };
    let back = |snapshot_id| RefChange::Rollback { branch: "main".to_owned(), snapshot_id };
    let time = |id: i64| t.table.metadata().snapshot_by_id(id).unwrap().timestamp_ms();
    let back_to = |timestamp_ms| RefChange::RollbackToTime { branch: "main".to_owned(), timestamp_ms };
    let (t0, t2) = (time(s[0]), time(s[2]));
    let texts: String = [
        forward("behind", "main"),
        forward("main", "behind"),
        forward("new", "behind"),
        forward("main", "nothing"),
        back(s[1]),
        back(17),
        back_to(t2 + 1),
        back_to(t0),
    ]
    .map(|change| text(&t, &s, change))
    .concat()
    .replace(&moment(t0), "t0");
    expect![[r#"
        branch behind points to s2
        requires behind at s0
        requires main at s2
        the change can't be made: main can't be fast-forwarded to behind: it has commits that behind has not; cherrypick_snapshot brings single snapshots over
        branch new points to s0
        requires no ref new
        the change can't be made: there is no branch 'nothing'; there are behind, main
        branch main points to s1
        requires main at s2
        the change can't be made: the table has no snapshot 17; has it expired?
        nothing to change
        the change can't be made: main has no snapshot from before t0
    "#]].assert_eq(&texts);
    change(&mut t, back(s[0])).await;
    let main = RefChange::SetSnapshot { branch: "main".to_owned(), snapshot_id: s[2] };
    // No way forward by rolling back, but any snapshot can be set.
    let texts: String = [back(s[2]), main].map(|change| text(&t, &s, change)).concat();
    expect![[r#"
        the change can't be made: snapshot s2 is not in the history of main, so it can't be rolled back to; set_current_snapshot takes any snapshot
        branch main points to s2
        requires main at s0
    "#]].assert_eq(&texts);
}

#[tokio::test]
async fn refs_expire_by_their_own_age_and_take_their_snapshots_along() {
    let (mut t, s) = three().await;
    change(
        &mut t,
        RefChange::Create {
            name: "old".to_owned(),
            snapshot_id: Some(s[0]),
            retention: SnapshotRetention::branch(None, None, Some(1_000)),
            if_there: IfThere::Refuse,
        },
    )
    .await;
    change(&mut t, tag("kept", s[1])).await;
    let keep_one = Retention { max_snapshot_age_ms: 0, min_snapshots_to_keep: 1 };
    let now = t.table.metadata().last_updated_ms();
    // Young enough: the branch keeps its head.
    let first = t.table.metadata().snapshot_by_id(s[0]).unwrap().timestamp_ms();
    assert!(plan_expire(&t.table, keep_one, &[], first + 1_000).is_empty());
    let plan = plan_expire(&t.table, keep_one, &[], now + 5_000);
    assert_eq!((plan.refs.clone(), &plan.snapshot_ids), (vec![("old".to_owned(), RefKind::Branch)], &vec![s[0]]));
    assert!(plan.to_string().starts_with("branch old is dropped"), "{plan}");
    // What a reader holds on to keeps the branch, too.
    assert!(plan_expire(&t.table, keep_one, &[s[0]], now + 5_000).is_empty());
    t.commit(&plan.changes(&t.table)).await;
    assert_eq!(t.table.refs().keys().collect::<Vec<_>>(), ["kept", "main"]);
    assert!(t.table.metadata().snapshot_by_id(s[0]).is_none());
    // The table's own word counts for those that say nothing.
    let age = [("history.expire.max-ref-age-ms".to_owned(), "1000".to_owned())].into();
    t.commit(&[Change::SetProperties(age)]).await;
    let plan = plan_expire(&t.table, keep_one, &[], now + 5_000);
    assert_eq!((plan.refs, plan.snapshot_ids), (vec![("kept".to_owned(), RefKind::Tag)], vec![s[1]]));
}
