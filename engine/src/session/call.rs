//! `CALL system.procedure(…)`: Iceberg's procedures under the names and arguments that Spark gives them.

mod arguments;
mod maintenance;
mod snapshots;
mod statistics;

use std::fmt;

use arrow::array::{ArrayRef, RecordBatch};
use frazil_table::Change;

use self::arguments::{Arguments, Kind, Parameter};
use super::change::at_place;
use super::{Executed, IcebergTable, Session};
use crate::Result;
use crate::sql::{Call, Name, SqlError};
use crate::suggest::{nearest, one_of};

/// The namespaces that procedures may be called in: Spark's and Flink's.
const NAMESPACES: [&str; 2] = ["system", "sys"];

/// A procedure and what it takes, in the order of arguments without names.
struct Procedure {
    name: &'static str,
    parameters: &'static [Parameter],
    kind: ProcedureKind,
}

#[derive(Clone, Copy, Debug)]
enum ProcedureKind {
    AncestorsOf,
    CherrypickSnapshot,
    ComputeTableStats,
    ConvertEqualityDeletes,
    ExpireSnapshots,
    FastForward,
    PublishChanges,
    RegisterTable,
    RemoveOrphanFiles,
    RewriteDataFiles,
    RewriteManifests,
    RollbackToSnapshot,
    RollbackToTimestamp,
    SetCurrentSnapshot,
}

const TABLE: Parameter = Parameter::required("table", Kind::Text);
const SNAPSHOT: Parameter = Parameter::required("snapshot_id", Kind::Integer);
const DRY_RUN: Parameter = Parameter::optional("dry_run", Kind::Boolean);

const PROCEDURES: [Procedure; 14] = [
    Procedure {
        name: "ancestors_of",
        parameters: &[TABLE, Parameter::optional("snapshot_id", Kind::Integer)],
        kind: ProcedureKind::AncestorsOf,
    },
    Procedure { name: "cherrypick_snapshot", parameters: &[TABLE, SNAPSHOT], kind: ProcedureKind::CherrypickSnapshot },
    Procedure {
        name: "compute_table_stats",
        parameters: &[
            TABLE,
            Parameter::optional("snapshot_id", Kind::Integer),
            Parameter::optional("columns", Kind::Texts),
        ],
        kind: ProcedureKind::ComputeTableStats,
    },
    Procedure {
        name: "convert_equality_deletes",
        parameters: &[TABLE, DRY_RUN],
        kind: ProcedureKind::ConvertEqualityDeletes,
    },
    Procedure {
        name: "expire_snapshots",
        parameters: &[
            TABLE,
            Parameter::optional("older_than", Kind::Timestamp),
            Parameter::optional("retain_last", Kind::Integer),
            DRY_RUN,
        ],
        kind: ProcedureKind::ExpireSnapshots,
    },
    Procedure {
        name: "fast_forward",
        parameters: &[TABLE, Parameter::required("branch", Kind::Text), Parameter::required("to", Kind::Text)],
        kind: ProcedureKind::FastForward,
    },
    Procedure {
        name: "publish_changes",
        parameters: &[TABLE, Parameter::required("wap_id", Kind::Text)],
        kind: ProcedureKind::PublishChanges,
    },
    Procedure {
        name: "register_table",
        parameters: &[TABLE, Parameter::required("metadata_file", Kind::Text)],
        kind: ProcedureKind::RegisterTable,
    },
    Procedure {
        name: "remove_orphan_files",
        parameters: &[
            TABLE,
            Parameter::optional("older_than", Kind::Timestamp),
            DRY_RUN,
            Parameter::optional("any_name", Kind::Boolean),
        ],
        kind: ProcedureKind::RemoveOrphanFiles,
    },
    Procedure {
        name: "rewrite_data_files",
        parameters: &[
            TABLE,
            Parameter::optional("strategy", Kind::Text),
            Parameter::optional("sort_order", Kind::Text),
            Parameter::optional("options", Kind::Options),
            DRY_RUN,
        ],
        kind: ProcedureKind::RewriteDataFiles,
    },
    Procedure { name: "rewrite_manifests", parameters: &[TABLE], kind: ProcedureKind::RewriteManifests },
    Procedure { name: "rollback_to_snapshot", parameters: &[TABLE, SNAPSHOT], kind: ProcedureKind::RollbackToSnapshot },
    Procedure {
        name: "rollback_to_timestamp",
        parameters: &[TABLE, Parameter::required("timestamp", Kind::Timestamp)],
        kind: ProcedureKind::RollbackToTimestamp,
    },
    Procedure {
        name: "set_current_snapshot",
        parameters: &[TABLE, Parameter::optional("snapshot_id", Kind::Integer), Parameter::optional("ref", Kind::Text)],
        kind: ProcedureKind::SetCurrentSnapshot,
    },
];

