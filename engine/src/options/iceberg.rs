//! Iceberg's table properties, which pass through a `WITH` clause into the table.
//!
//! The format leaves the set of properties open, so an unknown one is not an error by itself. A name that is one slip
//! away from a known one is: `write.target-file-size-byte` would otherwise be stored and never be read by anybody.

/// Prefixes of the properties that belong to a table (Iceberg documentation, Configuration, "Table properties").
const PREFIXES: [&str; 6] = ["write.", "commit.", "history.", "read.", "schema.", "compatibility."];

/// Properties that Iceberg defines. Those that end in `.` stand for a family, whose rest is a column's name.
const KNOWN: [&str; 80] = [
    "format-version",
    "commit.manifest-merge.enabled",
    "commit.manifest.min-count-to-merge",
    "commit.manifest.target-size-bytes",
    "commit.retry.max-wait-ms",
    "commit.retry.min-wait-ms",
    "commit.retry.num-retries",
    "commit.retry.total-timeout-ms",
    "commit.status-check.max-wait-ms",
    "commit.status-check.min-wait-ms",
    "commit.status-check.num-retries",
    "commit.status-check.total-timeout-ms",
    "compatibility.snapshot-id-inheritance.enabled",
    "history.expire.max-ref-age-ms",
    "history.expire.max-snapshot-age-ms",
    "history.expire.min-snapshots-to-keep",
    "read.parquet.vectorization.batch-size",
    "read.parquet.vectorization.enabled",
    "read.split.adaptive-size.enabled",
    "read.split.metadata-target-size",
    "read.split.open-file-cost",
    "read.split.planning-lookback",
    "read.split.target-size",
    "schema.name-mapping.default",
    "write.avro.compression-codec",
    "write.avro.compression-level",
    "write.data.path",
    "write.delete.avro.compression-codec",
    "write.delete.distribution-mode",
    "write.delete.format.default",
    "write.delete.granularity",
    "write.delete.isolation-level",
    "write.delete.mode",
    "write.delete.parquet.compression-codec",
    "write.delete.target-file-size-bytes",
    "write.distribution-mode",
    "write.extended-statistics.enabled",
    "write.extended-statistics.interval-ms",
    "write.format.default",
    "write.location-provider.impl",
    "write.manifest-lists.enabled",
    "write.merge.distribution-mode",
    "write.merge.isolation-level",
    "write.merge.mode",
    "write.metadata.compression-codec",
    "write.metadata.delete-after-commit.enabled",
    "write.metadata.metrics.column.",
    "write.metadata.metrics.default",
    "write.metadata.metrics.max-inferred-column-defaults",
    "write.metadata.path",
    "write.metadata.previous-versions-max",
    "write.object-storage.enabled",
    "write.object-storage.partitioned-paths",
    "write.orc.block-size-bytes",
    "write.orc.compression-codec",
    "write.orc.compression-strategy",
    "write.orc.stripe-size-bytes",
    "write.parquet.bloom-filter-enabled.column.",
    "write.parquet.bloom-filter-fpp.column.",
    "write.parquet.bloom-filter-max-bytes",
    "write.parquet.compression-codec",
    "write.parquet.compression-level",
    "write.parquet.dict-size-bytes",
    "write.parquet.page-row-limit",
    "write.parquet.page-size-bytes",
    "write.parquet.page-version",
    "write.parquet.row-group-check-max-record-count",
    "write.parquet.row-group-check-min-record-count",
    "write.parquet.row-group-size-bytes",
    "write.parquet.stats-enabled.column.",
    "write.spark.accept-any-schema",
    "write.spark.advisory-partition-size-bytes",
    "write.spark.fanout.enabled",
    "write.summary.partition-limit",
    "write.target-file-size-bytes",
    "write.update.distribution-mode",
    "write.update.isolation-level",
    "write.update.mode",
    "write.upsert.enabled",
    "write.wap.enabled",
];

/// How many edits away from a known name a slip may be.
const SLIP_EDITS_MAX: usize = 3;

/// What a key is as a table property.
pub(super) enum Property {
    /// Goes to the table as it is.
    PassesThrough,
    /// Looks like a slip for a known one.
    MeantFor(&'static str),
    /// Not a table property.
    No,
}

pub(super) fn classify(key: &str) -> Property {
    let known = KNOWN.iter().any(|name| *name == key || (name.ends_with('.') && key.starts_with(name)));
    if known {
        return Property::PassesThrough;
    }
    if let Some(meant) = slip_for(key) {
        return Property::MeantFor(meant);
    }
    match PREFIXES.iter().any(|prefix| key.starts_with(prefix) && key.len() > prefix.len()) {
        true => Property::PassesThrough,
        false => Property::No,
    }
}

/// The names that an error may suggest.
pub(super) fn names() -> impl Iterator<Item = &'static str> + Clone {
    KNOWN.iter().copied()
}

fn slip_for(key: &str) -> Option<&'static str> {
    let folded = key.to_ascii_lowercase().replace('_', "-");
    KNOWN
        .iter()
        .filter(|name| !name.ends_with('.'))
        .map(|name| (strsim::damerau_levenshtein(&folded, name), *name))
        .filter(|(edits, _)| *edits <= SLIP_EDITS_MAX)
        .min()
        .map(|(_, name)| name)
}
