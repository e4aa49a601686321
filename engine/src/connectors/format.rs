//! The options that say how rows are written, which connectors share.

use std::sync::Arc;

use super::csv::Layout;
use super::debezium::DebeziumEncoding;
use super::decode::{Format, OnError};
use super::definition::TableDefinition;
use super::error::SourceError;
use super::infer::Inference;
use crate::Result;
use crate::options::{Checked, Entry, Kind, Options, Schema, Spec};

/// What the files of a source are written in.
#[derive(Debug, Clone)]
pub(super) enum Encoding {
    Json,
    Debezium(DebeziumEncoding),
    Csv(CsvEncoding),
    Parquet,
}

/// How CSV files are written.
#[derive(Debug, Clone)]
pub(super) struct CsvEncoding {
    pub(super) delimiter: u8,
    pub(super) null_literal: Option<String>,
    pub(super) header: CsvHeader,
}

/// What the first line of a CSV file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CsvHeader {
    /// The names of its columns, by which they are found.
    Names,
    /// Passed over: columns are in the table's order.
    Ignore,
    /// A row: columns are in the table's order.
    None,
}

impl Encoding {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Debezium(_) => "debezium-json",
            Self::Csv(_) => "csv",
            Self::Parquet => "parquet",
        }
    }

    /// For records in the table's order of `columns` columns.
    pub(super) fn format(&self, columns: usize) -> Format {
        match self {
            Self::Csv(csv) => Format::Csv(csv.layout((0..columns).map(Some).collect())),
            Self::Debezium(debezium) => Format::Debezium(*debezium),
            Self::Json | Self::Parquet => Format::Json,
        }
    }
}

impl CsvEncoding {
    /// `columns`: for each field of a record the table's column.
    pub(super) fn layout(&self, columns: Vec<Option<usize>>) -> Layout {
        Layout { delimiter: self.delimiter, null_literal: self.null_literal.clone(), columns }
    }
}

/// After such a silence a split no longer holds the watermark back, as Flink calls it.
pub(crate) const WATERMARK_IDLE_TIMEOUT: &str = "scan.watermark.idle-timeout";

/// Flink's names for `'on-error' = 'skip'`.
const IGNORE_PARSE_ERRORS: [&str; 6] = [
    "json.ignore-parse-errors",
    "csv.ignore-parse-errors",
    "debezium-json.ignore-parse-errors",
    "key.json.ignore-parse-errors",
    "value.json.ignore-parse-errors",
    "value.debezium-json.ignore-parse-errors",
];

/// Keys of every source that makes batches of rows.
pub(super) fn batch_options() -> Schema {
    let rows = Kind::Integer { min: 1, max: 1_000_000 };
    Schema::new("a batch")
        .key(Spec::new("batch-rows", rows).default("8192"))
        .key(Spec::new(WATERMARK_IDLE_TIMEOUT, Kind::Duration).default("1 min"))
        .key(Spec::new("on-error", Kind::OneOf(&["fail", "skip", "dead-letter"])))
}

/// Keys of the format `json`.
pub(super) fn json_options() -> Schema {
    Schema::new("format 'json'")
        .key(Spec::new("json.ignore-parse-errors", Kind::Boolean))
        .key(Spec::new("schema.inference", Kind::Boolean).default("false"))
}

/// Keys of the format `csv`.
pub(super) fn csv_options() -> Schema {
    Schema::new("format 'csv'")
        .key(Spec::new("csv.field-delimiter", Kind::Text).default(","))
        .key(Spec::new("csv.header", Kind::OneOf(&["names", "ignore", "none"])).default("names"))
        .key(Spec::new("csv.null-literal", Kind::Text))
        .key(Spec::new("csv.ignore-parse-errors", Kind::Boolean))
}

/// Keys of the format `debezium-json`.
pub(super) fn debezium_options() -> Schema {
    Schema::new("format 'debezium-json'")
        .key(Spec::new("debezium-json.schema-include", Kind::Boolean).default("false"))
        .key(Spec::new("debezium-json.ignore-parse-errors", Kind::Boolean))
}

/// What the keys of [`debezium_options`] say; `value.debezium-json.…` are the same, as Flink has them for Kafka.
pub(super) fn debezium_encoding(table: &TableDefinition, options: &Checked) -> DebeziumEncoding {
    let of_value = "value.debezium-json.schema-include";
    // Not every connector has it: only what was written is known to be declared.
    let schema_include = match table.options.get(of_value) {
        Some(_) => options.boolean_opt(of_value).unwrap_or(false),
        None => options.boolean("debezium-json.schema-include"),
    };
    DebeziumEncoding { schema_include }
}

