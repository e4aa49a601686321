//! Consumers on the real program: each row once under `kill -9`, fencing, and snapshots that a position holds back.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use frazil_tests::process::Process;
use frazil_tests::server::frazil;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::feed::{Lake, parse_lines};

/// How often a member is killed; `FRAZIL_CONSUMER_KILLS` says another number.
const KILLS: usize = 20;

fn kills() -> usize {
    let given = std::env::var("FRAZIL_CONSUMER_KILLS").ok();
    given.map_or(KILLS, |text| text.parse().expect("FRAZIL_CONSUMER_KILLS is a whole number"))
}

/// Follows the table as a consumer, and appends what it prints to a file.
fn spawn_tail(data_dir: &Path, out: &Path, more: &[&str]) -> Process {
    let mut command = frazil();
    command.arg("tail").arg("t").arg("--data-dir").arg(data_dir);
    command.args(["--consumer", "c", "--from", "earliest", "--positions"]).args(more);
    let append = |path: &Path| File::options().create(true).append(true).open(path).unwrap();
    command.stdout(Stdio::from(append(out))).stderr(Stdio::from(append(&out.with_extension("err"))));
    Process::spawn(command).unwrap()
}

fn committed(data_dir: &Path) -> Option<String> {
    let mut command = frazil();
    command.args(["consumers", "t", "--output", "json", "--data-dir"]).arg(data_dir);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let line = String::from_utf8(output.stdout).unwrap();
    let consumer: Value = serde_json::from_str(line.lines().next()?).unwrap();
    assert_eq!(consumer["consumer"], "c");
    consumer["position"].as_str().map(str::to_owned)
}

