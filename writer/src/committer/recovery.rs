//! The begin of a run: what the tables say, which checkpoint every table is brought to, and the fence.

use std::sync::Arc;

use frazil_catalog::CommitQueue;
use frazil_storage::Step;

use super::{Committer, Definition, Recovered, Sink, SinkState};
use crate::committable::{Committable, SinkCommittable};
use crate::ledger::{
    CheckpointId, FencingEpoch, Ledger, LedgerEntry, SinkId, SourcePositions, Standing, StoredPositions, standing,
};
use crate::{Error, Result};

/// How often a recovery looks again when an older run still commits while it looks.
const LOOKS_MAX: usize = 10;

/// What a table says of a sink.
struct Found {
    newest: Option<LedgerEntry>,
    rolled_back_from: Option<LedgerEntry>,
    positions: SourcePositions,
}

impl Found {
    /// After a rollback the checkpoints between are gone from the history: their numbers are not used again.
    fn checkpoint_id(&self) -> CheckpointId {
        let ids = [&self.newest, &self.rolled_back_from].into_iter().flatten().map(|entry| entry.checkpoint_id);
        ids.max().unwrap_or_default()
    }

    fn epoch(&self) -> FencingEpoch {
        let epochs = [&self.newest, &self.rolled_back_from].into_iter().flatten().map(|entry| entry.fencing_epoch);
        epochs.max().unwrap_or_default()
    }
}

impl Committer {
    /// Finds out how far the sinks had come, brings all to the same checkpoint where only some have it, and shuts out
    /// every earlier run. What was found is in the order of the sinks.
    ///
    /// # Errors
    /// [`Error::OtherDefinition`] before anything is changed; [`Error::Undecidable`] if a table can't tell; [`Error::Fenced`] if a newer run fenced meanwhile.
    pub async fn recover(sinks: Vec<Sink>) -> Result<(Self, Vec<Recovered>)> {
        assert!(!sinks.is_empty(), "a job without a sink has nothing to commit");
        let mut look = 1;
        loop {
            match Self::try_recover(&sinks).await {
                // An older run committed between the look and the fence. It does so no more often than it checkpoints.
                Err(
                    Error::Conflict { conflict: frazil_table::Conflict::Refused { .. }, .. }
                    | Error::NotContiguous { .. },
                ) if look < LOOKS_MAX => {
                    look += 1;
                }
                end => return end,
            }
        }
    }

    async fn try_recover(sinks: &[Sink]) -> Result<(Self, Vec<Recovered>)> {
        let mut found = Vec::with_capacity(sinks.len());
        for sink in sinks {
            found.push(look_at(sink).await?);
        }
        let epoch = found.iter().map(Found::epoch).max().unwrap_or_default();
        let states = sinks.iter().zip(&found).map(|(sink, found)| SinkState {
            sink: sink.clone(),
            newest: found.newest.clone(),
            positions: found.positions.clone(),
            quiet_checkpoints: 0,
            has_fenced: false,
        });
        let mut committer = Self {
            sinks: states.collect(),
            epoch: FencingEpoch(epoch.0 + 1),
            last_checkpoint_id: found.iter().map(Found::checkpoint_id).max().unwrap_or_default(),
            under_way: None,
        };
        let used: Vec<_> = found.iter().map(Found::checkpoint_id).collect();
        committer.fence_all(&used).await?;
        committer.env().steps.reach(Step::FenceCommitted)?;
        let recovered = committer.sinks.iter().zip(found).map(|(state, found)| state.recovered(found));
        let recovered = recovered.collect();
        Ok((committer, recovered))
    }

    /// Takes one more sink in, whose table has just been made or was not needed before. It has no fence of its own: it
    /// commits only together with, or after, the sink that it follows, which has one.
    ///
    /// # Errors
    /// As [`Committer::recover`].
    pub async fn add_sink(&mut self, sink: Sink) -> Result<usize> {
        assert!(sink.follows.is_some_and(|followed| followed < self.sinks.len()), "it follows a sink that has a fence");
        let found = look_at(&sink).await?;
        let (newest, positions) = (found.newest, found.positions);
        self.sinks.push(SinkState { sink, newest, positions, quiet_checkpoints: 0, has_fenced: true });
        Ok(self.sinks.len() - 1)
    }

