//! Rows out of old files, without what was deleted, into new ones in another order.
//!
//! A curve through cells needs to know first how the values of its columns are distributed: these columns are read once before, and
//! of each a few ten thousand values, evenly over all rows, are kept.

use frazil_reader::{DeleteIndex, FileReader, Projection, ReadSpec, ScanTask};
use frazil_table::{LiveFile, TableFile};
use frazil_writer::{CurveKind, CutSampler, Cuts, RowOrder, SortedRewriter, WriterConfig};

use super::Rewrite;
use crate::clustering::{ClusterOrder, Clustering};
use crate::position_map::PositionMap;
use crate::{InputFile, Result};

/// Writes all rows of the group's inputs that no delete of the group applies to, in the order of the clustering, into files of the
/// target size; from format version 3 on each row with its id and the sequence number of its last update. Where each went is in
/// the map.
pub(super) async fn cluster(rewrite: &Rewrite<'_>, clustering: &Clustering) -> Result<(Vec<TableFile>, PositionMap)> {
    let group = rewrite.group;
    let order = row_order(rewrite, clustering).await?;
    let config = WriterConfig {
        file_prefix: clustering.file_prefix(),
        memory_max_bytes: rewrite.config.memory_max_bytes,
        row_lineage: rewrite.keeps_row_ids(),
        ..WriterConfig::default()
    };
    let partition = (group.partition_spec_id, group.partition.clone());
    let writer = SortedRewriter::new(rewrite.env.clone(), rewrite.table, config, partition, &order)?;
    let mut writer = writer.with_file_bytes(rewrite.config.target_file_size_bytes);
    let schema = rewrite.table.metadata().current_schema();
    let projection = if rewrite.keeps_row_ids() { Projection::AllWithLineage } else { Projection::All };
    let spec = ReadSpec::new(rewrite.table, schema, &projection, None)?;
    let deletes = deletes(rewrite)?;
    let mut positions = PositionMap::default();
    for input in &group.inputs {
        let task = ScanTask::with_deletes(&input.live(), &deletes);
        let mut reader = FileReader::open(&rewrite.context, &spec, &task).await?.noting_deleted();
        while let Some(rows) = reader.next().await? {
            rewrite.check_stop()?;
            writer.write(rows.batch).await?;
        }
        positions.push(task.path(), task.file.record_count(), reader.into_deleted());
    }
    rewrite.check_stop()?;
    let (files, places) = writer.close().await?;
    positions.reorder(places);
    Ok((files, positions))
}

fn deletes(rewrite: &Rewrite<'_>) -> Result<DeleteIndex> {
    let deletes: Vec<LiveFile<'_>> = rewrite.group.deletes.iter().map(InputFile::live).collect();
    Ok(DeleteIndex::new(&deletes, rewrite.table.metadata())?)
}

async fn row_order(rewrite: &Rewrite<'_>, clustering: &Clustering) -> Result<RowOrder> {
    Ok(match &clustering.order {
        ClusterOrder::Sort(order) => RowOrder::Sort(order.clone()),
        ClusterOrder::ZOrder(ids) => RowOrder::Curve(ids.clone(), CurveKind::ZOrder),
        ClusterOrder::Hilbert(ids) => RowOrder::Curve(ids.clone(), CurveKind::Hilbert(load_cuts(rewrite, ids).await?)),
    })
}

/// Cuts by a sample of the columns. Deleted rows count as well: where they are few it makes no difference, and where they are many
/// the cells are merely uneven.
async fn load_cuts(rewrite: &Rewrite<'_>, ids: &[i32]) -> Result<Cuts> {
    let schema = rewrite.table.metadata().current_schema();
    let path = |id: &i32| schema.name_by_field_id(*id).unwrap_or_default().to_owned();
    let spec = ReadSpec::new(rewrite.table, schema, &Projection::paths(ids.iter().map(path)), None)?;
    let mut sampler = CutSampler::new(spec.projected().schema(), ids, rewrite.group.rows_in())?;
    for input in &rewrite.group.inputs {
        let task = ScanTask::without_deletes(&input.live());
        let mut reader = FileReader::open(&rewrite.context, &spec, &task).await?;
        while let Some(rows) = reader.next().await? {
            rewrite.check_stop()?;
            sampler.update(&rows.batch)?;
        }
    }
    Ok(sampler.finish())
}
