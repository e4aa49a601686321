//! Where a table's files lie.
//!
//! `<location>/metadata` holds metadata files, manifest lists, manifests and state manifests; `<location>/data` (or
//! `write.data.path`) holds data files. Every name carries a UUID, so a name is never used twice.

use uuid::Uuid;

use crate::spec::TableMetadata;

/// The table's root without a trailing slash.
pub fn root(metadata: &TableMetadata) -> &str {
    metadata.location().trim_end_matches('/')
}

/// The folder of metadata, `write.metadata.path` or `<location>/metadata`.
pub fn metadata_root(metadata: &TableMetadata) -> String {
    property(metadata, "write.metadata.path").unwrap_or_else(|| format!("{}/metadata", root(metadata)))
}

/// The folder of data files, `write.data.path` or `<location>/data`.
pub fn data_root(metadata: &TableMetadata) -> String {
    property(metadata, "write.data.path").unwrap_or_else(|| format!("{}/data", root(metadata)))
}

/// The first metadata file of a table at `table_location`.
pub fn first_metadata_location(table_location: &str, id: Uuid) -> String {
    format!("{}/metadata/00000-{id}.metadata.json", table_location.trim_end_matches('/'))
}

/// The metadata file after the one at `current`: the version in its name plus one, a new UUID.
///
/// Names of other programs (`v12.metadata.json`, `12.metadata.json`) count as well; a name without a version counts as 0.
pub fn next_metadata_location(metadata: &TableMetadata, current: &str, id: Uuid) -> String {
    let name = current.rsplit('/').next().unwrap_or(current);
    let digits: String = name.trim_start_matches('v').chars().take_while(char::is_ascii_digit).collect();
    let version = digits.parse::<u64>().map_or(1, |version| version.saturating_add(1));
    let gzip = property(metadata, "write.metadata.compression-codec").is_some_and(|codec| codec == "gzip");
    let suffix = if gzip { "gz.metadata.json" } else { "metadata.json" };
    format!("{}/{version:05}-{id}.{suffix}", metadata_root(metadata))
}

/// Whether the name of a metadata file says that it is compressed.
pub fn is_gzip(metadata_location: &str) -> bool {
    metadata_location.ends_with(".gz.metadata.json")
}

/// A manifest called `name`.
pub fn manifest_location(metadata: &TableMetadata, name: &str) -> String {
    format!("{}/{name}.avro", metadata_root(metadata))
}

/// The manifest list of a snapshot.
pub fn manifest_list_location(metadata: &TableMetadata, id: &str, snapshot_id: i64) -> String {
    format!("{}/snap-{snapshot_id}-{id}.avro", metadata_root(metadata))
}

/// Whether a file has a name that only this program gives: `frazil` or `.frazil` is its prefix, or it has a UUID of version 7 in it.
/// Other programs draw theirs at random, which is version 4.
pub fn is_ours(location: &str) -> bool {
    let name = location.rsplit('/').next().unwrap_or(location);
    let uuid = |at: usize| name.get(at..at + UUID_CHARS).and_then(|text| Uuid::try_parse(text).ok());
    name.trim_start_matches('.').starts_with(FILE_PREFIX)
        || (0..name.len()).filter_map(uuid).any(|uuid| uuid.get_version_num() == 7)
}

/// Whether a file holds what a job knows of itself, and may name files that no snapshot names yet.
pub fn is_ledger(location: &str) -> bool {
    location.rsplit('/').next().is_some_and(|name| name.starts_with(FILE_PREFIX) && name.ends_with(".json"))
}

/// How the names of data files, and of all that no other program writes, begin.
const FILE_PREFIX: &str = "frazil";

/// Characters of a UUID with its hyphens.
const UUID_CHARS: usize = 36;

fn property(metadata: &TableMetadata, key: &str) -> Option<String> {
    metadata.properties().get(key).map(|value| value.trim_end_matches('/').to_owned())
}
