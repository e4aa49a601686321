//! Which requests fetch some ranges.
//!
//! Two ranges become one request where fetching what lies between them is cheaper than another request: where the gap
//! is shorter than what the store delivers in the time a request takes.

use std::ops::Range;

use bytes::Bytes;
use frazil_storage::{Location, Store};

use crate::footer::Tail;
use crate::stats::{ByteKind, ReadCounters};
use crate::{Error, Result};

/// A local read takes about 2 µs at 2 GB/s.
const GAP_BYTES_LOCAL: u64 = 4 << 10;

/// A request to an object store takes about 20 ms at 50 MB/s.
const GAP_BYTES_REMOTE: u64 = 1 << 20;

/// One request gets at most this, so that a merged read does not hold far more than it needs. A single longer range is
/// fetched whole.
const REQUEST_BYTES_MAX: u64 = 64 << 20;

/// One read, and which of the wanted ranges it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub range: Range<u64>,
    /// Indexes into the wanted ranges.
    pub wanted: Vec<usize>,
}

/// Merges ranges by the cost rule.
pub(crate) fn plan_requests(wanted: &[Range<u64>], gap_bytes_max: u64) -> Vec<Request> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by_key(|index| (wanted[*index].start, wanted[*index].end));
    let mut requests: Vec<Request> = Vec::new();
    for index in order {
        let range = &wanted[index];
        if let Some(last) = requests.last_mut()
            && range.start <= last.range.end.saturating_add(gap_bytes_max)
            && range.end.max(last.range.end) - last.range.start <= REQUEST_BYTES_MAX
        {
            last.range.end = last.range.end.max(range.end);
            last.wanted.push(index);
            continue;
        }
        requests.push(Request { range: range.clone(), wanted: vec![index] });
    }
    requests
}

/// Fetches ranges of a file, in the order asked for. What the tail holds is not fetched again.
pub(crate) async fn fetch(
    store: &Store,
    counters: &ReadCounters,
    (location, tail, kind): (&str, &Tail, ByteKind),
    ranges: &[Range<u64>],
) -> Result<Vec<Bytes>> {
    let mut found: Vec<Option<Bytes>> = ranges.iter().map(|range| tail.get(range)).collect();
    let missing: Vec<usize> = (0..ranges.len()).filter(|index| found[*index].is_none()).collect();
    if missing.is_empty() {
        return Ok(found.into_iter().flatten().collect());
    }
    let wanted: Vec<Range<u64>> = missing.iter().map(|index| ranges[*index].clone()).collect();
    let requests = plan_requests(&wanted, gap_bytes_max(location));
    let reads: Vec<Range<u64>> = requests.iter().map(|request| request.range.clone()).collect();
    let bytes = store.read_ranges(location, &reads).await?;
    for (request, bytes) in requests.iter().zip(&bytes) {
        if bytes.len() as u64 != request.range.end - request.range.start {
            return Err(Error::damaged(location, "it is shorter than its footer says"));
        }
        for index in &request.wanted {
            let range = &wanted[*index];
            let from = (range.start - request.range.start) as usize;
            let length = (range.end - range.start) as usize;
            found[missing[*index]] = Some(bytes.slice(from..from + length));
        }
    }
    let asked: u64 = wanted.iter().map(|range| range.end - range.start).sum();
    let got: u64 = bytes.iter().map(|bytes| bytes.len() as u64).sum();
    counters.fetched(kind, asked.min(got), got.saturating_sub(asked), requests.len() as u64);
    Ok(found.into_iter().flatten().collect())
}

fn gap_bytes_max(location: &str) -> u64 {
    let is_near = |location: &Location| matches!(location.scheme(), "file" | "memory");
    match Location::parse(location) {
        Ok(location) if is_near(&location) => GAP_BYTES_LOCAL,
        _ => GAP_BYTES_REMOTE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wanted: &[Range<u64>], expected: &[(Range<u64>, &[usize])]) {
        let plan = plan_requests(wanted, 10);
        let plan: Vec<_> = plan.iter().map(|r| (r.range.clone(), r.wanted.as_slice())).collect();
        assert_eq!(plan, expected);
    }

    #[test]
    fn near_ranges_share_a_request_and_far_ones_do_not() {
        check(&[], &[]);
        check(&[0..5, 15..20, 31..40], &[(0..20, &[0, 1]), (31..40, &[2])]);
        check(&[31..40, 0..5, 15..20], &[(0..20, &[1, 2]), (31..40, &[0])]);
    }

    #[test]
    fn overlapping_and_contained_ranges_are_fetched_once() {
        check(&[0..50, 10..20, 40..60], &[(0..60, &[0, 1, 2])]);
    }

    #[test]
    fn a_request_is_bounded() {
        let half = REQUEST_BYTES_MAX / 2;
        let ranges = [0..half, half..2 * half, 2 * half..3 * half];
        check(&ranges, &[(0..2 * half, &[0, 1]), (2 * half..3 * half, &[2])]);
    }
}
