//! Bytes from outside become values of the specification, or a reason why not.
//!
//! The decoders of the ground crates trust what they read. Before they see it, what could take memory, stack or time
//! without bound is looked at here and in [`crate::avro`]; what they panic on nevertheless is caught and is the file's
//! fault. Memory is bounded by about 200 MiB for files of up to 1 MiB, and goes with the size of larger ones.

use std::borrow::Cow;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures::FutureExt;
use iceberg::io::FileIO;

use crate::avro::{Kept, check_container};
use crate::avro_name::for_decoder;
use crate::spec::{FormatVersion, ManifestEntry, ManifestFile, ManifestList, TableMetadata};

/// Table metadata, gzipped or not.
pub(crate) fn metadata(bytes: &[u8]) -> Result<TableMetadata, String> {
    let json = match bytes.starts_with(&[0x1f, 0x8b]) {
        true => Cow::Owned(inflate(bytes)?),
        false => Cow::Borrowed(bytes),
    };
    check_json(&json, bytes.len() as u64)?;
    let decoded = catch_unwind(|| serde_json::from_slice(&json));
    decoded.map_err(|_| PANICKED)?.map_err(|error| error.to_string())
}

/// The entries of a manifest list.
pub(crate) fn manifest_list(bytes: &[u8], version: FormatVersion) -> Result<Vec<ManifestFile>, String> {
    let container = check_container(bytes, Kept::Everything, |_| false)?;
    let decoded = catch_unwind(|| ManifestList::parse_with_version(&container, version));
    let list = decoded.map_err(|_| PANICKED)?.map_err(|error| error.to_string())?;
    Ok(list.consume_entries().into_iter().collect())
}

/// The entries of a manifest, with what they inherit from its entry in the list.
pub(crate) async fn manifest(bytes: &[u8], manifest: &ManifestFile) -> Result<Vec<ManifestEntry>, String> {
    if manifest.key_metadata.is_some() {
        return Err("it is encrypted".to_owned());
    }
    // An Avro file that ends behind a block is whole in itself.
    if i64::try_from(bytes.len()).is_ok_and(|length| length < manifest.manifest_length) {
        return Err(format!("it has {} bytes, its manifest list says {}", bytes.len(), manifest.manifest_length));
    }
    let container = check_container(bytes, Kept::Record, for_decoder)?.into_owned().into();
    // The crate reads manifests only through its own storage.
    let decode = async {
        let memory = FileIO::new_with_memory();
        memory.new_output(&manifest.manifest_path)?.write(container).await?;
        let (entries, _) = manifest.load_manifest(&memory).await?.into_parts();
        Ok(entries.into_iter().map(std::sync::Arc::unwrap_or_clone).collect())
    };
    let decoded = AssertUnwindSafe(decode).catch_unwind().await;
    decoded.map_err(|_| PANICKED)?.map_err(|error: iceberg::Error| error.to_string())
}

const PANICKED: &str = "it can't be decoded";

/// Metadata inflates ten to twenty times.
const INFLATED_BYTES_MIN: u64 = 16 << 20;
const INFLATED_RATIO_MAX: u64 = 100;

fn inflate(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let bytes_max = INFLATED_BYTES_MIN.max(bytes.len() as u64 * INFLATED_RATIO_MAX);
    let mut inflated = Vec::new();
    let decoder = flate2::read::MultiGzDecoder::new(bytes).take(bytes_max + 1);
    { decoder }.read_to_end(&mut inflated).map_err(|error| error.to_string())?;
    match inflated.len() as u64 > bytes_max {
        true => Err(format!("it inflates to more than {INFLATED_RATIO_MAX} times its size")),
        false => Ok(inflated),
    }
}

/// A struct takes three levels: types may nest some twenty deep, more than Parquet files or engines take.
const JSON_DEPTH_MAX: u64 = 64;

/// The decoder keeps each part of the JSON once for each level around it, at about 64 bytes a token. Metadata as it is
/// written weighs about 1/2 a byte.
const JSON_WEIGHT_MIN: u64 = 3_000_000;
const JSON_WEIGHT_PER_BYTE: u64 = 8;

/// Bounds the nesting of JSON, and its tokens times the levels around them.
fn check_json(json: &[u8], stored_bytes: u64) -> Result<(), String> {
    let weight_max = JSON_WEIGHT_MIN.max(stored_bytes.saturating_mul(JSON_WEIGHT_PER_BYTE));
    let (mut depth, mut weight) = (0_u64, 0_u64);
    let (mut in_text, mut escaped) = (false, false);
    for (at, byte) in json.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' | b':' => {}
            _ => continue,
        }
        if !in_text {
            weight += depth;
        }
        if depth > JSON_DEPTH_MAX {
            return Err(format!("byte {at}: its JSON nests more than {JSON_DEPTH_MAX} deep"));
        }
        if weight > weight_max {
            return Err(format!("byte {at}: its JSON has more parts than a file of this size holds"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
