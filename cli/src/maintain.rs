//! `frazil compact`, `expire`, `orphans`, `rewrite-manifests` and `verify`: one-off maintenance of a table.

use std::collections::HashMap;

use frazil_catalog::CommitQueue;
use frazil_compactor::{
    Clustering, Config, ConversionReport, OrphanConfig, Report, cluster_table, compact_table, convert_equality_deletes,
    run_expire, run_orphans, run_rewrite_manifests, run_verify,
};
use frazil_engine::session::{IcebergTable, Resolved};
use frazil_table::Retention;
use serde_json::{Value, json};

use crate::args::{Common, Compact, Expire, Orphans, Output, RewriteManifests, Strategy, Verify};
use crate::error::{Error, Result};
use crate::print::say;
use crate::{shutdown, world};

pub(crate) async fn compact(common: &Common, args: &Compact, output: Output) -> Result<()> {
    let stop = shutdown::on_signal().map_err(|e| Error::failed("listening for signals", e))?;
    let (table, queue) = open(common, &args.table).await?;
    let properties = table.table.metadata().properties();
    let config = Config::from_options(properties, &HashMap::new(), 1).map_err(frazil_engine::Error::from)?;
    if args.convert_equality_deletes {
        let report = convert_equality_deletes(&queue, &config, args.dry_run, &stop).await;
        let report = report.map_err(frazil_engine::Error::from)?;
        match output {
            Output::Text => say(report.to_string().trim_end()),
            Output::Json => say(&conversion_json(&args.table, &report).to_string()),
        }
        return Ok(());
    }
    let config = config.packing();
    let report = match order_text(args)? {
        None => compact_table(&queue, &config, args.dry_run, &stop).await,
        Some(text) => {
            let clustering = Clustering::parse(Some(&text), &table.table, queue.env());
            let clustering = clustering.map_err(|error| Error::BadInput(format!("--sort-by: {error}")))?;
            cluster_table(&queue, &config, &clustering, args.dry_run, &stop).await
        }
    };
    let report = report.map_err(frazil_engine::Error::from)?;
    match output {
        Output::Text => say(report.to_string().trim_end()),
        Output::Json => say(&compaction_json(&args.table, &report).to_string()),
    }
    Ok(())
}

/// The order in which rows are to lie, as Spark writes it; `None`: as they do.
fn order_text(args: &Compact) -> Result<Option<String>> {
    let columns = args.sort_by.clone().unwrap_or_default();
    match args.strategy {
        Strategy::Binpack if args.sort_by.is_some() => {
            Err(Error::BadInput("--sort-by orders rows: add --strategy sort, zorder or hilbert".to_owned()))
        }
        Strategy::Binpack => Ok(None),
        Strategy::Sort => Ok(Some(columns)),
        Strategy::Zorder | Strategy::Hilbert if columns.trim().is_empty() => {
            Err(Error::BadInput("a curve goes through columns: add --sort-by a,b".to_owned()))
        }
        Strategy::Zorder => Ok(Some(format!("zorder({columns})"))),
        Strategy::Hilbert => Ok(Some(format!("hilbert({columns})"))),
    }
}

fn conversion_json(table: &str, report: &ConversionReport) -> Value {
    let deletes = report.plan.iter().flat_map(|plan| &plan.deletes).map(|delete| {
        json!({
            "partition": delete.place, "reason": delete.reason.name(), "file": delete.input.file.file_path(),
            "sequence-number": delete.input.data_sequence_number, "columns": delete.columns,
            "keys": delete.input.file.record_count(), "data-files": delete.data_files, "bytes": delete.data_bytes,
        })
    });
    json!({
        "table": table,
        "dry-run": report.dry_run,
        "plan": deletes.collect::<Vec<_>>(),
        "converted-delete-files": report.converted,
        "added-delete-files": report.delete_files,
        "deleted-rows": report.rows,
        "remaining-delete-files": report.left,
        "conflict": report.conflict.as_ref().map(ToString::to_string),
        "snapshots": report.snapshot_ids,
    })
}

fn compaction_json(table: &str, report: &Report) -> Value {
    let groups = report.plan.iter().flat_map(|plan| &plan.groups).map(|group| {
        json!({
            "partition": group.partition_path, "reason": group.reason.name(), "files": group.inputs.len(),
            "bytes": group.bytes_in(), "rows": group.rows_in(), "deletes": group.deletes.len(),
            "deleted-rows-max": group.rows_deleted_max,
        })
    });
    let place = |(place, why): (&String, String)| json!({ "partition": place, "reason": why });
    json!({
        "table": table,
        "dry-run": report.dry_run,
        "refusal": report.plan.as_ref().and_then(|plan| plan.refusal.as_ref()),
        "plan": groups.collect::<Vec<_>>(),
        "groups": report.groups,
        "files-before": report.files_in,
        "files-after": report.files_out,
        "bytes-before": report.bytes_in,
        "bytes-after": report.bytes_out,
        "deleted-rows": report.rows_deleted,
        "carried-rows": report.rows_carried,
        "rebased-rows": report.rows_rebased,
        "dropped": report.dropped.iter().map(|(at, why)| place((at, why.to_string()))).collect::<Vec<_>>(),
        "failed": report.failed.iter().map(|(at, why)| place((at, why.to_string()))).collect::<Vec<_>>(),
    })
}

