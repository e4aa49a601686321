//! Google Cloud Storage by fake-gcs-server, and what stands in front of it.
//!
//! Clients of GCS that are made for data (object_store, Hadoop's) speak its XML API. fake-gcs-server has the reading half
//! of that, and all of the JSON API: an XML `PUT` it takes only from signed URLs, and then without looking at conditions.
//! So a thread in front of it writes each `PUT` down as the JSON API's upload, `x-goog-if-generation-match` as
//! `ifGenerationMatch`; everything else passes as it is, and what a condition decides is decided by the server. It has
//! no uploads in parts: those requests are S3's, letter by letter, and are tried against moto.

use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use serde_json::{Value, json};

use super::http::{Message, ask, connect};
use super::{BUCKET, Kind, StoreServer, properties, scratch, spawn};
use crate::peers::{Skip, installed};
use crate::process::{free_port, leashed};

const BOUNDARY: &str = "frazil-part";

pub(super) fn start() -> Result<StoreServer, Skip> {
    let folder = installed("fake-gcs")?;
    let (scratch, port) = (scratch("fake-gcs"), free_port());
    let front = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the loopback interface has free ports");
    let front_port = front.local_addr().expect("it is bound").port();
    let mut command = leashed(folder.join("fake-gcs-server"));
    command.args(["-scheme", "http", "-host", "127.0.0.1", "-port", &port.to_string(), "-backend", "memory"]);
    command.args(["-public-host", &format!("127.0.0.1:{front_port}"), "-log-level", "warn"]);
    let bucket = json!({ "name": BUCKET }).to_string();
    let process = spawn(command, scratch.path(), || {
        let made =
            ask(port, "POST", "/storage/v1/b?project=p", "Content-Type: application/json\r\n", bucket.as_bytes());
        made.is_ok_and(|answer| matches!(answer.status(), 200 | 409))
    });
    // It ends with the tests: it holds nothing.
    std::thread::spawn(move || {
        for stream in front.incoming().flatten() {
            std::thread::spawn(move || answer(stream, port));
        }
    });
    let endpoint = format!("http://127.0.0.1:{front_port}");
    let properties = properties([("gcs.service.host", endpoint), ("gcs.no-auth", "true".to_owned())]);
    Ok(StoreServer { process, scratch, root: format!("gs://{BUCKET}"), properties, kind: Kind::Gcs })
}

/// One request of a connection.
fn answer(mut client: TcpStream, port: u16) -> io::Result<()> {
    let request = Message::read(&mut client, true)?;
    let (method, target) = request.target();
    match target.trim_start_matches('/').split_once('/') {
        Some((bucket, object)) if method == "PUT" => put(&mut client, port, &request, bucket, object),
        _ => pass(&mut client, port, &request),
    }
}

fn pass(client: &mut TcpStream, port: u16, request: &Message) -> io::Result<()> {
    let mut server = connect(port)?;
    write!(server, "{}\r\nConnection: close\r\n", request.first_line)?;
    for (key, value) in request.headers.iter().filter(|(key, _)| key != "connection") {
        write!(server, "{key}: {value}\r\n")?;
    }
    server.write_all(b"\r\n")?;
    server.write_all(&request.body)?;
    io::copy(&mut server, client).map(drop)
}

fn put(client: &mut TcpStream, port: u16, request: &Message, bucket: &str, object: &str) -> io::Result<()> {
    let meta = |(key, value): &(String, String)| Some((key.strip_prefix("x-goog-meta-")?.to_owned(), json!(value)));
    let metadata: serde_json::Map<String, Value> = request.headers.iter().filter_map(meta).collect();
    let mut body = format!(
        "--{BOUNDARY}\r\nContent-Type: application/json\r\n\r\n{}\r\n--{BOUNDARY}\r\nContent-Type: \
         application/octet-stream\r\n\r\n",
        json!({ "metadata": metadata })
    )
    .into_bytes();
    body.extend_from_slice(&request.body);
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    let mut target = format!("/upload/storage/v1/b/{bucket}/o?uploadType=multipart&name={object}");
    if let Some(generation) = request.header("x-goog-if-generation-match") {
        target.push_str(&format!("&ifGenerationMatch={generation}"));
    }
    let kind = format!("Content-Type: multipart/related; boundary={BOUNDARY}\r\n");
    let answer = ask(port, "POST", &target, &kind, &body)?;
    let made: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let (etag, generation) =
        (made["etag"].as_str().unwrap_or_default(), made["generation"].as_str().unwrap_or_default());
    write!(
        client,
        "HTTP/1.1 {} X\r\nConnection: close\r\nContent-Length: 0\r\nETag: \"{etag}\"\r\nx-goog-generation: \
         {generation}\r\n\r\n",
        answer.status()
    )
}
