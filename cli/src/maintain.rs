//! `frazil compact` and `frazil expire`: one-off maintenance of a table.

use std::collections::HashMap;

use frazil_catalog::CommitQueue;
use frazil_compactor::{Config, compact_table, run_expire};
use frazil_engine::session::{IcebergTable, Resolved};
use frazil_table::Retention;

use crate::args::{Common, Compact, Expire};
use crate::error::{Error, Result};
use crate::print::say;
use crate::{shutdown, world};

pub(crate) async fn compact(common: &Common, args: &Compact) -> Result<()> {
    let stop = shutdown::on_signal().map_err(|e| Error::failed("listening for signals", e))?;
    let (table, queue) = open(common, &args.table).await?;
    let properties = table.table.metadata().properties();
    let config = Config::from_options(properties, &HashMap::new(), 1).map_err(frazil_engine::Error::from)?;
    let report = compact_table(&queue, &config.packing(), args.dry_run, &stop).await;
    say(report.map_err(frazil_engine::Error::from)?.to_string().trim_end());
    Ok(())
}

pub(crate) async fn expire(common: &Common, args: &Expire) -> Result<()> {
    let (_, queue) = open(common, &args.table).await?;
    let default = Retention {
        max_snapshot_age_ms: i64::try_from(args.older_than.as_millis()).unwrap_or(i64::MAX),
        min_snapshots_to_keep: args.keep,
    };
    let report = run_expire(&queue, default, &[], args.dry_run).await;
    say(report.map_err(frazil_engine::Error::from)?.to_string().trim_end());
    Ok(())
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
