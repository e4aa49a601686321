//! Equality delete files (Iceberg spec, "Equality Delete Files").
//!
//! All files that compare the same columns in the same partition become one hash table from key to the greatest data
//! sequence number that deletes it. A row is looked up once, whatever the number of files, and is gone if that number
//! is greater than its own file's. Null equals null.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use arrow::array::ArrayRef;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use frazil_table::LiveFile;
use frazil_table::spec::{DataFile, NameMapping, PrimitiveLiteral, PrimitiveType, Schema};
use tokio::sync::OnceCell;

use super::{Kept, Numbered};
use crate::context::KeyField;
use crate::file_reader::leaf_bytes;
use crate::file_schema::file_fields;
use crate::footer::load_footer;
use crate::literal::compare;
use crate::parquet_rows::ParquetRows;
use crate::predicate::{Bounds, ColumnBounds};
use crate::row_groups::choose_row_groups;
use crate::row_plan::{Constants, FileLineage, FilePartition, RowPlanner};
use crate::stats::ByteKind;
use crate::{BoundColumn, BoundPredicate, Error, Projection, ReadContext, ReadSpec, Result, project};

/// Rows of a delete file that are decoded at a time.
const BATCH_ROWS: usize = 8_192;

/// Keys of one group in memory, with what the table needs for each of them. A table with more wants its deletes applied.
const KEYS_BYTES_MAX: usize = 2 << 30;

/// A boxed slice, a number and a slot of the hash table.
const KEY_OVERHEAD_BYTES: usize = 48;

/// Equality delete files that compare the same columns and apply to the same partition.
#[derive(Debug)]
pub(crate) struct EqualityGroup {
    /// Sorted.
    ids: Vec<i32>,
    files: Vec<Numbered>,
    /// `None`: all keys, as far as [`KEYS_BYTES_MAX`] lets them.
    share: Option<KeyShare>,
    keys: OnceCell<KeyTable>,
}

/// Of the keys of equality deletes, those whose hash is `index` modulo `of`. Who goes through all shares one after the other
/// needs no more memory at a time than one of them takes. Clones share the memory.
#[derive(Clone, Debug)]
pub(crate) struct KeyShare {
    pub index: u64,
    pub of: u64,
    memory: Arc<KeyMemory>,
}

#[derive(Debug)]
struct KeyMemory {
    used_bytes: AtomicUsize,
    max_bytes: usize,
}

impl KeyShare {
    /// A share whose keys, those of all groups together, may take so much.
    pub(crate) fn new(index: u64, of: u64, max_bytes: usize) -> Self {
        Self { index, of, memory: Arc::new(KeyMemory { used_bytes: AtomicUsize::new(0), max_bytes }) }
    }

    fn has(&self, key: &[u8]) -> bool {
        // Two hashers made by `new` give the same hash for the same bytes.
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        self.of == 1 || hasher.finish() % self.of == self.index
    }

    /// # Errors
    /// [`Error::KeysExceedMemory`] if there is no room for so much more.
    fn take(&self, bytes: usize, location: &str) -> Result<()> {
        let KeyMemory { used_bytes, max_bytes } = self.memory.as_ref();
        match used_bytes.fetch_add(bytes, Relaxed) + bytes > *max_bytes {
            true => Err(Error::KeysExceedMemory { location: location.to_owned(), bytes_max: *max_bytes }),
            false => Ok(()),
        }
    }
}

#[derive(Debug)]
struct KeyTable {
    converter: RowConverter,
    newest: HashMap<Box<[u8]>, i64>,
}

impl EqualityGroup {
    pub(super) fn new(ids: Vec<i32>, files: Vec<Numbered>, share: Option<KeyShare>) -> Self {
        Self { ids, files, share, keys: OnceCell::new() }
    }

    pub(super) fn ids(&self) -> &[i32] {
        &self.ids
    }

    /// The greatest data sequence number of its files.
    pub(super) fn newest(&self) -> i64 {
        self.files.iter().map(|(_, number)| *number).max().unwrap_or(i64::MIN)
    }

    /// Whether one of its files can match a row of a data file, by sequence number and column bounds.
    pub(super) fn may_match(&self, spec: &ReadSpec, data: &LiveFile<'_>) -> bool {
        let keys: Vec<_> = self.ids.iter().filter_map(|id| bound_column(spec, *id)).collect();
        let newer = self.files.iter().filter(|(_, number)| *number > data.data_sequence_number);
        newer.into_iter().any(|(delete, _)| {
            keys.iter().all(|key| may_share_a_value(key, &delete.as_ref().column(key), &data.file.column(key)))
        })
    }

    pub(super) async fn load(&self, context: &ReadContext, spec: &ReadSpec) -> Result<()> {
        self.keys.get_or_try_init(|| self.read(context, spec)).await.map(drop)
    }

