//! Named points of the commit path at which a test may stop the world.
//!
//! A step costs one load of an atomic when nothing is armed. Armed, it kills the process as `kill -9` would or fails
//! the operation, at the n-th time it is reached.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, Result};

macro_rules! steps {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A named point on the way of a row from its source into a table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Step { $($(#[$doc])* $variant,)* }

        impl Step {
            /// Every step, in the order in which a checkpoint passes them.
            pub const ALL: &'static [Step] = &[$(Step::$variant,)*];

            /// The name as it is typed and printed.
            pub fn name(self) -> &'static str {
                match self { $(Step::$variant => $name,)* }
            }
        }
    };
}

steps! {
    /// A sink's fencing snapshot is committed; nothing has been written yet.
    FenceCommitted = "fence-committed",
    /// The checkpoint's barrier leaves the sources.
    BarrierSent = "barrier-sent",
    /// A writer's data files are closed and durable, and nobody knows of them.
    FilesClosed = "files-closed",
    /// The delete files of a checkpoint's upserts are durable, and nobody knows of them.
    DeletesWritten = "deletes-written",
    /// A state manifest is durable.
    StateWritten = "state-written",
    /// A checkpoint of tables that can't commit together is prepared in a file, and nobody knows of it.
    CommittableWritten = "committable-written",
    /// A commit's manifests are durable.
    ManifestsWritten = "manifests-written",
    /// A commit's manifest list is durable.
    ManifestListWritten = "manifest-list-written",
    /// A commit's metadata file is durable, the pointer still names the old one.
    MetadataWritten = "metadata-written",
    /// The pointer names the new metadata file, nobody has been told.
    PointerSwapped = "pointer-swapped",
    /// One of several tables that can't commit together has the checkpoint.
    SinkCommitted = "sink-committed",
    /// The committer knows that the checkpoint has landed.
    CheckpointCommitted = "checkpoint-committed",
    /// A rewrite has been planned and handed out.
    RewritePlanned = "rewrite-planned",
    /// A rewrite's output files are durable, and nobody knows of them.
    RewriteWritten = "rewrite-written",
    /// The deletes that came while a rewrite ran are durable as deletes of its outputs, and nobody knows of them.
    DeletesRebased = "deletes-rebased",
    /// What equality deletes take away is durable as position deletes or deletion vectors, and nobody knows of them.
    DeletesConverted = "deletes-converted",
    /// A rewrite's `replace` snapshot has landed.
    RewriteCommitted = "rewrite-committed",
    /// Snapshots are expired in the metadata; the files that only they named are still there.
    SnapshotsExpired = "snapshots-expired",
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What happens when an armed step is reached for the n-th time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepAction {
    /// The process ends at once, as by `kill -9`: no destructor, no flush.
    Kill,
    /// The operation fails with [`Error::Stopped`].
    Fail,
}

/// The steps that are armed. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Steps(Option<Arc<Armed>>);

#[derive(Debug)]
struct Armed {
    step: Step,
    action: StepAction,
    /// How many more times the step is passed before the action.
    passes_left: AtomicU64,
}

impl Steps {
    /// No step is armed.
    pub fn none() -> Self {
        Self(None)
    }

    /// Arms `step` for its `nth` time (from 1).
    pub fn arm(step: Step, nth: u64, action: StepAction) -> Self {
        Self(Some(Arc::new(Armed { step, action, passes_left: AtomicU64::new(nth) })))
    }

    /// Marks that `step` has been reached.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the step is armed to fail now.
    pub fn reach(&self, step: Step) -> Result<()> {
        let Some(armed) = self.0.as_deref().filter(|armed| armed.step == step) else { return Ok(()) };
        if armed.passes_left.fetch_sub(1, Ordering::SeqCst) != 1 {
            return Ok(());
        }
        match armed.action {
            StepAction::Fail => Err(Error::Stopped { step: step.name() }),
            StepAction::Kill => {
                let this_process = rustix::process::getpid();
                rustix::process::kill_process(this_process, rustix::process::Signal::KILL)
                    .expect("a process may always kill itself");
                unreachable!("SIGKILL does not return")
            }
        }
    }
}

/// `metadata-written`, `metadata-written:3`, `metadata-written:3=fail`; the default action is to kill.
impl FromStr for Steps {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (point, action) = match text.split_once('=') {
            None => (text, StepAction::Kill),
            Some((point, "kill")) => (point, StepAction::Kill),
            Some((point, "fail")) => (point, StepAction::Fail),
            Some((_, other)) => return Err(format!("action {other:?} is neither kill nor fail")),
        };
        let (name, nth) = match point.split_once(':') {
            None => (point, 1),
            Some((name, nth)) => {
                let nth = nth.parse().ok().filter(|n| *n > 0);
                (name, nth.ok_or_else(|| format!("count in {point:?} must be a positive number"))?)
            }
        };
        let step = Step::ALL.iter().find(|step| step.name() == name);
        let step = step.ok_or_else(|| {
            let names: Vec<_> = Step::ALL.iter().map(|step| step.name()).collect();
            format!("no step {name:?}; there are {}", names.join(", "))
        })?;
        Ok(Self::arm(*step, nth, action))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_armed_step_fails_once_at_its_nth_time() {
        let steps: Steps = "metadata-written:2=fail".parse().unwrap();
        assert!(steps.reach(Step::MetadataWritten).is_ok());
        assert!(steps.reach(Step::PointerSwapped).is_ok());
        assert!(steps.reach(Step::MetadataWritten).is_err());
        assert!(steps.reach(Step::MetadataWritten).is_ok());
    }

    #[test]
    fn a_wrong_name_lists_the_right_ones() {
        let error = "metadata".parse::<Steps>().unwrap_err();
        assert!(error.contains("metadata-written"), "{error}");
    }
}
