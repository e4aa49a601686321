//! Following a table over HTTP, against a real `frazil serve`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use arrow::ipc::reader::StreamReader;
use frazil_catalog::{CatalogRef, CommitEnd, CommitQueue, Precheck, RestCatalog, RestOptions};
use frazil_storage::Env;
use frazil_table::spec::{NamespaceIdent, Schema, TableCreation, TableIdent};
use frazil_table::{Change, CommitIdentity, SnapshotProperties};
use frazil_tests::peers::installed;
use frazil_tests::server::{Server, frazil};
use frazil_writer::{TableWriter, WriterConfig};
use futures::StreamExt;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

const SCHEMA: &str = r#"{"type":"struct","identifier-field-ids":[1],"fields":[
    {"id":1,"name":"id","required":true,"type":"long"},
    {"id":2,"name":"s","required":false,"type":{"type":"struct","fields":[
        {"id":3,"name":"x","required":false,"type":"string"},
        {"id":4,"name":"y","required":false,"type":"long"}]}}]}"#;

/// A server, and a writer beside it.
pub(super) struct Lake {
    /// Always there but while it is started again.
    server: Option<Server>,
    pub(super) data_dir: PathBuf,
    env: Env,
    catalog: CatalogRef,
    ident: TableIdent,
    http: reqwest::Client,
    _folder: TempDir,
}

impl Lake {
    pub(super) async fn new() -> Self {
        let folder = TempDir::with_prefix("frazil-feed-").unwrap();
        let data_dir = folder.path().join("data");
        let server = Server::start(&data_dir);
        let catalog: CatalogRef = Arc::new(RestCatalog::connect(&server.url(), RestOptions::default()).await.unwrap());
        let namespace = NamespaceIdent::new("default".to_owned());
        // The program's own, unless it has made it.
        catalog.create_namespace(&namespace, Default::default()).await.ok();
        let schema: Schema = serde_json::from_str(SCHEMA).unwrap();
        let creation = TableCreation::builder().name("t".to_owned()).schema(schema).build();
        let ident = catalog.create_table(&namespace, creation).await.unwrap().ident().clone();
        let env = Env::system();
        Self { server: Some(server), data_dir, env, catalog, ident, http: reqwest::Client::new(), _folder: folder }
    }

    pub(super) fn server(&self) -> &Server {
        self.server.as_ref().expect("it is there but while it is started again")
    }

    /// `kill -9`, and the same server again.
    pub(super) fn kill_and_restart(&mut self) {
        let server = self.server.take().expect("it is there but while it is started again");
        let port = server.port();
        server.kill();
        self.server = Some(Server::start_on(&self.data_dir, port));
    }

    /// One snapshot with one file.
    pub(super) async fn append(&self, ids: std::ops::Range<i64>) {
        let table = self.catalog.load_table(&self.ident).await.unwrap();
        let mut writer = TableWriter::new(self.env.clone(), &table, WriterConfig::default()).unwrap();
        writer.write(batch(writer.schema(), ids)).await.unwrap();
        let files = writer.close().await.unwrap();
        let change = Change::Append { files, properties: SnapshotProperties::new() };
        let queue = CommitQueue::new(self.catalog.clone(), self.env.clone(), self.ident.clone());
        let identity = CommitIdentity::draw(&self.env, 1);
        let end = queue.commit(&[change], identity, &|_| Precheck::Proceed).await.unwrap();
        assert!(matches!(end, CommitEnd::Committed(_)), "{end:?}");
    }

