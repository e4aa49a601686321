//! Position delete files (Iceberg spec, "Position Delete Files").

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use frazil_table::spec::{DataFile, MappedField, NameMapping, NestedField, NestedFieldRef, PrimitiveType, Type};
use roaring::RoaringTreemap;

use super::equality::read_keys;
use crate::context::KeyField;
use crate::{Error, ReadContext, Result};

/// `file_path` (Iceberg spec, "Reserved Field IDs").
pub(super) const FILE_PATH_ID: i32 = i32::MAX - 101;
/// `pos`
const POS_ID: i32 = i32::MAX - 102;

/// Reads a position delete file whole: positions by data file.
pub(super) async fn load(context: &ReadContext, file: &DataFile) -> Result<HashMap<String, Arc<RoaringTreemap>>> {
    let field = |id, name: &str, primitive| {
        let field: NestedFieldRef = Arc::new(NestedField::required(id, name, Type::Primitive(primitive)));
        (id, KeyField { field, ids: vec![id], path: name.to_owned() })
    };
    let keys = BTreeMap::from([
        field(FILE_PATH_ID, "file_path", PrimitiveType::String),
        field(POS_ID, "pos", PrimitiveType::Long),
    ]);
    let mapped = |id, name: &str| MappedField::new(Some(id), vec![name.to_owned()], Vec::new());
    let mapping = NameMapping::new(vec![mapped(FILE_PATH_ID, "file_path"), mapped(POS_ID, "pos")]);
    let location = file.file_path();
    let mut positions: HashMap<String, RoaringTreemap> = HashMap::new();
    let mut count = 0_u64;
    read_keys(context, file, &keys, Some(&mapping), &mut |columns| {
        let (paths, rows) = (&columns[&FILE_PATH_ID], &columns[&POS_ID]);
        if paths.null_count() > 0 || rows.null_count() > 0 {
            return Err(Error::damaged(location, "a position delete without a path or position"));
        }
        count += rows.len() as u64;
        let (paths, rows) = (paths.as_string::<i32>(), rows.as_primitive::<Int64Type>());
        // Rows are sorted by path: runs of one path go in together.
        let mut at = 0;
        while at < rows.len() {
            let path = paths.value(at);
            let end = (at..rows.len()).find(|i| paths.value(*i) != path).unwrap_or(rows.len());
            if !positions.contains_key(path) {
                positions.insert(path.to_owned(), RoaringTreemap::new());
            }
            let bitmap = positions.get_mut(path).expect("inserted above");
            for row in &rows.values()[at..end] {
                let row =
                    u64::try_from(*row).map_err(|_| Error::damaged(location, format!("it deletes position {row}")))?;
                bitmap.insert(row);
            }
            at = end;
        }
        Ok(())
    })
    .await?;
    if count != file.record_count() {
        let reason = format!("it holds {count} deletes, the table says {}", file.record_count());
        return Err(Error::damaged(location, reason));
    }
    Ok(positions.into_iter().map(|(path, bitmap)| (path, Arc::new(bitmap))).collect())
}
