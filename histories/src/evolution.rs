//! Changes that add no rows: schemas, specs, refs, properties, expiry.

use std::collections::HashMap;

use frazil_catalog::CommitEnd;
use frazil_table::evolve::{FieldPath, IfThere, MetadataChange, NewField, Position, RefChange, RefKind};
use frazil_table::evolve::{SchemaChange, SchemaStep, SortTerm, SpecStep};
use frazil_table::spec::{
    FormatVersion, MAIN_BRANCH, NestedFieldRef, NullOrder, PrimitiveType, SnapshotRetention, SortDirection, Transform,
    Type,
};
use frazil_table::{Change, CherryPick, io, plan_cherry_pick};
use rand::Rng;
use rand::seq::{IndexedRandom, IteratorRandom};

use crate::history::{Broken, History, Pending};
use crate::model::{Effect, Row};
use crate::world::KEY;

impl History {
    /// Commits a change that makes no snapshot. What a table refuses leaves it as it is.
    async fn apply(&mut self, what: &str, change: Change) -> Result<bool, Broken> {
        let end = self.world.commit(MAIN_BRANCH, std::slice::from_ref(&change)).await;
        let (landed, end) = match end {
            Ok(CommitEnd::Committed(_)) => (true, "committed".to_owned()),
            Err(frazil_catalog::Error::Table(error)) => (false, format!("refused: {error}")),
            other => return Err(format!("{what} ended with {other:?}")),
        };
        self.tally.count(&format!("{what}: {}", end.split(':').next().unwrap_or_default()));
        self.log.push(format!("{what} {change:?}: {end}"));
        self.world.refresh().await;
        self.check_heads().await?;
        Ok(landed)
    }

    pub async fn evolve(&mut self) -> Result<(), Broken> {
        let (what, change) = match self.random.random_range(0..100) {
            0..60 => ("schema", MetadataChange::Schema(self.schema_change())),
            60..85 => ("spec", MetadataChange::PartitionSpec(vec![self.spec_step()])),
            85..95 => ("sort order", MetadataChange::SortOrder(self.sort_terms())),
            _ if self.world.version() == FormatVersion::V1 => {
                ("upgrade", MetadataChange::UpgradeFormatVersion(FormatVersion::V2))
            }
            _ => ("upgrade", MetadataChange::UpgradeFormatVersion(FormatVersion::V3)),
        };
        self.apply(what, Change::Metadata(change)).await.map(drop)
    }

    /// Every field but the key, with its path; leaves of lists and maps too.
    fn fields(&self) -> Vec<(FieldPath, NestedFieldRef)> {
        let mut found = Vec::new();
        let schema = self.world.table.metadata().current_schema().clone();
        let mut open: Vec<(FieldPath, NestedFieldRef)> =
            schema.as_struct().fields().iter().map(|field| (FieldPath::root(), field.clone())).collect();
        while let Some((parent, field)) = open.pop() {
            let path = parent.join(&field.name);
            match &*field.field_type {
                Type::Primitive(_) => {}
                Type::Struct(inner) => open.extend(inner.fields().iter().map(|f| (path.clone(), f.clone()))),
                Type::List(list) => open.push((path.clone(), list.element_field.clone())),
                Type::Map(map) => open.push((path.clone(), map.value_field.clone())),
            }
            if field.id != KEY {
                found.push((path, field));
            }
        }
        found.sort_by_key(|(_, field)| field.id);
        found
    }

    pub fn schema_change(&mut self) -> SchemaChange {
        let count = self.random.random_range(1..3);
        let steps = (0..count).map(|_| self.schema_step()).collect();
        SchemaChange { steps, ..SchemaChange::default() }
    }

