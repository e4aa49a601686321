//! Procedures that tidy a table up, and the one that takes a table over.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use frazil_compactor::{
    Clustering, Config, ORPHAN_AGE_MS_MIN, OrphanConfig, cluster_table, compact_table, convert_equality_deletes,
    run_expire_with, run_orphans, run_rewrite_manifests,
};
use frazil_table::Retention;
use tokio_util::sync::CancellationToken;

use super::{Arguments, answer};
use crate::Result;
use crate::session::Session;
use crate::sql::SqlError;

/// What Iceberg keeps when nothing else is said: five days, and the newest snapshot.
const DEFAULT_RETENTION: Retention = Retention { max_snapshot_age_ms: 5 * 86_400_000, min_snapshots_to_keep: 1 };

fn count(value: usize) -> Arc<Int64Array> {
    Arc::new(Int64Array::from(vec![i64::try_from(value).unwrap_or(i64::MAX)]))
}

fn bytes(value: u64) -> Arc<Int64Array> {
    Arc::new(Int64Array::from(vec![i64::try_from(value).unwrap_or(i64::MAX)]))
}

impl Session {
    pub(super) async fn expire_snapshots(&self, arguments: &Arguments<'_>) -> Result<RecordBatch> {
        let table = self.table_of(arguments).await?;
        let mut retention = Retention::of(&table.table, DEFAULT_RETENTION);
        if let Some(older_than) = arguments.timestamp_ms("older_than") {
            retention.max_snapshot_age_ms = self.env().now_ms().saturating_sub(older_than);
        }
        if let Some(keep) = arguments.integer("retain_last") {
            retention.min_snapshots_to_keep = usize::try_from(keep).ok().filter(|n| *n > 0).ok_or_else(|| {
                let span = arguments.span_of("retain_last");
                SqlError::new("at least one snapshot is retained", span, arguments.script())
            })?;
        }
        let report = run_expire_with(&self.queue(&table), retention, &[], arguments.boolean("dry_run")).await?;
        Ok(answer([
            ("expired_snapshots_count", count(report.snapshot_ids.len())),
            ("deleted_content_files_count", count(report.content_files)),
            ("deleted_metadata_files_count", count(report.metadata_files)),
            ("dropped_refs", Arc::new(StringArray::from(vec![report.refs.join(", ")]))),
            ("failed_files_count", count(report.failed.len())),
        ]))
    }

    pub(super) async fn remove_orphan_files(&self, arguments: &Arguments<'_>) -> Result<RecordBatch> {
        let table = self.table_of(arguments).await?;
        let mut config = OrphanConfig {
            any_name: arguments.boolean("any_name"),
            dry_run: arguments.boolean("dry_run"),
            ..OrphanConfig::default()
        };
        if let Some(older_than) = arguments.timestamp_ms("older_than") {
            config.age_ms_min = self.env().now_ms().saturating_sub(older_than);
            if config.age_ms_min < ORPHAN_AGE_MS_MIN {
                let message = "files of the last hour stay: a commit may be about to name them";
                return Err(SqlError::new(message, arguments.span_of("older_than"), arguments.script()).into());
            }
        }
        let report = run_orphans(&self.queue(&table), &config).await?;
        let files = if report.dry_run { &report.plan.files } else { &report.deleted };
        let files = files.iter().map(|file| file.location.as_str());
        Ok(answer([("orphan_file_location", Arc::new(StringArray::from_iter_values(files)))]))
    }

