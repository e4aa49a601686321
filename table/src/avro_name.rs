//! The names in a manifest's Avro schema.
//!
//! A manifest's Avro schema has a record field for each partition field, and Avro's names are `[A-Za-z_][A-Za-z0-9_]*`,
//! while Iceberg's are any text (`person.id_bucket`, as engines name the partitioning by a nested column). Iceberg's Java
//! library writes such names in a changed form (`person_x2Eid_bucket`), and readers match the fields by id. The ground
//! crate does neither: it writes manifests that nobody can open, and reads nulls from Java's. So names are changed here,
//! the same way, before it writes and before it reads; what a partition means does not depend on them.
//!
//! A named type is defined once in an Avro schema and used by its name from then on. The ground crate defines the type of
//! decimals at each use, so that Java can't open its manifests of a table with two partition fields of one decimal type,
//! and it can't read Java's. So the schema is changed behind it when it writes, and before it reads.

use std::collections::HashMap;
use std::fmt::Write;

use bytes::Bytes;
use serde_json::Value;

use crate::avro::{Header, with_mended_header};
use crate::spec::PartitionSpec;
use crate::{Error, Result};

/// The spec with the names that a manifest's Avro schema has.
///
/// # Errors
/// [`Error::InvalidChange`] if two fields would have the same name.
pub(crate) fn with_avro_names(spec: &PartitionSpec) -> Result<PartitionSpec> {
    if spec.fields().iter().all(|field| is_avro_name(&field.name)) {
        return Ok(spec.clone());
    }
    let invalid =
        |reason: String| Error::InvalidChange(format!("partition spec {} has no Avro names: {reason}", spec.spec_id()));
    let mut json = serde_json::to_value(spec).map_err(|error| invalid(error.to_string()))?;
    rename(&mut json["fields"]);
    let renamed: PartitionSpec = serde_json::from_value(json).map_err(|error| invalid(error.to_string()))?;
    let mut names: Vec<_> = renamed.fields().iter().map(|field| &field.name).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(invalid(format!("two of its fields become {}", pair[0]))),
        None => Ok(renamed),
    }
}

/// A manifest as every reader takes it: its partition fields have Avro's names both in its schema and in the partition spec
/// that it carries, and its schema defines each type once. Bytes that are no manifest are given back as they are: whoever
/// parses them says what is wrong.
pub(crate) fn for_readers(manifest: Bytes) -> Bytes {
    with_mended_header(&manifest, |header| mend(header, Definitions::Once).is_some()).map_or(manifest, Bytes::from)
}

/// Makes of a manifest's header one that the ground crate's decoder takes; otherwise as [`for_readers`]. Says whether it
/// changed anything.
pub(crate) fn for_decoder(header: &mut Header<'_>) -> bool {
    mend(header, Definitions::Each).is_some()
}

fn is_avro_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// As Java's `AvroSchemaUtil.makeCompatibleName`, but letters outside of ASCII are changed too.
fn avro_name(name: &str) -> String {
    let mut changed = String::with_capacity(name.len());
    for (position, unit) in name.encode_utf16().enumerate() {
        match u8::try_from(unit).map(char::from) {
            Ok(digit @ '0'..='9') if position == 0 => changed.extend(['_', digit]),
            Ok(plain) if plain.is_ascii_alphanumeric() || plain == '_' => changed.push(plain),
            _ => write!(changed, "_x{unit:X}").expect("a string takes all that is written to it"),
        }
    }
    if changed.is_empty() { "_".to_owned() } else { changed }
}

/// Gives each object of a list the Avro form of its `name`. Says whether one changed.
fn rename(fields: &mut Value) -> bool {
    let mut changed = false;
    for field in fields.as_array_mut().into_iter().flatten() {
        if let Some(Value::String(name)) = field.get_mut("name")
            && !is_avro_name(name)
        {
            *name = avro_name(name);
            changed = true;
        }
    }
    changed
}

const PARTITION_SPEC: &[u8] = b"partition-spec";

/// `None` if the header may stay, or is not a manifest's.
fn mend(header: &mut Header<'_>, definitions: Definitions) -> Option<()> {
    let mut spec: Value = serde_json::from_slice(header.get(PARTITION_SPEC)?).ok()?;
    let is_renamed = rename(&mut spec);
    let schema = header.schema()?;
    // Nearly no manifest has anything to mend, and its schema is some kilobytes of JSON.
    const FIXED: &[u8] = b"\"fixed\"";
    if !is_renamed && !schema.windows(FIXED.len()).any(|part| part == FIXED) {
        return None;
    }
    let mut schema: Value = serde_json::from_slice(schema).ok()?;
    if is_renamed {
        rename(partition_fields(&mut schema)?);
    }
    if definitions.apply(&mut schema, &mut HashMap::new()) == 0 && !is_renamed {
        return None;
    }
    if is_renamed {
        header.set(PARTITION_SPEC, spec.to_string().into_bytes());
    }
    header.set_schema(schema.to_string().into_bytes());
    Some(())
}

/// How often a schema defines a named type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Definitions {
    /// At its first use, as Avro has it.
    Once,
    /// At each use, under another name each time: the ground crate's decoder finds no types by name.
    Each,
}

impl Definitions {
    /// Counts the types in a schema that are written in another way now. Only fixed types are used more than once.
    fn apply(self, schema: &mut Value, known: &mut HashMap<String, Value>) -> usize {
        let name = match &*schema {
            Value::String(name) => name.clone(),
            Value::Array(_) => return self.apply_all(schema.as_array_mut().into_iter().flatten(), known),
            Value::Object(object) => match object.get("type").and_then(Value::as_str) {
                Some("fixed") => object.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
                Some("record") => {
                    let fields = schema.get_mut("fields").and_then(Value::as_array_mut).into_iter().flatten();
                    return self.apply_all(fields.filter_map(|field| field.get_mut("type")), known);
                }
                Some("array") => return self.apply_all(schema.get_mut("items"), known),
                Some("map") => return self.apply_all(schema.get_mut("values"), known),
                _ => return self.apply_all(schema.get_mut("type").filter(|inner| !inner.is_string()), known),
            },
            _ => return 0,
        };
        let uses = known.len();
        match (known.get(&name), self) {
            (None, _) if schema.is_object() => drop(known.insert(name, schema.clone())),
            (Some(first), Self::Once) if first == schema => {
                *schema = Value::String(name);
                return 1;
            }
            (Some(first), Self::Each) => {
                *schema = first.clone();
                let name = format!("{name}_{uses}");
                schema["name"] = Value::String(name.clone());
                known.insert(name, schema.clone());
                return 1;
            }
            _ => {}
        }
        0
    }

    fn apply_all<'a>(
        self,
        schemas: impl IntoIterator<Item = &'a mut Value>,
        known: &mut HashMap<String, Value>,
    ) -> usize {
        schemas.into_iter().map(|schema| self.apply(schema, known)).sum()
    }
}

/// The fields of the partition record in a manifest's Avro schema (Iceberg spec, "Manifests": field 102 of field 2).
fn partition_fields(schema: &mut Value) -> Option<&mut Value> {
    let data_file = field(schema, "data_file")?;
    let partition = field(data_file.get_mut("type")?, "partition")?;
    partition.get_mut("type")?.get_mut("fields")
}

fn field<'a>(record: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    record.get_mut("fields")?.as_array_mut()?.iter_mut().find(|field| field["name"] == name)
}

#[cfg(test)]
mod tests;
