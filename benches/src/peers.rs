//! Rivals that do the same work, each in a process of its own that measures itself. `./bench` installs them as `./test`
//! does; one that cannot be had is said to be missing and left out.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::Result;

/// Rows per processor second of PyIceberg, DuckDB and Spark writing the batches with zstd 1 and our row groups. What
/// each reads them from is no part of it but for Spark, which reads while it writes.
#[expect(clippy::print_stderr, reason = "a person who runs the command sees it")]
pub fn write_lineitem(batches: &[RecordBatch]) -> Result<Vec<(String, f64)>> {
    let folder = tempfile::tempdir()?;
    let input = folder.path().join("lineitem.parquet");
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = ArrowWriter::try_new(File::create(&input)?, batches[0].schema(), Some(properties))?;
    batches.iter().try_for_each(|batch| writer.write(batch))?;
    writer.close()?;
    let mut speeds = Vec::new();
    for peer in ["pyiceberg", "duckdb", "spark"] {
        match measure(peer, &input, folder.path()) {
            Ok(speed) => speeds.push((peer.to_owned(), speed)),
            Err(error) => eprintln!("./bench: without {peer}: {error}"),
        }
    }
    Ok(speeds)
}

fn measure(peer: &str, input: &Path, scratch: &Path) -> Result<f64> {
    let peers: PathBuf = std::env::var_os("FRAZIL_PEERS_DIR").ok_or("FRAZIL_PEERS_DIR is not set; run ./bench")?.into();
    let python = peers.join(peer).join("venv/bin/python");
    if !python.is_file() {
        return Err(format!("{} is not there", python.display()).into());
    }
    let script = "benches/peers/write_lineitem.py";
    let scratch = scratch.join(peer);
    std::fs::create_dir(&scratch)?;
    let output = Command::new(python).arg(script).arg(peer).arg(input).arg(&scratch).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let speed = text.lines().find_map(|line| line.strip_prefix("rows per CPU second: "));
    let last = || String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or("no output").to_owned();
    Ok(speed.ok_or_else(last)?.parse()?)
}
