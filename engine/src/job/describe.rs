//! A pipeline as operators, for `explain`.

use std::time::Duration;

use frazil_writer::{DistributionMode, StatisticsConfig};

use crate::Result;
use crate::graph::{Edge, JobGraph, Operator, Strategy};
use crate::runtime::{EventTimePlan, PipelineSpec};
use crate::upsert::describe_upserts;

/// Adds the operators of a pipeline to the graph of its job.
pub(super) async fn describe(graph: &mut JobGraph, spec: &PipelineSpec, checkpoint_interval: Duration) -> Result<()> {
    let sink = &spec.sink.sink_uid;
    let uid = |operator: &str| format!("{sink}/{operator}");
    let compaction = &spec.compaction;
    let mut add = |operator: &str, kind, parallelism, details| {
        graph.operators.push(Operator { uid: uid(operator), kind, parallelism, details });
    };
    let mut source = vec![spec.source.describe()];
    source.extend(spec.event_time.as_ref().map(EventTimePlan::describe));
    add("source", "Source", spec.source_parallelism, source);
    let transforms = if spec.upserts { spec.source_parallelism } else { spec.writer_parallelism };
    add("transform", "Transform", transforms, vec![spec.transform.describe(&spec.source.schema()).await?]);
    let mut writer = vec![spec.queue.ident().to_string()];
    writer.extend(describe_writes(spec).await?);
    add("writer", "Writer", spec.writer_parallelism, writer);
    let interval = format!("checkpoint every {:?}", checkpoint_interval);
    let retention = format!(
        "expires snapshots after {} s, keeps at least {}",
        compaction.retention.max_snapshot_age_ms / 1000,
        compaction.retention.min_snapshots_to_keep
    );
    add("committer", "Committer", 1, vec![interval, retention]);
    let (computed, written) = match (spec.upserts, spec.distribution) {
        (true, _) => (Strategy::Chain, Strategy::Hash),
        (false, DistributionMode::None) => (Strategy::Rebalance, Strategy::Chain),
        (false, DistributionMode::Hash) => (Strategy::Rebalance, Strategy::Hash),
        (false, DistributionMode::Range) => (Strategy::Rebalance, Strategy::Range),
    };
    let mut edges = vec![
        ("source", "transform", computed),
        ("transform", "writer", written),
        ("writer", "committer", Strategy::Gather),
    ];
    if compaction.config.enabled {
        let trigger = format!("after every {} table commits", compaction.config.delta_commits);
        add("compact-coordinator", "Compact coordinator", 1, vec![trigger]);
        let target = format!("target file size {} bytes", compaction.config.target_file_size_bytes);
        add("compact-operator", "Compact operator", compaction.parallelism, vec![target]);
        add("compact-committer", "Compact committer", 1, Vec::new());
        edges.extend([
            ("committer", "compact-coordinator", Strategy::Gather),
            ("compact-coordinator", "compact-operator", Strategy::Share),
            ("compact-operator", "compact-committer", Strategy::Gather),
        ]);
    }
    let edges = edges.into_iter().map(|(from, to, strategy)| Edge { from: uid(from), to: uid(to), strategy });
    graph.edges.extend(edges);
    Ok(())
}

/// Lines for a person: how rows are shared out, how older ones go, and how the table's statistics are kept.
async fn describe_writes(spec: &PipelineSpec) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    match spec.distribution {
        DistributionMode::None => {}
        DistributionMode::Hash => lines.push("rows go to the writer of their partition".to_owned()),
        DistributionMode::Range => lines.push("rows go to the writer of their range".to_owned()),
    }
    if let Some(StatisticsConfig { interval_ms }) = spec.statistics {
        lines.push(format!("counts distinct values, a statistics file every {interval_ms} ms at most"));
    }
    if spec.upserts {
        let table = spec.queue.load().await?;
        lines.push(describe_upserts(&table)?);
        if StatisticsConfig::of(table.metadata())?.is_some() {
            let help = "CALL system.compute_table_stats counts";
            lines.push(format!("keeps no statistics, since older rows take their values with them; {help}"));
        }
    }
    Ok(lines)
}
