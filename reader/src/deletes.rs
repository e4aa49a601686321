//! Which rows of a data file have been deleted (Iceberg spec, "Scan Planning" and "Delete Formats").

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::buffer::{BooleanBuffer, Buffer};
use frazil_table::LiveFile;
use frazil_table::spec::{DataContentType, DataFile, DataFileFormat, PrimitiveLiteral, Struct, TableMetadata};
use roaring::RoaringTreemap;
use tokio::sync::OnceCell;

use crate::{Error, ReadContext, ReadSpec, Result, ScanTask};

mod equality;
mod hits;
mod position;
mod vector;

use equality::{EqualityGroup, KeyShare};
use position::FILE_PATH_ID;

pub use hits::{EqualityHits, HitLimits, find_equality_deleted};

/// A position delete file or a deletion vector; its contents are loaded once, whatever the number of tasks that need it.
#[derive(Debug)]
pub(crate) struct DeleteFile {
    pub file: Arc<DataFile>,
    pub data_sequence_number: i64,
    /// Positions by data file.
    positions: OnceCell<HashMap<String, Arc<RoaringTreemap>>>,
}

/// The deletes that apply to one data file.
#[derive(Clone, Debug, Default)]
pub(crate) struct ApplicableDeletes {
    /// Position delete files, or the one deletion vector.
    positions: Vec<Arc<DeleteFile>>,
    equality: Vec<Arc<EqualityGroup>>,
}

impl ApplicableDeletes {
    pub(crate) fn is_empty(&self) -> bool {
        self.positions.is_empty() && self.equality.is_empty()
    }

    pub(crate) fn has_equality(&self) -> bool {
        !self.equality.is_empty()
    }

    /// The equality deletes among them.
    pub(crate) fn equality_alone(&self) -> Self {
        Self { positions: Vec::new(), equality: self.equality.clone() }
    }

    /// Those of `equality` that can match a row of the file, and those of the positions here that are not in `other`.
    pub(crate) fn since(&self, other: &Self, equality: Self) -> Self {
        let is_new =
            |delete: &&Arc<DeleteFile>| other.positions.iter().all(|known| known.identity() != delete.identity());
        Self { positions: self.positions.iter().filter(is_new).cloned().collect(), equality: equality.equality }
    }

    /// Without the equality deletes whose bounds say that they match no row of the file.
    pub(crate) fn that_may_match(mut self, spec: &ReadSpec, data: &LiveFile<'_>) -> Self {
        self.equality.retain(|group| group.may_match(spec, data));
        self
    }
}

/// A partition spec and a tuple of it.
type Partition = (i32, Struct);

/// A delete file with its data sequence number.
type Numbered = (Arc<DataFile>, i64);

/// The deletes of a snapshot, or some of them, by what they can apply to. What they hold is read once, whatever the number
/// of tasks that have them ([`ScanTask::with_deletes`]).
#[derive(Debug, Default)]
pub struct DeleteIndex {
    vectors: HashMap<String, Arc<DeleteFile>>,
    by_path: HashMap<String, Vec<Arc<DeleteFile>>>,
    by_partition: HashMap<Partition, Vec<Arc<DeleteFile>>>,
    /// By the partition that they are limited to; `None` for those of unpartitioned specs, which apply everywhere.
    equality: HashMap<Option<Partition>, Vec<Arc<EqualityGroup>>>,
}

