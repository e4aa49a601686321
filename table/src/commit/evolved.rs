//! The changes of metadata in a commit: they come first, and files are written by what they lead to.

use super::CommitPlan;
use crate::evolve::{self, MetadataChange, plan_metadata};
use crate::spec::{TableRequirement, TableUpdate};
use crate::{Change, Result, TableState};

/// What the changes of metadata in a commit do.
#[derive(Clone, Debug)]
pub struct Evolution {
    /// What changes, in order.
    pub updates: Vec<TableUpdate>,
    requirements: Vec<TableRequirement>,
    state: Box<TableState>,
}

impl Evolution {
    /// The table with the new metadata: what new manifests and snapshots are made for.
    pub(crate) fn state(&self) -> &TableState {
        &self.state
    }
}

/// The changes of metadata of a commit, if it has any.
pub(super) struct Evolved(Option<Evolution>);

/// Plans the changes of metadata, each on what the one before left.
///
/// A requirement says what the table was before the commit, so only the first change that asks for one counts: what
/// comes after it was made by the commit itself.
pub(super) fn evolve(state: &TableState, changes: &[Change]) -> Result<Evolved> {
    let mut evolution: Option<Evolution> = None;
    for change in changes {
        let Change::Metadata(change) = change else { continue };
        let table = evolution.as_ref().map_or(state.table(), |evolution| evolution.state.table());
        let plan = plan_metadata(table, change)?;
        let evolved = evolve::apply(table, &plan.updates)?;
        let evolution = evolution.get_or_insert_with(|| Evolution {
            updates: Vec::new(),
            requirements: Vec::new(),
            state: Box::new(state.clone()),
        });
        for requirement in plan.requirements {
            let same_kind = |have: &TableRequirement| kind(have) == kind(&requirement);
            if !evolution.requirements.iter().any(same_kind) {
                evolution.requirements.push(requirement);
            }
        }
        evolution.updates.extend(plan.updates);
        evolution.state.table = evolved;
        if matches!(change, MetadataChange::Replace(_)) {
            evolution.state.forget_snapshot();
        }
    }
    if let Some(evolution) = &mut evolution {
        evolution.state.widen_partitions();
    }
    // Only a snapshot looks at the time.
    if let Some(evolution) = evolution.as_mut().filter(|_| changes.iter().any(Change::makes_snapshot)) {
        evolution.state.table = evolve::dated(&evolution.state.table, state.table().metadata().last_updated_ms())?;
    }
    Ok(Evolved(evolution))
}

fn kind(requirement: &TableRequirement) -> (std::mem::Discriminant<TableRequirement>, Option<&str>) {
    let ref_name = match requirement {
        TableRequirement::RefSnapshotIdMatch { r#ref, .. } => Some(r#ref.as_str()),
        _ => None,
    };
    (std::mem::discriminant(requirement), ref_name)
}

impl Evolved {
    /// What the rest of the commit is planned on.
    pub(super) fn state<'a>(&'a self, base: &'a TableState) -> &'a TableState {
        self.0.as_ref().map_or(base, |evolution| &evolution.state)
    }

    pub(super) fn complete(self, mut plan: CommitPlan) -> CommitPlan {
        if let Some(evolution) = &self.0 {
            for requirement in &evolution.requirements {
                if !plan.requirements.contains(requirement) {
                    plan.requirements.push(requirement.clone());
                }
            }
        }
        plan.evolution = self.0;
        plan
    }
}
