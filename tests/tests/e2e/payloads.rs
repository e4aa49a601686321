//! Deep real JSON whose columns nobody declared: found in the data, added to the table while it streams, and every value
//! found again, by us and by another engine.

use std::collections::{BTreeMap, BTreeSet};

use frazil_tests::data::{WEBHOOKS_COUNT, webhooks};
use sha2::{Digest, Sha256};

use super::*;

/// Every plain value in a JSON value, with the way to it. What is NULL or empty has none.
fn leaves(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| leaves(value, &format!("{path}.{name}"), found))
        }
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(index, value)| leaves(value, &format!("{path}[{index}]"), found));
        }
        Value::Number(number) if number.is_f64() => {
            found.insert(format!("{path} = {:?}", number.as_f64().unwrap()));
        }
        plain => {
            found.insert(format!("{path} = {plain}"));
        }
    }
}

fn checksum(payload: &Value) -> String {
    let mut found = BTreeSet::new();
    leaves(payload, "", &mut found);
    let mut hash = Sha256::new();
    found.iter().for_each(|leaf| hash.update(format!("{leaf}\n")));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Payloads with a number each, as often as they are to be repeated, and the lines of their files.
fn numbered(repeats: usize) -> Result<(BTreeMap<u64, String>, Vec<String>), frazil_tests::peers::Skip> {
    let text = std::fs::read_to_string(webhooks()?).unwrap();
    let kinds: Vec<Value> = serde_json::from_str(&text).unwrap();
    let payloads: Vec<Value> = kinds
        .iter()
        .flat_map(|kind| {
            let examples = kind["examples"].as_array().unwrap().iter();
            examples.map(|payload| json!({ "kind": kind["name"], "payload": payload }))
        })
        .collect();
    assert_eq!(payloads.len(), WEBHOOKS_COUNT);
    let mut checksums = BTreeMap::new();
    let mut lines = Vec::new();
    for seq in 0..(payloads.len() * repeats) as u64 {
        let mut record = payloads[seq as usize % payloads.len()].clone();
        record["seq"] = seq.into();
        checksums.insert(seq, checksum(&record["payload"]));
        lines.push(record.to_string());
    }
    Ok((checksums, lines))
}

fn rows_of(data_dir: &Path, query: &str) -> Vec<Value> {
    let mut command = frazil();
    command.arg("sql").arg("--data-dir").arg(data_dir).args(["--output", "json", "-e", query]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The newest metadata file of the table.
fn newest_metadata(data_dir: &Path) -> Value {
    fn find(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => find(&path, found),
                false if path.to_string_lossy().ends_with(".metadata.json") => found.push(path),
                false => {}
            }
        }
    }
    let mut found = Vec::new();
    find(data_dir, &mut found);
    found.retain(|path| path.to_string_lossy().contains("/payloads/"));
    found.sort();
    serde_json::from_str(&std::fs::read_to_string(found.last().unwrap()).unwrap()).unwrap()
}

#[test]
fn every_value_of_every_webhook_payload_is_found_again_though_nobody_declared_a_column() {
    let is_long = std::env::var("FRAZIL_LONG").is_ok_and(|value| value == "1");
    let (checksums, lines) = match numbered(if is_long { 30 } else { 2 }) {
        Ok(numbered) => numbered,
        Err(skip) => return skip.report(),
    };
    let folder = TempDir::with_prefix("frazil-e2e-").unwrap();
    let (input, data_dir) = (folder.path().join("in"), folder.path().join("data"));
    std::fs::create_dir(&input).unwrap();
    for (index, part) in lines.chunks(lines.len().div_ceil(4)).enumerate() {
        std::fs::write(input.join(format!("{index}.json")), part.join("\n")).unwrap();
    }
    let script = folder.path().join("job.sql");
    let job = format!(
        "CREATE TABLE hooks WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json',
             'schema.inference' = 'true', 'on-error' = 'dead-letter', 'batch-rows' = '30', 'rows-per-second' = '{}');
         CREATE TABLE IF NOT EXISTS payloads WITH ('schema.evolution' = 'add-columns');
         INSERT INTO payloads SELECT * FROM hooks;",
        input.display(),
        // Over several checkpoints.
        lines.len() / 4
    );
    std::fs::write(&script, job).unwrap();
    // Killed where a checkpoint with new columns is half done, then left alone.
    for stop_at in [Some("metadata-written:2"), Some("pointer-swapped:2"), None] {
        let mut job = spawn_job(&script, &data_dir, stop_at);
        let status = job.wait(Duration::from_secs(300)).unwrap().expect("the job comes to an end");
        let log = std::fs::read_to_string(script.with_extension("log")).unwrap();
        assert!(stop_at.is_some() || status.success(), "{}", &log[log.len().saturating_sub(2_000)..]);
    }
    let mut found = BTreeMap::new();
    let mut take = |seq: &Value, payload: &Value| {
        let before = found.insert(seq.as_u64().unwrap(), checksum(payload));
        assert_eq!(before, None, "payload {seq} is there twice");
    };
    let rows = rows_of(&data_dir, "SELECT seq, payload FROM payloads");
    rows.iter().for_each(|row| take(&row["seq"], &row["payload"]));
    let put_aside = rows_of(&data_dir, "SELECT CAST(raw AS STRING) AS raw, reason, field FROM payloads__dlq");
    for row in &put_aside {
        let record: Value = serde_json::from_str(row["raw"].as_str().unwrap()).unwrap();
        take(&record["seq"], &record["payload"]);
        assert!(row["reason"].as_str().unwrap().contains("expected"), "{row}");
        assert!(row["field"].as_str().unwrap().starts_with("payload."), "{row}");
    }
    assert_eq!(found, checksums, "every value of every payload, once");
    assert!(!put_aside.is_empty() && put_aside.len() < lines.len() / 10, "{} put aside", put_aside.len());
    println!("{} payloads in columns, {} put aside since a field is of two kinds", rows.len(), put_aside.len());

    let schemas = newest_metadata(&data_dir)["schemas"].as_array().unwrap().len();
    assert!(schemas > 2, "the table had its first columns, and more later: {schemas} schemas");

    let server = Server::start(&data_dir);
    let peer = match Engine::DuckDb.start(&server.url()) {
        Ok(peer) => peer,
        Err(skip) => return skip.report(),
    };
    let answer = peer.sql("SELECT seq, CAST(to_json(payload) AS VARCHAR) FROM frazil.\"default\".payloads").unwrap();
    assert_eq!(answer.rows.len(), rows.len());
    for row in &answer.rows {
        let payload: Value = serde_json::from_str(row[1].as_str().unwrap()).unwrap();
        let seq = row[0].as_u64().unwrap();
        assert_eq!(checksum(&payload), checksums[&seq], "payload {seq} as DuckDB reads it");
    }
}
