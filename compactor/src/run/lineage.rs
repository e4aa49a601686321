//! The ids of rows that are copied: columns `_row_id` and `_last_updated_sequence_number` behind those that are copied
//! (Iceberg spec, "Row Lineage").
//!
//! A file that has both, and a value in every row, gives its own. What other files leave to be inherited is written down:
//! ids that count up from the file's first one, and its data sequence number. Both take next to no room.

use std::sync::Arc;

use frazil_table::row_lineage::{LAST_UPDATED_SEQUENCE_NUMBER, LAST_UPDATED_SEQUENCE_NUMBER_NAME, ROW_ID, ROW_ID_NAME};
use parquet::basic::{Encoding, Repetition, Type as PhysicalType};
use parquet::data_type::Int64Type;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterPropertiesBuilder;
use parquet::file::writer::SerializedRowGroupWriter;
use parquet::schema::types::{ColumnPath, Type, TypePtr};

use crate::InputFile;

/// Rows that are written at a time.
const BATCH_ROWS: u64 = 65_536;

/// Where a file's lineage comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lineage {
    /// It has none and needs none.
    None,
    /// Its last two columns.
    Stored,
    /// What its rows inherit.
    Inherited { first_row_id: i64, sequence_number: i64 },
}

impl Lineage {
    /// `None` if the rows' ids can't be told without decoding: some rows have their own and some inherit theirs, or the
    /// columns are not where and what they are in files of this program.
    pub(super) fn of(file: &InputFile, metadata: &ParquetMetaData) -> Option<Self> {
        let columns = metadata.file_metadata().schema().get_fields();
        let ids = [ROW_ID, LAST_UPDATED_SEQUENCE_NUMBER];
        if !columns.iter().any(|column| has_id(column, |id| ids.contains(&id))) {
            let (first_row_id, sequence_number) = (file.file.first_row_id()?, file.data_sequence_number);
            return Some(Self::Inherited { first_row_id, sequence_number });
        }
        let is_last = columns.len() > 2 && columns[columns.len() - 2..] == fields();
        let is_whole = metadata.row_groups().iter().all(|group| {
            let chunks = &group.columns()[group.num_columns() - 2..];
            chunks.iter().all(|chunk| chunk.statistics().and_then(|statistics| statistics.null_count_opt()) == Some(0))
        });
        (is_last && is_whole).then_some(Self::Stored)
    }

    /// The file's other columns.
    pub(super) fn other_columns(self, metadata: &ParquetMetaData) -> &[TypePtr] {
        let columns = metadata.file_metadata().schema().get_fields();
        if self == Self::Stored { &columns[..columns.len() - 2] } else { columns }
    }

    /// Writes the columns of a row group that begins with the file's row `first_row`, if the file does not have them.
    pub(super) fn write<W: std::io::Write + Send>(
        self,
        writer: &mut SerializedRowGroupWriter<'_, W>,
        first_row: i64,
        rows: u64,
    ) -> Result<()> {
        let Self::Inherited { first_row_id, sequence_number } = self else { return Ok(()) };
        let first = first_row_id + first_row;
        write_column(writer, rows, |row| first + row)?;
        write_column(writer, rows, |_| sequence_number)
    }
}

fn write_column<W: std::io::Write + Send>(
    writer: &mut SerializedRowGroupWriter<'_, W>,
    rows: u64,
    value: impl Fn(i64) -> i64,
) -> Result<()> {
    let missing = || ParquetError::General("the schema has no columns of row lineage".to_owned());
    let mut column = writer.next_column()?.ok_or_else(missing)?;
    for begin in (0..rows).step_by(BATCH_ROWS as usize) {
        let batch = begin as i64..rows.min(begin + BATCH_ROWS) as i64;
        let values: Vec<i64> = batch.map(&value).collect();
        let levels = vec![1; values.len()];
        column.typed::<Int64Type>().write_batch(&values, Some(&levels), None)?;
    }
    column.close()
}

/// Both columns as the writer's files have them.
fn fields() -> [TypePtr; 2] {
    let long = |id: i32, name: &str| {
        let builder = Type::primitive_type_builder(name, PhysicalType::INT64);
        let built = builder.with_repetition(Repetition::OPTIONAL).with_id(Some(id)).build();
        Arc::new(built.expect("a plain optional column is valid"))
    };
    [long(ROW_ID, ROW_ID_NAME), long(LAST_UPDATED_SEQUENCE_NUMBER, LAST_UPDATED_SEQUENCE_NUMBER_NAME)]
}

fn has_id(column: &Type, is_it: impl Fn(i32) -> bool) -> bool {
    let info = column.get_basic_info();
    info.has_id() && is_it(info.id())
}

/// The schema of a file with these columns and the lineage.
pub(super) fn schema(root: &str, columns: &[TypePtr]) -> Result<TypePtr> {
    let all = columns.iter().cloned().chain(fields()).collect();
    Ok(Arc::new(Type::group_type_builder(root).with_fields(all).build()?))
}

/// How the columns are encoded: ids that count up take a few bytes a page.
pub(super) fn properties(builder: WriterPropertiesBuilder) -> WriterPropertiesBuilder {
    let row_id = ColumnPath::from(ROW_ID_NAME);
    builder
        .set_column_dictionary_enabled(row_id.clone(), false)
        .set_column_encoding(row_id, Encoding::DELTA_BINARY_PACKED)
}
