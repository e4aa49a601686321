use frazil_storage::ManualClock;

use super::*;
use crate::world::World;

/// What the table's list of intents holds.
async fn lists(world: &World) -> Vec<Record> {
    let (env, table) = (world.queue.env(), world.queue.load().await.unwrap());
    let found: Vec<_> = env.store.list(&folder(&table)).await.unwrap().try_collect().await.unwrap();
    let mut records = Vec::new();
    for file in found {
        records.extend(load(&env.store, &file.location).await.unwrap());
    }
    records
}

/// A process that was here and is not any more.
fn dead() -> Owner {
    changed("started", serde_json::json!(1))
}

/// A process that nobody here can tell of.
fn elsewhere() -> Owner {
    changed("boot-id", serde_json::json!("another machine"))
}

fn changed(key: &str, value: serde_json::Value) -> Owner {
    let mut json = serde_json::to_value(Owner::this_process().unwrap()).unwrap();
    json[key] = value;
    serde_json::from_value(json).unwrap()
}

async fn leave(world: &World, owner: Owner, noted: Noted) -> String {
    let location = format!("{}{}.json", folder(&world.queue.load().await.unwrap()), world.queue.env().ids.uuid());
    let record = Record { owner: Some(owner), noted, given_up: false };
    save(&world.queue.env().store, &location, &record).await.unwrap();
    location
}

#[tokio::test]
async fn what_is_written_is_listed_before_and_until_it_is_settled() {
    let world = World::new().await;
    let (intent, env) = Intent::begin(world.queue.env(), &world.queue.load().await.unwrap());
    intent.settle().await;
    assert!(lists(&world).await.is_empty(), "nothing was begun");
    let mut file = env.store.writer("memory://w/db/t/data/a").await.unwrap();
    file.write("x".into()).await.unwrap();
    let id = env.ids.uuid();
    intent.note_commit(id).await.unwrap();
    env.store.put_new("memory://w/db/t/data/b", "x".into()).await.unwrap();
    let noted = lists(&world).await.pop().unwrap().noted;
    assert_eq!(noted.files, ["memory://w/db/t/data/a", "memory://w/db/t/data/b"]);
    assert_eq!(noted.commits, [id]);
    file.finish().await.unwrap();
    world.queue.env().store.put_new("memory://w/db/t/data/c", "x".into()).await.unwrap();
    assert_eq!(lists(&world).await[0].noted.files.len(), 2, "only what goes through its own store");
    intent.settle().await;
    assert!(lists(&world).await.is_empty());
}

#[tokio::test]
async fn what_the_dead_left_goes_unless_the_table_names_it() {
    let world = World::new().await;
    world.append(&[(Some(1), 10)]).await;
    let store = &world.queue.env().store;
    let state = world.state().await;
    let live = state.live_data_files().unwrap()[0].file.file_path().to_owned();
    let commit = world.queue.env().ids.uuid();
    let left = [
        live.clone(),
        "memory://w/db/t/data/orphan.parquet".to_owned(),
        format!("memory://w/db/t/metadata/{commit}-m0.avro"),
        format!("memory://w/db/t/metadata/snap-1-0-{commit}.avro"),
        "memory://w/db/t/data/others.parquet".to_owned(),
    ];
    for location in &left {
        store.put(location, "x".into()).await.unwrap();
    }
    let never = "memory://w/db/t/data/never-begun.parquet".to_owned();
    let files = vec![left[0].clone(), left[1].clone(), never];
    leave(&world, dead(), Noted { files, commits: vec![commit] }).await;
    let others = Noted { files: vec![left[4].clone()], commits: Vec::new() };
    leave(&world, elsewhere(), others.clone()).await;
    leave(&world, Owner::this_process().unwrap(), others).await;

    assert_eq!(run_recover(&world.queue).await.unwrap(), 3);
    for (location, stays) in left.iter().zip([true, false, false, false, true]) {
        assert_eq!(store.head(location).await.is_ok(), stays, "{location}");
    }
    assert_eq!(lists(&world).await.len(), 2, "of those who may live");
    assert_eq!(run_recover(&world.queue).await.unwrap(), 0);
}

/// Who is silent for a day is given up, and finds that out.
#[tokio::test]
async fn who_was_given_up_commits_nothing() {
    let world = World::new().await;
    for _ in 0..2 {
        world.append(&[(Some(1), 10)]).await;
    }
    let config = crate::world::config().packing();
    let group = crate::plan_rewrite(&world.state().await, &config).unwrap().groups.remove(0);
    let mut result = world.rewrite(&group).await;
    let output = result.outputs[0].file.file_path().to_owned();
    // The process that wrote it is on another machine, as this one sees it.
    let (intent, env) = Intent::begin(world.queue.env(), &world.queue.load().await.unwrap());
    env.store.put(&output, "x".into()).await.unwrap();
    let record = Record { owner: Some(elsewhere()), noted: intent.0.noted.lock().await.clone(), given_up: false };
    save(&world.queue.env().store, &intent.0.location, &record).await.unwrap();
    result.intent = intent;

    assert_eq!(run_recover(&world.queue).await.unwrap(), 0, "it was heard of just now");
    let written = world.queue.env().store.head(&result.intent.0.location).await.unwrap().modified_ms;
    let late = Env { clock: Arc::new(ManualClock::at(written + SILENCE_MS_MAX + 1)), ..world.queue.env().clone() };
    let later = CommitQueue::new(world.queue.catalog().clone(), late, world.queue.ident().clone());
    assert_eq!(run_recover(&later).await.unwrap(), 1);
    let end = crate::commit_rewrite(&later, vec![result]).await.unwrap();
    assert!(end.committed.is_empty() && end.dropped.len() == 1, "{end:?}");
    assert!(matches!(&end.dropped[0].1, frazil_table::Conflict::Refused { reason } if reason.contains("given up")));
}