    async fn read(&self, context: &ReadContext, spec: &ReadSpec) -> Result<KeyTable> {
        let first = self.files.first().map_or("", |(file, _)| file.file_path());
        let mut columns = BTreeMap::new();
        for id in &self.ids {
            let key = spec.key_field(*id).ok_or_else(|| {
                let reason = format!("it names field {id}, which no schema of the table has as a leaf of its own");
                Error::unsupported(first, reason)
            })?;
            columns.insert(*id, key);
        }
        let types = columns.values().map(|key| {
            let data_type = frazil_table::arrow::arrow_type(&key.field.field_type)?;
            Ok(SortField::new(data_type))
        });
        let types = types.collect::<Result<Vec<_>>>()?;
        let converter = RowConverter::new(types).map_err(|error| Error::unsupported(first, error))?;
        let mut newest: HashMap<Box<[u8]>, i64> = HashMap::new();
        let mut size_bytes = 0;
        for (file, number) in &self.files {
            read_keys(context, file, &columns, spec.name_mapping(), &mut |columns| {
                let rows =
                    convert(&converter, &self.ids, columns).map_err(|error| Error::damaged(file.file_path(), error))?;
                let before = size_bytes;
                for row in rows.iter().filter(|row| self.share.as_ref().is_none_or(|share| share.has(row.as_ref()))) {
                    match newest.get_mut(row.as_ref()) {
                        Some(known) => *known = (*known).max(*number),
                        None => {
                            size_bytes += row.as_ref().len() + KEY_OVERHEAD_BYTES;
                            newest.insert(row.as_ref().into(), *number);
                        }
                    }
                }
                if let Some(share) = &self.share {
                    return share.take(size_bytes - before, file.file_path());
                }
                if size_bytes > KEYS_BYTES_MAX {
                    let reason = "with it the equality deletes of one partition take more than 2 GiB of memory; \
                                  rewrite the data files that they apply to";
                    return Err(Error::unsupported(file.file_path(), reason));
                }
                Ok(())
            })
            .await?;
        }
        Ok(KeyTable { converter, newest })
    }

    /// Takes away the rows that are deleted from a file of that data sequence number. The group is loaded.
    pub(super) fn find(
        &self,
        columns: &HashMap<i32, ArrayRef>,
        data_sequence_number: i64,
        kept: &mut Kept,
    ) -> std::result::Result<(), ArrowError> {
        let table = self.keys.get().expect("a task loads its deletes before it reads rows");
        let rows = convert(&table.converter, &self.ids, columns)?;
        for (index, row) in rows.iter().enumerate() {
            if table.newest.get(row.as_ref()).is_some_and(|number| *number > data_sequence_number) {
                kept.delete(index);
            }
        }
        Ok(())
    }
}

fn bound_column(spec: &ReadSpec, id: i32) -> Option<BoundColumn> {
    let key = spec.key_field(id)?;
    let primitive = key.field.field_type.as_primitive_type()?.clone();
    Some(BoundColumn { field_id: id, path: key.path, primitive })
}

/// Null equals null and NaN equals NaN, and neither is within bounds.
fn may_share_a_value(key: &BoundColumn, a: &ColumnBounds, b: &ColumnBounds) -> bool {
    let may_hold = |count: Option<u64>| count != Some(0);
    let is_float = matches!(key.primitive, PrimitiveType::Float | PrimitiveType::Double);
    if may_hold(a.null_count) && may_hold(b.null_count) || is_float && may_hold(a.nan_count) && may_hold(b.nan_count) {
        return true;
    }
    let is_below = |upper: &Option<PrimitiveLiteral>, lower: &Option<PrimitiveLiteral>| {
        upper.as_ref().zip(lower.as_ref()).and_then(|(upper, lower)| compare(upper, lower)) == Some(Ordering::Less)
    };
    !is_below(&a.upper, &b.lower) && !is_below(&b.upper, &a.lower)
}

fn convert(
    converter: &RowConverter,
    ids: &[i32],
    columns: &HashMap<i32, ArrayRef>,
) -> std::result::Result<arrow::row::Rows, ArrowError> {
    let columns: Vec<ArrayRef> = ids.iter().filter_map(|id| columns.get(id).cloned()).collect();
    converter.convert_columns(&columns)
}

/// What takes the columns of a batch, by field id.
type Visit<'a> = dyn FnMut(&HashMap<i32, ArrayRef>) -> Result<()> + Send + 'a;

/// Reads some columns of a delete file whole.
pub(super) async fn read_keys(
    context: &ReadContext,
    file: &DataFile,
    keys: &BTreeMap<i32, KeyField>,
    mapping: Option<&NameMapping>,
    visit: &mut Visit<'_>,
) -> Result<()> {
    let location = file.file_path();
    let opened = (location, file.file_size_in_bytes(), ByteKind::Delete);
    let footer = load_footer(&context.env.store, &context.footers, &context.counters, opened).await?;
    let fields = file_fields(location, footer.metadata.schema(), mapping)?;
    let (groups, _) = choose_row_groups(footer.metadata.metadata(), &fields, None, 0, &BoundPredicate::True);
    let planner = RowPlanner {
        location,
        file: &fields,
        leaf_bytes: &leaf_bytes(&footer),
        constants: &Constants::new(),
        lineage: FileLineage::default(),
        partition: &FilePartition::default(),
    };
    let nothing =
        project(&Schema::builder().build().expect("an empty schema has no two fields alike"), &Projection::All)?;
    let plan = planner.plan(&nothing, keys)?;
    if let Some(missing) = plan.keys.iter().find(|(_, leaf)| !leaf.is_read) {
        return Err(Error::damaged(location, format!("a delete file without its column {}", missing.0)));
    }
    let leaves = plan.leaves.iter().copied();
    let mut rows = ParquetRows::new(context, location, ByteKind::Delete, &footer).read(leaves, groups, BATCH_ROWS);
    while let Some((_, batch)) = rows.next().await? {
        visit(&plan.keys(&batch, location)?)?;
    }
    Ok(())
}
