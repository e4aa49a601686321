//! Changes of rows, as different writers work them out.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use frazil_reader::{Projection, project};
use frazil_table::spec::{DataContentType, FormatVersion, MAIN_BRANCH, NestedFieldRef, Type};
use frazil_table::{
    Change, DeleteFiles, Isolation, MetadataChange, Overwrite, PartitionFilter, RemovedFiles, RewriteDeletes,
    RewriteManifests, RowDelta, TableFile, Validation, referenced_data_file,
};
use rand::Rng;
use rand::seq::{IndexedRandom, IteratorRandom};

use crate::history::{History, Pending};
use crate::model::{Effect, Equality, Partition, Row, Rows};
use crate::value::Val;
use crate::world::{KEY, key_of};

/// Rows by the data file and the partition spec that they are of.
type Positions = BTreeMap<(Arc<str>, i32), (Partition, Vec<i64>)>;

impl History {
    /// Works out a change on the head of a branch as it is now, or two in one commit.
    pub async fn prepare(&mut self, branch: &str) -> Option<Pending> {
        let base = self.head(branch);
        let rows = self.model.rows(base);
        let seen = self.world.table.metadata_location().to_owned();
        let (what, change, effect) = self.work_out(branch, base, &rows).await?;
        let mut pending = Pending {
            what: what.to_owned(),
            branch: branch.to_owned(),
            base,
            seen,
            changes: vec![change],
            effects: vec![effect],
            rewrites: Vec::new(),
            conversion: None,
        };
        match self.random.random_range(0..100) {
            // An append and what was going to be done anyway, one snapshot on the other.
            0..15 => {
                let (_, change, effect) = self.append().await?;
                pending.what = format!("append and {}", pending.what);
                pending.changes.insert(0, change);
                pending.effects.insert(0, effect);
            }
            // The rows are of the schema of before: files are matched by field id.
            15..20 => {
                pending.what = format!("schema and {}", pending.what);
                pending.changes.push(Change::Metadata(MetadataChange::Schema(self.schema_change())));
            }
            _ => {}
        }
        Some(pending)
    }

    async fn work_out(
        &mut self,
        branch: &str,
        base: Option<i64>,
        rows: &Rows,
    ) -> Option<(&'static str, Change, Effect)> {
        let row_level = self.world.version() > FormatVersion::V1;
        match self.random.random_range(0..100) {
            _ if rows.is_empty() => self.append().await,
            0..25 => self.append().await,
            25..40 if row_level => self.delete_equal(base, rows).await,
            40..58 if row_level => self.delete_rows(branch, base, rows, rows).await,
            58..68 => self.overwrite_files(base, rows).await,
            68..75 => self.overwrite_partitions(base, rows).await,
            75..90 => self.rewrite_files(branch, base, rows).await,
            90..95 if row_level => self.rewrite_deletes(branch, base, rows).await,
            _ => {
                let rewrite = RewriteManifests { target_size_bytes: None, properties: Default::default() };
                Some(("rewrite manifests", Change::RewriteManifests(rewrite), Effect::Nothing))
            }
        }
    }

    async fn new_rows(&mut self, counts: std::ops::Range<usize>) -> (Vec<TableFile>, Rows) {
        self.new_rows_and(Vec::new(), counts).await
    }

    async fn new_rows_and(&mut self, mut rows: Vec<Val>, counts: std::ops::Range<usize>) -> (Vec<TableFile>, Rows) {
        let count = self.random.random_range(counts);
        rows.extend((0..count).map(|_| self.new_row()).collect::<Vec<_>>());
        self.world.write(&rows).await
    }

    /// What a row may be updated to.
    fn new_version(&mut self, key: i64) -> Val {
        let Val::Struct(mut values) = self.new_row() else { unreachable!("a row is a struct") };
        values.insert(KEY, Val::Int(key.into()));
        Val::Struct(values)
    }

    fn validation(&mut self, base: Option<i64>) -> Validation {
        match self.random.random_bool(0.2) {
            true => Validation { isolation: Isolation::Serializable, ..Validation::snapshot(base) },
            false => Validation::snapshot(base),
        }
    }