/// Cuts what lies behind the last committed position off: nobody has answered for it.
fn cut_behind(out: &Path, position: Option<&str>) {
    let text = std::fs::read_to_string(out).unwrap_or_default();
    let mark = position.map(|position| format!("{}\n", json!({ "$position": position })));
    let end = mark.and_then(|mark| text.rfind(&mark).map(|at| at + mark.len())).unwrap_or(0);
    std::fs::write(out, &text[..end]).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_is_there_once_however_often_a_member_or_the_server_is_killed() {
    let mut lake = Lake::new().await;
    let out: PathBuf = lake.data_dir.with_extension("rows");
    let seed: u64 = rand::rng().random();
    println!("seed {seed}, {} kills", kills());
    let mut random = StdRng::seed_from_u64(seed);
    let mut next_id = 0_i64;
    let mut cut = 0;
    for kill in 0..kills() {
        let mut member = spawn_tail(&lake.data_dir, &out, &[]);
        for _ in 0..random.random_range(1..6) {
            let rows = random.random_range(1..2_000);
            lake.append(next_id..next_id + rows).await;
            next_id += rows;
        }
        std::thread::sleep(Duration::from_millis(random.random_range(0..1_500)));
        if kill % 5 == 4 {
            // The member may have printed what the catalog never heard of.
            lake.kill_and_restart();
        }
        member.kill();
        let before = std::fs::metadata(&out).map_or(0, |file| file.len());
        cut_behind(&out, committed(&lake.data_dir).as_deref());
        cut += u64::from(std::fs::metadata(&out).unwrap().len() < before);
    }
    let ended = spawn_tail(&lake.data_dir, &out, &["--no-follow"]).wait(Duration::from_secs(120)).unwrap();
    let said = std::fs::read_to_string(out.with_extension("err")).unwrap_or_default();
    assert!(ended.is_some_and(|status| status.success()), "{said}");
    let (rows, positions) = parse_lines(&std::fs::read_to_string(&out).unwrap());
    assert_eq!(positions.last().map(String::as_str), committed(&lake.data_dir).as_deref());
    let mut times: BTreeMap<i64, u64> = (0..next_id).map(|id| (id, 0)).collect();
    for row in &rows {
        *times.entry(row["id"].as_i64().unwrap()).or_default() += 1;
    }
    let wrong: Vec<_> = times.iter().filter(|(_, count)| **count != 1).take(10).collect();
    assert!(wrong.is_empty(), "of {next_id} rows these are there so often: {wrong:?}");
    println!("{next_id} rows, each once; {cut} of {} kills left rows that were printed and not committed", kills());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_member_is_fenced_over_http_and_in_the_program() {
    let lake = Lake::new().await;
    lake.append(0..10).await;
    let http = reqwest::Client::new();
    let table = format!("{}/api/v1/tables/default/t", lake.server().url());
    let read = async |query: &str| {
        let url = format!("{table}/changes?follow=false&consumer=c&{query}");
        let response = http.get(url).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let epoch: i64 = response.headers()["frazil-consumer-epoch"].to_str().unwrap().parse().unwrap();
        let (rows, positions) = parse_lines(&response.text().await.unwrap());
        (epoch, rows.len(), positions)
    };
    let commit = async |epoch: i64, position: &str| {
        let body = json!({ "epoch": epoch, "position": position });
        let response = http.post(format!("{table}/consumers/c/commit")).json(&body).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json::<Value>().await.map_or(Value::Null, |body| body["error"]["type"].clone()))
    };
    let (first, rows, positions) = read("from=earliest&max-rows=4").await;
    assert_eq!((rows, positions.len()), (10, 4));
    assert_eq!(commit(first, &positions[0]).await, (204, Value::Null));
    let (second, rows, _) = read("from=earliest").await;
    assert_eq!((second, rows), (first + 1, 6), "behind what was committed, whatever from says");
    assert_eq!(commit(first, &positions[1]).await, (409, json!("ConsumerFencedException")));
    assert_eq!(commit(second, &positions[1]).await, (204, Value::Null));
    let (_, rows, _) = read("").await;
    assert_eq!(rows, 2);
    let looking = http.get(format!("{table}/changes?follow=false&from=consumer:c")).send().await.unwrap();
    assert!(!looking.headers().contains_key("frazil-consumer-epoch"), "to look is not to join");
    assert_eq!(parse_lines(&looking.text().await.unwrap()).0.len(), 2);

    // A member that runs in the program ends when it is fenced, and says why.
    let out = lake.data_dir.with_extension("rows");
    let mut member = spawn_tail(&lake.data_dir, &out, &[]);
    while !std::fs::read_to_string(&out).unwrap_or_default().contains("\"id\":9") {
        std::thread::sleep(Duration::from_millis(20));
    }
    read("").await;
    lake.append(10..12).await;
    let ended = member.wait(Duration::from_secs(60)).unwrap().expect("it ends");
    assert_eq!(ended.code(), Some(1));
    let said = std::fs::read_to_string(out.with_extension("err")).unwrap();
    assert!(said.contains("taken over by a newer member"), "{said}");

    let program = |args: &[&str]| {
        let mut command = frazil();
        command.args(["consumers", "t", "--data-dir"]).arg(&lake.data_dir).args(args);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said, _) = program(&["--reset", "c", "--to", "earliest"]);
    assert!(code == Some(0) && said.contains("table:"), "{said}");
    assert_eq!(read("").await.1, 12);
    assert_eq!(program(&["--drop", "c"]).0, Some(0));
    assert!(program(&[]).1.contains("t has no consumers"));
    let (code, _, said) = program(&["--drop", "c"]);
    assert!(code == Some(1) && said.contains("consumer c of default.t does not exist"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_holds_its_snapshots_until_the_lease_ends_and_what_is_lost_is_told() {
    let lake = Lake::new().await;
    lake.append(0..5).await;
    let url = format!("{}/api/v1/tables/default/t/changes?follow=false&consumer=c", lake.server().url());
    let get = async |more: &str| reqwest::get(format!("{url}{more}")).await.unwrap();
    let started = get("&from=latest").await;
    assert_eq!(started.text().await.unwrap().lines().filter(|line| line.contains("\"id\"")).count(), 0);
    lake.append(5..10).await;
    lake.append(10..15).await;
    let expire = || {
        let mut command = frazil();
        command.args(["--output", "json", "expire", "t", "--older-than", "0 s", "--data-dir"]).arg(&lake.data_dir);
        let output = command.output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let report = expire();
    assert_eq!((&report["snapshots"], &report["held-by"]), (&json!([]), &json!(["c"])), "{report}");
    let (rows, _) = parse_lines(&get("").await.text().await.unwrap());
    assert_eq!(rows.len(), 10, "nothing was committed, and nothing was lost");
    // A lease of a millisecond is over at once.
    get("&lease-ms=1").await.text().await.unwrap();
    let report = expire();
    assert_eq!((report["snapshots"].as_array().unwrap().len(), &report["held-by"]), (2, &json!([])), "{report}");
    let lost = get("").await;
    assert_eq!(lost.status(), 410, "never silent");
    let again = get("&on-lost=earliest").await;
    assert!(again.headers().contains_key("frazil-lost"));
    let text = again.text().await.unwrap();
    assert!(text.lines().next().unwrap().starts_with("{\"$lost\":"), "{text}");
    assert_eq!(text.lines().filter(|line| line.contains("\"id\"")).count(), 15);
}

/// Changes under a consumer, in the program, each told once over restarts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changelog_goes_on_behind_what_was_committed() {
    let lake = Lake::new().await;
    lake.append(0..4).await;
    let out = lake.data_dir.with_extension("rows");
    let mut told = Vec::new();
    let mut run = |expected: usize| {
        std::fs::remove_file(&out).ok();
        let args = ["--no-follow", "--changelog=upsert", "--columns", "s.x", "--filter", "id < 100"];
        let ended = spawn_tail(&lake.data_dir, &out, &args).wait(Duration::from_secs(60)).unwrap();
        let said = std::fs::read_to_string(out.with_extension("err")).unwrap();
        assert!(ended.is_some_and(|status| status.success()), "{said}");
        let (rows, _) = parse_lines(&std::fs::read_to_string(&out).unwrap());
        assert_eq!(rows.len(), expected, "{rows:?}");
        told.extend(rows.iter().map(|row| format!("{} {}", row["_change_type"], row["s"]["x"])));
    };
    run(4);
    lake.sql("UPDATE t SET s.x = 'new' WHERE id = 2");
    lake.append(100..103).await;
    run(2);
    lake.sql("DELETE FROM t WHERE id = 1 OR id = 101");
    run(1);
    run(0);
    assert_eq!(told[4..], [r#""UPDATE_BEFORE" "x2""#, r#""UPDATE_AFTER" "new""#, r#""DELETE" "x1""#]);
}
