//! What the changelog between two snapshots tells, against the difference of what the model has in them.

use std::collections::{BTreeMap, BTreeSet};

use frazil_reader::{
    ChangelogForm, ChangelogPlan, ChangelogReader, ChangelogRequest, ChangelogStep, Comparison, Error, IncrementStart,
    Predicate, Projection, SnapshotSelector, load_snapshot_diff, plan_changelog, plan_snapshot_changes,
};
use frazil_table::spec::{Datum, NestedFieldRef, Operation, SnapshotRetention};
use futures::TryStreamExt;
use rand::Rng;
use rand::seq::{IndexedRandom, IteratorRandom};

use crate::history::{Broken, History};
use crate::model::Row;
use crate::value::{Val, of_batch};
use crate::world::key_of;

/// Ranges that are looked at in a history.
const RANGES: usize = 3;

const FORMS: [ChangelogForm; 3] = [ChangelogForm::Changes, ChangelogForm::Upsert, ChangelogForm::Net];

/// A change as it is compared: its snapshot, what it is, and the row.
type Told = (Option<i64>, &'static str, String);

impl History {
    /// Random ranges in every form.
    pub async fn check_changelogs(&mut self) -> Result<(), Broken> {
        let metadata = self.world.table.metadata().clone();
        let mut ids: Vec<i64> = metadata.snapshots().map(|snapshot| snapshot.snapshot_id()).collect();
        ids.sort_unstable();
        for _ in 0..RANGES {
            let Some(any) = ids.choose(&mut self.random).copied() else { return Ok(()) };
            let end = self.some_end(any);
            let selected = frazil_reader::select_snapshot(&self.world.table, &end).map_err(|e| e.to_string())?;
            let Some(end_id) = selected.snapshot.map(|snapshot| snapshot.snapshot_id()) else { continue };
            let history = self.world.table.ancestors_of(end_id).map(|snapshot| snapshot.snapshot_id());
            let start = history.choose(&mut self.random).unwrap_or(end_id);
            let start = if self.random.random_bool(0.1) { *ids.choose(&mut self.random).unwrap() } else { start };
            let start = match self.random.random_range(0..10) {
                0 => IncrementStart::Beginning,
                1..4 => IncrementStart::Inclusive(start),
                _ => IncrementStart::Exclusive(start),
            };
            for form in FORMS {
                let request = ChangelogRequest {
                    start,
                    end: end.clone(),
                    form,
                    projection: self.some_columns(),
                    predicate: self.random.random_bool(0.3).then(|| {
                        let above = Datum::long(self.random.random_range(0..self.next_key.max(1)));
                        Predicate::compare("key", Comparison::Greater, above)
                    }),
                    identifier_columns: vec!["key".to_owned()],
                };
                let told = self.check_changelog(&request, end_id).await;
                told.map_err(|broken| format!("changelog {start:?} to {end:?} as {form}: {broken}"))?;
            }
        }
        Ok(())
    }

    /// A snapshot by its id, or the head of a branch, which is read by the schema of now.
    fn some_end(&mut self, any: i64) -> SnapshotSelector {
        let refs = self.world.table.refs();
        let branches = refs.iter().filter(|(_, r)| matches!(r.retention, SnapshotRetention::Branch { .. }));
        match branches.map(|(name, _)| name.clone()).choose(&mut self.random) {
            Some(name) if self.random.random_bool(0.6) => SnapshotSelector::Branch(name),
            _ => SnapshotSelector::Id(any),
        }
    }

    fn some_columns(&mut self) -> Projection {
        match self.random.random_range(0..4) {
            0 => Projection::paths(["key"]),
            1 => Projection::paths(Vec::<String>::new()),
            _ => Projection::All,
        }
    }

    async fn check_changelog(&mut self, request: &ChangelogRequest, end_id: i64) -> Result<(), Broken> {
        let plan = match plan_changelog(&self.world.table, request) {
            Ok(plan) => plan,
            Err(error) => return self.check_refusal(request.start, end_id, &error),
        };
        self.count_changelog(&plan).await?;
        let expected = self.expected(&plan, request);
        let reader = ChangelogReader::new(&self.world.context, &plan, 1);
        let batches: Vec<_> =
            reader.into_stream().try_collect().await.map_err(|error| format!("it can't be read: {error}"))?;
        let mut told: Vec<Told> = Vec::new();
        let mut last = (0, 0);
        for row in batches.iter().flat_map(of_batch) {
            let (change, (kind, ordinal)) = take_change(row, &plan)?;
            told.push(change);
            // Within a snapshot, or within all: what went comes first.
            let at = if plan.form == ChangelogForm::Net { (0, kind) } else { (ordinal, kind) };
            if plan.form != ChangelogForm::Upsert && at < last {
                return Err(format!("{at:?} comes behind {last:?}"));
            }
            last = at;
        }
        told.sort();
        for (_, change, _) in &told {
            self.tally.count(&format!("changelog with {change}"));
        }
        if told == expected {
            return Ok(());
        }
        Err(format!("it tells {told:#?} instead of {expected:#?} by\n{plan}"))
    }

    /// What is refused has to be refused, by this error.
    fn check_refusal(&mut self, start: IncrementStart, end_id: i64, error: &Error) -> Result<(), Broken> {
        let metadata = self.world.table.metadata().clone();
        let mut history = self.world.table.ancestors_of(end_id);
        let ids: Vec<i64> = history.by_ref().map(|snapshot| snapshot.snapshot_id()).collect();
        let is_cut = history.cut_at().is_some();
        let parent = |id: i64| metadata.snapshot_by_id(id).and_then(|snapshot| snapshot.parent_snapshot_id());
        let is_right = match (start, error) {
            (IncrementStart::Beginning, Error::SnapshotsExpired { .. }) => is_cut,
            (IncrementStart::Inclusive(id), Error::SnapshotsExpired { missing, .. }) => {
                !ids.contains(&id) && is_cut || parent(id) == Some(*missing) && !ids.contains(missing)
            }
            (IncrementStart::Exclusive(id), Error::SnapshotsExpired { .. }) => !ids.contains(&id) && is_cut,
            (IncrementStart::Inclusive(id) | IncrementStart::Exclusive(id), Error::NotAnAncestor { .. }) => {
                !ids.contains(&id) && !is_cut
            }
            _ => false,
        };
        let what = if matches!(error, Error::NotAnAncestor { .. }) { "from another branch" } else { "cut by expiry" };
        self.tally.count(&format!("changelog {what}"));
        if is_right { Ok(()) } else { Err(format!("it is refused: {error}")) }
    }

    async fn count_changelog(&mut self, plan: &ChangelogPlan) -> Result<(), Broken> {
        self.tally.count(&format!("changelog as {}", plan.form));
        if plan.steps.iter().any(|step| step.operation == Operation::Replace) {
            self.tally.count("changelog over a replace");
        }
        for step in &plan.steps {
            let table = &self.world.table;
            let diff = load_snapshot_diff(&self.world.context, table, step.parent_id, step.snapshot_id).await;
            let changes = diff.and_then(|diff| plan_snapshot_changes(&diff, plan.spec()));
            let changes = changes.map_err(|error| error.to_string())?.to_string();
            for what in ["rows that equality deletes find", "rows that are deleted by position"] {
                if changes.contains(what) && step.ordinal.is_some() {
                    self.tally.count(&format!("changelog with {what}"));
                }
            }
        }
        Ok(())
    }

    /// What the model says.
    fn expected(&self, plan: &ChangelogPlan, request: &ChangelogRequest) -> Vec<Told> {
        let fields = plan.spec().schema().as_struct().fields().to_vec();
        let wanted = plan.spec().projected().schema().as_struct().fields().to_vec();
        let mut told = Vec::new();
        let mut tell = |snapshot_id: Option<i64>, before: Option<i64>, after: i64| {
            let (went, came) = self.difference(before, after, &fields, request.predicate.as_ref());
            let keys = |rows: &[Val]| rows.iter().map(key_of).collect::<BTreeSet<i64>>();
            let both: BTreeSet<i64> = match plan.form {
                ChangelogForm::Upsert => keys(&went).intersection(&keys(&came)).copied().collect(),
                _ => BTreeSet::new(),
            };
            let kinds = [(went, "DELETE", "UPDATE_BEFORE"), (came, "INSERT", "UPDATE_AFTER")];
            for (rows, alone, update) in kinds {
                told.extend(rows.iter().map(|row| {
                    let change = if both.contains(&key_of(row)) { update } else { alone };
                    (snapshot_id, change, row.project(&wanted).to_string())
                }));
            }
        };
        let compared = plan.steps.iter().filter(|step| step.ordinal.is_some());
        match (plan.form, plan.steps.first().zip(plan.steps.last())) {
            (ChangelogForm::Net, Some((first, last))) => tell(None, first.parent_id, last.snapshot_id),
            _ => compared.for_each(|step| tell(Some(step.snapshot_id), step.parent_id, step.snapshot_id)),
        }
        told.sort();
        told
    }

    /// The rows that went and those that came, whole.
    fn difference(
        &self,
        before: Option<i64>,
        after: i64,
        fields: &[NestedFieldRef],
        predicate: Option<&Predicate>,
    ) -> (Vec<Val>, Vec<Val>) {
        let least = match predicate {
            Some(Predicate::Compare { value, .. }) => value.to_string().parse().unwrap(),
            _ => i64::MIN,
        };
        let rows = |snapshot_id| -> BTreeMap<i64, Val> {
            let rows = self.model.rows(snapshot_id);
            let project = |row: &Row| row.values.project(fields);
            rows.iter().filter(|(key, _)| **key > least).map(|(key, row)| (*key, project(row))).collect()
        };
        let (before, after) = (rows(before), rows(Some(after)));
        let lacks = |these: &BTreeMap<i64, Val>, (key, row): (&i64, &Val)| {
            these.get(key).is_none_or(|known| known.to_string() != row.to_string())
        };
        let went = before.iter().filter(|row| lacks(&after, *row)).map(|(_, row)| row.clone()).collect();
        let came = after.iter().filter(|row| lacks(&before, *row)).map(|(_, row)| row.clone()).collect();
        (went, came)
    }
}

/// A change without its columns, which have to fit each other; and what orders it.
fn take_change(row: Val, plan: &ChangelogPlan) -> Result<(Told, (i32, i32)), Broken> {
    let Val::Struct(mut values) = row else { return Err("a change is no row".to_owned()) };
    let own = plan.schema().as_struct().fields();
    let own = own[own.len() - 3..].iter().map(|field| values.remove(&field.id)).collect::<Vec<_>>();
    let [Some(Val::Text(change)), Some(Val::Int(ordinal)), Some(Val::Int(snapshot_id))] = &own[..] else {
        return Err(format!("a change has {own:?}"));
    };
    let change = ["DELETE", "INSERT", "UPDATE_BEFORE", "UPDATE_AFTER"].into_iter().find(|known| known == change);
    let change = change.ok_or_else(|| format!("a change is {own:?}"))?;
    let is_of = |step: &&ChangelogStep| step.ordinal.map(i128::from) == Some(*ordinal);
    let step = plan.steps.iter().find(is_of).ok_or_else(|| format!("no snapshot has the ordinal {ordinal}"))?;
    if i128::from(step.snapshot_id) != *snapshot_id {
        return Err(format!("ordinal {ordinal} is that of {}, not {snapshot_id}", step.snapshot_id));
    }
    let kind = i32::from(change == "INSERT");
    let snapshot_id = (plan.form != ChangelogForm::Net).then_some(step.snapshot_id);
    Ok(((snapshot_id, change, Val::Struct(values).to_string()), (kind, *ordinal as i32)))
}
