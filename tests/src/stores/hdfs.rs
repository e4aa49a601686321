//! HDFS: a namenode and a datanode of Hadoop.

use serde_json::Value;

use super::http::ask;
use super::{Kind, StoreServer, properties, scratch, spawn};
use crate::package_folder;
use crate::peers::{Skip, installed, java};
use crate::process::{free_port, leashed};

/// What an unfinished file of ours is called (`storage/src/hdfs.rs`).
const TEMPORARY_PREFIX: &str = ".frazil-tmp-";

pub(super) fn start() -> Result<StoreServer, Skip> {
    let folder = installed("hdfs")?;
    let (scratch, port, http_port) = (scratch("hdfs"), free_port(), free_port());
    let mut command = leashed(java());
    command
        .args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
        .arg(format!("{}/lib/*", folder.display()));
    command.arg(package_folder().join("peers/hdfs/Cluster.java"));
    command.arg(scratch.path()).args([port.to_string(), http_port.to_string()]);
    let ready = scratch.path().join("ready");
    let process = spawn(command, scratch.path(), || ready.is_file());
    let properties = properties([("dfs.replication", "1".to_owned())]);
    let root = format!("hdfs://127.0.0.1:{port}");
    Ok(StoreServer { process, scratch, root, properties, kind: Kind::Hdfs { http_port } })
}

/// Temporary files below a folder, by WebHDFS: hidden names and files under construction are listed too.
pub(super) fn temporary_files(http_port: u16, folder: &str) -> Vec<String> {
    let answer = ask(http_port, "GET", &format!("/webhdfs/v1/{folder}?op=LISTSTATUS"), "", b"");
    let answer = answer.expect("the namenode answers");
    if answer.status() == 404 {
        return Vec::new();
    }
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let listed: Value = serde_json::from_slice(&answer.body).expect("WebHDFS answers in JSON");
    let mut found = Vec::new();
    for entry in listed["FileStatuses"]["FileStatus"].as_array().expect("it lists a folder") {
        let name = entry["pathSuffix"].as_str().unwrap_or_default();
        let path = format!("{folder}/{name}");
        if entry["type"] == "DIRECTORY" {
            found.extend(temporary_files(http_port, &path));
        } else if name.starts_with(TEMPORARY_PREFIX) {
            found.push(path);
        }
    }
    found
}
