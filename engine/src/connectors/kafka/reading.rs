//! How the records of a topic become rows.

use crate::Result;
use crate::changelog::{Changelog, RowKind};
use crate::connectors::columns::FieldError;
use crate::connectors::debezium::DebeziumEncoding;
use crate::connectors::decode::{Decoder, Format};
use crate::connectors::definition::TableDefinition;
use crate::connectors::error::SourceError;
use crate::connectors::format;
use crate::connectors::json::Part;
use crate::options::Checked;
use crate::suggest::nearest_one;

/// What a record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reading {
    /// Its value is a row.
    Values,
    /// Its key and its value are parts of a row.
    KeysAndValues(KeyFields),
    /// Its value is a change event of Debezium.
    Debezium(DebeziumEncoding),
    /// It says what the row of its key is now; without a value, that the row is gone.
    Upserts(KeyFields),
}

/// Which columns stand in the records' keys, and which in their values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyFields {
    names: Vec<String>,
    key: Part,
    value: Part,
    /// The value has the key's columns too (`'value.fields-include' = 'ALL'`), and is what counts.
    is_in_value: bool,
}

impl Reading {
    /// What the keys of the connector `kafka` say.
    ///
    /// # Errors
    /// [`SourceError::Definition`] for keys that go together and do not fit.
    pub(super) fn of_kafka(table: &TableDefinition, options: &Checked) -> Result<Self> {
        let name = match (options.text_opt("format"), options.text_opt("value.format")) {
            (Some(_), Some(_)) => return Err(definition(table, "'format' and 'value.format' are one; take one away")),
            (format, value_format) => format.or(value_format).unwrap_or("json"),
        };
        format::check_keys_of(name, &table.options)?;
        let fields = KeyFields::of_kafka(table, options)?.filter(|fields| !fields.is_in_value);
        match (name, fields) {
            ("debezium-json", None) => Ok(Self::Debezium(format::debezium_encoding(table, options))),
            ("debezium-json", Some(_)) => {
                let reason =
                    "the events of debezium-json have whole rows in them; 'value.fields-include' has to be 'ALL'";
                Err(definition(table, reason))
            }
            (_, None) => Ok(Self::Values),
            (_, Some(_)) if options.boolean("schema.inference") => {
                let reason = "'schema.inference' looks at values only; 'value.fields-include' has to be 'ALL'";
                Err(definition(table, reason))
            }
            (_, Some(fields)) => Ok(Self::KeysAndValues(fields)),
        }
    }

    /// What values are written in.
    pub(super) fn format(&self) -> Format {
        match self {
            Self::Debezium(encoding) => Format::Debezium(*encoding),
            Self::Values | Self::KeysAndValues(_) | Self::Upserts(_) => Format::Json,
        }
    }

    /// For a person: connector and format.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Values | Self::KeysAndValues(_) => "kafka json",
            Self::Debezium(_) => "kafka debezium-json",
            Self::Upserts(_) => "upsert-kafka json",
        }
    }

    /// Whether the rows are changes.
    pub(super) fn changelog(&self) -> Option<Changelog> {
        match self {
            Self::Values | Self::KeysAndValues(_) => None,
            Self::Debezium(_) => Some(Changelog::WholeRows),
            Self::Upserts(fields) => Some(Changelog::Keys(fields.names.clone())),
        }
    }

    /// Adds what a record says to the rows: nothing, one row, or two.
    ///
    /// # Errors
    /// What is wrong with the record; then the rows are as they were.
    pub(super) fn append(
        &self,
        decoder: &mut Decoder,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), FieldError> {
        let some_key =
            || key.ok_or_else(|| FieldError::new("the record has no key, and the key says which row it is of"));
        match (self, value) {
            // Kafka's sign to forget the key; Debezium told of the delete by the record before.
            (Self::Debezium(_), None) => Ok(()),
            (Self::Upserts(fields), None) => decoder.append_parts(&[(&fields.key, some_key()?)], Some(RowKind::Delete)),
            (_, None) => Err(FieldError::new(
                "the record has no value (it is a tombstone); 'connector' = 'upsert-kafka' takes it for a delete",
            )),
            (Self::Values | Self::Debezium(_), Some(value)) => decoder.append(value),
            (Self::KeysAndValues(fields), Some(value)) => {
                decoder.append_parts(&[(&fields.key, some_key()?), (&fields.value, value)], None)
            }
            (Self::Upserts(fields), Some(value)) => {
                let key = (&fields.key, some_key()?);
                let value = (&fields.value, value);
                let kind = Some(RowKind::UpdateAfter);
                match fields.is_in_value {
                    true => decoder.append_parts(&[value], kind),
                    false => decoder.append_parts(&[key, value], kind),
                }
            }
        }
    }
}

