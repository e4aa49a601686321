//! Which metrics a table wants for which column (`write.metadata.metrics.*`).

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

use frazil_table::spec::{Schema, TableMetadata};

use crate::leaf::leaves;
use crate::{Error, Result};

/// What is kept of a column in manifests. Sizes on disk are kept always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsMode {
    /// Nothing else.
    None,
    /// Counts of values, nulls and NaNs.
    Counts,
    /// Counts, and bounds cut to so many characters or bytes.
    Truncate(usize),
    /// Counts, and bounds as they are.
    Full,
}

impl FromStr for MetricsMode {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let lower = text.trim().to_ascii_lowercase();
        let length = lower.strip_prefix("truncate(").and_then(|rest| rest.strip_suffix(')'));
        match (lower.as_str(), length.map(|length| length.trim().parse::<usize>())) {
            ("none", _) => Ok(Self::None),
            ("counts", _) => Ok(Self::Counts),
            ("full", _) => Ok(Self::Full),
            (_, Some(Ok(length))) if length > 0 => Ok(Self::Truncate(length)),
            _ => Err("none, counts, truncate(N) with N > 0, or full".to_owned()),
        }
    }
}

impl fmt::Display for MetricsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Counts => f.write_str("counts"),
            Self::Truncate(length) => write!(f, "truncate({length})"),
            Self::Full => f.write_str("full"),
        }
    }
}

const DEFAULT_KEY: &str = "write.metadata.metrics.default";
const COLUMN_PREFIX: &str = "write.metadata.metrics.column.";
const INFERRED_MAX_KEY: &str = "write.metadata.metrics.max-inferred-column-defaults";
const INFERRED_MAX: usize = 100;
const DEFAULT_MODE: MetricsMode = MetricsMode::Truncate(16);

/// The mode of each leaf column of a table.
#[derive(Clone, Debug)]
pub struct MetricsConfig {
    modes: HashMap<i32, MetricsMode>,
}

impl MetricsConfig {
    /// Reads a table's properties, for its current schema.
    ///
    /// Without `write.metadata.metrics.default` the first 100 leaves (outer ones first; another number by
    /// `…max-inferred-column-defaults`) have `truncate(16)`, the others `none`. Columns that the table is sorted by have at
    /// least `truncate(16)` unless their own property says otherwise.
    ///
    /// # Errors
    /// [`Error::BadProperty`] for a mode that does not exist or for a column that does not exist.
    pub fn of(metadata: &TableMetadata) -> Result<Self> {
        let properties = metadata.properties();
        let schema = metadata.current_schema();
        let default = properties.get(DEFAULT_KEY).map(|text| parse_mode(DEFAULT_KEY, text)).transpose()?;
        let mut all = leaves(schema);
        all.sort_by_key(|leaf| leaf.depth);
        let inferred_max = inferred_max(metadata)?;
        let sorted: HashSet<i32> = metadata.default_sort_order().fields.iter().map(|f| f.source_id).collect();
        let mode_of = |(position, id)| match default {
            Some(MetricsMode::None | MetricsMode::Counts) | None if sorted.contains(&id) => DEFAULT_MODE,
            Some(mode) => mode,
            None if position < inferred_max => DEFAULT_MODE,
            None => MetricsMode::None,
        };
        let mut modes: HashMap<i32, MetricsMode> =
            all.iter().enumerate().map(|(position, leaf)| (leaf.id, mode_of((position, leaf.id)))).collect();
        for (key, text) in properties {
            let Some(column) = key.strip_prefix(COLUMN_PREFIX) else { continue };
            let mode = parse_mode(key, text)?;
            // A property may outlive its column.
            if let Some(id) = leaf_id(schema, column) {
                modes.insert(id, mode);
            }
        }
        Ok(Self { modes })
    }

    /// Every column in one mode.
    pub fn uniform(schema: &Schema, mode: MetricsMode) -> Self {
        Self { modes: leaves(schema).into_iter().map(|leaf| (leaf.id, mode)).collect() }
    }

    /// The mode of a leaf column; `None` for a column that the schema does not have.
    pub fn mode(&self, field_id: i32) -> MetricsMode {
        self.modes.get(&field_id).copied().unwrap_or(MetricsMode::None)
    }

    /// How many bytes of statistics a Parquet file must keep for the bounds to come out; `None`: all.
    pub(crate) fn statistics_bytes(&self) -> Option<usize> {
        // A character has up to 4 bytes; the rest leaves room for the longest step that rounding a maximum up may take.
        let bytes_of = |mode: &MetricsMode| match mode {
            MetricsMode::None | MetricsMode::Counts => Some(0),
            MetricsMode::Truncate(length) => Some(length * 4 + 16),
            MetricsMode::Full => None,
        };
        let longest: Option<Vec<usize>> = self.modes.values().map(bytes_of).collect();
        Some(longest?.into_iter().max().unwrap_or(0).max(64))
    }
}

fn leaf_id(schema: &Schema, column: &str) -> Option<i32> {
    schema.field_by_name(column).filter(|field| field.field_type.is_primitive()).map(|field| field.id)
}

fn parse_mode(property: &str, text: &str) -> Result<MetricsMode> {
    text.parse().map_err(|wanted| Error::BadProperty { property: property.to_owned(), value: text.to_owned(), wanted })
}

fn inferred_max(metadata: &TableMetadata) -> Result<usize> {
    let Some(text) = metadata.properties().get(INFERRED_MAX_KEY) else { return Ok(INFERRED_MAX) };
    text.trim().parse().map_err(|_| Error::BadProperty {
        property: INFERRED_MAX_KEY.to_owned(),
        value: text.clone(),
        wanted: "a number of columns".to_owned(),
    })
}

#[cfg(test)]
mod tests;
