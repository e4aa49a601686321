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
    mend_header(&manifest, Definitions::Once).map_or(manifest, Bytes::from)
}

/// A manifest as the ground crate's decoder takes it; otherwise as [`for_readers`].
pub(crate) fn for_decoder(manifest: Bytes) -> Bytes {
    mend_header(&manifest, Definitions::Each).map_or(manifest, Bytes::from)
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

const MAGIC: &[u8] = b"Obj\x01";
const PARTITION_SPEC: &[u8] = b"partition-spec";
const AVRO_SCHEMA: &[u8] = b"avro.schema";

/// The manifest with another header; `None` if its header may stay or is none.
fn mend_header(manifest: &[u8], definitions: Definitions) -> Option<Vec<u8>> {
    let mut rest = manifest.strip_prefix(MAGIC)?;
    let mut entries = Vec::new();
    loop {
        let count = read_long(&mut rest)?;
        if count == 0 {
            break;
        }
        if count < 0 {
            read_long(&mut rest)?;
        }
        for _ in 0..count.unsigned_abs() {
            entries.push((read_bytes(&mut rest)?, read_bytes(&mut rest)?.to_vec()));
        }
    }
    let value_of = |key| entries.iter().position(|(found, _)| *found == key);
    let (spec, schema) = (value_of(PARTITION_SPEC)?, value_of(AVRO_SCHEMA)?);
    let mut json: Value = serde_json::from_slice(&entries[spec].1).ok()?;
    let is_renamed = rename(&mut json);
    if is_renamed {
        entries[spec].1 = json.to_string().into_bytes();
    }
    // Nearly no manifest has anything to mend, and its schema is some kilobytes of JSON.
    const FIXED: &[u8] = b"\"fixed\"";
    if !is_renamed && !entries[schema].1.windows(FIXED.len()).any(|part| part == FIXED) {
        return None;
    }
    let mut json: Value = serde_json::from_slice(&entries[schema].1).ok()?;
    if is_renamed {
        rename(partition_fields(&mut json)?);
    }
    if definitions.apply(&mut json, &mut HashMap::new()) == 0 && !is_renamed {
        return None;
    }
    entries[schema].1 = json.to_string().into_bytes();
    let mut renamed = MAGIC.to_vec();
    write_long(&mut renamed, entries.len() as i64);
    for (key, value) in &entries {
        write_bytes(&mut renamed, key);
        write_bytes(&mut renamed, value);
    }
    write_long(&mut renamed, 0);
    renamed.extend_from_slice(rest);
    Some(renamed)
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

/// Avro's `long`: zigzag, seven bits a byte, lowest first.
fn read_long(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

fn read_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(read_long(bytes)?).ok()?;
    let (value, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(value)
}

fn write_long(bytes: &mut Vec<u8>, value: i64) {
    let mut value = (value << 1 ^ value >> 63) as u64;
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn write_bytes(bytes: &mut Vec<u8>, value: &[u8]) {
    write_long(bytes, value.len() as i64);
    bytes.extend_from_slice(value);
}

#[cfg(test)]
mod tests;