    pub(super) fn sql(&self, statement: &str) {
        let mut command = frazil();
        command.arg("sql").arg("--data-dir").arg(&self.data_dir).args(["-e", statement]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
    }

    async fn get(&self, query: &[(&str, &str)], accept: &str) -> Response {
        let url = format!("{}/api/v1/tables/default/t/changes", self.server().url());
        self.http.get(url).query(query).header("Accept", accept).send().await.unwrap()
    }

    async fn text(&self, query: &[(&str, &str)], accept: &str) -> String {
        let response = self.get(query, accept).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], accept);
        response.text().await.unwrap()
    }

    /// Rows and positions of an NDJSON stream that ends.
    async fn lines(&self, query: &[(&str, &str)]) -> (Vec<Value>, Vec<String>) {
        let text = self.text(&[query, &[("follow", "false")]].concat(), NDJSON).await;
        parse_lines(&text)
    }

    async fn refusal(&self, query: &[(&str, &str)]) -> (u16, String, String) {
        let response = self.get(query, "*/*").await;
        let status = response.status().as_u16();
        let body: Value = response.json().await.unwrap();
        let error = &body["error"];
        assert_eq!(error["code"], json!(status));
        (status, error["type"].as_str().unwrap().to_owned(), error["message"].as_str().unwrap().to_owned())
    }
}

const NDJSON: &str = "application/x-ndjson";
const EVENTS: &str = "text/event-stream";
const ARROW: &str = "application/vnd.apache.arrow.stream";

fn batch(schema: &arrow::datatypes::SchemaRef, ids: std::ops::Range<i64>) -> RecordBatch {
    let rows = ids.map(|id| json!({"id": id, "s": {"x": format!("x{id}"), "y": id * 2}}));
    let mut decoder = arrow::json::ReaderBuilder::new(schema.clone()).build_decoder().unwrap();
    decoder.serialize(&rows.collect::<Vec<_>>()).unwrap();
    decoder.flush().unwrap().unwrap()
}

pub(super) fn parse_lines(text: &str) -> (Vec<Value>, Vec<String>) {
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let (positions, rows): (Vec<Value>, Vec<Value>) = lines.partition(|line| line.get("$position").is_some());
    (rows, positions.iter().map(|line| line["$position"].as_str().unwrap().to_owned()).collect())
}

fn ids(rows: &[Value]) -> Vec<i64> {
    rows.iter().map(|row| row["id"].as_i64().unwrap()).collect()
}

