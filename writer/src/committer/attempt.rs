//! One request to a catalog: parts of a committable land together, or the reason why they can't.

use std::sync::Mutex;

use frazil_catalog::{CommitEnd, Committed, Precheck, QueuedCommit, TransactionEnd, Turns, commit_in_turns};
use frazil_table::{Change, CommitIdentity, RowDelta, SnapshotProperties, Table, Validation};

use super::{Committer, Landed, SinkState};
use crate::committable::SinkCommittable;
use crate::evolution::SchemaEvolution;
use crate::ledger::{FencingEpoch, LedgerEntry, Standing, StoredPositions, standing};
use crate::{Error, Result};

/// The parts that go into one table, in order.
struct TablePart<'a> {
    state: &'a SinkState,
    parts: Vec<(&'a SinkState, &'a SinkCommittable)>,
    changes: Vec<Change>,
}

impl Committer {
    /// Waits for the turns of the tables of some parts.
    pub(super) async fn turns_of(&self, parts: &[SinkCommittable]) -> Turns {
        Turns::take(parts.iter().map(|part| self.sinks[self.index_of(part)].sink.queue.as_ref())).await
    }

    /// Commits parts of one transaction; what became of each, in their order.
    pub(super) async fn land(&self, turns: &Turns, parts: &[&SinkCommittable]) -> Result<Vec<Landed>> {
        let mut tables: Vec<TablePart<'_>> = Vec::new();
        for part in parts {
            let state = &self.sinks[self.index_of(part)];
            let same = |table: &&mut TablePart<'_>| table.state.sink.queue.ident() == state.sink.queue.ident();
            let mut properties = state.sink.summary.clone();
            properties.extend(part.entry.to_summary(&part.sink));
            let rows = change_of(part, properties);
            let mirror = Change::SetProperties(part.entry.to_properties(&part.sink));
            let evolution = part.evolution.as_ref().map(SchemaEvolution::change);
            let changes: Vec<Change> = evolution.into_iter().chain([rows, mirror]).collect();
            match tables.iter_mut().find(same) {
                Some(table) => {
                    table.parts.push((state, *part));
                    table.changes.extend(changes);
                }
                None => tables.push(TablePart { state, parts: vec![(state, *part)], changes }),
            }
        }
        let refusal = Mutex::new(None);
        let epoch = self.epoch;
        let prechecks: Vec<_> = tables.iter().map(|table| precheck(&table.parts, epoch, &refusal)).collect();
        let commits = tables.iter().zip(&prechecks).map(|(table, precheck)| QueuedCommit {
            queue: &table.state.sink.queue,
            changes: &table.changes,
            identity: identity(&table.parts),
            precheck,
        });
        let ends = match commit_in_turns(turns, commits.collect()).await? {
            TransactionEnd::Landed(ends) => ends,
            TransactionEnd::Conflict { ident, conflict } => {
                let refused = refusal.lock().expect("no code panics while it holds this lock").take();
                return Err(refused.unwrap_or(Error::Conflict { table: ident.to_string(), conflict }));
            }
        };
        let end_of = |part: &SinkCommittable| {
            let index = tables.iter().position(|table| *table.state.sink.queue.ident() == part.table);
            landed(&ends[index.expect("each part is in its table's")], part)
        };
        Ok(parts.iter().map(|part| end_of(part)).collect())
    }
}

/// An append, or with deletes a row delta. Deletes of rows that were in the table before name the state that they were
/// planned on, which is checked before each attempt; position deletes of any other plan are of the part's own files. So
/// the delta itself need not look at what came since.
fn change_of(part: &SinkCommittable, properties: SnapshotProperties) -> Change {
    let data_files = part.files.clone();
    if part.deletes.is_empty() {
        return Change::Append { files: data_files, properties };
    }
    Change::RowDelta(RowDelta {
        data_files,
        delete_files: part.deletes.delete_files.clone(),
        removed_delete_files: part.deletes.removed_delete_files.clone(),
        validation: Validation {
            referenced_data_files: part.files.iter().map(|file| file.file.file_path().to_owned()).collect(),
            ..Validation::snapshot(part.deletes.base_snapshot_id.flatten())
        },
        properties,
    })
}