impl KeyFields {
    /// What `key.fields` says; `None` without it.
    fn of_kafka(table: &TableDefinition, options: &Checked) -> Result<Option<Self>> {
        match (options.text_opt("key.fields"), options.text_opt("key.format")) {
            (Some(names), Some(_)) => {
                let names = names.split(';').map(|name| name.trim().to_owned()).collect();
                Self::new(table, options, names).map(Some)
            }
            (Some(_), None) => Err(definition(table, "'key.fields' needs 'key.format' = 'json'")),
            (None, Some(_)) => {
                let reason = "'key.format' needs 'key.fields': the columns that stand in the records' keys, with ; \
                              between them";
                Err(definition(table, reason))
            }
            (None, None) => {
                let unused = ["key.fields-prefix", "key.json.ignore-parse-errors"];
                let unused = unused.into_iter().find(|key| table.options.get(key).is_some());
                let except_key = options.text("value.fields-include") == "EXCEPT_KEY";
                match unused.or(except_key.then_some("value.fields-include")) {
                    Some(key) => Err(definition(table, format!("'{key}' needs 'key.format' and 'key.fields'"))),
                    None => Ok(None),
                }
            }
        }
    }

    /// The key of `upsert-kafka`, which the table's primary key is.
    ///
    /// # Errors
    /// [`SourceError::Definition`] for a table without one, and for `key.fields` that are others.
    pub(super) fn of_upserts(table: &TableDefinition, options: &Checked) -> Result<Self> {
        let names = table.primary_key.clone();
        if names.is_empty() {
            let reason = "it needs a PRIMARY KEY (…) NOT ENFORCED: the columns of the records' keys";
            return Err(definition(table, reason));
        }
        if let Some(fields) = options.text_opt("key.fields") {
            let fields: Vec<_> = fields.split(';').map(str::trim).collect();
            if fields.len() != names.len() || fields.iter().any(|field| !names.iter().any(|name| name == field)) {
                let reason = "the PRIMARY KEY says what stands in the records' keys; take 'key.fields' away";
                return Err(definition(table, reason));
            }
        }
        Self::new(table, options, names)
    }

    fn new(table: &TableDefinition, options: &Checked, names: Vec<String>) -> Result<Self> {
        let schema = table.data_schema();
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        if let Some(name) = names.iter().find(|name| !columns.contains(&name.as_str())) {
            let near = nearest_one(name, columns.iter().copied());
            let help = near.map(|near| format!("; did you mean '{near}'?")).unwrap_or_default();
            return Err(definition(table, format!("the records' keys have no column '{name}' of the table{help}")));
        }
        let prefix = options.text_opt("key.fields-prefix").unwrap_or_default();
        let is_in_value = options.text("value.fields-include") == "ALL";
        if !prefix.is_empty() && is_in_value {
            let reason = "'key.fields-prefix' is for columns that values do not have: 'value.fields-include' has to be \
                          'EXCEPT_KEY'";
            return Err(definition(table, reason));
        }
        if let Some(name) = names.iter().find(|name| !name.starts_with(prefix)) {
            let reason =
                format!("'key.fields-prefix' = '{prefix}', and the key's column '{name}' does not begin with it");
            return Err(definition(table, reason));
        }
        let of_key: Vec<bool> = columns.iter().map(|column| names.iter().any(|name| name == column)).collect();
        let of_value = of_key.iter().map(|of_key| is_in_value || !of_key).collect();
        Ok(Self {
            names,
            key: Part { place: "key", columns: of_key, prefix: prefix.to_owned() },
            value: Part { place: "value", columns: of_value, prefix: String::new() },
            is_in_value,
        })
    }
}