impl Session {
    pub(super) async fn call(&mut self, call: &Call, script: &str) -> Result<Executed> {
        let procedure = procedure(&call.procedure, script)?;
        let arguments = Arguments::bind(self, call, procedure, script)?;
        let rows = match procedure.kind {
            ProcedureKind::AncestorsOf => self.ancestors_of(&arguments).await?,
            ProcedureKind::CherrypickSnapshot => self.cherrypick_snapshot(&arguments).await?,
            ProcedureKind::ComputeTableStats => self.compute_table_stats(&arguments).await?,
            ProcedureKind::ConvertEqualityDeletes => self.convert_equality_deletes(&arguments).await?,
            ProcedureKind::ExpireSnapshots => self.expire_snapshots(&arguments).await?,
            ProcedureKind::FastForward => self.fast_forward(&arguments).await?,
            ProcedureKind::PublishChanges => self.publish_changes(&arguments).await?,
            ProcedureKind::RegisterTable => self.register_table(&arguments).await?,
            ProcedureKind::RemoveOrphanFiles => self.remove_orphan_files(&arguments).await?,
            ProcedureKind::RewriteDataFiles => self.rewrite_data_files(&arguments).await?,
            ProcedureKind::RewriteManifests => self.rewrite_manifests(&arguments).await?,
            ProcedureKind::RollbackToSnapshot => self.rollback_to_snapshot(&arguments).await?,
            ProcedureKind::RollbackToTimestamp => self.rollback_to_timestamp(&arguments).await?,
            ProcedureKind::SetCurrentSnapshot => self.set_current_snapshot(&arguments).await?,
        };
        Ok(Executed::Rows(rows))
    }

    /// The table that the argument `table` names.
    async fn table_of(&self, arguments: &Arguments<'_>) -> Result<IcebergTable> {
        self.iceberg_or_refuse(&arguments.table_name()?, arguments.script()).await
    }

    /// Commits one change of metadata; a refusal stands at the call's arguments.
    async fn commit_for(
        &self,
        table: &IcebergTable,
        change: Change,
        arguments: &Arguments<'_>,
    ) -> Result<frazil_table::Table> {
        let committed = self.commit_changes(table, &[change]).await;
        committed.map_err(|error| at_place(error, |_| arguments.span(), arguments.script()))
    }
}

fn procedure(name: &Name, script: &str) -> Result<&'static Procedure> {
    let refuse = |message: String, help: String| Err(SqlError::new(message, name.span(), script).help(help).into());
    let in_namespace =
        name.database().is_some_and(|namespace| NAMESPACES.iter().any(|known| namespace.eq_ignore_ascii_case(known)));
    let found = PROCEDURES.iter().find(|procedure| procedure.name.eq_ignore_ascii_case(name.last()));
    match (found, in_namespace) {
        (Some(procedure), true) => Ok(procedure),
        (Some(procedure), false) => {
            refuse(format!("there is no procedure '{name}'"), format!("write CALL system.{}(…)", procedure.name))
        }
        (None, _) => {
            let names = PROCEDURES.iter().map(|procedure| procedure.name);
            let near = nearest(name.last(), names.clone(), 3);
            let help = match near.is_empty() {
                false => format!("did you mean {}?", one_of(&near)),
                true => format!("there are {}", names.collect::<Vec<_>>().join(", ")),
            };
            refuse(format!("there is no procedure '{}'", name.last()), help)
        }
    }
}

impl fmt::Display for Procedure {
    /// As it is called: `system.fast_forward(table, branch, to)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parameters: Vec<String> = self.parameters.iter().map(ToString::to_string).collect();
        write!(f, "system.{}({})", self.name, parameters.join(", "))
    }
}

/// What a procedure answers: rows of named columns.
fn answer<const N: usize>(columns: [(&str, ArrayRef); N]) -> RecordBatch {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(columns).expect("the columns have one value for each row")
}

#[cfg(test)]
mod tests;