/// Why bad records of changes are not put aside.
pub(super) fn changes_are_not_put_aside(table: &TableDefinition) -> crate::Error {
    let reason = "'on-error' = 'dead-letter' is for rows, and these records are changes of rows: without one of them the \
                  others may be wrong; let it be 'fail' or 'skip'";
    definition(table, reason.to_owned())
}

/// Refuses the keys of one format beside another: nobody would read them.
///
/// # Errors
/// Names the key, and those that the format has.
pub(super) fn check_keys_of(format: &str, options: &Options) -> Result<()> {
    let mut written = Options::new();
    for entry in options.iter() {
        let key = entry.key.strip_prefix("value.").unwrap_or(&entry.key);
        if ["json.", "csv.", "debezium-json."].iter().any(|prefix| key.starts_with(prefix)) {
            written.put(Entry { key: key.to_owned(), ..entry.clone() });
        }
    }
    let schema = match format {
        "csv" => csv_options(),
        "json" => json_options(),
        "debezium-json" => debezium_options(),
        other => Schema::new(format!("format '{other}'")),
    };
    schema.check(&written)?;
    Ok(())
}

/// What `on-error` and Flink's names for it say.
///
/// # Errors
/// [`SourceError::Definition`] when they contradict each other.
pub(super) fn on_error(table: &TableDefinition, options: &Checked) -> Result<OnError> {
    let mut wanted = options.text_opt("on-error").map(|word| match word {
        "skip" => ("on-error", OnError::Skip),
        "dead-letter" => ("on-error", OnError::DeadLetter),
        _ => ("on-error", OnError::Fail),
    });
    for key in IGNORE_PARSE_ERRORS {
        // Not every connector has all formats: only what was written is known to be declared.
        if table.options.get(key).is_none() {
            continue;
        }
        let ignore = options.boolean_opt(key).unwrap_or(false);
        let alias = if ignore { OnError::Skip } else { OnError::Fail };
        if let Some((other, _)) = wanted.filter(|(_, wanted)| *wanted != alias) {
            let reason = format!("'{key}' = '{ignore}' contradicts '{other}'; take one of them away");
            return Err(definition(table, reason));
        }
        wanted = Some((key, alias));
    }
    Ok(wanted.map_or(OnError::Fail, |(_, on_error)| on_error))
}

/// Where the subtasks of a source agree on the columns that they find, if its options say so (`schema.inference`); the
/// declared ones are there from the start.
///
/// # Errors
/// [`SourceError::Definition`] when there are no columns and none are to be found, or the format can't find any.
pub(super) fn inference(table: &TableDefinition, options: &Checked, is_json: bool) -> Result<Option<Arc<Inference>>> {
    let declared = table.data_schema();
    match (options.boolean("schema.inference"), is_json) {
        (true, true) => Ok(Some(Arc::new(Inference::new(declared.fields().clone())))),
        (true, false) => Err(definition(table, "'schema.inference' needs 'format' = 'json'".to_owned())),
        (false, _) if table.columns.is_empty() => {
            let reason = "it has no columns; declare them, or set 'schema.inference' = 'true' (format json)";
            Err(definition(table, reason.to_owned()))
        }
        (false, _) => Ok(None),
    }
}

/// What the keys of [`csv_options`] say.
///
/// # Errors
/// [`SourceError::Definition`] when the delimiter is not one ASCII character.
pub(super) fn csv_encoding(table: &TableDefinition, options: &Checked) -> Result<CsvEncoding> {
    let delimiter = match options.text("csv.field-delimiter") {
        r"\t" => b'\t',
        text => match text.as_bytes() {
            [byte] if byte.is_ascii() && !b"\"\r\n".contains(byte) => *byte,
            _ => {
                let reason = "'csv.field-delimiter' has to be one ASCII character, but no quote and no line end";
                return Err(definition(table, reason.to_owned()));
            }
        },
    };
    Ok(CsvEncoding {
        delimiter,
        null_literal: options.text_opt("csv.null-literal").map(str::to_owned),
        header: match options.text("csv.header") {
            "ignore" => CsvHeader::Ignore,
            "none" => CsvHeader::None,
            _ => CsvHeader::Names,
        },
    })
}

fn definition(table: &TableDefinition, reason: String) -> crate::Error {
    let table = table.name.clone();
    Box::new(SourceError::Definition { table, reason }).into()
}