    pub(super) async fn rewrite_data_files(&self, arguments: &Arguments<'_>) -> Result<RecordBatch> {
        let table = self.table_of(arguments).await?;
        let mut properties = table.table.metadata().properties().clone();
        for (key, value) in arguments.options("options") {
            // The one of Spark's options that means something here; the others are policies of Spark's planner.
            if key != "target-file-size-bytes" {
                let error = SqlError::new(
                    format!("there is no option '{key}'"),
                    arguments.span_of("options"),
                    arguments.script(),
                );
                return Err(error.help("there is 'target-file-size-bytes'").into());
            }
            properties.insert("write.target-file-size-bytes".to_owned(), value);
        }
        let config = Config::from_options(&properties, &Default::default(), 1)?.packing();
        let (queue, stop, dry_run) = (self.queue(&table), CancellationToken::new(), arguments.boolean("dry_run"));
        let strategy = arguments.text("strategy").map(|strategy| strategy.to_ascii_lowercase());
        let sort_order = arguments.text("sort_order");
        let is_sort = match strategy.as_deref() {
            None => sort_order.is_some(),
            Some("sort") => true,
            Some("binpack") if sort_order.is_none() => false,
            Some("binpack") => {
                let message = "files that are merged keep the order of their rows";
                let error = SqlError::new(message, arguments.span_of("sort_order"), arguments.script());
                return Err(error.help("with a sort_order the strategy is 'sort'").into());
            }
            Some(other) => {
                let message = format!("there is no strategy '{other}'");
                let error = SqlError::new(message, arguments.span_of("strategy"), arguments.script());
                return Err(error.help("there are 'binpack' and 'sort'").into());
            }
        };
        let report = match is_sort {
            false => compact_table(&queue, &config, dry_run, &stop).await?,
            true => {
                let clustering =
                    Clustering::parse(sort_order.as_deref(), &table.table, self.env()).map_err(|error| {
                        let place = if sort_order.is_some() { "sort_order" } else { "strategy" };
                        SqlError::new(error.to_string(), arguments.span_of(place), arguments.script())
                    })?;
                cluster_table(&queue, &config, &clustering, dry_run, &stop).await?
            }
        };
        let planned = report.plan.as_ref().filter(|_| report.dry_run);
        Ok(answer([
            ("rewritten_data_files_count", count(planned.map_or(report.files_in, |plan| plan.files_in()))),
            ("added_data_files_count", count(report.files_out)),
            ("rewritten_bytes_count", bytes(planned.map_or(report.bytes_in, |plan| plan.bytes_in()))),
            ("failed_groups_count", count(report.failed.len() + report.dropped.len())),
        ]))
    }

    pub(super) async fn convert_equality_deletes(&self, arguments: &Arguments<'_>) -> Result<RecordBatch> {
        let table = self.table_of(arguments).await?;
        let config = Config::from_options(table.table.metadata().properties(), &Default::default(), 1)?;
        let stop = CancellationToken::new();
        let report =
            convert_equality_deletes(&self.queue(&table), &config, arguments.boolean("dry_run"), &stop).await?;
        let planned = report.plan.as_ref().filter(|_| report.dry_run);
        let converted = planned.map_or(report.converted, |plan| plan.going().count());
        Ok(answer([
            ("converted_delete_files_count", count(converted)),
            ("added_delete_files_count", count(report.delete_files)),
            ("added_deletes_count", bytes(report.rows)),
            ("remaining_delete_files_count", count(if report.dry_run { 0 } else { report.left })),
        ]))
    }

    pub(super) async fn rewrite_manifests(&self, arguments: &Arguments<'_>) -> Result<RecordBatch> {
        let table = self.table_of(arguments).await?;
        let report = run_rewrite_manifests(&self.queue(&table), false).await?;
        if let Some(conflict) = report.conflict {
            return Err(SqlError::new(conflict.to_string(), arguments.span(), arguments.script()).into());
        }
        Ok(answer([
            ("rewritten_manifests_count", count(report.rewritten)),
            ("added_manifests_count", count(report.added)),
        ]))
    }

    pub(super) async fn register_table(&self, arguments: &Arguments<'_>) -> Result<RecordBatch> {
        let name = arguments.table_name()?;
        let path = self.path_of(&name);
        let catalog = self.catalog_or_refuse(&path.catalog, &name, arguments.script())?;
        let location = arguments.text("metadata_file").unwrap_or_default();
        let refuse = |message: String, place: &str| {
            Err(SqlError::new(message, arguments.span_of(place), arguments.script()).into())
        };
        let table = match catalog.register_table(&path.ident(), &location).await {
            Ok(table) => table,
            Err(frazil_catalog::Error::TableExists(_)) => {
                return refuse(format!("there is a table '{}' already", path.table), "table");
            }
            Err(frazil_catalog::Error::NoSuchNamespace(_)) => {
                return self.refuse_unknown_database(&path.catalog, &path.database, &name, arguments.script()).await;
            }
            Err(frazil_catalog::Error::Table(error)) => return refuse(error.to_string(), "metadata_file"),
            Err(error) => return Err(error.into()),
        };
        let current = table.current_snapshot();
        let total = |key: &str| current?.summary().additional_properties.get(key)?.parse::<i64>().ok();
        Ok(answer([
            ("current_snapshot_id", Arc::new(Int64Array::from(vec![current.map(|snapshot| snapshot.snapshot_id())]))),
            ("total_records_count", Arc::new(Int64Array::from(vec![total("total-records")]))),
            ("total_data_files_count", Arc::new(Int64Array::from(vec![total("total-data-files")]))),
        ]))
    }
}