/// The files of each try have names of their own, since another process may be at the same part; what makes the part one
/// whoever lands it is its snapshot id.
fn identity(parts: &[(&SinkState, &SinkCommittable)]) -> CommitIdentity {
    let snapshot_ids = parts.iter().map(|(_, part)| part.entry.snapshot_id).collect();
    CommitIdentity { uuid: parts[0].0.sink.queue.env().ids.uuid(), snapshot_ids, attempt: 0 }
}

fn landed(end: &CommitEnd, part: &SinkCommittable) -> Landed {
    match end {
        CommitEnd::Committed(Committed { table, retries, .. }) => {
            Landed::Committed { table: table.clone(), snapshot_id: part.entry.snapshot_id, retries: *retries }
        }
        CommitEnd::AlreadyLanded(table) => Landed::Before(table.clone()),
        CommitEnd::Conflict(_) => unreachable!("a transaction that landed has no conflict"),
    }
}

/// Every part of a table must find the table where this run left it.
fn precheck<'a>(
    parts: &'a [(&'a SinkState, &'a SinkCommittable)],
    epoch: FencingEpoch,
    refusal: &'a Mutex<Option<Error>>,
) -> impl Fn(&Table) -> Precheck + Send + Sync + 'a {
    move |table| {
        let mut landed = 0;
        for (state, part) in parts {
            match check_part(table, state, part, epoch) {
                Ok(true) => landed += 1,
                Ok(false) => {}
                Err(error) => {
                    let reason = error.to_string();
                    *refusal.lock().expect("no code panics while it holds this lock") = Some(error);
                    return Precheck::Refuse(reason);
                }
            }
        }
        match landed {
            0 => Precheck::Proceed,
            all if all == parts.len() => Precheck::AlreadyLanded,
            some => Precheck::Refuse(format!("{some} of {} sinks of the table have the checkpoint", parts.len())),
        }
    }
}

/// Whether the part is in the table; an error if it can't be put there. The sink's newest entry must be the one that the
/// part follows, and the positions there must be those at which the part begins.
fn check_part(table: &Table, state: &SinkState, part: &SinkCommittable, epoch: FencingEpoch) -> Result<bool> {
    let newest = match standing(table, &part.sink)? {
        Standing::New => None,
        Standing::At(newest) => Some(newest),
        // Before the fence this is what recovery saw and settled; after it a rollback came under a running job.
        Standing::RolledBack { to, .. } => to,
        Standing::Undecidable { .. } => return Err(rolled_back(table)),
    };
    let found = newest.as_ref().map(|newest| newest.snapshot_id);
    if found == Some(part.entry.snapshot_id) {
        return Ok(true);
    }
    if found != part.after {
        // Two runs that start together draw the same epoch: the one that fences first has it.
        let is_newer =
            |entry: &LedgerEntry| entry.fencing_epoch > epoch || (entry.fencing_epoch == epoch && !state.has_fenced);
        return Err(match newest.is_some_and(|newest| is_newer(&newest)) {
            true => Error::Fenced { table: table.ident().to_string(), sink: part.sink.to_string(), epoch: epoch.0 },
            false => rolled_back(table),
        });
    }
    if part.evolution.as_ref().is_some_and(|evolution| !evolution.is_based_on(table)) {
        return Err(Error::SchemaMoved { table: table.ident().to_string() });
    }
    let ends = newest.map(|newest| newest.positions);
    let head = table.current_snapshot().map(|snapshot| snapshot.snapshot_id());
    match ends == part.from {
        true if part.deletes.base_snapshot_id.is_some_and(|base| base != head) => {
            Err(Error::Stale { table: table.ident().to_string() })
        }
        true => Ok(false),
        false => Err(Error::NotContiguous {
            table: table.ident().to_string(),
            sink: part.sink.to_string(),
            begins: shown(&part.from),
            ends: shown(&ends),
        }),
    }
}

fn rolled_back(table: &Table) -> Error {
    let reason = "the table was rolled back while the job ran; start the job again to rewind its sources".to_owned();
    let conflict = frazil_table::Conflict::Refused { reason };
    Error::Conflict { table: table.ident().to_string(), conflict }
}

fn shown(positions: &Option<StoredPositions>) -> String {
    match positions {
        None => "the start".to_owned(),
        Some(positions) => serde_json::to_string(positions).expect("positions have a JSON form"),
    }
}
