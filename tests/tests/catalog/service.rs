//! The service as a client without any library sees it.

use frazil_catalog::server::ServerConfig;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::fixture::*;

struct Client {
    world: World,
    http: reqwest::Client,
}

impl Client {
    async fn new() -> Self {
        Self { world: World::rest().await, http: reqwest::Client::new() }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.world.url.as_ref().unwrap())
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.http.request(method, self.url(path));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        (status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() })
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send(Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.send(Method::POST, path, Some(body)).await
    }

    /// A refusal has the protocol's envelope with the status in it.
    #[track_caller]
    fn check_refusal((status, body): (StatusCode, Value), expected: u16, kind: &str) {
        assert_eq!(status.as_u16(), expected, "{body}");
        let error = &body["error"];
        assert_eq!((&error["code"], &error["type"]), (&json!(expected), &json!(kind)), "{body}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
    }
}

fn schema_json() -> Value {
    json!({"type": "struct", "schema-id": 0, "fields": [
        {"id": 1, "name": "id", "required": true, "type": "long"},
    ]})
}

#[tokio::test]
async fn every_refusal_has_the_envelope() {
    let client = Client::new().await;
    client.world.with_table().await;
    let check = Client::check_refusal;
    check(client.get("/nothing/here").await, 404, "NotFoundException");
    check(client.send(Method::PATCH, "/v1/namespaces", None).await, 405, "UnsupportedOperationException");
    check(client.get("/v1/namespaces/none").await, 404, "NoSuchNamespaceException");
    check(client.get("/v1/namespaces/db/tables/none").await, 404, "NoSuchTableException");
    check(client.get("/v1/namespaces/a%FFb").await, 400, "BadRequestException");
    check(client.get("/v1/namespaces/db/tables?pageToken=&pageSize=0").await, 400, "BadRequestException");
    check(client.get("/v1/namespaces/db/tables?pageToken=forged").await, 400, "BadRequestException");
    check(client.get("/v1/namespaces/db/tables?pageSize=many").await, 400, "BadRequestException");
    check(client.get("/v1/namespaces/db/tables/t?snapshots=some").await, 400, "BadRequestException");
    check(client.post("/v1/namespaces", json!({"namespace": 7})).await, 400, "BadRequestException");
    check(client.post("/v1/namespaces", json!({"namespace": []})).await, 400, "BadRequestException");
    check(client.post("/v1/namespaces", json!({"namespace": ["db"]})).await, 409, "AlreadyExistsException");
    let both = json!({"removals": ["k"], "updates": {"k": "v"}});
    check(client.post("/v1/namespaces/db/properties", both).await, 422, "UnprocessableEntityException");
    check(client.send(Method::DELETE, "/v1/namespaces/db", None).await, 409, "NamespaceNotEmptyException");
    let large = client.http.post(client.url("/v1/namespaces")).body(vec![b' '; 33 << 20]).send().await.unwrap();
    assert_eq!(large.status(), 413);
    let body: Value = large.json().await.unwrap();
    assert_eq!(body["error"]["code"], 413);
}

#[tokio::test]
async fn unknown_updates_and_requirements_are_bad_requests() {
    let client = Client::new().await;
    client.world.with_table().await;
    let table = "/v1/namespaces/db/tables/t";
    let commits = [
        json!({"requirements": [{"type": "assert-moon-phase", "phase": 3}], "updates": []}),
        json!({"requirements": [], "updates": [{"action": "paint-it-black"}]}),
        json!({"requirements": [], "updates": [{"action": "set-properties", "updates": {"k": 7}}]}),
        json!({"requirements": [], "updates": [{"action": "remove-snapshots", "snapshot-ids": [99999999999999999999u128 as f64]}]}),
        json!({"updates": []}),
        json!([]),
        json!({"identifier": {"namespace": ["db"], "name": "other"}, "requirements": [], "updates": []}),
    ];
    for commit in commits {
        let text = commit.to_string();
        let (status, body) = client.post(table, commit).await;
        assert_eq!(status, 400, "{text}: {body}");
        assert_eq!(body["error"]["type"], "BadRequestException", "{text}");
    }
    let response = client.http.post(client.url(table)).header("Idempotency-Key", "x").body("{}").send();
    assert_eq!(response.await.unwrap().status(), 400);
}