    fn schema_step(&mut self) -> SchemaStep {
        let fields = self.fields();
        let some = fields.choose(&mut self.random).cloned();
        let add = |history: &mut Self, parent: FieldPath| {
            history.next_key += 1;
            let name = format!("n{}", history.next_key);
            let field_type = history.new_type();
            let position = history.random.random_bool(0.3).then_some(Position::First);
            let (required, doc, default) = (false, None, None);
            SchemaStep::Add(Box::new(NewField { parent, name, field_type, required, doc, default, position }))
        };
        let Some((path, field)) = some else { return add(self, FieldPath::root()) };
        // What files are partitioned by becomes wider under them.
        let spec = self.world.table.metadata().default_partition_spec().clone();
        let is_source = |field: &NestedFieldRef| spec.fields().iter().any(|by| by.source_id == field.id);
        let sources = fields.iter().filter(|(_, field)| is_source(field));
        let sources = sources.filter_map(|(path, field)| Some((path.clone(), wider(&field.field_type)?)));
        if let Some((path, field_type)) = sources.choose(&mut self.random)
            && self.random.random_bool(0.5)
        {
            return SchemaStep::SetType { path, field_type };
        }
        match self.random.random_range(0..10) {
            0..3 => add(self, FieldPath::root()),
            3 | 4 => {
                let structs = fields.iter().filter(|(_, field)| field.field_type.is_struct());
                let parent = structs.map(|(path, _)| path.clone()).choose(&mut self.random);
                add(self, parent.unwrap_or_default())
            }
            5 => SchemaStep::Drop(path),
            6 => {
                self.next_key += 1;
                SchemaStep::Rename { path, name: format!("r{}", self.next_key) }
            }
            7 => SchemaStep::Move { path, position: Position::First },
            _ => {
                let narrow = fields.iter().filter_map(|(path, field)| Some((path, wider(&field.field_type)?)));
                match narrow.choose(&mut self.random) {
                    Some((path, field_type)) => SchemaStep::SetType { path: path.clone(), field_type },
                    None => SchemaStep::SetDoc { path, doc: Some(field.name.clone()) },
                }
            }
        }
    }

    fn spec_step(&mut self) -> SpecStep {
        let spec = self.world.table.metadata().default_partition_spec().clone();
        let dropped = spec.fields().iter().filter(|field| field.transform != Transform::Void).choose(&mut self.random);
        if let Some(field) = dropped
            && self.random.random_bool(0.5)
        {
            return SpecStep::Drop { name: field.name.clone() };
        }
        let fields = self.fields();
        let leaves = fields.iter().filter(|(_, field)| field.field_type.is_primitive());
        let only_narrow = self.random.random_bool(0.5);
        let leaves = leaves.filter(|(_, field)| !only_narrow || wider(&field.field_type).is_some());
        let source = leaves.map(|(path, _)| path.clone()).choose(&mut self.random);
        let source = source.filter(|_| self.random.random_bool(0.7)).unwrap_or_else(|| FieldPath::from("key"));
        let transforms =
            [Transform::Identity, Transform::Bucket(2), Transform::Truncate(1), Transform::Day, Transform::Year];
        let transform = if source == FieldPath::from("key") {
            Transform::Bucket(2)
        } else {
            *transforms.choose(&mut self.random).unwrap()
        };
        SpecStep::Add { source, transform, name: None }
    }

    fn sort_terms(&mut self) -> Vec<SortTerm> {
        let fields = self.fields();
        let leaves = fields.iter().filter(|(_, field)| field.field_type.is_primitive());
        let count = self.random.random_range(0..3);
        let sources = leaves.map(|(path, _)| path.clone()).choose_multiple(&mut self.random, count);
        let term = |source| SortTerm {
            source,
            transform: Transform::Identity,
            direction: SortDirection::Descending,
            null_order: NullOrder::First,
        };
        sources.into_iter().map(term).collect()
    }

    pub async fn set_properties(&mut self) -> Result<(), Broken> {
        let choices = [
            ("commit.manifest.min-count-to-merge", "2"),
            ("commit.manifest.min-count-to-merge", "100"),
            ("write.metadata.metrics.default", "none"),
            ("write.metadata.metrics.default", "counts"),
            ("write.metadata.metrics.default", "full"),
            ("write.parquet.compression-codec", "snappy"),
            ("write.parquet.compression-codec", "uncompressed"),
        ];
        let (key, value) = choices.choose(&mut self.random).unwrap();
        let change = match self.random.random_bool(0.8) {
            true => Change::SetProperties(HashMap::from([((*key).to_owned(), (*value).to_owned())])),
            false => Change::RemoveProperties(vec![(*key).to_owned()]),
        };
        self.apply("properties", change).await.map(drop)
    }

    pub async fn change_refs(&mut self) -> Result<(), Broken> {
        let ids: Vec<i64> = self.world.table.metadata().snapshots().map(|s| s.snapshot_id()).collect();
        let mut ids = ids;
        ids.sort_unstable();
        let Some(snapshot_id) = ids.choose(&mut self.random).copied() else { return Ok(()) };
        let names: Vec<String> = self.world.table.refs().keys().filter(|name| *name != MAIN_BRANCH).cloned().collect();
        let some = names.choose(&mut self.random).cloned();
        let change = match (self.random.random_range(0..10), some) {
            (0..4, _) | (_, None) => {
                self.next_key += 1;
                let (name, retention) = match self.random.random_bool(0.6) {
                    true => (format!("b{}", self.next_key), SnapshotRetention::branch(None, None, None)),
                    false => (format!("t{}", self.next_key), SnapshotRetention::Tag { max_ref_age_ms: None }),
                };
                RefChange::Create { name, snapshot_id: Some(snapshot_id), retention, if_there: IfThere::Refuse }
            }
            (4, Some(name)) => {
                let kind = RefKind::of(&self.world.table.refs()[&name]);
                RefChange::Drop { name, kind, if_exists: true }
            }
            (5, Some(to)) => RefChange::FastForward { branch: MAIN_BRANCH.to_owned(), to },
            (6, Some(_)) => RefChange::Rollback { branch: MAIN_BRANCH.to_owned(), snapshot_id },
            (7, Some(branch)) => RefChange::SetSnapshot { branch, snapshot_id },
            (_, Some(_)) => return self.cherry_pick(snapshot_id).await,
        };
        self.apply("ref", Change::Metadata(MetadataChange::Ref(change))).await.map(drop)
    }

