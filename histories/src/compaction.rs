//! The compactor that is shipped, at work between everybody else's changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use frazil_catalog::{CommitEnd, Committed};
use frazil_compactor::{
    Clustering, Config, Conversion, Coordinator, FileGroup, InputFile, Policy, RewriteKind, RewritePlan, RewriteResult,
    commit_conversion, commit_rewrite, follow, plan_clustering, plan_conversion, plan_rewrite, run_conversion,
    run_group,
};
use frazil_table::spec::MAIN_BRANCH;
use frazil_table::{Conflict, TableState};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use tokio_util::sync::CancellationToken;

use crate::history::{History, Pending};
use crate::model::{Effect, Rows};
use crate::value::Val;
use crate::world::{World, key_of};

/// How a history's table is compacted, and the coordinator that follows it.
pub struct Compaction {
    config: Config,
    coordinator: Option<Coordinator>,
}

/// One group's output, and where its rows are.
pub struct Rewrite {
    result: RewriteResult,
    moved: Rows,
}

impl Compaction {
    pub fn new(random: &mut StdRng) -> Self {
        let config = Config {
            // Nothing is handed out: the history says when.
            enabled: false,
            delta_commits: random.random_range(1..4),
            delete_ratio: *[0.0, 0.3, 1.0].choose(random).unwrap(),
            // Nothing is small, some files are, all are.
            target_file_size_bytes: *[1, 2_500, 512 << 20, 512 << 20].choose(random).unwrap(),
            // Row groups are copied where that can be, or all rows are written anew.
            row_group_size_bytes: *[4, 128 << 20].choose(random).unwrap(),
            policy: *[Policy::Pack, Policy::Pack, Policy::Tiered].choose(random).unwrap(),
            ..Config::default()
        };
        Self { config, coordinator: None }
    }

    /// The coordinator begins anew: it may remember commits that expired, and a scan does not.
    pub fn forget(&mut self) {
        self.coordinator = None;
    }
}

impl History {
    /// Rewrites what the compactor chooses on `main` as it is now. The plan of a coordinator that follows commits has to be
    /// that of a scan.
    pub async fn compact(&mut self) -> Option<Pending> {
        let base = self.head(MAIN_BRANCH)?;
        let state = self.world.state(MAIN_BRANCH, Some(base)).await;
        let Compaction { config, coordinator } = &mut self.compaction;
        let plan = plan_rewrite(&state, config).unwrap();
        let followed = match coordinator {
            Some(coordinator) => {
                follow(coordinator, &self.world.queue, &self.world.table, config).await.unwrap();
                coordinator.plan()
            }
            none => none.insert(Coordinator::new(&state, config).unwrap()).plan(),
        };
        assert_eq!(outline(&followed), outline(&plan), "the coordinator's plan is not that of a scan");
        let plan = if self.random.random_bool(0.3) { self.plan_clustering(&state) } else { plan };
        if plan.groups.is_empty() {
            return None;
        }
        let config = &self.compaction.config;
        let rows = self.model.rows(Some(base));
        let mut rewrites = Vec::new();
        for group in &plan.groups {
            let stop = CancellationToken::new();
            let result = run_group(group, &self.world.env, &self.world.table, config, &stop).await;
            let result = result.unwrap_or_else(|error| panic!("{error}\n{plan}"));
            let moved = place(&mut self.world, &result, &rows).await;
            self.tally.count(&format!("rewritten by {:?}", result.kind).to_lowercase());
            if result.rows_deleted > 0 {
                self.tally.count("rewritten without deleted rows");
            }
            if result.outputs.is_empty() {
                self.tally.count("rewritten to nothing");
            }
            rewrites.push(Rewrite { result, moved });
        }
        Some(Pending {
            what: "compaction".to_owned(),
            branch: MAIN_BRANCH.to_owned(),
            base: Some(base),
            seen: self.world.table.metadata_location().to_owned(),
            changes: Vec::new(),
            effects: Vec::new(),
            rewrites,
            conversion: None,
        })
    }

