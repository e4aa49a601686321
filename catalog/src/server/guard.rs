//! Which requests get as far as a handler.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::uri::{Authority, PathAndQuery};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::ServerState;
use super::error::Refusal;

/// A web page that a browser was lured to must not reach a catalog on the same machine through a name of its own
/// (DNS rebinding): only loopback names and addresses and the names of the configuration are answered.
pub(super) async fn check_host(State(state): State<ServerState>, request: Request, next: Next) -> Response {
    let Some(host) = host_of(request.uri(), request.headers()) else {
        return Refusal::bad_request("the request has no valid Host header").into_response();
    };
    let named = state.config.hosts.iter().any(|name| name.eq_ignore_ascii_case(&host));
    if named || is_loopback(&host) {
        return next.run(request).await;
    }
    let message = format!(
        "this server does not answer to the host name {host:?}; if it is meant to, add it to the server's host names"
    );
    Refusal::new(StatusCode::FORBIDDEN, "ForbiddenException", message).into_response()
}

fn host_of(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let authority: Authority = match uri.authority() {
        Some(authority) => authority.clone(),
        None => {
            let mut hosts = headers.get_all(header::HOST).iter();
            let host = hosts.next()?.to_str().ok()?.parse().ok()?;
            if hosts.next().is_some() {
                return None;
            }
            host
        }
    };
    Some(authority.host().trim_matches(['[', ']']).to_owned())
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Java clients write a space in a path as `+`; every client writes a plus sign as `%2B`.
pub(super) fn plus_is_space(mut request: Request) -> Request {
    if !request.uri().path().contains('+') {
        return request;
    }
    let mut parts = request.uri().clone().into_parts();
    let path = request.uri().path().replace('+', "%20");
    let rewritten = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    parts.path_and_query = PathAndQuery::try_from(rewritten).ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

/// Requests that are answered at the same time; others wait their turn. With bodies of 32 MiB that is 2 GiB at worst.
pub(super) const REQUESTS_MAX: usize = 64;

/// Waits for a turn. The wait counts towards the request's time.
pub(super) async fn limit_number(State(state): State<ServerState>, request: Request, next: Next) -> Response {
    let _permit = state.permits.acquire().await.expect("nobody closes this semaphore");
    next.run(request).await
}

/// A request that takes longer is answered without its result; a commit runs on.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(120);

/// An answer that does not come gets the protocol's envelope. 504 means to a client that a commit may have landed.
pub(super) async fn limit_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIME_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let message = format!("no answer within {} s; a commit may still land", REQUEST_TIME_MAX.as_secs());
            let status = StatusCode::GATEWAY_TIMEOUT;
            Refusal::new(status, "CommitStateUnknownException", message).into_response()
        }
    }
}

/// Says in the protocol's envelope what the router alone says without one.
pub(super) async fn envelope(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let has_body = response.headers().contains_key(header::CONTENT_TYPE);
    match response.status() {
        StatusCode::METHOD_NOT_ALLOWED if !has_body => {
            let message = format!("{method} is no method of {path}");
            let status = StatusCode::METHOD_NOT_ALLOWED;
            Refusal::new(status, "UnsupportedOperationException", message).into_response()
        }
        _ => response,
    }
}

/// What a panic is answered with. The panic itself goes to standard error by the panic hook.
pub(super) fn of_panic(_: Box<dyn std::any::Any + Send>) -> Response {
    let message = "the server failed in this request; its log says where";
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    Refusal::new(status, "InternalServerError", message).into_response()
}
