//! S3 by moto.

use super::http::{ask, elements};
use super::{BUCKET, Kind, StoreServer, properties, scratch, spawn};
use crate::package_folder;
use crate::peers::{Skip, installed};
use crate::process::{free_port, leashed};

pub(super) fn start() -> Result<StoreServer, Skip> {
    let folder = installed("moto")?;
    let (scratch, port) = (scratch("moto"), free_port());
    let mut command = leashed(folder.join("venv/bin/python"));
    command.arg(package_folder().join("peers/moto_server.py"));
    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
    let process = spawn(command, scratch.path(), || {
        ask(port, "PUT", &format!("/{BUCKET}"), "", b"").is_ok_and(|answer| answer.status() == 200)
    });
    let properties = properties([
        ("s3.endpoint", format!("http://127.0.0.1:{port}")),
        ("s3.region", "us-east-1".to_owned()),
        ("s3.access-key-id", "frazil".to_owned()),
        ("s3.secret-access-key", "any".to_owned()),
    ]);
    let root = format!("s3://{BUCKET}");
    Ok(StoreServer { process, scratch, root, properties, kind: Kind::S3 { port } })
}

/// The keys of uploads that are neither completed nor aborted.
pub(super) fn uploads(port: u16, prefix: &str) -> Vec<String> {
    let answer = ask(port, "GET", &format!("/{BUCKET}?uploads"), "", b"").expect("moto answers");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    elements(&answer.text(), "Key").into_iter().filter(|key| key.starts_with(prefix)).collect()
}