#[tokio::test]
async fn only_known_host_names_are_answered() {
    let config = ServerConfig { hosts: vec!["lake.example".to_owned()], ..ServerConfig::default() };
    let world = World::rest_with(config).await;
    let http = reqwest::Client::new();
    let url = format!("{}/v1/config", world.url.as_ref().unwrap());
    for (host, status) in [
        ("localhost", 200),
        ("localhost:8181", 200),
        ("LOCALHOST:1", 200),
        ("127.0.0.1:9", 200),
        ("127.1.2.3", 200),
        ("[::1]:8181", 200),
        ("lake.example", 200),
        ("lake.example.evil.com", 403),
        ("evil.com", 403),
        ("localhost.evil.com", 403),
        ("10.0.0.1", 403),
    ] {
        let answer = http.get(&url).header("Host", host).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{host}");
    }
}

#[tokio::test]
async fn the_config_lists_what_is_served() {
    let config = ServerConfig { prefix: Some("lake".to_owned()), ..ServerConfig::default() };
    let world = World::rest_with(config).await;
    let table = world.with_table().await;
    let url = world.url.clone().unwrap();
    let get = async |path: &str| reqwest::get(format!("{url}{path}")).await.unwrap();
    let config: Value = get("/v1/config?warehouse=x").await.json().await.unwrap();
    assert_eq!(config["overrides"]["prefix"], "lake");
    let endpoints: Vec<_> = config["endpoints"].as_array().unwrap().iter().map(|e| e.as_str().unwrap()).collect();
    for endpoint in [
        "GET /v1/{prefix}/namespaces",
        "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}",
        "HEAD /v1/{prefix}/namespaces/{namespace}/tables/{table}",
        "POST /v1/{prefix}/transactions/commit",
    ] {
        assert!(endpoints.contains(&endpoint), "{endpoint}");
    }
    assert!(!endpoints.iter().any(|endpoint| endpoint.contains("view")), "no views are promised");
    for path in ["/v1/lake/namespaces/db/tables/t", "/v1/namespaces/db/tables/t"] {
        let loaded: Value = get(path).await.json().await.unwrap();
        assert_eq!(loaded["metadata-location"], table.metadata_location(), "{path}");
    }
    assert_eq!(get("/v1/other/namespaces").await.status(), 404);
    let health: Value = get("/health").await.json().await.unwrap();
    assert_eq!(health["status"], "ok");
}

#[tokio::test]
async fn an_unchanged_table_is_not_sent_again() {
    let client = Client::new().await;
    let table = client.world.with_table().await;
    let url = client.url("/v1/namespaces/db/tables/t");
    let load = async |query: &str, known: &str| {
        client.http.get(format!("{url}{query}")).header("If-None-Match", known).send().await.unwrap()
    };
    let tag = |response: &reqwest::Response| response.headers()["etag"].to_str().unwrap().to_owned();
    let first = tag(&load("", "\"none\"").await);
    assert_eq!(load("", &first).await.status(), 304);
    assert_eq!(load("", &format!("\"x\", W/{first}")).await.status(), 304);
    let refs = load("?snapshots=refs", &first).await;
    assert_eq!(refs.status(), 200, "another answer has another tag");
    client.world.append(table.ident(), "memory://x/a.parquet").await.unwrap();
    let second = load("", &first).await;
    assert_eq!(second.status(), 200);
    assert_ne!(tag(&second), first);
    client.world.append(table.ident(), "memory://x/b.parquet").await.unwrap();
    let all: Value = load("", "").await.json().await.unwrap();
    let refs: Value = load("?snapshots=refs", "").await.json().await.unwrap();
    let count = |answer: &Value| answer["metadata"]["snapshots"].as_array().unwrap().len();
    assert_eq!((count(&all), count(&refs)), (2, 1));
}