    /// Mostly of a snapshot that can be picked, which few are.
    async fn cherry_pick(&mut self, any: i64) -> Result<(), Broken> {
        let table = self.world.table.clone();
        let mut replays: Vec<i64> = table.metadata().snapshots().map(|snapshot| snapshot.snapshot_id()).collect();
        replays.retain(|id| matches!(plan_cherry_pick(&table, *id), Ok(CherryPick::Replay { .. })));
        replays.sort_unstable();
        let replay = replays.choose(&mut self.random).copied();
        let snapshot_id = replay.filter(|_| self.random.random_bool(0.8)).unwrap_or(any);
        match plan_cherry_pick(&table, snapshot_id) {
            Ok(CherryPick::Replay { snapshot_id, properties }) => {
                let (store, cache) = (&self.world.env.store, &self.world.context.manifests);
                let files = io::load_added_files(store, cache, &table, snapshot_id).await;
                let files = files.map_err(|error| error.to_string())?;
                let paths: Vec<&str> = files.iter().map(|file| file.file.file_path()).collect();
                let picked = self.model.rows(Some(snapshot_id));
                let added = picked.iter().filter(|(_, row)| paths.contains(&&*row.file));
                // The same file in another history gives its rows other ids.
                let added = added.map(|(key, row)| (*key, Row { origin: None, ..row.clone() })).collect();
                let effect = Effect::Delta { gone: Vec::new(), equality: Vec::new(), added };
                let (what, branch) = ("cherry-pick".to_owned(), MAIN_BRANCH.to_owned());
                let change = Change::Append { files, properties };
                let base = self.head(MAIN_BRANCH);
                let seen = self.world.table.metadata_location().to_owned();
                let (changes, effects, rewrites) = (vec![change], vec![effect], Vec::new());
                self.land(vec![Pending { what, branch, base, seen, changes, effects, rewrites, conversion: None }])
                    .await
            }
            Ok(CherryPick::FastForward { snapshot_id }) => {
                let branch = MAIN_BRANCH.to_owned();
                let change = RefChange::SetSnapshot { branch, snapshot_id };
                self.apply("fast-forward", Change::Metadata(MetadataChange::Ref(change))).await.map(drop)
            }
            Err(_) => Ok(()),
        }
    }

    /// Snapshots leave, then the files that only they named.
    pub async fn expire(&mut self) -> Result<(), Broken> {
        let before = self.world.table.clone();
        let heads: Vec<i64> = before.refs().values().map(|reference| reference.snapshot_id).collect();
        let mut ids: Vec<i64> = before.metadata().snapshots().map(|s| s.snapshot_id()).collect();
        ids.retain(|id| !heads.contains(id));
        ids.sort_unstable();
        ids.retain(|_| self.random.random_bool(0.6));
        if ids.is_empty() || !self.apply("expire", Change::ExpireSnapshots { snapshot_ids: ids }).await? {
            return Ok(());
        }
        self.compaction.forget();
        let (store, cache) = (&self.world.env.store, &self.world.context.manifests);
        let gone = io::find_unreachable_files(store, cache, &before, &self.world.table).await;
        for path in gone.map_err(|error| error.to_string())?.in_order_of_deletion() {
            store.delete(path).await.map_err(|error| error.to_string())?;
        }
        self.check_everything().await
    }
}

/// What a column's type may become.
fn wider(narrow: &Type) -> Option<PrimitiveType> {
    match narrow {
        Type::Primitive(PrimitiveType::Int) => Some(PrimitiveType::Long),
        Type::Primitive(PrimitiveType::Float) => Some(PrimitiveType::Double),
        Type::Primitive(PrimitiveType::Decimal { precision, scale }) => {
            Some(PrimitiveType::Decimal { precision: precision + 5, scale: *scale })
        }
        _ => None,
    }
}
