//! Where tables may lie, and where they lie if nobody says.
//!
//! A location is inside the warehouse by whole path segments or it is refused: a catalog that takes any location lets
//! one client read, overwrite and purge what it has no right to.

use frazil_storage::Location;
use frazil_table::spec::{NamespaceIdent, TableMetadata, TableUpdate};
use percent_encoding::percent_decode_str;

use crate::{Error, Result};

/// Table properties that name a place (Iceberg, "Write properties").
const LOCATION_PROPERTIES: [&str; 5] = [
    "write.data.path",
    "write.metadata.path",
    "write.object-storage.path",
    "write.folder-storage.path",
    "write.location-provider.path",
];

/// The root of all tables of one catalog.
#[derive(Clone, Debug)]
pub(crate) struct Warehouse {
    root: Location,
}

impl Warehouse {
    pub(crate) fn parse(location: &str) -> Result<Self> {
        Ok(Self { root: Location::parse(location)? })
    }

    /// The root without a trailing slash.
    pub(crate) fn location(&self) -> String {
        self.root.to_string().trim_end_matches('/').to_owned()
    }

    /// The location in its one spelling, if it is inside the warehouse.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if it is not.
    pub(crate) fn check(&self, location: &str) -> Result<String> {
        let forbidden = |why: &str| {
            Error::Forbidden(format!(
                "location {location:?} {why}; a table of this catalog lies inside {}",
                self.location()
            ))
        };
        let parsed = Location::parse(location).map_err(|error| forbidden(&error.to_string()))?;
        if parsed.path().split('/').any(is_deceptive) {
            return Err(forbidden("has a path segment that programs read differently"));
        }
        if !parsed.is_within(&self.root) {
            return Err(forbidden("is outside the warehouse"));
        }
        Ok(parsed.spelt_like(&self.root).to_string().trim_end_matches('/').to_owned())
    }

    /// Checks every place that a table's metadata names for writing, and every file that it names for reading.
    pub(crate) fn check_metadata(&self, metadata: &TableMetadata) -> Result<()> {
        self.check(metadata.location())?;
        for key in LOCATION_PROPERTIES {
            if let Some(location) = metadata.properties().get(key) {
                self.check(location)?;
            }
        }
        for snapshot in metadata.snapshots() {
            self.check(snapshot.manifest_list())?;
        }
        for statistics in metadata.statistics_iter() {
            self.check(&statistics.statistics_path)?;
        }
        for statistics in metadata.partition_statistics_iter() {
            self.check(&statistics.statistics_path)?;
        }
        Ok(())
    }

    /// Checks the places that an update names.
    pub(crate) fn check_update(&self, update: &TableUpdate) -> Result<()> {
        match update {
            TableUpdate::SetLocation { location } => drop(self.check(location)?),
            TableUpdate::SetProperties { updates } => {
                for key in LOCATION_PROPERTIES {
                    if let Some(location) = updates.get(key) {
                        self.check(location)?;
                    }
                }
            }
            TableUpdate::AddSnapshot { snapshot } => drop(self.check(snapshot.manifest_list())?),
            TableUpdate::SetStatistics { statistics } => {
                self.check(&statistics.statistics_path)?;
            }
            TableUpdate::SetPartitionStatistics { partition_statistics } => {
                self.check(&partition_statistics.statistics_path)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// `<warehouse>/<namespace>`: where the tables go of a namespace that says nothing else.
    pub(crate) fn namespace_location(&self, namespace: &NamespaceIdent) -> String {
        let levels: Vec<_> = namespace.as_ref().iter().map(|level| plain(level)).collect();
        format!("{}/{}", self.location(), levels.join("."))
    }

    /// `<warehouse>/<namespace>/<table>`, where engines expect a table.
    ///
    /// Levels of a nested namespace are joined by a dot, so that no table's folder lies inside another's. Characters
    /// that engines escape differently become `_`; then, and with a `suffix`, the name alone does not tell tables apart.
    pub(crate) fn default_location(
        &self,
        namespace: &NamespaceIdent,
        namespace_location: Option<&str>,
        table: &str,
        suffix: Option<&str>,
    ) -> Result<String> {
        let folder = match namespace_location {
            Some(location) => self.check(location)?,
            None => self.namespace_location(namespace),
        };
        let name = plain(table);
        Ok(match suffix {
            Some(suffix) => format!("{folder}/{name}-{suffix}"),
            None => format!("{folder}/{name}"),
        })
    }
}

/// A name as a path segment that every engine spells the same.
fn plain(name: &str) -> String {
    let plain: String = name.chars().map(|c| if c.is_alphanumeric() || "_-.".contains(c) { c } else { '_' }).collect();
    if plain.chars().all(|c| c == '.') { plain.replace('.', "_") } else { plain }
}

/// Whether a program that decodes `%2e` or takes `\` for a separator would see another path.
fn is_deceptive(segment: &str) -> bool {
    let decoded = percent_decode_str(segment).decode_utf8_lossy();
    let climbs = |text: &str| text.split(['/', '\\']).any(|part| part == "." || part == "..");
    climbs(&decoded)
        || segment.contains(['\\', '?', '#'])
        || decoded.contains('\0')
        || segment.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_not_inside_by_whole_segments() {
        let warehouse = Warehouse::parse("file:///data/wh").unwrap();
        for inside in ["file:///data/wh/a/t", "/data/wh/t/", "FILE:///data/wh"] {
            assert!(warehouse.check(inside).is_ok(), "{inside}");
        }
        let outside = [
            "file:///data/wh-evil/t",
            "file:///data",
            "file:///data/wh/../x",
            "file:///data/wh/%2e%2e/x",
            "file:///data/wh/%2E./x",
            "file:///data/wh/..%2fx",
            "file:///data/wh/a\\..\\b",
            "file://host/data/wh/t",
            "s3://data/wh/t",
            "data/wh/t",
            "",
        ];
        for outside in outside {
            assert!(matches!(warehouse.check(outside), Err(Error::Forbidden(_))), "{outside}");
        }
    }

    #[test]
    fn every_spelling_of_a_store_comes_out_as_the_warehouses() {
        let warehouse = Warehouse::parse("s3://bucket/wh").unwrap();
        assert_eq!(warehouse.check("s3a://bucket/wh/t").unwrap(), "s3://bucket/wh/t");
        for outside in ["s3a://bucket/wh2/t", "gs://bucket/wh/t", "s3a://other/wh/t", "file:///wh/t"] {
            assert!(matches!(warehouse.check(outside), Err(Error::Forbidden(_))), "{outside}");
        }
        assert_eq!(Warehouse::parse("s3://bucket").unwrap().location(), "s3://bucket");
        assert!(Warehouse::parse("s3://bucket/").unwrap().check("s3a://bucket/t").is_ok());
    }

    #[test]
    fn default_locations_never_nest() {
        let warehouse = Warehouse::parse("file:///wh").unwrap();
        let nested = NamespaceIdent::from_strs(["a", "b"]).unwrap();
        let at = |table| warehouse.default_location(&nested, None, table, None).unwrap();
        assert_eq!(at("t"), "file:///wh/a.b/t");
        assert_eq!(at("../x y/é"), "file:///wh/a.b/.._x_y_é");
        assert_eq!(at(".."), "file:///wh/a.b/__");
    }
}
