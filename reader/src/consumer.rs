//! A member of a named consumer: where it begins, and what it commits.
//!
//! 1. [`ConsumerMember::join`] fences every member before it, and tells what they committed last.
//! 2. The member reads on from there, hands the rows on, and commits the position behind them.
//! 3. A commit fails once a newer member has joined. So rows behind the last committed position are the newest member's to
//!    hand on, and rows before it were handed on once, by whoever committed.

use frazil_catalog::{CatalogRef, ConsumerCommit};
use frazil_table::spec::TableIdent;

use crate::{Position, Result};

/// A consumer's newest member, until another one joins.
#[derive(Clone, Debug)]
pub struct ConsumerMember {
    catalog: CatalogRef,
    ident: TableIdent,
    name: String,
    epoch: i64,
    committed: Option<Position>,
}

impl ConsumerMember {
    /// Joins, and makes the consumer if it is not there. Its position holds snapshots back from expiry for `lease_ms` after
    /// each commit and each renewal.
    ///
    /// # Errors
    /// [`crate::Error::Catalog`]: the table does not exist, the catalog keeps no consumers, or the position is one that this
    /// version does not know.
    pub async fn join(catalog: &CatalogRef, ident: &TableIdent, name: &str, lease_ms: i64) -> Result<Self> {
        let consumer = catalog.join_consumer(ident, name, lease_ms).await?;
        let committed = consumer.position.as_ref().map(|at| parse(name, ident, at)).transpose()?;
        let (catalog, ident, name) = (catalog.clone(), ident.clone(), name.to_owned());
        Ok(Self { catalog, ident, name, epoch: consumer.epoch, committed })
    }

    /// What orders members: the newest has the highest.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// What was committed last, as far as this member knows.
    pub fn committed(&self) -> Option<Position> {
        self.committed
    }

    /// Commits that all rows before a position have been handed on. Durable when it returns. Costs nothing if the position
    /// is the committed one.
    ///
    /// # Errors
    /// [`frazil_catalog::Error::ConsumerFenced`] within [`crate::Error::Catalog`]: stop; nothing was committed.
    pub async fn commit(&mut self, position: Position) -> Result<()> {
        if self.committed == Some(position) {
            return Ok(());
        }
        let commit = ConsumerCommit { epoch: self.epoch, position: Some(position.to_string()) };
        self.catalog.commit_consumer(&self.ident, &self.name, commit).await?;
        self.committed = Some(position);
        Ok(())
    }

    /// Says that the member is alive, so that its position goes on to hold what it needs.
    ///
    /// # Errors
    /// As [`ConsumerMember::commit`].
    pub async fn renew(&self) -> Result<()> {
        let commit = ConsumerCommit { epoch: self.epoch, position: None };
        Ok(self.catalog.commit_consumer(&self.ident, &self.name, commit).await?)
    }
}

/// What a consumer committed last, without joining it.
///
/// # Errors
/// [`frazil_catalog::Error::NoSuchConsumer`] within [`crate::Error::Catalog`] if there is none, or it has committed nothing.
pub async fn consumer_position(catalog: &CatalogRef, ident: &TableIdent, name: &str) -> Result<Position> {
    let consumers = catalog.consumers(ident).await?;
    let found = consumers.iter().find(|consumer| consumer.name == name).and_then(|consumer| consumer.position.as_ref());
    let at = found.ok_or_else(|| frazil_catalog::Error::NoSuchConsumer(format!("{name} of {ident}")))?;
    parse(name, ident, at)
}

fn parse(name: &str, ident: &TableIdent, at: &str) -> Result<Position> {
    at.parse().map_err(|error| {
        let message =
            format!("consumer {name} of {ident}: {error}; use the newer program that committed it, or reset it");
        frazil_catalog::Error::BadRequest(message).into()
    })
}