    /// Puts the rows in a random order: sorted, or along a curve.
    fn plan_clustering(&mut self, state: &TableState) -> RewritePlan {
        let schema = state.table().metadata().current_schema().clone();
        let fields = schema.as_struct().fields().iter().filter(|field| field.field_type.is_primitive());
        let count = self.random.random_range(1..3);
        let names = fields.map(|field| field.name.as_str()).choose_multiple(&mut self.random, count).join(", ");
        let text = match self.random.random_range(0..3) {
            0 => names,
            1 => format!("zorder({names})"),
            _ => format!("hilbert({names})"),
        };
        let order = Clustering::parse(Some(&text), state.table(), &self.world.env).unwrap();
        plan_clustering(state, &self.compaction.config, &order).unwrap()
    }

    /// Finds what the equality deletes on `main` take away, with much memory or with next to none.
    pub async fn convert(&mut self) -> Option<Pending> {
        let base = self.head(MAIN_BRANCH)?;
        let state = self.world.state(MAIN_BRANCH, Some(base)).await;
        let plan = plan_conversion(&state).unwrap();
        if plan.is_empty() {
            return None;
        }
        let memory_max_bytes = if self.random.random_bool(0.5) { 256 << 20 } else { 512 };
        let (config, stop) = (Config { memory_max_bytes, ..Config::default() }, CancellationToken::new());
        let found = run_conversion(plan, &self.world.queue, &self.world.table, &config, &stop).await;
        Some(Pending {
            what: "conversion".to_owned(),
            branch: MAIN_BRANCH.to_owned(),
            base: Some(base),
            seen: self.world.table.metadata_location().to_owned(),
            changes: Vec::new(),
            effects: Vec::new(),
            rewrites: Vec::new(),
            conversion: Some(found.unwrap()),
        })
    }
}

/// What a plan does, without the column bounds of files: their types are those of the time when they were read.
fn outline(plan: &RewritePlan) -> Vec<String> {
    let name = |input: &InputFile| {
        let (path, offset) = (input.file.file_path(), input.file.content_offset());
        format!("{path}@{offset:?} #{} {:?}", input.data_sequence_number, input.file.first_row_id())
    };
    let names = |inputs: &[InputFile]| inputs.iter().map(name).collect::<Vec<_>>();
    let outline = |group: &FileGroup| {
        let (inputs, deletes) = (names(&group.inputs), names(&group.deletes));
        let numbers = (group.rows_deleted_max, group.data_sequence_number, group.base_snapshot_id);
        format!("{} of {}: {inputs:#?} without {deletes:#?} {numbers:?}", group.reason, group.place())
    };
    plan.groups.iter().map(outline).collect()
}

/// The rows of a rewrite's output, where they are now.
async fn place(world: &mut World, result: &RewriteResult, rows: &Rows) -> Rows {
    let schema = world.table.metadata().current_schema().clone();
    if result.kind == RewriteKind::Carry {
        let inputs: Vec<&str> = result.group.paths().collect();
        return world.place_copies(&result.outputs[0], &inputs, rows).await;
    }
    let values = |values: &Val| match result.kind {
        // Columns that were dropped are in the copy, too.
        RewriteKind::Copy | RewriteKind::Carry => values.clone(),
        RewriteKind::Encode | RewriteKind::Cluster => values.project(schema.as_struct().fields()),
    };
    let inputs: BTreeSet<&str> = result.group.paths().collect();
    let is_input = |path: &str| inputs.contains(path);
    let known: HashMap<i64, Val> =
        rows.iter().filter(|(_, row)| is_input(&row.file)).map(|(key, row)| (*key, values(&row.values))).collect();
    let mut moved = Rows::new();
    for output in &result.outputs {
        moved.extend(world.place_stored(output, &known).await);
    }
    moved
}

/// How a commit of rewrites ended.
pub struct Landing {
    pub end: CommitEnd,
    /// What it makes of the rows, if it landed.
    pub effects: Vec<Effect>,
    /// What it did besides.
    pub counts: Vec<&'static str>,
}