    async fn append(&mut self) -> Option<(&'static str, Change, Effect)> {
        let (files, added) = self.new_rows(1..8).await;
        let effect = Effect::Delta { gone: Vec::new(), equality: Vec::new(), added };
        Some(("append", Change::Append { files, properties: Default::default() }, effect))
    }

    /// Equality deletes of some tuples that are there, and one that may not be, and perhaps new rows.
    async fn delete_equal(&mut self, base: Option<i64>, rows: &Rows) -> Option<(&'static str, Change, Effect)> {
        let schema = self.world.table.metadata().current_schema().clone();
        let mut leaves = Vec::new();
        collect_leaves(schema.as_struct().fields(), &mut Vec::new(), &mut leaves);
        let count = self.random.random_range(1..3);
        let keys: Vec<(Vec<i32>, String)> = leaves.into_iter().choose_multiple(&mut self.random, count);
        let row: Row = rows.values().choose(&mut self.random)?.clone();
        let spec = self.world.table.metadata().partition_spec_by_id(row.partition.0)?.clone();
        let mut tuples = vec![row.values.clone()];
        if self.random.random_bool(0.5) {
            tuples.push(self.new_row());
        }
        let projected = project(&schema, &Projection::paths(keys.iter().map(|(_, name)| name.clone()))).ok()?;
        let arrow = optional(projected.arrow());
        let ids = keys.iter().map(|(path, _)| *path.last().unwrap()).collect();
        let file = self.world.equality_deletes(&arrow, ids, &tuples, &row.partition).await;
        let scope = (!spec.is_unpartitioned()).then(|| row.partition.clone());
        let equality = tuples.iter().map(|tuple| Equality {
            keys: keys.iter().map(|(path, _)| (path.clone(), tuple.at(path))).collect(),
            scope: scope.clone(),
        });
        let equality = equality.collect();
        let (data_files, added) = self.new_rows(0..3).await;
        let validation = self.validation(base);
        let delta = RowDelta { data_files, delete_files: vec![file], validation, ..RowDelta::default() };
        Some(("equality delete", Change::RowDelta(delta), Effect::Delta { gone: Vec::new(), equality, added }))
    }

    /// Deletes rows by their positions of files that a compaction has read, whose outputs have to lose them as well.
    pub async fn delete_under(&mut self, inputs: &BTreeSet<Arc<str>>) -> Option<Pending> {
        if self.world.version() == FormatVersion::V1 {
            return None;
        }
        let base = self.head(MAIN_BRANCH);
        let rows = self.model.rows(base);
        let among: Rows = of_files(&rows, inputs).map(|(key, row)| (*key, row.clone())).collect();
        let seen = self.world.table.metadata_location().to_owned();
        let (what, change, effect) = self.delete_rows(MAIN_BRANCH, base, &rows, &among).await?;
        Some(Pending {
            what: what.to_owned(),
            branch: MAIN_BRANCH.to_owned(),
            base,
            seen,
            changes: vec![change],
            effects: vec![effect],
            rewrites: Vec::new(),
            conversion: None,
        })
    }

    /// Single rows go by their positions, as position deletes or deletion vectors, and perhaps others come.
    async fn delete_rows(
        &mut self,
        branch: &str,
        base: Option<i64>,
        rows: &Rows,
        among: &Rows,
    ) -> Option<(&'static str, Change, Effect)> {
        let count = self.random.random_range(1..4);
        let gone: Vec<i64> = among.keys().copied().choose_multiple(&mut self.random, count);
        if gone.is_empty() {
            return None;
        }
        let mut by_file = Positions::new();
        for key in &gone {
            let row = &rows[key];
            let entry = by_file.entry((row.file.clone(), row.partition.0));
            entry.or_insert_with(|| (row.partition.clone(), Vec::new())).1.push(row.position);
        }
        let mut delta = RowDelta { validation: self.validation(base), ..RowDelta::default() };
        if self.world.version() == FormatVersion::V3 {
            for ((path, _), (partition, _)) in &by_file {
                let (vector, absorbed) = self.vector_of(branch, base, path, partition, &gone, rows).await;
                delta.delete_files.push(vector);
                delta.removed_delete_files.extend(absorbed);
            }
        } else {
            delta.delete_files = self.position_files(&by_file).await;
            let paths = by_file.keys().map(|(path, _)| path.to_string());
            delta.validation.referenced_data_files = paths.collect();
        }
        let mut updated = Vec::new();
        for key in &gone {
            if self.random.random_bool(0.4) {
                updated.push(self.new_version(*key));
            }
        }
        let (data_files, added) = self.new_rows_and(updated, 0..3).await;
        delta.data_files = data_files;
        Some(("delete of rows", Change::RowDelta(delta), Effect::Delta { gone, equality: Vec::new(), added }))
    }