/// The events of a stream: kind, id, data.
fn events(text: &str) -> Vec<(String, Option<String>, Value)> {
    let blocks = text.split("\n\n").filter(|block| block.starts_with("event: "));
    let field = |block: &str, name: &str| {
        let prefix = format!("{name}: ");
        block.lines().find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
    };
    let data = |block: &str| serde_json::from_str(&field(block, "data").unwrap()).unwrap();
    blocks.map(|block| (field(block, "event").unwrap(), field(block, "id"), data(block))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_format_tells_the_same_rows_and_a_client_goes_on_behind_any_position() {
    let lake = Lake::new().await;
    lake.append(0..10).await;
    lake.append(10..25).await;
    let earliest = [("from", "earliest"), ("max-rows", "4")];
    let (rows, positions) = lake.lines(&earliest).await;
    assert_eq!(ids(&rows), (0..25).collect::<Vec<_>>());
    assert_eq!(rows[3], json!({"id": 3, "s": {"x": "x3", "y": 6}}));
    assert_eq!(positions.iter().collect::<BTreeSet<_>>().len(), 7 + 1, "a batch of 4 each, and the end: {positions:?}");
    for (index, position) in positions.iter().enumerate() {
        let done = (4 * (index + 1)).min(25);
        let (rest, _) = lake.lines(&[("from", &format!("position:{position}"))]).await;
        assert_eq!(ids(&rest), ids(&rows[done..]), "behind {position}");
    }

    let query = [&earliest[..], &[("follow", "false")]].concat();
    let told = events(&lake.text(&query, EVENTS).await);
    let of_kind = |kind: &str| told.iter().filter(|event| event.0 == kind).collect::<Vec<_>>();
    let from_events: Vec<Value> =
        of_kind("rows").iter().flat_map(|event| event.2.as_array().unwrap().clone()).collect();
    assert_eq!(from_events, rows);
    assert_eq!(told.last().unwrap().0, "end");
    let ids_of_events: Vec<&String> = of_kind("rows").iter().map(|event| event.1.as_ref().unwrap()).collect();
    assert_eq!(ids_of_events, positions[..7].iter().collect::<Vec<_>>());
    let url = format!("{}/api/v1/tables/default/t/changes?format=sse&follow=false&from=earliest", lake.server().url());
    let again =
        lake.http.get(url).header("Last-Event-ID", ids_of_events[5]).send().await.unwrap().text().await.unwrap();
    let rest = events(&again).into_iter().find(|event| event.0 == "rows").unwrap();
    assert_eq!(rest.2, json!([rows[24]]), "the header goes before the URL");

    let bytes = lake.get(&query, ARROW).await.bytes().await.unwrap();
    let batches: Vec<RecordBatch> = StreamReader::try_new(&bytes[..], None).unwrap().map(Result::unwrap).collect();
    let from_arrow: Vec<i64> =
        batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
    assert_eq!(from_arrow, ids(&rows));
    let marks = |batch: &RecordBatch| -> Vec<String> {
        let column: &StringArray = batch.column_by_name("_position").unwrap().as_string();
        assert!(column.is_empty() || column.is_valid(column.len() - 1) || column.null_count() == column.len());
        column.iter().flatten().map(str::to_owned).collect()
    };
    assert_eq!(batches.iter().flat_map(marks).collect::<Vec<_>>(), positions[..7]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_filters_starts_and_limits_are_those_that_were_asked_for() {
    let lake = Lake::new().await;
    lake.append(0..10).await;
    lake.append(10..20).await;
    let (rows, _) =
        lake.lines(&[("from", "earliest"), ("columns", "s.y"), ("filter", "id >= 8 AND s.x <> 'x9'")]).await;
    let expected: Vec<Value> = [8].into_iter().chain(10..20).map(|id| json!({"s": {"y": id * 2}})).collect();
    assert_eq!(rows, expected);
    let (none, positions) = lake.lines(&[]).await;
    assert!(none.is_empty(), "from=latest");
    let head: i64 = positions.last().map_or_else(
        || panic!("the position is told"),
        |position| position.rsplit(':').next().unwrap().parse().unwrap(),
    );
    let (rows, _) = lake.lines(&[("from", &format!("snapshot:{head}"))]).await;
    assert_eq!(ids(&rows), (10..20).collect::<Vec<_>>());
    let (rows, positions) = lake.lines(&[("from", "earliest"), ("max-rows", "3"), ("max-batches", "2")]).await;
    assert_eq!((ids(&rows), positions.len()), ((0..6).collect(), 2));
    // A long poll: it ends with the first batch that comes.
    let waiting = lake.get(&[("max-batches", "1")], NDJSON);
    let (response, ()) = tokio::join!(waiting, async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        lake.append(20..22).await;
    });
    let (rows, _) = parse_lines(&response.text().await.unwrap());
    assert_eq!(ids(&rows), [20, 21]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_done_is_a_status_with_what_to_do() {
    let lake = Lake::new().await;
    lake.append(0..4).await;
    let check = async |query: &[(&str, &str)], status: u16, kind: &str, part: &str| {
        let (code, named, message) = lake.refusal(query).await;
        assert_eq!((code, named.as_str()), (status, kind), "{query:?}: {message}");
        assert!(message.contains(part), "{query:?}: {message}");
    };
    check(&[("from", "noon")], 400, "BadRequestException", "earliest, latest, snapshot:ID").await;
    check(&[("from", "position:x")], 400, "BadRequestException", "no position").await;
    check(&[("from", "snapshot:5")], 404, "NoSuchSnapshotException", "it retains").await;
    check(&[("colums", "id")], 400, "BadRequestException", "columns").await;
    check(&[("columns", "s.z")], 400, "BadRequestException", "the nearest are").await;
    check(&[("filter", "id % 2 = 0")], 400, "BadRequestException", "BETWEEN").await;
    check(&[("filter", "id = ")], 400, "BadRequestException", "filter:").await;
    check(&[("mode", "all")], 400, "BadRequestException", "upsert").await;
    check(&[("mode", "upsert"), ("on-row-changes", "skip")], 400, "BadRequestException", "mode=append").await;
    check(&[("mode", "changes"), ("max-files", "1")], 400, "BadRequestException", "max-rows").await;
    check(&[("max-rows", "0")], 400, "BadRequestException", "nonzero").await;
    check(&[("format", "xml")], 400, "BadRequestException", "ndjson, sse, arrow").await;
    let response = lake.get(&[], "text/html").await;
    assert_eq!(response.status(), 406);
    let url = format!("{}/api/v1/tables/default/none/changes", lake.server().url());
    assert_eq!(lake.http.get(url).send().await.unwrap().status(), 404);
    let (_, positions) = lake.lines(&[]).await;
    lake.sql("DELETE FROM t WHERE id = 2");
    let (status, kind, _) = lake.refusal(&[("from", &format!("position:{}", positions[0]))]).await;
    assert_eq!((status, kind.as_str()), (409, "RowLevelChangeException"), "known before the first byte");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_told_and_an_error_behind_the_first_byte_is_told_before_the_stream_breaks_off() {
    let lake = Lake::new().await;
    lake.append(0..4).await;
    let mut appended = Live::open(&lake, &[("from", "earliest")], NDJSON).await;
    let mut as_events = Live::open(&lake, &[("from", "earliest")], EVENTS).await;
    let mut as_arrow = Live::open(&lake, &[("from", "earliest")], ARROW).await;
    appended.until("\"id\":3").await;
    as_events.until("\"id\":3").await;
    let mut changes = Live::open(&lake, &[("from", "latest"), ("mode", "upsert")], NDJSON).await;
    lake.sql("UPDATE t SET s.x = 'new' WHERE id = 2");
    changes.until("\"UPDATE_AFTER\"").await;
    let (rows, _) = parse_lines(&changes.text);
    let types: Vec<&str> = rows.iter().map(|row| row["_change_type"].as_str().unwrap()).collect();
    assert_eq!(types, ["UPDATE_BEFORE", "UPDATE_AFTER"]);
    assert_eq!((&rows[0]["s"]["x"], &rows[1]["s"]["x"]), (&json!("x2"), &json!("new")));

    assert!(appended.read_on().await.is_err(), "an end would say that there is nothing more");
    let last: Value = serde_json::from_str(appended.text.lines().last().unwrap()).unwrap();
    assert_eq!(last["$error"]["type"], "RowLevelChangeException", "{last}");
    assert!(as_events.read_on().await.is_err());
    let told = events(&as_events.text);
    assert_eq!(told.last().unwrap().0, "error");
    assert!(as_arrow.read_on().await.is_err());

    let (rows, _) = lake.lines(&[("from", "earliest"), ("on-row-changes", "skip")]).await;
    assert_eq!(rows.len(), 4);
    let (rows, _) = lake.lines(&[("from", "earliest"), ("on-row-changes", "changes")]).await;
    assert_eq!(rows.len(), 6, "four inserts, then a delete and an insert");
    let (rows, _) = lake.lines(&[("from", "earliest"), ("mode", "net")]).await;
    assert_eq!(rows.len(), 4);
}

/// A stream that is being read.
struct Live {
    body: futures::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    text: String,
}

impl Live {
    async fn open(lake: &Lake, query: &[(&str, &str)], accept: &str) -> Self {
        let response = lake.get(query, accept).await;
        assert_eq!(response.status(), StatusCode::OK);
        Self { body: response.bytes_stream().boxed(), text: String::new() }
    }

    async fn next(&mut self) -> Option<reqwest::Result<()>> {
        let chunk = tokio::time::timeout(Duration::from_secs(60), self.body.next()).await.expect("a sign of life")?;
        Some(chunk.map(|chunk| self.text.push_str(&String::from_utf8_lossy(&chunk))))
    }

    async fn until(&mut self, part: &str) {
        while !self.text.contains(part) {
            self.next().await.expect("the stream goes on").unwrap();
        }
    }

    async fn read_on(&mut self) -> reqwest::Result<()> {
        while let Some(chunk) = self.next().await {
            chunk?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_is_pushed_to_those_who_wait_for_it() {
    const COMMITS: i64 = 40;
    let lake = Lake::new().await;
    let mut live = Live::open(&lake, &[("from", "latest")], NDJSON).await;
    let mut waits = Vec::new();
    for id in 0..COMMITS {
        lake.append(id..id + 1).await;
        // The commit was answered; the rows may have come already.
        let committed = Instant::now();
        live.until(&format!("{{\"id\":{id},")).await;
        waits.push(committed.elapsed());
    }
    waits.sort();
    let (p50, p99) = (waits[waits.len() / 2], waits[waits.len() * 99 / 100]);
    println!("from the answer of a commit to its rows at an HTTP consumer: p50 {p50:.1?}, p99 {p99:.1?}");
    assert!(p50 < Duration::from_millis(500), "{p50:?}: rows are looked for, not pushed");
    let (rows, _) = parse_lines(&live.text);
    assert_eq!(ids(&rows), (0..COMMITS).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_gone_gives_its_place_back_and_a_stop_is_told() {
    const FEEDS: usize = 256;
    let lake = Lake::new().await;
    lake.append(0..2).await;
    let mut open = Vec::new();
    for _ in 0..FEEDS {
        open.push(Live::open(&lake, &[("from", "earliest")], NDJSON).await);
    }
    let (status, _, message) = lake.refusal(&[]).await;
    assert!(status == 503 && message.contains("256"), "{status}: {message}");
    let mut last = open.pop().unwrap();
    drop(open);
    let deadline = Instant::now() + Duration::from_secs(30);
    while lake.get(&[("follow", "false")], "*/*").await.status() != 200 {
        assert!(Instant::now() < deadline, "places of clients that are gone stay taken");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    last.until("\"id\":1").await;
    lake.server().interrupt();
    assert!(last.read_on().await.is_err());
    assert!(last.text.lines().last().unwrap().contains("the server is stopping"), "{}", last.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_description_is_served() {
    let lake = Lake::new().await;
    let url = format!("{}/api/openapi.json", lake.server().url());
    let description: Value = lake.http.get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(description["openapi"], "3.1.0");
    assert!(description["paths"]["/api/v1/tables/{namespace}/{table}/changes"]["get"].is_object());
}

/// The example, as somebody would run it who has only pyarrow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_example_follows_a_table_and_goes_on_where_it_stopped() {
    let python = match installed("pyiceberg") {
        Ok(folder) => folder.join("venv/bin/python"),
        Err(skip) => return skip.report(),
    };
    let lake = Lake::new().await;
    lake.append(0..10).await;
    let example = frazil_tests::package_folder().join("../examples/follow_table.py");
    let kept = lake.data_dir.with_extension("position");
    let run = |batches: &str| {
        let mut command = Command::new(&python);
        command.arg(&example).args([&lake.server().url(), "default", "t", "--columns", "id,s.y"]);
        command.args(["--batches", batches, "--keep"]).arg(&kept);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let first = run("1");
    assert!(first.contains("10 rows") && first.contains("'y': 18"), "{first}");
    lake.append(10..13).await;
    let second = run("1");
    assert!(second.contains("3 rows") && second.contains("'y': 24") && !second.contains("'y': 18"), "{second}");
}
