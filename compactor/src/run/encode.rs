//! Rows out of old files, through the reader, which leaves out what was deleted, into a new one, through the writer.

use frazil_reader::{DeleteIndex, FileReader, Projection, ReadSpec, ScanTask};
use frazil_table::{LiveFile, TableFile};
use frazil_writer::{Rewriter, WriterConfig};

use super::{FILE_PREFIX, Input, Rewrite};
use crate::position_map::PositionMap;
use crate::{InputFile, Result};

/// Writes all rows of the inputs that no delete of the group applies to, in order, in the table's current schema, from format
/// version 3 on each with its id and the sequence number of its last update. `None` if there are none. What was left out is
/// in the map.
pub(super) async fn encode(rewrite: &Rewrite<'_>, inputs: &[Input<'_>]) -> Result<(Option<TableFile>, PositionMap)> {
    let group = rewrite.group;
    let schema = rewrite.table.metadata().current_schema();
    let row_lineage = rewrite.keeps_row_ids();
    let projection = if row_lineage { Projection::AllWithLineage } else { Projection::All };
    let spec = ReadSpec::new(rewrite.table, schema, &projection, None)?;
    let config = WriterConfig {
        file_prefix: FILE_PREFIX.to_owned(),
        memory_max_bytes: rewrite.config.memory_max_bytes,
        row_lineage,
        ..WriterConfig::default()
    };
    let deletes: Vec<LiveFile<'_>> = group.deletes.iter().map(InputFile::live).collect();
    let deletes = DeleteIndex::new(&deletes, rewrite.table.metadata())?;
    let (spec_id, partition) = (group.partition_spec_id, group.partition.clone());
    let mut writer = Rewriter::new(rewrite.env.clone(), rewrite.table, config, spec_id, partition)?;
    let mut positions = PositionMap::default();
    for input in inputs {
        let task = ScanTask::with_deletes(&input.file.live(), &deletes);
        let mut reader = FileReader::open(&rewrite.context, &spec, &task).await?.noting_deleted();
        while let Some(rows) = reader.next().await? {
            rewrite.check_stop()?;
            writer.write(rows.batch).await?;
        }
        positions.push(task.path(), task.file.record_count(), reader.into_deleted());
    }
    rewrite.check_stop()?;
    Ok((writer.close().await?, positions))
}