fn definition(table: &TableDefinition, reason: impl Into<String>) -> crate::Error {
    Box::new(SourceError::Definition { table: table.name.clone(), reason: reason.into() }).into()
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::connectors::kafka::KafkaSource;

    fn table(options: &[(&str, &str)]) -> TableDefinition {
        let common = [("connector", "kafka"), ("topic", "t"), ("properties.bootstrap.servers", "127.0.0.1:9092")];
        let fields = vec![Field::new("id", DataType::Int64, false), Field::new("v", DataType::Utf8, false)];
        TableDefinition::new("t", &Schema::new(fields), common.iter().chain(options).copied())
    }

    #[test]
    fn what_does_not_fit_is_found_without_a_broker() {
        let (json, id) = (("key.format", "json"), ("key.fields", "id"));
        let except_key = ("value.fields-include", "EXCEPT_KEY");
        let debezium = ("value.format", "debezium-json");
        for (options, wanted) in [
            (&[json][..], "needs 'key.fields'"),
            (&[id], "needs 'key.format'"),
            (&[except_key], "'value.fields-include' needs"),
            (&[("key.fields-prefix", "k_")], "'key.fields-prefix' needs"),
            (&[json, ("key.fields", "id; idd")], "no column 'idd' of the table; did you mean 'id'?"),
            (&[json, id, ("key.fields-prefix", "k_")], "has to be 'EXCEPT_KEY'"),
            (&[json, id, except_key, ("key.fields-prefix", "k_")], "'id' does not begin with it"),
            (&[json, id, except_key, ("schema.inference", "true")], "has to be 'ALL'"),
            (&[json, id, except_key, debezium], "has to be 'ALL'"),
            (&[("format", "json"), debezium], "take one away"),
            (&[debezium, ("json.ignore-parse-errors", "true")], "debezium-json.ignore-parse-errors"),
            (&[("value.debezium-json.schema-include", "true")], "'debezium-json.schema-include'"),
            (&[debezium, ("on-error", "dead-letter")], "let it be 'fail' or 'skip'"),
            (
                &[json, id, ("key.json.ignore-parse-errors", "true"), ("value.json.ignore-parse-errors", "false")],
                "contradicts 'key.json.ignore-parse-errors'",
            ),
        ] {
            let error = KafkaSource::new(&table(options)).unwrap_err().to_string();
            assert!(error.contains(wanted), "{options:?}: {error}");
        }
        KafkaSource::new(&table(&[json, id, except_key])).unwrap();
        let events = KafkaSource::new(&table(&[debezium, ("value.debezium-json.schema-include", "true")])).unwrap();
        assert_eq!(events.shared.reading, Reading::Debezium(DebeziumEncoding { schema_include: true }));
    }

    #[test]
    fn a_topic_of_upserts_has_the_primary_key_in_its_keys() {
        let formats = [("key.format", "json"), ("value.format", "json")];
        let upserting = |primary_key: &[&str], options: &[(&str, &str)]| {
            let primary_key = primary_key.iter().map(|name| (*name).to_owned()).collect();
            KafkaSource::upserting(&TableDefinition { primary_key, ..table(&[&formats, options].concat()) })
        };
        for (primary_key, options, wanted) in [
            (&[][..], &[][..], "PRIMARY KEY"),
            (&["id"], &[("key.fields", "v")], "take 'key.fields' away"),
            (&["id"], &[("scan.startup.mode", "latest-offset")], "scan.startup.mode"),
            (&["id"], &[("on-error", "dead-letter")], "let it be 'fail' or 'skip'"),
        ] {
            let error = upserting(primary_key, options).unwrap_err().to_string();
            assert!(error.contains(wanted), "{options:?}: {error}");
        }
        let source = upserting(&["id"], &[("key.fields", "id")]).unwrap();
        assert_eq!(source.shared.reading.changelog(), Some(Changelog::Keys(vec!["id".to_owned()])));
        let nullable: Vec<_> = source.shared.schema.fields().iter().map(|field| field.is_nullable()).collect();
        assert_eq!(nullable, [false, true], "of a row that is gone only the key is known");
    }
}