    /// One file for each data file, or one for each partition.
    async fn position_files(&mut self, by_file: &Positions) -> Vec<TableFile> {
        let named = self.random.random_bool(0.5);
        let mut groups: Vec<(Partition, Vec<(String, i64)>)> = Vec::new();
        for ((path, _), (partition, positions)) in by_file {
            let places = positions.iter().map(|position| (path.to_string(), *position));
            match groups.iter_mut().find(|(of, _)| of == partition && !named) {
                Some((_, group)) => group.extend(places),
                None => groups.push((partition.clone(), places.collect())),
            }
        }
        let mut files = Vec::new();
        for (partition, mut places) in groups {
            places.sort();
            let file = self.world.position_deletes(&places, &partition, named).await;
            self.positions.insert(file.file.file_path().to_owned(), places);
            files.push(file);
        }
        files
    }

    /// The vector of a data file: what was deleted before, and what goes now; and the delete files that it absorbs.
    async fn vector_of(
        &mut self,
        branch: &str,
        base: Option<i64>,
        path: &str,
        partition: &Partition,
        gone: &[i64],
        rows: &Rows,
    ) -> (TableFile, Vec<TableFile>) {
        let state = self.world.state(branch, base).await;
        let data = state.live_data_files_by_path().unwrap();
        let count = i64::try_from(data[path].file.record_count()).unwrap();
        let live: HashSet<i64> = rows
            .iter()
            .filter(|(key, row)| &*row.file == path && !gone.contains(key))
            .map(|(_, row)| row.position)
            .collect();
        let positions: Vec<i64> = (0..count).filter(|position| !live.contains(position)).collect();
        // A file that does not say so may delete rows of other files too, for all that a commit can see of it.
        let of_this_file = |file: &frazil_table::spec::DataFile| referenced_data_file(file).as_deref() == Some(path);
        let absorbed = state
            .live_delete_files()
            .unwrap()
            .into_iter()
            .filter(|live| live.content() == DataContentType::PositionDeletes && of_this_file(live.file));
        let absorbed = absorbed
            .map(|live| TableFile { file: live.file.clone(), partition_spec_id: live.partition_spec_id })
            .collect();
        (self.world.deletion_vector(path, &positions, partition).await, absorbed)
    }

    /// Copy-on-write: the rows of some files without some of them, with some others.
    async fn overwrite_files(&mut self, base: Option<i64>, rows: &Rows) -> Option<(&'static str, Change, Effect)> {
        let files = self.some_files(rows, 2);
        let read: BTreeSet<i64> = of_files(rows, &files).map(|(key, _)| *key).collect();
        let removed = RemovedFiles::Files(files.iter().map(|path| path.to_string()).collect());
        let validation = self.validation(base);
        if self.random.random_bool(0.3) {
            let effect = Effect::Overwrite { files, read, added: Rows::new() };
            let delete = DeleteFiles { removed, validation, properties: Default::default() };
            return Some(("delete of files", Change::DeleteFiles(delete), effect));
        }
        let schema = self.world.table.metadata().current_schema().clone();
        let mut kept: Vec<Val> =
            of_files(rows, &files).map(|(_, row)| row.values.project(schema.as_struct().fields())).collect();
        kept.retain(|_| self.random.random_bool(0.7));
        for row in &mut kept {
            if self.random.random_bool(0.2) {
                *row = self.new_version(key_of(row));
            }
        }
        kept.extend((0..self.random.random_range(1..3)).map(|_| self.new_row()).collect::<Vec<_>>());
        let (added_files, added) = self.world.write(&kept).await;
        let overwrite = Overwrite { removed, added: added_files, validation, properties: Default::default() };
        Some(("overwrite of files", Change::Overwrite(overwrite), Effect::Overwrite { files, read, added }))
    }