/// The files that rewrites have read.
pub fn inputs_of(rewrites: &[Rewrite]) -> BTreeSet<Arc<str>> {
    rewrites.iter().flat_map(|rewrite| rewrite.result.group.paths()).map(Arc::from).collect()
}

/// Commits what there is of them by the compactor's own committer.
pub async fn commit(world: &World, rewrites: &[Rewrite], fresh: bool) -> frazil_catalog::Result<Landing> {
    let results = rewrites.iter().map(|rewrite| rewrite.result.clone()).collect();
    let end = match commit_rewrite(&world.queue, results).await {
        Ok(end) => end,
        Err(frazil_compactor::Error::Catalog(error)) => return Err(error),
        Err(other) => panic!("{other}"),
    };
    assert!(!fresh || end.dropped.is_empty(), "nobody came between: {:?}", end.dropped);
    let lost = end.dropped.iter().find(|(_, conflict)| matches!(conflict, Conflict::RowsDeleted { .. }));
    assert!(lost.is_none(), "a rewrite lost to deletes: {lost:?}");
    let mut counts = Vec::new();
    if end.rows_rebased > 0 {
        counts.push("deletes rebased");
    }
    if end.rebased_again > 0 {
        counts.push("deletes rebased again");
    }
    let Some(table) = end.table else {
        let (_, conflict) = end.dropped.into_iter().next().expect("what is not committed is dropped");
        return Ok(Landing { end: CommitEnd::Conflict(conflict), effects: Vec::new(), counts });
    };
    let landed: Vec<Vec<&str>> = end.committed.iter().map(|result| result.group.paths().collect()).collect();
    // One snapshot for each partition spec.
    let mut by_spec: BTreeMap<i32, (BTreeSet<Arc<str>>, Rows)> = BTreeMap::new();
    for rewrite in rewrites {
        let group = &rewrite.result.group;
        let inputs: Vec<&str> = group.paths().collect();
        if landed.contains(&inputs) {
            let (files, moved) = by_spec.entry(group.partition_spec_id).or_default();
            files.extend(inputs.into_iter().map(Arc::from));
            moved.extend(rewrite.moved.clone());
        }
    }
    let committed = Committed { table, snapshot_ids: end.snapshot_ids, retries: end.retries };
    let effects = by_spec.into_values().map(|(files, moved)| Effect::Move { files, moved, rebases: true }).collect();
    Ok(Landing { end: CommitEnd::Committed(committed), effects, counts })
}

/// Commits what was found by the compactor's own committer.
pub async fn commit_converted(world: &World, conversion: &Conversion) -> frazil_catalog::Result<Landing> {
    let end = match commit_conversion(&world.queue, conversion).await {
        Ok(end) => end,
        Err(frazil_compactor::Error::Catalog(error)) => return Err(error),
        Err(other) => panic!("{other}"),
    };
    let Some(snapshot_id) = end.snapshot_id else {
        let reason = "no delete can go any more".to_owned();
        let conflict = end.conflict.unwrap_or(Conflict::Refused { reason });
        return Ok(Landing { end: CommitEnd::Conflict(conflict), effects: Vec::new(), counts: Vec::new() });
    };
    let mut counts = Vec::new();
    if end.rows > 0 {
        counts.push("rows converted");
    }
    if conversion.passes > 1 {
        counts.push("converted in passes");
    }
    if end.converted < conversion.plan.going().count() {
        counts.push("converted in part");
    }
    // All that was found: of what is hit by position nobody may carry an equality delete on.
    let mut hit = Vec::new();
    for (path, rows) in &conversion.rows {
        let stored = world.rows_of(path);
        hit.extend(rows.iter().map(|row| key_of(&stored[row as usize])));
    }
    let table = world.queue.load().await?;
    let committed = Committed { table, snapshot_ids: vec![snapshot_id], retries: 0 };
    Ok(Landing { end: CommitEnd::Committed(committed), effects: vec![Effect::Convert { hit }], counts })
}
