//! Which rows a delete file can apply to (Iceberg spec, "Scan Planning").

use crate::spec::{DataContentType, DataFile, DataFileFormat, Datum, PrimitiveLiteral, Struct, TableMetadata};
use crate::{Error, Result, TableFile};

/// The field id of a position delete file's `file_path` column (Iceberg spec, "Reserved Field IDs").
const DELETE_FILE_PATH: i32 = i32::MAX - 101;

/// What tells files of a snapshot apart: many deletion vectors share one Puffin file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileKey {
    path: String,
    content_offset: Option<i64>,
}

impl FileKey {
    pub(crate) fn of(file: &DataFile) -> Self {
        Self { path: file.file_path().to_owned(), content_offset: file.content_offset() }
    }

    pub(crate) fn data(path: &str) -> Self {
        Self { path: path.to_owned(), content_offset: None }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

/// Whether a delete file is a deletion vector.
pub fn is_vector(file: &DataFile) -> bool {
    file.content_type() == DataContentType::PositionDeletes && file.file_format() == DataFileFormat::Puffin
}

/// The one data file that a position delete file or deletion vector applies to, if there is only one: it says so, or its
/// bounds of `file_path` are equal. Writers before format version 3 only had the latter.
pub fn referenced_data_file(file: &DataFile) -> Option<String> {
    if file.content_type() != DataContentType::PositionDeletes {
        return None;
    }
    let text = |bound: Option<&Datum>| match bound?.literal() {
        PrimitiveLiteral::String(path) => Some(path.clone()),
        _ => None,
    };
    file.referenced_data_file().or_else(|| {
        let lower = text(file.lower_bounds().get(&DELETE_FILE_PATH))?;
        (text(file.upper_bounds().get(&DELETE_FILE_PATH))? == lower).then_some(lower)
    })
}

/// The data files that a delete file can apply to, apart from sequence numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DeleteScope {
    /// One.
    File(String),
    /// Those of a partition of a spec.
    Partition(i32, Struct),
    /// All: equality deletes of an unpartitioned spec.
    Table,
}

impl DeleteScope {
    /// The scope of a live delete file.
    pub fn of(metadata: &TableMetadata, file: &DataFile, partition_spec_id: i32) -> Self {
        if let Some(path) = referenced_data_file(file) {
            return Self::File(path);
        }
        let spec = metadata.partition_spec_by_id(partition_spec_id);
        let global = spec.is_some_and(|spec| spec.is_unpartitioned());
        match file.content_type() {
            DataContentType::EqualityDeletes if global => Self::Table,
            _ => Self::Partition(partition_spec_id, file.partition().clone()),
        }
    }

    /// Whether it covers a data file.
    pub(crate) fn covers(&self, path: &str, partition_spec_id: i32, partition: &Struct) -> bool {
        match self {
            Self::File(file) => file == path,
            Self::Partition(spec_id, tuple) => *spec_id == partition_spec_id && tuple == partition,
            Self::Table => true,
        }
    }
}

/// Whether a delete applies to a covered data file by its number: equality deletes only to older ones, position deletes
/// and vectors also to those of their own snapshot.
pub fn applies_by_number(content: DataContentType, delete_number: i64, data_number: i64) -> bool {
    match content {
        DataContentType::EqualityDeletes => data_number < delete_number,
        _ => data_number <= delete_number,
    }
}

/// An equality id of a delete file that the current schema has no field of.
pub(crate) fn dropped_field(metadata: &TableMetadata, file: &DataFile) -> Option<i32> {
    let schema = metadata.current_schema();
    file.equality_ids()?.into_iter().find(|id| schema.field_by_id(*id).is_none())
}

/// Checks that a delete file has what its kind must have, and that the format version knows its kind.
///
/// # Errors
/// [`Error::InvalidChange`] names the file.
pub(crate) fn check_delete_file(metadata: &TableMetadata, added: &TableFile) -> Result<()> {
    use crate::spec::FormatVersion::{V1, V2, V3};
    let TableFile { file, partition_spec_id } = added;
    let path = file.file_path();
    let refuse = |reason: &str| Err(Error::InvalidChange(format!("{path} {reason}")));
    if metadata.partition_spec_by_id(*partition_spec_id).is_none() {
        return refuse(&format!("was written with partition spec {partition_spec_id}, which the table lacks"));
    }
    let version = metadata.format_version();
    match file.content_type() {
        DataContentType::Data => refuse("holds rows, not deletes"),
        _ if version == V1 => refuse("can't be added: format version 1 has no delete files; upgrade the table first"),
        DataContentType::EqualityDeletes if file.equality_ids().is_none_or(|ids| ids.is_empty()) => {
            refuse("holds equality deletes without equality ids")
        }
        // Files that others have rewritten since may lack the column.
        DataContentType::EqualityDeletes => match dropped_field(metadata, file) {
            Some(id) => refuse(&format!("deletes by the field {id}, which the schema has no more: work it out again")),
            None => Ok(()),
        },
        DataContentType::PositionDeletes if is_vector(file) => {
            let complete = file.referenced_data_file().is_some()
                && file.content_offset().is_some()
                && file.content_size_in_bytes().is_some();
            match (version, complete) {
                (V1 | V2, _) => refuse("is a deletion vector, which format version 3 has first"),
                (V3, false) => refuse("is a deletion vector without data file, content offset or content size"),
                (V3, true) => Ok(()),
            }
        }
        DataContentType::PositionDeletes if version == V3 => {
            refuse("is a position delete file: format version 3 deletes by position with deletion vectors only")
        }
        DataContentType::PositionDeletes => Ok(()),
    }
}
