//! Rows out of old files, through the reader, into a new one, through the writer.

use frazil_reader::{FileReader, Projection, ReadSpec, ScanTask};
use frazil_table::{LiveFile, TableFile};
use frazil_writer::{Rewriter, WriterConfig};

use super::{FILE_PREFIX, Input, Rewrite};
use crate::Result;

/// Writes all rows of the inputs, in order, in the table's current schema. `None` if there are none.
pub(super) async fn encode(rewrite: &Rewrite<'_>, inputs: &[Input<'_>]) -> Result<Option<TableFile>> {
    let group = rewrite.group;
    let schema = rewrite.table.metadata().current_schema();
    let spec = ReadSpec::new(rewrite.table, schema, &Projection::All, None)?;
    let config = WriterConfig {
        file_prefix: FILE_PREFIX.to_owned(),
        memory_max_bytes: rewrite.config.memory_max_bytes,
        ..WriterConfig::default()
    };
    let (spec_id, partition) = (group.partition_spec_id, group.partition.clone());
    let mut writer = Rewriter::new(rewrite.env.clone(), rewrite.table, config, spec_id, partition)?;
    for input in inputs {
        let live = LiveFile {
            file: &input.file.file,
            partition_spec_id: input.file.partition_spec_id,
            data_sequence_number: input.file.data_sequence_number,
            file_sequence_number: input.file.data_sequence_number,
            added_snapshot_id: input.file.added_snapshot_id,
            manifest_path: "",
        };
        // The plan takes only files that no delete applies to without applying to the output as well.
        let mut reader = FileReader::open(&rewrite.context, &spec, &ScanTask::without_deletes(&live)).await?;
        while let Some(rows) = reader.next().await? {
            rewrite.check_stop()?;
            writer.write(rows.batch).await?;
        }
    }
    rewrite.check_stop()?;
    Ok(writer.close().await?)
}