    /// Fences every table, those that decide first. Once a table is fenced, no run but this one decides there, and the
    /// tables behind it get the checkpoint that it had decided. `used`: the last checkpoint that each sink ever had.
    async fn fence_all(&mut self, used: &[CheckpointId]) -> Result<()> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for index in 0..self.sinks.len() {
            let group = self.group_of(index);
            match groups.iter_mut().find(|sinks| sinks[0] == group) {
                Some(sinks) => sinks.push(index),
                None => groups.push(vec![index]),
            }
        }
        for sinks in groups {
            let mut parts = Vec::with_capacity(sinks.len());
            for index in &sinks {
                let state = &self.sinks[*index];
                let id = state.newest.as_ref().map_or(used[*index], |entry| entry.checkpoint_id.max(used[*index]));
                parts.push(state.prepare_fence(self.epoch, id).await?);
            }
            let turns = self.turns_of(&parts).await;
            self.land(&turns, &parts.iter().collect::<Vec<_>>()).await?;
            drop(turns);
            for (index, part) in sinks.iter().zip(&parts) {
                self.remember(*index, part).await;
                self.sinks[*index].has_fenced = true;
            }
            for part in &parts {
                self.roll_forward(part).await?;
            }
        }
        Ok(())
    }

    /// Brings the other tables to the checkpoint that a table had decided.
    async fn roll_forward(&mut self, decided: &SinkCommittable) -> Result<()> {
        let Some(file) = &decided.entry.committable else { return Ok(()) };
        let owner = decided.sink.to_string();
        let bytes = file.load(self.env(), &owner).await?;
        for json in Committable::parts(&bytes, file, &owner)? {
            let Some(index) = self.sinks.iter().position(|state| state.sink.id == json.sink) else { continue };
            let table = self.sinks[index].sink.queue.load().await?;
            let part = json.read(&table)?;
            let newest = &self.sinks[index].newest;
            // Not where the checkpoint left it: it has the checkpoint, or was rolled back and is rewound by itself.
            if newest.as_ref().map(|entry| entry.snapshot_id) != part.after || self.sinks[index].has_fenced {
                continue;
            }
            tracing::info!(sink = %part.sink, checkpoint = %part.entry.checkpoint_id, "brought to the decided checkpoint");
            let turns = self.turns_of(std::slice::from_ref(&part)).await;
            self.land(&turns, &[&part]).await?;
            drop(turns);
            let positions = load_positions(&self.sinks[index].sink.queue, &part.sink, &part.entry.positions).await?;
            let state = &mut self.sinks[index];
            state.newest = Some(part.entry);
            state.positions = positions;
        }
        Ok(())
    }
}

impl SinkState {
    fn recovered(&self, found: Found) -> Recovered {
        let rolled_back_from = found.rolled_back_from.map(|entry| entry.checkpoint_id);
        let entry = self.newest.as_ref().expect("the fence is the newest entry");
        // A sink that had no entry starts from the start: its fence says nothing of the sources.
        let ledger = (found.newest.is_some() || !self.positions.is_empty()).then(|| Ledger {
            sink: self.sink.id.clone(),
            fencing_epoch: entry.fencing_epoch,
            checkpoint_id: entry.checkpoint_id,
            positions: self.positions.clone(),
            watermark_ms: entry.watermark_ms,
        });
        Recovered { ledger, rolled_back_from }
    }
}

async fn look_at(sink: &Sink) -> Result<Found> {
    let Sink { queue, id, definition, .. } = sink;
    let (newest, rolled_back_from) = match standing(&queue.load().await?, id)? {
        Standing::New => (None, None),
        Standing::At(entry) => (Some(entry), None),
        Standing::RolledBack { to, from } => (to, Some(from)),
        Standing::Undecidable { mirror } => {
            return Err(Error::Undecidable {
                table: queue.ident().to_string(),
                sink: id.to_string(),
                checkpoint_id: mirror.checkpoint_id.0,
            });
        }
    };
    for entry in [&newest, &rolled_back_from].into_iter().flatten() {
        check_definition(definition.as_ref(), entry, sink)?;
    }
    let positions = match &newest {
        Some(entry) => load_positions(queue, id, &entry.positions).await?,
        None => SourcePositions::new(),
    };
    Ok(Found { newest, rolled_back_from, positions })
}

fn check_definition(definition: Option<&Definition>, entry: &LedgerEntry, sink: &Sink) -> Result<()> {
    let (Some(now), Some(then)) = (definition, &entry.definition) else { return Ok(()) };
    if now.may_replace || now.fingerprint == *then {
        return Ok(());
    }
    Err(Error::OtherDefinition {
        table: sink.queue.ident().to_string(),
        job_id: sink.id.job_id.clone(),
        checkpoint_id: entry.checkpoint_id.0,
    })
}

async fn load_positions(
    queue: &Arc<CommitQueue>,
    sink: &SinkId,
    positions: &StoredPositions,
) -> Result<SourcePositions> {
    match positions {
        StoredPositions::Inline(positions) => Ok(positions.clone()),
        StoredPositions::State(file) => {
            let bytes = file.load(queue.env(), &sink.to_string()).await?;
            serde_json::from_slice(&bytes).map_err(|_| file.damaged(&sink.to_string()))
        }
    }
}
