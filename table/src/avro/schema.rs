//! A container's schema, as far as the length of values depends on it (Avro specification, "Schema Declaration").

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

/// The shape of values. A type that is used by name is shared.
#[derive(Debug, PartialEq)]
pub(super) enum Schema {
    Null,
    Boolean,
    /// Numbers of variable length, and enums.
    Number,
    /// Strings and bytes.
    Sized,
    /// So many bytes: floats and doubles too.
    Fixed(u64),
    Union(Vec<Arc<Schema>>),
    Record(Vec<Arc<Schema>>),
    Array(Arc<Schema>),
    Map(Arc<Schema>),
}

/// A manifest's schema nests eight deep.
const DEPTH_MAX: usize = 32;

/// Types in a schema, those that are used by name counted at each use: the partition of a manifest may have hundreds.
const TYPES_MAX: u64 = 10_000;

/// Longer fixed values are none of Iceberg's bounds or partition values.
const FIXED_BYTES_MAX: u64 = 1 << 20;

impl Schema {
    pub(super) fn parse(json: &[u8]) -> Result<Arc<Self>, String> {
        let json: Value = serde_json::from_slice(json).map_err(|error| format!("its schema is no JSON: {error}"))?;
        let mut parser = Parser { named: HashMap::new() };
        let parsed = parser.parse(&json, "", 0).map_err(|reason| format!("its schema: {reason}"))?;
        Ok(parsed.schema)
    }
}

#[derive(Clone)]
struct Parsed {
    schema: Arc<Schema>,
    /// Types in it.
    types: u64,
}

impl Parsed {
    fn leaf(schema: Schema) -> Self {
        Self { schema: Arc::new(schema), types: 1 }
    }

    fn of(schema: impl FnOnce(Vec<Arc<Schema>>) -> Schema, parts: Vec<Self>) -> Result<Self, String> {
        let types = parts.iter().map(|part| part.types).sum::<u64>() + 1;
        if types > TYPES_MAX {
            return Err(format!("it holds more than {TYPES_MAX} types"));
        }
        let parts = parts.into_iter().map(|part| part.schema).collect();
        Ok(Self { schema: Arc::new(schema(parts)), types })
    }
}

struct Parser {
    /// By full name; `None` while the type is being read, so that it can't contain itself.
    named: HashMap<String, Option<Parsed>>,
}

impl Parser {
    fn parse(&mut self, json: &Value, namespace: &str, depth: usize) -> Result<Parsed, String> {
        if depth > DEPTH_MAX {
            return Err(format!("it nests more than {DEPTH_MAX} deep"));
        }
        match json {
            Value::String(name) => self.named(name, namespace),
            Value::Array(branches) => {
                let branches = branches.iter().map(|branch| self.parse(branch, namespace, depth + 1));
                Parsed::of(Schema::Union, branches.collect::<Result<_, _>>()?)
            }
            Value::Object(object) => self.object(object, namespace, depth),
            other => Err(format!("{other} is no type")),
        }
    }

    fn object(&mut self, object: &Map<String, Value>, namespace: &str, depth: usize) -> Result<Parsed, String> {
        let part = |key: &str| object.get(key).ok_or_else(|| format!("a type without \"{key}\""));
        let kind = match part("type")? {
            Value::String(kind) => kind.as_str(),
            nested => return self.parse(nested, namespace, depth + 1),
        };
        match kind {
            "array" => {
                let items = self.parse(part("items")?, namespace, depth + 1)?;
                Parsed::of(|mut parts| Schema::Array(parts.remove(0)), vec![items])
            }
            "map" => {
                let values = self.parse(part("values")?, namespace, depth + 1)?;
                Parsed::of(|mut parts| Schema::Map(parts.remove(0)), vec![values])
            }
            "record" | "error" => {
                let name = self.open(object, namespace)?;
                let inner = name.rsplit_once('.').map_or("", |(inner, _)| inner).to_owned();
                let fields = part("fields")?.as_array().ok_or("a record's \"fields\" are no array")?;
                let types = fields.iter().map(|field| {
                    let r#type = field.get("type").ok_or_else(|| format!("{field} has no type"))?;
                    self.parse(r#type, &inner, depth + 1)
                });
                let types = types.collect::<Result<_, String>>()?;
                self.close(name, Parsed::of(Schema::Record, types)?)
            }
            "enum" => {
                let name = self.open(object, namespace)?;
                self.close(name, Parsed::leaf(Schema::Number))
            }
            "fixed" => {
                let name = self.name_of(object, namespace)?;
                let size = part("size")?.as_u64().filter(|size| *size <= FIXED_BYTES_MAX);
                let size = size.ok_or_else(|| format!("{name} is no fixed type of at most {FIXED_BYTES_MAX} bytes"))?;
                // The ground crate defined the type of two partition fields of one decimal type at each of them, so there
                // are such files: nobody can mistake what they hold.
                match self.named.get(&name) {
                    Some(Some(known)) if *known.schema == Schema::Fixed(size) => Ok(known.clone()),
                    Some(_) => Err(format!("{name} is defined twice")),
                    None => self.close(name, Parsed::leaf(Schema::Fixed(size))),
                }
            }
            // With a logical type, for example.
            name => self.named(name, namespace),
        }
    }

    /// A primitive type, or one that was defined before.
    fn named(&self, name: &str, namespace: &str) -> Result<Parsed, String> {
        Ok(Parsed::leaf(match name {
            "null" => Schema::Null,
            "boolean" => Schema::Boolean,
            "int" | "long" => Schema::Number,
            "float" => Schema::Fixed(4),
            "double" => Schema::Fixed(8),
            "bytes" | "string" => Schema::Sized,
            name => {
                let found = self.named.get(&full_name(name, namespace)).or_else(|| self.named.get(name));
                return match found {
                    Some(Some(parsed)) => Ok(parsed.clone()),
                    Some(None) => Err(format!("{name} contains itself")),
                    None => Err(format!("{name} is not defined")),
                };
            }
        }))
    }

    fn name_of(&self, object: &Map<String, Value>, namespace: &str) -> Result<String, String> {
        let text = |key: &str| object.get(key).and_then(Value::as_str);
        let name = text("name").ok_or("a named type without a name")?;
        Ok(full_name(name, text("namespace").unwrap_or(namespace)))
    }

    fn open(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<String, String> {
        let name = self.name_of(object, namespace)?;
        match self.named.insert(name.clone(), None) {
            None => Ok(name),
            Some(_) => Err(format!("{name} is defined twice")),
        }
    }

    fn close(&mut self, name: String, parsed: Parsed) -> Result<Parsed, String> {
        self.named.insert(name, Some(parsed.clone()));
        Ok(parsed)
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    match namespace.is_empty() || name.contains('.') {
        true => name.to_owned(),
        false => format!("{namespace}.{name}"),
    }
}