    /// INSERT OVERWRITE of the partitions of the new rows, or of a partition that is named, or DELETE of that.
    async fn overwrite_partitions(&mut self, base: Option<i64>, rows: &Rows) -> Option<(&'static str, Change, Effect)> {
        let validation = self.validation(base);
        let kind = self.random.random_range(0..3);
        if kind < 2 {
            let partition = rows.values().choose(&mut self.random)?.partition.clone();
            let removed = RemovedFiles::Filter(Arc::new(PartitionFilter::new([partition.clone()])));
            let gone = Some([partition].into());
            if kind == 0 {
                let effect = Effect::Partitions { gone, added: Rows::new() };
                let delete = DeleteFiles { removed, validation, properties: Default::default() };
                return Some(("delete of a partition", Change::DeleteFiles(delete), effect));
            }
            let (files, added) = self.new_rows(1..4).await;
            let overwrite = Overwrite { removed, added: files, validation, properties: Default::default() };
            return Some(("overwrite by filter", Change::Overwrite(overwrite), Effect::Partitions { gone, added }));
        }
        let (files, added) = self.new_rows(1..4).await;
        let is_whole = self.world.table.metadata().default_partition_spec().is_unpartitioned();
        let gone = (!is_whole).then(|| added.values().map(|row| row.partition.clone()).collect());
        let removed = RemovedFiles::PartitionsOfAdded;
        let overwrite = Overwrite { removed, added: files, validation, properties: Default::default() };
        Some(("overwrite of partitions", Change::Overwrite(overwrite), Effect::Partitions { gone, added }))
    }

    /// Compaction: the rows of some files in others. Deletes are applied, or equality deletes are carried: what they hit
    /// is written too, with the data sequence number by which they go on hitting it.
    async fn rewrite_files(
        &mut self,
        branch: &str,
        base: Option<i64>,
        rows: &Rows,
    ) -> Option<(&'static str, Change, Effect)> {
        let partition = rows.values().choose(&mut self.random)?.partition.clone();
        let carries = self.random.random_bool(0.4);
        let schema = self.world.table.metadata().current_schema().clone();
        let state = self.world.state(branch, base).await;
        let deletes = state.live_delete_files().unwrap();
        let mut deleted_by = deletes.iter().filter_map(|live| live.file.equality_ids()).flatten();
        let lacks_columns = deleted_by.any(|id| schema.field_by_id(id).is_none());
        if carries && lacks_columns {
            // What is written now can't tell which of its rows such a delete hits.
            return None;
        }
        // Into the partitions of now, or into that in which they are.
        let moves = !carries && self.world.version() < FormatVersion::V3 && self.random.random_bool(0.5);
        let here = rows.iter().filter(|(_, row)| moves || row.partition == partition);
        let here: Rows = here.map(|(key, row)| (*key, row.clone())).collect();
        let mut files = self.some_files(&here, if carries { 1 } else { 3 });
        let live = state.live_data_files_by_path().unwrap();
        if carries {
            // A position delete can't be carried: it names the file.
            let is_whole = |path: &Arc<str>| {
                let stored = self.world.rows_of(path).iter();
                stored.map(key_of).all(|key| !self.model.deleted_by_position.contains(&key))
            };
            files.retain(is_whole);
        }
        let first_row_id = |path: &str| live[path].file.first_row_id();
        let mut values = Vec::new();
        let mut row_ids = Vec::new();
        for path in &files {
            for (position, stored) in (0..).zip(self.world.rows_of(path)) {
                if carries || rows.get(&key_of(stored)).is_some_and(|row| row.file == *path) {
                    values.push(stored.clone());
                    row_ids.push(self.world.row_id(path, position, first_row_id(path)));
                }
            }
        }
        let newest = files.iter().map(|path| live[&**path].data_sequence_number).max()?;
        // Where deletes are applied, both numbers are right unless they are by columns that the new files lack.
        let is_base = !carries && (lacks_columns || values.len() % 2 == 0);
        let data_sequence_number = if is_base { state.snapshot()?.sequence_number() } else { newest };
        let values: Vec<Val> = values.iter().map(|row| row.project(schema.as_struct().fields())).collect();
        let with_lineage = self.world.version() == FormatVersion::V3;
        let (added, mut moved) = match moves {
            true => self.world.write(&values).await,
            false => self.world.rewrite(&values, &partition, with_lineage.then_some(row_ids)).await,
        };
        moved.retain(|key, _| rows.contains_key(key));
        let change = Change::Replace {
            removed: files.iter().map(|path| path.to_string()).collect(),
            added,
            data_sequence_number,
            base_snapshot_id: base?,
            carried: None,
            properties: Default::default(),
        };
        let what = if carries { "rewrite with deletes carried" } else { "rewrite of files" };
        Some((what, change, Effect::Move { files, moved, rebases: false }))
    }