pub(crate) async fn expire(common: &Common, args: &Expire, output: Output) -> Result<()> {
    let (_, queue) = open(common, &args.table).await?;
    let default = Retention {
        max_snapshot_age_ms: i64::try_from(args.older_than.as_millis()).unwrap_or(i64::MAX),
        min_snapshots_to_keep: args.keep,
    };
    let report = run_expire(&queue, default, &[], args.dry_run).await;
    let report = report.map_err(frazil_engine::Error::from)?;
    match output {
        Output::Text => say(report.to_string().trim_end()),
        Output::Json => say(&json!({
            "table": args.table,
            "dry-run": report.dry_run,
            "snapshots": report.snapshot_ids,
            "held-by": report.held_by,
            "deferred-snapshots": report.deferred_snapshots,
            "content-files": report.content_files,
            "metadata-files": report.metadata_files,
            "failed": report.failed.iter().map(|(file, _)| file).collect::<Vec<_>>(),
        })
        .to_string()),
    }
    Ok(())
}

pub(crate) async fn orphans(common: &Common, args: &Orphans, output: Output) -> Result<()> {
    let (_, queue) = open(common, &args.table).await?;
    let config = OrphanConfig {
        age_ms_min: i64::try_from(args.older_than.as_millis()).unwrap_or(i64::MAX),
        any_name: args.any_name,
        files_max: args.max_files,
        dry_run: args.dry_run,
    };
    let report = run_orphans(&queue, &config).await.map_err(frazil_engine::Error::from)?;
    match output {
        Output::Text => say(report.to_string().trim_end()),
        Output::Json => say(&json!({
            "table": args.table,
            "dry-run": report.dry_run,
            "files": report.plan.files.iter().map(|file| json!({ "file": file.location, "bytes": file.size_bytes })).collect::<Vec<_>>(),
            "deferred": report.plan.deferred,
            "young": report.plan.young,
            "foreign": report.plan.foreign,
            "deleted": report.deleted.iter().map(|file| &file.location).collect::<Vec<_>>(),
            "spared": report.spared,
            "failed": report.failed.iter().map(|(file, _)| file).collect::<Vec<_>>(),
        })
        .to_string()),
    }
    Ok(())
}

pub(crate) async fn rewrite_manifests(common: &Common, args: &RewriteManifests, output: Output) -> Result<()> {
    let (_, queue) = open(common, &args.table).await?;
    let report = run_rewrite_manifests(&queue, args.dry_run).await.map_err(frazil_engine::Error::from)?;
    match output {
        Output::Text => say(report.to_string().trim_end()),
        Output::Json => say(&json!({
            "table": args.table,
            "dry-run": report.dry_run,
            "manifests-before": report.manifests_before,
            "manifests-after": report.manifests_after,
            "rewritten": report.rewritten,
            "added": report.added,
        })
        .to_string()),
    }
    Ok(())
}

pub(crate) async fn verify(common: &Common, args: &Verify, output: Output) -> Result<()> {
    let (_, queue) = open(common, &args.table).await?;
    let report = run_verify(&queue).await.map_err(frazil_engine::Error::from)?;
    match output {
        Output::Text => say(report.to_string().trim_end()),
        Output::Json => say(&json!({
            "table": args.table,
            "metadata-location": report.metadata_location,
            "metadata-files": report.metadata_files,
            "snapshots": report.snapshots,
            "refs": report.refs,
            "manifest-lists": report.manifest_lists,
            "manifests": report.manifests,
            "data-files": report.data_files,
            "delete-files": report.delete_files,
            "bytes": report.bytes,
            "rows": report.rows,
            "findings": report.findings.iter().map(|finding| json!({ "place": finding.place, "what": finding.what })).collect::<Vec<_>>(),
            "findings-left-out": report.findings_left_out,
        })
        .to_string()),
    }
    match report.is_sound() {
        true => Ok(()),
        false => Err(Error::Unsound {
            table: args.table.clone(),
            findings: report.findings.len() + report.findings_left_out,
        }),
    }
}

async fn open(common: &Common, name: &str) -> Result<(IcebergTable, CommitQueue)> {
    let session = world::session(common).await?;
    let parsed = world::table_name(name);
    let Resolved::Iceberg(table) = session.resolve(&parsed, name).await? else {
        return Err(Error::BadInput(format!("{name} is no Iceberg table")));
    };
    let queue = CommitQueue::new(table.catalog.clone(), session.env().clone(), table.path.ident());
    Ok((table, queue))
}