impl DeleteIndex {
    /// An index of live delete files.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a delete file of a format that can't be read, [`Error::Damaged`] for one that lacks
    /// what its kind must have.
    pub fn new(live: &[LiveFile<'_>], metadata: &TableMetadata) -> Result<Self> {
        Self::with_keys(live, metadata, None)
    }

    /// The same with only a share of the keys of equality deletes.
    fn with_keys(live: &[LiveFile<'_>], metadata: &TableMetadata, share: Option<KeyShare>) -> Result<Self> {
        let mut index = Self::default();
        let mut equality: HashMap<(Option<Partition>, Vec<i32>), Vec<Numbered>> = HashMap::new();
        for delete in live {
            let file = Arc::new(delete.file.clone());
            let partition = (delete.partition_spec_id, file.partition().clone());
            match (delete.content(), file.file_format()) {
                (DataContentType::EqualityDeletes, DataFileFormat::Parquet) => {
                    let mut ids = file.equality_ids().unwrap_or_default();
                    if ids.is_empty() {
                        return Err(Error::damaged(file.file_path(), "an equality delete file without field ids"));
                    }
                    ids.sort_unstable();
                    let spec = metadata.partition_spec_by_id(delete.partition_spec_id);
                    let is_global = spec.is_some_and(|spec| spec.is_unpartitioned());
                    let scope = (!is_global).then_some(partition);
                    equality.entry((scope, ids)).or_default().push((file, delete.data_sequence_number));
                }
                (DataContentType::PositionDeletes, DataFileFormat::Puffin | DataFileFormat::Parquet) => {
                    index.add_positions(file, delete.data_sequence_number, partition)?;
                }
                (DataContentType::Data, _) => {
                    return Err(Error::damaged(delete.manifest_path, "a data file among deletes"));
                }
                (_, format) => {
                    let reason = format!("deletes in {format} files can't be read");
                    return Err(Error::unsupported(file.file_path(), reason));
                }
            }
        }
        for ((scope, ids), files) in equality {
            let group = EqualityGroup::new(ids, files, share.clone());
            index.equality.entry(scope).or_default().push(Arc::new(group));
        }
        Ok(index)
    }

    fn add_positions(&mut self, file: Arc<DataFile>, data_sequence_number: i64, partition: Partition) -> Result<()> {
        let is_vector = file.file_format() == DataFileFormat::Puffin;
        let only = file.referenced_data_file().or_else(|| only_path(&file));
        let delete = Arc::new(DeleteFile { file, data_sequence_number, positions: OnceCell::new() });
        match (is_vector, only) {
            (true, Some(path)) => {
                if let Some(other) = self.vectors.insert(path.clone(), delete.clone()) {
                    let reason = format!("it is the second deletion vector of {path}; {} is the other", other.path());
                    return Err(Error::damaged(delete.path(), reason));
                }
            }
            (true, None) => {
                return Err(Error::damaged(delete.path(), "a deletion vector that names no data file"));
            }
            (false, Some(path)) => self.by_path.entry(path).or_default().push(delete),
            (false, None) => self.by_partition.entry(partition).or_default().push(delete),
        }
        Ok(())
    }

    /// The rows of a data file that these position deletes and deletion vectors take away; `None` if none of them applies
    /// to it. Equality deletes are not looked at.
    ///
    /// # Errors
    /// What keeps a delete file from being read; [`Error::Damaged`] for one that is not what the table says.
    pub async fn load_positions(
        &self,
        context: &ReadContext,
        data: &LiveFile<'_>,
    ) -> Result<Option<Arc<RoaringTreemap>>> {
        load_positions(context, data.file.file_path(), &self.for_file(data)).await
    }

    /// The deletes that apply to a data file: position deletes that are not older, equality deletes that are newer.
    pub(crate) fn for_file(&self, data: &LiveFile<'_>) -> ApplicableDeletes {
        let path = data.file.file_path();
        let partition = (data.partition_spec_id, data.file.partition().clone());
        let is_newer_or_same = |delete: &&Arc<DeleteFile>| delete.data_sequence_number >= data.data_sequence_number;
        let positions = match self.vectors.get(path).filter(is_newer_or_same) {
            // A deletion vector holds what position delete files said before it.
            Some(vector) => vec![vector.clone()],
            None => {
                let by_path = self.by_path.get(path).into_iter().flatten();
                let by_partition = self.by_partition.get(&partition).into_iter().flatten();
                let all = by_path.chain(by_partition.filter(|delete| delete.may_name(path)));
                all.filter(is_newer_or_same).cloned().collect()
            }
        };
        let scoped = self.equality.get(&Some(partition)).into_iter().flatten();
        let global = self.equality.get(&None).into_iter().flatten();
        let equality =
            scoped.chain(global).filter(|group| group.newest() > data.data_sequence_number).cloned().collect();
        ApplicableDeletes { positions, equality }
    }
}

impl DeleteFile {
    fn path(&self) -> &str {
        self.file.file_path()
    }

    /// Several deletion vectors may be in one file.
    fn identity(&self) -> (&str, Option<i64>, i64) {
        (self.path(), self.file.content_offset(), self.data_sequence_number)
    }

    /// Whether its bounds allow a data file's path.
    fn may_name(&self, path: &str) -> bool {
        let text = |literal: &PrimitiveLiteral| match literal {
            PrimitiveLiteral::String(text) => Some(text.clone()),
            _ => None,
        };
        let lower = self.file.lower_bounds().get(&FILE_PATH_ID).and_then(|bound| text(bound.literal()));
        let upper = self.file.upper_bounds().get(&FILE_PATH_ID).and_then(|bound| text(bound.literal()));
        lower.is_none_or(|lower| lower.as_str() <= path) && upper.is_none_or(|upper| path <= upper.as_str())
    }

    /// The deleted positions of one data file.
    async fn positions_of(&self, context: &ReadContext, path: &str) -> Result<Option<Arc<RoaringTreemap>>> {
        let load = || async {
            match self.file.file_format() {
                DataFileFormat::Puffin => vector::load(context, &self.file).await,
                _ => position::load(context, &self.file).await,
            }
        };
        Ok(self.positions.get_or_try_init(load).await?.get(path).cloned())
    }
}

/// The one data file that a delete file's bounds allow.
fn only_path(file: &DataFile) -> Option<String> {
    let lower = file.lower_bounds().get(&FILE_PATH_ID)?.literal();
    match (lower, file.upper_bounds().get(&FILE_PATH_ID)?.literal()) {
        (PrimitiveLiteral::String(lower), PrimitiveLiteral::String(upper)) if lower == upper => Some(lower.clone()),
        _ => None,
    }
}

/// All positions of a data file that its position deletes or its deletion vector name.
pub(crate) async fn load_positions(
    context: &ReadContext,
    path: &str,
    deletes: &ApplicableDeletes,
) -> Result<Option<Arc<RoaringTreemap>>> {
    let mut positions: Option<Arc<RoaringTreemap>> = None;
    for delete in &deletes.positions {
        let Some(more) = delete.positions_of(context, path).await? else { continue };
        positions = Some(match positions {
            None => more,
            Some(sum) => Arc::new(sum.as_ref() | more.as_ref()),
        });
    }
    Ok(positions)
}

/// The deletes of one task, loaded.
#[derive(Debug, Default)]
pub(crate) struct TaskDeletes {
    positions: Option<Arc<RoaringTreemap>>,
    equality: Vec<Arc<EqualityGroup>>,
    data_sequence_number: i64,
}

impl TaskDeletes {
    pub(crate) async fn load(
        context: &ReadContext,
        spec: &ReadSpec,
        task: &ScanTask,
        deletes: &ApplicableDeletes,
    ) -> Result<Self> {
        let positions = load_positions(context, task.path(), deletes).await?;
        for group in &deletes.equality {
            group.load(context, spec).await?;
        }
        Ok(Self { positions, equality: deletes.equality.clone(), data_sequence_number: task.data_sequence_number })
    }

    /// The columns that equality deletes compare, by field id.
    pub(crate) fn key_ids(&self) -> impl Iterator<Item = i32> + '_ {
        self.equality.iter().flat_map(|group| group.ids().iter().copied())
    }

    /// Which of `rows` rows from `first_row` of the file on are still there. `None`: all of them.
    pub(crate) fn keep(
        &self,
        first_row: u64,
        rows: usize,
        keys: &HashMap<i32, ArrayRef>,
        location: &str,
    ) -> Result<Option<BooleanArray>> {
        let mut kept = Kept::all(rows);
        if let Some(positions) = &self.positions {
            let range = first_row..first_row + rows as u64;
            let mut here = positions.iter();
            here.advance_to(range.start);
            here.take_while(|row| range.contains(row)).for_each(|row| kept.delete((row - first_row) as usize));
        }
        for group in &self.equality {
            group.find(keys, self.data_sequence_number, &mut kept).map_err(|error| Error::damaged(location, error))?;
        }
        Ok(kept.mask())
    }
}

/// The rows of a batch that are still there, as bits.
struct Kept {
    bits: Vec<u64>,
    rows: usize,
    is_whole: bool,
}

impl Kept {
    fn all(rows: usize) -> Self {
        Self { bits: vec![u64::MAX; rows.div_ceil(64)], rows, is_whole: true }
    }

    fn delete(&mut self, row: usize) {
        self.bits[row / 64] &= !(1 << (row % 64));
        self.is_whole = false;
    }

    /// `None`: all of them.
    fn mask(self) -> Option<BooleanArray> {
        let bits = || BooleanBuffer::new(Buffer::from_vec(self.bits), 0, self.rows);
        (!self.is_whole).then(|| BooleanArray::new(bits(), None))
    }
}