#[tokio::test]
async fn listings_come_in_pages_if_asked_for() {
    let client = Client::new().await;
    client.world.with_table().await;
    for name in ["a", "b", "c"] {
        let body = json!({"name": name, "schema": schema_json()});
        assert_eq!(client.post("/v1/namespaces/db/tables", body).await.0, 200);
    }
    let (_, whole) = client.get("/v1/namespaces/db/tables").await;
    assert_eq!(whole["identifiers"].as_array().unwrap().len(), 4);
    assert_eq!(whole["next-page-token"], Value::Null);
    let mut names = Vec::new();
    let mut token = String::new();
    loop {
        let (_, page) = client.get(&format!("/v1/namespaces/db/tables?pageSize=3&pageToken={token}")).await;
        let items = page["identifiers"].as_array().unwrap();
        assert!(items.len() <= 3);
        names.extend(items.iter().map(|item| item["name"].as_str().unwrap().to_owned()));
        match page["next-page-token"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(names, ["a", "b", "c", "t"]);
}

#[tokio::test]
async fn a_staged_table_is_not_there_until_its_first_commit() {
    let client = Client::new().await;
    client.world.with_table().await;
    let body = json!({"name": "s", "schema": schema_json(), "stage-create": true});
    let (status, staged) = client.post("/v1/namespaces/db/tables", body).await;
    assert_eq!(status, 200, "{staged}");
    assert!(staged.get("metadata-location").is_none_or(Value::is_null));
    assert_eq!(client.send(Method::HEAD, "/v1/namespaces/db/tables/s", None).await.0, 404);
    let place = staged["metadata"]["location"].as_str().unwrap();
    assert_eq!(files(&client.world.env, place).await, [] as [String; 0]);
    let commit = json!({
        "requirements": [{"type": "assert-create"}],
        "updates": [
            {"action": "assign-uuid", "uuid": staged["metadata"]["table-uuid"]},
            {"action": "upgrade-format-version", "format-version": 2},
            {"action": "add-schema", "schema": staged["metadata"]["schemas"][0], "last-column-id": 1},
            {"action": "set-current-schema", "schema-id": -1},
            {"action": "add-spec", "spec": staged["metadata"]["partition-specs"][0]},
            {"action": "set-default-spec", "spec-id": -1},
            {"action": "add-sort-order", "sort-order": staged["metadata"]["sort-orders"][0]},
            {"action": "set-default-sort-order", "sort-order-id": -1},
            {"action": "set-location", "location": place},
            {"action": "set-properties", "updates": {}},
        ],
    });
    let (status, made) = client.post("/v1/namespaces/db/tables/s", commit.clone()).await;
    assert_eq!(status, 200, "{made}");
    assert_eq!(made["metadata"]["schemas"], staged["metadata"]["schemas"]);
    assert_eq!(client.send(Method::HEAD, "/v1/namespaces/db/tables/s", None).await.0, 204);
    let again = client.post("/v1/namespaces/db/tables/s", commit).await;
    Client::check_refusal(again, 409, "CommitFailedException");
}

#[tokio::test]
async fn a_transaction_changes_all_tables_or_none() {
    let client = Client::new().await;
    client.world.with_table().await;
    let body = json!({"name": "u", "schema": schema_json()});
    assert_eq!(client.post("/v1/namespaces/db/tables", body).await.0, 200);
    let change = |name: &str, value: &str, requirements: Value| {
        json!({
            "identifier": {"namespace": ["db"], "name": name},
            "requirements": requirements,
            "updates": [{"action": "set-properties", "updates": {"k": value}}],
        })
    };
    let value = async |name: &str| {
        let (_, loaded) = client.get(&format!("/v1/namespaces/db/tables/{name}")).await;
        loaded["metadata"]["properties"].get("k").cloned()
    };
    let commit = "/v1/transactions/commit";
    let both = json!({"table-changes": [change("t", "1", json!([])), change("u", "1", json!([]))]});
    assert_eq!(client.post(commit, both).await.0, 204);
    assert_eq!((value("t").await, value("u").await), (Some(json!("1")), Some(json!("1"))));
    let stale = json!([{"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": 7}]);
    let half = json!({"table-changes": [change("t", "2", json!([])), change("u", "2", stale)]});
    Client::check_refusal(client.post(commit, half).await, 409, "CommitFailedException");
    let missing = json!({"table-changes": [change("t", "3", json!([])), change("none", "3", json!([]))]});
    Client::check_refusal(client.post(commit, missing).await, 404, "NoSuchTableException");
    let twice = json!({"table-changes": [change("t", "4", json!([])), change("t", "5", json!([]))]});
    Client::check_refusal(client.post(commit, twice).await, 400, "BadRequestException");
    Client::check_refusal(client.post(commit, json!({"table-changes": []})).await, 400, "BadRequestException");
    assert_eq!((value("t").await, value("u").await), (Some(json!("1")), Some(json!("1"))));
}

#[tokio::test]
async fn metrics_are_taken_for_tables_that_are_there() {
    let client = Client::new().await;
    client.world.with_table().await;
    let report = json!({"report-type": "scan-report", "table-name": "t", "snapshot-id": 1});
    assert_eq!(client.post("/v1/namespaces/db/tables/t/metrics", report.clone()).await.0, 204);
    let refused = client.post("/v1/namespaces/db/tables/none/metrics", report).await;
    Client::check_refusal(refused, 404, "NoSuchTableException");
}

#[tokio::test]
async fn a_space_may_come_as_a_plus_sign() {
    let client = Client::new().await;
    client.post("/v1/namespaces", json!({"namespace": ["a b", "c+d"]})).await;
    assert_eq!(client.post("/v1/namespaces", json!({"namespace": ["a b"]})).await.0, 200);
    assert_eq!(client.post("/v1/namespaces", json!({"namespace": ["a b", "c+d"]})).await.0, 200);
    for spelling in ["a+b%1Fc%2Bd", "a%20b%1fc%2Bd"] {
        let (status, found) = client.get(&format!("/v1/namespaces/{spelling}")).await;
        assert_eq!((status, &found["namespace"]), (StatusCode::OK, &json!(["a b", "c+d"])), "{spelling}");
    }
}

/// As Trino 406 spells them: its Iceberg library is 1.1.
#[tokio::test]
async fn older_clients_spell_changes_of_properties_their_way() {
    let client = Client::new().await;
    client.world.with_table().await;
    let set = json!({"action": "set-properties", "updated": {"k": "v", "l": "w"}});
    let remove = json!({"action": "remove-properties", "removed": ["l"]});
    let commit = json!({"requirements": [], "updates": [set, remove]});
    let (status, table) = client.post("/v1/namespaces/db/tables/t", commit).await;
    assert_eq!(status, StatusCode::OK, "{table}");
    assert_eq!(table["metadata"]["properties"], json!({"k": "v"}));
}

/// Trino 406 asks for all of them: its Iceberg library is 1.1.
#[tokio::test]
async fn older_clients_find_the_fields_that_they_demand() {
    let client = Client::new().await;
    client.world.with_table().await;
    let (_, namespace) = client.get("/v1/namespaces/db").await;
    assert_eq!(namespace["properties"]["location"], format!("{}/db", client.world.warehouse));
    let url = client.url("/v1/namespaces/db/tables/t");
    let table = client.http.get(url).send().await.unwrap().text().await.unwrap();
    for (field, value) in [("properties", "{}"), ("snapshots", "[]"), ("current-snapshot-id", "-1")] {
        assert_eq!(table.matches(&format!("\"{field}\":{value}")).count(), 1, "{table}");
        assert_eq!(table.matches(&format!("\"{field}\":")).count(), 1, "{table}");
    }
}
