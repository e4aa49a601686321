//! What may stand in the `WITH` of an Iceberg table, and in a hint at one.

use frazil_table::Table;

use crate::options::{Kind, Options, Schema, Spec};
use crate::upsert::UPSERT_ENABLED;

/// Options of a job that are kept as properties of the table, under their own names.
const JOB_OPTIONS: [&str; 13] = [
    UPSERT_ENABLED,
    "schema.evolution",
    "auto-compact",
    "compact.delta.commits",
    "compact.delete-ratio",
    "compact.cooling-ms",
    "compact.equality-deletes-max",
    "streaming",
    "monitor-interval",
    "starting-strategy",
    "start-snapshot-id",
    "start-snapshot-timestamp",
    "start-tag",
];

const STARTING_STRATEGIES: [&str; 5] = [
    "TABLE_SCAN_THEN_INCREMENTAL",
    "INCREMENTAL_FROM_LATEST_SNAPSHOT",
    "INCREMENTAL_FROM_EARLIEST_SNAPSHOT",
    "INCREMENTAL_FROM_SNAPSHOT_ID",
    "INCREMENTAL_FROM_SNAPSHOT_TIMESTAMP",
];

/// Every key that an Iceberg table takes: those of jobs that write and read it, and Iceberg's table properties.
pub fn iceberg_schema_of_options() -> Schema {
    Schema::new("connector 'iceberg'")
        .key(Spec::new("connector", Kind::OneOf(&["iceberg"])))
        .key(Spec::new("location", Kind::Text))
        .key(Spec::new("auto-compact", Kind::Boolean))
        .key(Spec::new("compact.delta.commits", Kind::COUNT))
        .key(Spec::new("compact.delete-ratio", Kind::Ratio))
        .key(Spec::new("compact.cooling-ms", Kind::Integer { min: 0, max: i64::MAX }))
        .key(Spec::new("compact.equality-deletes-max", Kind::Integer { min: 0, max: i64::MAX }))
        .key(Spec::new(UPSERT_ENABLED, Kind::Boolean))
        .key(Spec::new("schema.evolution", Kind::OneOf(&["none", "add-columns"])))
        .key(Spec::new("streaming", Kind::Boolean))
        .key(Spec::new("monitor-interval", Kind::Duration))
        .key(Spec::new("starting-strategy", Kind::OneOf(&STARTING_STRATEGIES)))
        .key(Spec::new("start-snapshot-id", Kind::Integer { min: i64::MIN, max: i64::MAX }))
        .key(Spec::new("start-snapshot-timestamp", Kind::Integer { min: 0, max: i64::MAX }))
        .key(Spec::new("start-tag", Kind::Text))
        .table_properties()
}

/// Whether a key of `WITH` becomes a property of the table.
pub(super) fn is_property(key: &str) -> bool {
    !matches!(key, "connector" | "location" | "format-version")
}

/// The options of jobs that a table carries.
pub(super) fn of_table(table: &Table) -> Options {
    let known = JOB_OPTIONS.iter().filter_map(|key| Some((*key, table.property(key)?)));
    Options::from_pairs(known)
}
