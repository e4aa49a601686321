use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header;
use frazil_storage::Env;
use frazil_table::spec::{NamespaceIdent, Schema, TableCreation};
use serde_json::json;

use super::*;
use crate::Catalog;

async fn state() -> ServerState {
    let catalog = SqlCatalog::in_memory(Env::in_memory(1), "memory://w/wh").await.unwrap();
    ServerState {
        catalog: Arc::new(catalog),
        config: Arc::default(),
        permits: Arc::new(Semaphore::new(guard::REQUESTS_MAX)),
    }
}

fn request(method: &str, path: &str, body: serde_json::Value) -> Request {
    let request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
    request.body(Body::from(body.to_string())).unwrap()
}

#[tokio::test]
async fn a_panic_is_answered_in_the_envelope_and_gives_its_turn_back() {
    async fn broken() -> &'static str {
        panic!("as the test wants it")
    }
    let state = state().await;
    let router = guarded(Router::new().route("/broken", get(broken)), state.clone());
    let response = router.oneshot(request("GET", "/broken", json!(null))).await.unwrap();
    assert_eq!(response.status(), 500);
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["error"]["type"], "InternalServerError");
    assert!(!body.to_string().contains("as the test wants it"), "{body}");
    assert_eq!(state.permits.available_permits(), guard::REQUESTS_MAX);
}

#[tokio::test]
async fn a_commit_runs_to_its_end_when_the_client_hangs_up() {
    let state = state().await;
    let catalog = Arc::clone(&state.catalog);
    let namespace = NamespaceIdent::new("db".to_owned());
    catalog.create_namespace(&namespace, BTreeMap::new()).await.unwrap();
    let schema = Schema::builder().build().unwrap();
    let creation = TableCreation::builder().name("t".to_owned()).schema(schema).build();
    let table = catalog.create_table(&namespace, creation).await.unwrap();

    let lane = catalog.hold(table.ident()).await;
    let updates = json!([{"action": "set-properties", "updates": {"k": "v"}}]);
    let body = json!({"requirements": [], "updates": updates});
    let answer = router(Arc::clone(&catalog), ServerConfig::default()).oneshot(request(
        "POST",
        "/v1/namespaces/db/tables/t",
        body,
    ));
    // The commit waits for the lane; the client does not wait for the commit.
    tokio::time::timeout(Duration::from_millis(200), answer).await.unwrap_err();
    assert_eq!(catalog.load_table(table.ident()).await.unwrap().property("k"), None);
    let mut changes = catalog.subscribe();
    drop(lane);
    changes.recv().await.unwrap();
    assert_eq!(catalog.load_table(table.ident()).await.unwrap().property("k"), Some("v"));
}
