//! Where new data files lie, and what they are called.
//!
//! | properties | location |
//! |---|---|
//! | none | `<root>/<partition>/<name>` |
//! | `write.object-storage.enabled` | `<root>/<hash>/<partition>/<name>`: object stores spread requests by the first characters of a key |
//! | and `write.object-storage.partitioned-paths` = false | `<root>/<hash>-<name>` |
//!
//! `<root>` is `write.data.path` or `<location>/data`. All of it is as Iceberg's Java library does it, the hash included.

use std::collections::HashMap;

use frazil_table::arrow::murmur3;
use frazil_table::layout;
use frazil_table::spec::TableMetadata;
use uuid::Uuid;

use crate::{Error, Result};

const OBJECT_STORAGE: &str = "write.object-storage.enabled";
const PARTITIONED_PATHS: &str = "write.object-storage.partitioned-paths";
const DATA_PATH: &str = "write.data.path";
/// What `write.data.path` was called before, by layout; the newer name wins.
const OBJECT_STORAGE_PATH: &str = "write.object-storage.path";
const FOLDER_STORAGE_PATH: &str = "write.folder-storage.path";

/// Gives new data files their locations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataLocations {
    root: String,
    layout: Layout,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Layout {
    Folders,
    Hashed {
        /// Folders that tell tables apart where the root is outside of the table's own location: `<namespace>/<table>`.
        context: Option<String>,
        partitioned_paths: bool,
    },
}

impl DataLocations {
    /// Reads a table's properties.
    ///
    /// # Errors
    /// [`Error::BadProperty`] for a flag that is neither true nor false.
    pub fn of(metadata: &TableMetadata) -> Result<Self> {
        let properties = metadata.properties();
        let path = |keys: &[&str]| keys.iter().find_map(|key| properties.get(*key)).cloned();
        let hashed = flag(properties, OBJECT_STORAGE, false)?;
        let partitioned_paths = flag(properties, PARTITIONED_PATHS, true)?;
        let set = match hashed {
            true => path(&[DATA_PATH, OBJECT_STORAGE_PATH, FOLDER_STORAGE_PATH]),
            false => path(&[DATA_PATH, FOLDER_STORAGE_PATH]),
        };
        let root = set.map_or_else(|| layout::data_root(metadata), |path| path.trim_end_matches('/').to_owned());
        let layout = match hashed {
            false => Layout::Folders,
            true => Layout::Hashed { context: context(&root, layout::root(metadata)), partitioned_paths },
        };
        Ok(Self { root, layout })
    }

    /// The folder that everything is below.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The location of a file called `name`. `partition` is the partition's folder without slashes around it, empty for
    /// a table without partitions.
    pub fn location(&self, partition: &str, name: &str) -> String {
        let root = &self.root;
        let below = |name: &str| if partition.is_empty() { name.to_owned() } else { format!("{partition}/{name}") };
        match &self.layout {
            Layout::Folders => format!("{root}/{}", below(name)),
            Layout::Hashed { context, partitioned_paths } => {
                let name = if *partitioned_paths { below(name) } else { name.to_owned() };
                let hash = hash_folders(&name);
                match context {
                    Some(context) => format!("{root}/{hash}/{context}/{name}"),
                    None if *partitioned_paths => format!("{root}/{hash}/{name}"),
                    None => format!("{root}/{hash}-{name}"),
                }
            }
        }
    }

    /// As [`DataLocations::location`], for the name `<prefix>-<id>.parquet`.
    pub fn new_location(&self, partition: &str, prefix: &str, id: Uuid) -> String {
        self.location(partition, &format!("{prefix}-{id}.parquet"))
    }
}

/// 20 bits of the name's hash as `0110/1001/0000/11001011`: sixteen folders at each of three levels, so that listing for
/// orphans can be shared out.
fn hash_folders(name: &str) -> String {
    let bits = format!("{:020b}", murmur3(name.as_bytes()) & 0xf_ffff);
    format!("{}/{}/{}/{}", &bits[..4], &bits[4..8], &bits[8..12], &bits[12..])
}

fn context(root: &str, table_location: &str) -> Option<String> {
    if root.starts_with(table_location) {
        return None;
    }
    let path = table_location.split_once("://").map_or(table_location, |(_, path)| path);
    let mut last: Vec<_> = path.rsplit('/').filter(|name| !name.is_empty()).take(2).collect();
    last.reverse();
    (!last.is_empty()).then(|| last.join("/"))
}

fn flag(properties: &HashMap<String, String>, key: &str, default: bool) -> Result<bool> {
    let Some(text) = properties.get(key) else { return Ok(default) };
    text.trim().to_ascii_lowercase().parse().map_err(|_| Error::BadProperty {
        property: key.to_owned(),
        value: text.clone(),
        wanted: "true or false".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::fixture::table;

    fn check(properties: &[(&str, &str)], expected: Expect) {
        let table = table(r#"{"id":1,"name":"a","required":true,"type":"int"}"#, &[], properties);
        let locations = DataLocations::of(table.metadata()).unwrap();
        let flat = locations.location("", "test.parquet");
        let partitioned = locations.location("a=1/b=x", "test.parquet");
        expected.assert_eq(&format!("{flat}\n{partitioned}"));
    }

    #[test]
    fn folders_by_partition() {
        check(
            &[],
            expect![[r#"
                memory://w/t/data/test.parquet
                memory://w/t/data/a=1/b=x/test.parquet"#]],
        );
        check(
            &[("write.folder-storage.path", "memory://w/old/"), ("write.object-storage.path", "memory://w/unused")],
            expect![[r#"
                memory://w/old/test.parquet
                memory://w/old/a=1/b=x/test.parquet"#]],
        );
    }

    #[test]
    fn hashes_come_first_in_object_stores() {
        let enabled = ("write.object-storage.enabled", "TRUE");
        check(
            &[enabled],
            expect![[r#"
                memory://w/t/data/0110/1010/0011/11101000/test.parquet
                memory://w/t/data/1001/0110/0110/01000000/a=1/b=x/test.parquet"#]],
        );
        check(
            &[enabled, ("write.object-storage.partitioned-paths", "false")],
            expect![[r#"
                memory://w/t/data/0110/1010/0011/11101000-test.parquet
                memory://w/t/data/0110/1010/0011/11101000-test.parquet"#]],
        );
        check(
            &[enabled, ("write.data.path", "memory://bucket/files")],
            expect![[r#"
                memory://bucket/files/0110/1010/0011/11101000/w/t/test.parquet
                memory://bucket/files/1001/0110/0110/01000000/w/t/a=1/b=x/test.parquet"#]],
        );
    }

    /// From the tests of Iceberg's Java library (`TestLocationProvider`).
    #[test]
    fn the_hash_is_that_of_java() {
        let hashes = ["a", "b", "c", "d"].map(hash_folders).join(" ");
        expect!["0101/0110/1001/10110010 1110/0111/1110/00000011 0010/1101/0110/01011111 1001/0001/0100/01110011"]
            .assert_eq(&hashes);
    }

    #[test]
    fn a_flag_that_is_none_is_an_error() {
        let table = table(r#"{"id":1,"name":"a","required":true,"type":"int"}"#, &[], &[(OBJECT_STORAGE, "1")]);
        let error = DataLocations::of(table.metadata()).unwrap_err().to_string();
        expect![[r#"table property write.object-storage.enabled is "1", but it must be true or false"#]]
            .assert_eq(&error);
    }
}
