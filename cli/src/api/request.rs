//! What a request to follow a table asks for.

use std::num::NonZeroU64;

use axum::http::{HeaderMap, StatusCode, header};
use frazil_catalog::CONSUMER_LEASE_MS;
use frazil_catalog::server::Refusal;
use frazil_reader::{
    BatchLimits, ChangelogForm, FeedForm, FeedOptions, OnLost, OnRowLevelChange, Position, Predicate, Projection,
    StartPosition,
};
use serde::Deserialize;

use super::encode::Encoding;
use crate::from::From;

/// The query of `…/changes`, as it is typed.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct ChangesQuery {
    from: Option<String>,
    consumer: Option<String>,
    lease_ms: Option<i64>,
    columns: Option<String>,
    filter: Option<String>,
    mode: Mode,
    identifier: Option<String>,
    on_row_changes: Option<OnRowChanges>,
    on_lost: LostPolicy,
    follow: Option<bool>,
    format: Option<String>,
    max_rows: Option<NonZeroU64>,
    max_bytes: Option<NonZeroU64>,
    max_files: Option<NonZeroU64>,
    max_batches: Option<NonZeroU64>,
}

/// What is told of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    #[default]
    Append,
    Changes,
    Upsert,
    Net,
}

/// What is done about snapshots that change or remove rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum OnRowChanges {
    Fail,
    Skip,
    Changes,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LostPolicy {
    #[default]
    Fail,
    Earliest,
}

/// The request, understood.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) encoding: Encoding,
    /// Where to begin.
    pub(super) from: From,
    /// The consumer to become a member of, and its lease in milliseconds.
    pub(super) consumer: Option<(String, i64)>,
    /// Whether what comes later is told as well.
    pub(super) follow: bool,
    /// The stream ends after so many batches.
    pub(super) batches_max: Option<NonZeroU64>,
    /// An SQL condition.
    filter: Option<String>,
    options: FeedOptions,
}

impl Request {
    pub(super) fn parse(query: ChangesQuery, headers: &HeaderMap) -> Result<Self, Refusal> {
        let encoding = encoding(query.format.as_deref(), headers)?;
        let form = form(query.mode, query.on_row_changes)?;
        if query.max_files.is_some() && matches!(form, FeedForm::Changelog(_)) {
            let message = "max-files counts files of appended rows: limit changes by max-rows or max-bytes";
            return Err(Refusal::bad_request(message));
        }
        let list = |text: &Option<String>| -> Vec<String> {
            let names = text.iter().flat_map(|text| text.split(',')).map(str::trim);
            names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        let columns = list(&query.columns);
        let limits = BatchLimits { rows: query.max_rows, bytes: query.max_bytes, files: query.max_files };
        let options = FeedOptions {
            start: StartPosition::Latest,
            form,
            projection: if columns.is_empty() { Projection::All } else { Projection::paths(&columns) },
            predicate: None,
            identifier_columns: list(&query.identifier),
            limits,
            on_lost: match query.on_lost {
                LostPolicy::Fail => OnLost::Fail,
                LostPolicy::Earliest => OnLost::Earliest,
            },
        };
        if query.lease_ms.is_some() && query.consumer.is_none() {
            return Err(Refusal::bad_request("lease-ms is for a consumer: name one"));
        }
        Ok(Self {
            encoding,
            from: start(query.from.as_deref(), headers)?,
            consumer: query.consumer.map(|name| (name, query.lease_ms.unwrap_or(CONSUMER_LEASE_MS))),
            follow: query.follow.unwrap_or(true),
            batches_max: query.max_batches,
            filter: query.filter,
            options,
        })
    }

    /// What the reader is asked for, once the filter has been understood.
    pub(super) fn options(
        &self,
        parse: impl FnOnce(&str) -> Result<Predicate, Refusal>,
    ) -> Result<FeedOptions, Refusal> {
        let predicate = self.filter.as_deref().map(parse).transpose()?;
        Ok(FeedOptions { predicate, ..self.options.clone() })
    }

    /// Whether there is a filter.
    pub(super) fn has_filter(&self) -> bool {
        self.filter.is_some()
    }
}

fn form(mode: Mode, on_row_changes: Option<OnRowChanges>) -> Result<FeedForm, Refusal> {
    let form = match mode {
        Mode::Append => {
            return Ok(match on_row_changes {
                None | Some(OnRowChanges::Fail) => FeedForm::Appends(OnRowLevelChange::Fail),
                Some(OnRowChanges::Skip) => FeedForm::Appends(OnRowLevelChange::Skip),
                Some(OnRowChanges::Changes) => FeedForm::Changelog(ChangelogForm::Changes),
            });
        }
        Mode::Changes => ChangelogForm::Changes,
        Mode::Upsert => ChangelogForm::Upsert,
        Mode::Net => ChangelogForm::Net,
    };
    match on_row_changes {
        None | Some(OnRowChanges::Changes) => Ok(FeedForm::Changelog(form)),
        Some(OnRowChanges::Fail | OnRowChanges::Skip) => Err(Refusal::bad_request(
            "on-row-changes=fail and skip are for mode=append: the other modes tell every change",
        )),
    }
}

/// What the client has already goes before what its URL says: browsers send the header when they connect again.
fn start(from: Option<&str>, headers: &HeaderMap) -> Result<From, Refusal> {
    if let Some(last) = headers.get("last-event-id").filter(|last| !last.is_empty()) {
        let position = last.to_str().unwrap_or_default().parse::<Position>();
        let position = position.map_err(|error| Refusal::bad_request(format!("the header Last-Event-ID: {error}")))?;
        return Ok(From::Place(StartPosition::Position(position)));
    }
    from.unwrap_or("latest").parse().map_err(|error| Refusal::bad_request(format!("from: {error}")))
}

fn encoding(format: Option<&str>, headers: &HeaderMap) -> Result<Encoding, Refusal> {
    if let Some(format) = format {
        let found = Encoding::ALL.into_iter().find(|encoding| encoding.name() == format);
        let names = Encoding::ALL.map(Encoding::name).join(", ");
        return found.ok_or_else(|| Refusal::bad_request(format!("format {format:?} is none of {names}")));
    }
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let wanted: Vec<&str> = accepted
        .flat_map(|list| list.split(','))
        .map(|range| range.split(';').next().unwrap_or_default().trim())
        .filter(|range| !range.is_empty())
        .collect();
    if wanted.is_empty() {
        return Ok(Encoding::Ndjson);
    }
    let of_range = |range: &&str| match *range {
        "*/*" | "application/*" | "application/json" => Some(Encoding::Ndjson),
        "text/*" => Some(Encoding::Events),
        exact => Encoding::ALL.into_iter().find(|encoding| encoding.media_type().eq_ignore_ascii_case(exact)),
    };
    wanted.iter().find_map(of_range).ok_or_else(|| {
        let types = Encoding::ALL.map(Encoding::media_type).join(", ");
        let message = format!("changes come as {types}; {} is none of them", wanted.join(", "));
        Refusal::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptableException", message)
    })
}
