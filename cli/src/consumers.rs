//! `frazil consumers`: who follows a table, and how far they have come.

use frazil_catalog::{CONSUMER_LEASE_MS, Consumer};
use frazil_engine::session::{IcebergTable, Resolved};
use frazil_reader::{ConsumerMember, resolve_start};
use frazil_table::moment;
use serde_json::json;

use crate::args::{Common, Consumers, Output};
use crate::error::{Error, Result};
use crate::print::{note, say};
use crate::world;

pub(crate) async fn consumers(common: &Common, args: &Consumers, output: Output) -> Result<()> {
    let session = world::session(common).await?;
    let name = world::table_name(&args.table);
    let Resolved::Iceberg(table) = session.resolve(&name, &args.table).await? else {
        return Err(Error::BadInput(format!("{} is no Iceberg table", args.table)));
    };
    match args {
        Consumers { drop: Some(name), .. } => {
            table.catalog.drop_consumer(&table.path.ident(), name).await?;
            note(output, &format!("consumer {name} of {} is forgotten", args.table));
        }
        Consumers { reset: Some(name), to: Some(to), .. } => {
            let position = resolve_start(&table.table, to).map_err(frazil_engine::Error::from)?;
            let moved = reset(&table, name, position).await.map_err(frazil_engine::Error::from);
            moved?;
            note(output, &format!("consumer {name} of {} begins at {position}", args.table));
        }
        _ => {
            let found = table.catalog.consumers(&table.path.ident()).await?;
            let now_ms = session.env().now_ms();
            found.iter().for_each(|consumer| say(&line(consumer, now_ms, output)));
            if found.is_empty() && output == Output::Text {
                say(&format!("{} has no consumers", args.table));
            }
        }
    }
    Ok(())
}

/// As a newer member, so that none that runs moves it away again.
async fn reset(table: &IcebergTable, name: &str, position: frazil_reader::Position) -> frazil_reader::Result<()> {
    let ident = table.path.ident();
    let known = table.catalog.consumers(&ident).await?;
    let lease_ms =
        known.iter().find(|consumer| consumer.name == name).map_or(CONSUMER_LEASE_MS, |known| known.lease_ms);
    let mut member = ConsumerMember::join(&table.catalog, &ident, name, lease_ms).await?;
    member.commit(position).await
}

fn line(consumer: &Consumer, now_ms: i64, output: Output) -> String {
    let Consumer { name, epoch, position, seen_ms, lease_ms } = consumer;
    let at = position.as_deref();
    let is_held = consumer.is_held(now_ms);
    match output {
        Output::Json => json!({
            "consumer": name, "epoch": epoch, "position": at, "seen-ms": seen_ms, "lease-ms": lease_ms,
            "holds-snapshots": is_held,
        })
        .to_string(),
        Output::Text => {
            let holds = if is_held { "holds what it needs" } else { "holds nothing any more" };
            let at = at.unwrap_or("nowhere yet");
            format!("{name}: at {at}, member {epoch}, seen {}, {holds}", moment(*seen_ms))
        }
    }
}
