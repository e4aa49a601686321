//! Where a table is followed from, as a person types it.

use std::str::FromStr;

use frazil_catalog::CatalogRef;
use frazil_reader::{ConsumerMember, Position, Result, StartPosition, TableFeed, consumer_position};
use frazil_table::spec::TableIdent;

/// A place in a table's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Place(StartPosition),
    /// Where a consumer has come to.
    Consumer(String),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.strip_prefix("consumer:") {
            Some("") => Err("a consumer has a name: consumer:NAME".to_owned()),
            Some(name) => Ok(Self::Consumer(name.to_owned())),
            None => match text.parse() {
                Ok(place) => Ok(Self::Place(place)),
                Err(error) if text.contains(':') => Err(error),
                Err(error) => Err(format!("{error}, or consumer:NAME")),
            },
        }
    }
}

impl From {
    /// Becomes a member of a consumer, if one is named with its lease in milliseconds. What it has committed goes before
    /// any place.
    pub(crate) async fn join(
        self,
        (catalog, ident): (&CatalogRef, &TableIdent),
        consumer: Option<(String, i64)>,
    ) -> Result<(StartPosition, Option<ConsumerMember>)> {
        let member = match &consumer {
            Some((name, lease_ms)) => Some(ConsumerMember::join(catalog, ident, name, *lease_ms).await?),
            None => None,
        };
        let start = match (member.as_ref().and_then(ConsumerMember::committed), self) {
            (Some(committed), _) => StartPosition::Position(committed),
            (None, Self::Place(place)) => place,
            (None, Self::Consumer(name)) => StartPosition::Position(consumer_position(catalog, ident, &name).await?),
        };
        Ok((start, member))
    }
}

/// What a feed begins with, for a member that has to hold it from its first moment on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    position: Position,
    is_lost: bool,
}

impl Begun {
    pub(crate) fn of(feed: &TableFeed) -> Self {
        Self { position: feed.position(), is_lost: feed.lost().is_some() }
    }

    /// Commits the start, unless the member began where it had committed.
    pub(crate) async fn hold(self, member: &mut ConsumerMember) -> Result<()> {
        match member.committed().is_some() && !self.is_lost {
            true => Ok(()),
            false => member.commit(self.position).await,
        }
    }
}
