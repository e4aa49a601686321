//! Consumers: who may commit, what stays.

use frazil_catalog::{ConsumerCommit, Error};

use super::fixture::*;

fn at(epoch: i64, position: &str) -> ConsumerCommit {
    ConsumerCommit { epoch, position: Some(position.to_owned()) }
}

pub async fn only_the_newest_member_of_a_consumer_commits(world: World) {
    let table = world.with_table().await;
    let (catalog, ident) = (&world.catalog, table.ident());
    let first = catalog.join_consumer(ident, "c", 1_000).await.unwrap();
    assert_eq!((first.epoch, first.position.as_deref()), (1, None));
    catalog.commit_consumer(ident, "c", at(1, "after:5")).await.unwrap();
    let second = catalog.join_consumer(ident, "c", 60_000).await.unwrap();
    assert_eq!((second.epoch, second.position.as_deref(), second.lease_ms), (2, Some("after:5"), 60_000));
    for late in [at(1, "after:6"), ConsumerCommit { epoch: 1, position: None }, at(3, "after:6")] {
        let fenced = catalog.commit_consumer(ident, "c", late).await.unwrap_err();
        assert!(matches!(&fenced, Error::ConsumerFenced(name) if name == "c of db.t"), "{fenced:?}");
    }
    catalog.commit_consumer(ident, "c", ConsumerCommit { epoch: 2, position: None }).await.unwrap();
    let found = catalog.consumers(ident).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].position.as_deref(), found[0].needed_snapshot()), (Some("after:5"), Some(5)));
    let other = catalog.join_consumer(ident, "a b/ü", 1_000).await.unwrap();
    catalog.commit_consumer(ident, "a b/ü", at(other.epoch, "added:7:0:12")).await.unwrap();
    let names: Vec<String> = catalog.consumers(ident).await.unwrap().into_iter().map(|c| c.name).collect();
    assert_eq!(names, ["a b/ü", "c"]);
}

pub async fn what_is_no_consumer_is_refused(world: World) {
    let table = world.with_table().await;
    let (catalog, ident) = (&world.catalog, table.ident());
    let missing = catalog.commit_consumer(ident, "c", at(1, "after:5")).await.unwrap_err();
    assert!(matches!(&missing, Error::NoSuchConsumer(name) if name == "c of db.t"), "{missing:?}");
    let missing = catalog.drop_consumer(ident, "c").await.unwrap_err();
    assert!(matches!(missing, Error::NoSuchConsumer(_)), "{missing:?}");
    let missing = catalog.join_consumer(&super::fixture::ident("db.none"), "c", 1_000).await.unwrap_err();
    assert!(matches!(missing, Error::NoSuchTable(_)), "{missing:?}");
    let missing = catalog.consumers(&super::fixture::ident("db.none")).await.unwrap_err();
    assert!(matches!(missing, Error::NoSuchTable(_)), "{missing:?}");
    let made = catalog.join_consumer(ident, "c", 1_000).await.unwrap();
    for wrong in ["", "{}", "after:1; DROP"] {
        let refused = catalog.commit_consumer(ident, "c", at(made.epoch, wrong)).await.unwrap_err();
        assert!(matches!(refused, Error::BadRequest(_)), "{wrong}: {refused:?}");
    }
    let refused = catalog.join_consumer(ident, "c", 0).await.unwrap_err();
    assert!(matches!(refused, Error::BadRequest(_)), "{refused:?}");
}

pub async fn a_consumer_is_renamed_and_dropped_with_its_table(world: World) {
    let table = world.with_table().await;
    let (catalog, old, new) = (&world.catalog, table.ident(), ident("db.new"));
    let member = catalog.join_consumer(old, "c", 1_000).await.unwrap();
    catalog.commit_consumer(old, "c", at(member.epoch, "beginning")).await.unwrap();
    catalog.rename_table(old, &new).await.unwrap();
    let found = catalog.consumers(&new).await.unwrap();
    assert_eq!((found[0].position.as_deref(), found[0].needed_snapshot()), (Some("beginning"), None));
    catalog.commit_consumer(&new, "c", at(member.epoch, "after:9")).await.unwrap();
    catalog.drop_table(&new, false).await.unwrap();
    catalog.create_table(&namespace("db"), creation("new")).await.unwrap();
    assert_eq!(catalog.consumers(&new).await.unwrap(), []);
    catalog.join_consumer(&new, "c", 1_000).await.unwrap();
    catalog.drop_consumer(&new, "c").await.unwrap();
    assert_eq!(catalog.consumers(&new).await.unwrap(), []);
}