    /// Position delete files of a partition become one.
    async fn rewrite_deletes(
        &mut self,
        branch: &str,
        base: Option<i64>,
        _: &Rows,
    ) -> Option<(&'static str, Change, Effect)> {
        if self.world.version() != FormatVersion::V2 {
            return None;
        }
        let state = self.world.state(branch, base).await;
        let data = state.live_data_files_by_path().unwrap();
        let deletes = state.live_delete_files().unwrap();
        let deletes: Vec<_> =
            deletes.into_iter().filter(|live| live.content() == DataContentType::PositionDeletes).collect();
        let one = deletes.choose(&mut self.random)?;
        let partition: Partition = (one.partition_spec_id, one.file.partition().clone());
        let removed: Vec<TableFile> = deletes
            .iter()
            .filter(|live| (live.partition_spec_id, live.file.partition()) == (partition.0, &partition.1))
            .map(|live| TableFile { file: live.file.clone(), partition_spec_id: live.partition_spec_id })
            .collect();
        for file in &removed {
            // Those of the compactor are not known.
            let path = file.file.file_path();
            if !self.positions.contains_key(path) {
                let places = self.world.places_in(path).await;
                self.positions.insert(path.to_owned(), places);
            }
        }
        let mut places: Vec<(String, i64)> = removed
            .iter()
            .flat_map(|file| self.positions[file.file.file_path()].clone())
            .filter(|(path, _)| data.contains_key(path.as_str()))
            .collect();
        places.sort();
        places.dedup();
        if places.is_empty() {
            return None;
        }
        let paths: BTreeSet<String> = places.iter().map(|(path, _)| path.clone()).collect();
        let file = self.world.position_deletes(&places, &partition, false).await;
        self.positions.insert(file.file.file_path().to_owned(), places);
        let mut validation = Validation::snapshot(base);
        validation.referenced_data_files = paths.into_iter().collect();
        let rewrite = RewriteDeletes { removed, added: vec![file], validation, properties: Default::default() };
        Some(("rewrite of deletes", Change::RewriteDeletes(rewrite), Effect::Nothing))
    }

    fn some_files(&mut self, rows: &Rows, count: usize) -> BTreeSet<Arc<str>> {
        let files: BTreeSet<Arc<str>> = rows.values().map(|row| row.file.clone()).collect();
        let count = self.random.random_range(1..=count);
        files.into_iter().choose_multiple(&mut self.random, count).into_iter().collect()
    }
}

fn of_files<'a>(rows: &'a Rows, files: &'a BTreeSet<Arc<str>>) -> impl Iterator<Item = (&'a i64, &'a Row)> {
    rows.iter().filter(|(_, row)| files.contains(&row.file))
}

/// Leaves that have one value in a row: paths of ids, and dotted names.
fn collect_leaves(fields: &[NestedFieldRef], above: &mut Vec<(i32, String)>, leaves: &mut Vec<(Vec<i32>, String)>) {
    for field in fields {
        above.push((field.id, field.name.clone()));
        match &*field.field_type {
            Type::Primitive(_) => {
                let names: Vec<&str> = above.iter().map(|(_, name)| name.as_str()).collect();
                leaves.push((above.iter().map(|(id, _)| *id).collect(), names.join(".")));
            }
            Type::Struct(inner) => collect_leaves(inner.fields(), above, leaves),
            Type::List(_) | Type::Map(_) => {}
        }
        above.pop();
    }
}

/// The same columns, every one of which may be null.
fn optional(schema: &arrow::datatypes::SchemaRef) -> arrow::datatypes::SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()))
}
