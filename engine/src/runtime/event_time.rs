//! Event time: how far a stream is complete, and the rows that come behind that.
//!
//! A source with `WATERMARK FOR column AS expression` says of each row what is complete once it was read: no row with an
//! event time at or below the expression's value is expected any more. Each split has the greatest value of its rows, a
//! source task the least of its splits', a pipeline the least of its tasks'; none ever goes back.
//!
//! - A row is **late** if its event time is at or below the watermark that its source task had when the row came. It is
//!   written like any other; it is only counted.
//! - A split that was silent for `scan.watermark.idle-timeout` is left out until it has rows again, and so is a file that
//!   was read to its end: nothing comes from it.
//! - What was counted travels with the barriers, the watermark goes into the ledger: a restart goes on from the watermark
//!   of the checkpoint, and the rows that it reads again are counted once, as they are written once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMillisecondType};
use tokio::time::Instant;

use super::row_transform::is_of_a_row;
use crate::Result;
use crate::transform::{Transform, TransformPlan};

/// What a source's definition says of event time.
#[derive(Clone, Debug)]
pub(crate) struct EventTimePlan {
    /// A row's event time and its watermark, in this order.
    pub(crate) times: TransformPlan,
    /// After such a silence a split is left out; never if it is zero.
    pub(crate) idle_timeout: Duration,
    /// As the definition has it.
    pub(crate) text: String,
}

impl EventTimePlan {
    /// One line for a person.
    pub(crate) fn describe(&self) -> String {
        match self.idle_timeout.is_zero() {
            true => format!("{}, waits for every split", self.text),
            false => format!("{}, without splits that are silent for {:?}", self.text, self.idle_timeout),
        }
    }

    /// Follows the event time of one source task, from a checkpoint's watermark on (milliseconds since the Unix epoch).
    ///
    /// # Errors
    /// What keeps DataFusion from planning it.
    pub(super) async fn instantiate(&self, watermark_ms: Option<i64>) -> Result<EventTime> {
        let times = self.times.instantiate().await?;
        let idle_timeout = Some(self.idle_timeout).filter(|timeout| !timeout.is_zero());
        Ok(EventTime { times, clock: TaskClock { idle_timeout, watermark_ms, ..TaskClock::default() } })
    }
}

/// What a source task says of event time at a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskTime {
    /// Milliseconds since the Unix epoch; `None` if nothing is complete.
    pub(super) watermark_ms: Option<i64>,
    /// Nothing comes from it at the moment.
    pub(super) is_idle: bool,
    /// Since the barrier before.
    pub(super) late_rows: u64,
}

/// By source task. Whoever joins barriers unites them: each task's is the same on every way.
pub(super) type TaskTimes = BTreeMap<usize, TaskTime>;

/// The watermark of all tasks together, which never falls behind what it was.
pub(super) fn joint_watermark(before_ms: Option<i64>, tasks: &TaskTimes) -> Option<i64> {
    let mut active = tasks.values().filter(|task| !task.is_idle).peekable();
    before_ms.max(match active.peek() {
        Some(_) => least(active.map(|task| task.watermark_ms)),
        // Nothing more is on its way: what the furthest has seen is complete.
        None => tasks.values().filter_map(|task| task.watermark_ms).max(),
    })
}

/// The least of all, `None` if one is not known or there are none.
fn least(mut all: impl Iterator<Item = Option<i64>>) -> Option<i64> {
    let first = all.next()??;
    all.try_fold(first, |least, next| Some(least.min(next?)))
}

/// The event time of one source task.
#[derive(Debug)]
pub(super) struct EventTime {
    times: Transform,
    clock: TaskClock,
}

impl EventTime {
    /// Takes in the rows of a split, in their order. `is_end`: none come after them.
    ///
    /// # Errors
    /// What keeps the expressions from being computed; a row on which they fail has no event time.
    pub(super) async fn take(&mut self, split: &str, batch: &RecordBatch, is_end: bool) -> Result<()> {
        let times = match batch.num_rows() {
            0 => Vec::new(),
            _ => self.times_of(batch).await?,
        };
        self.clock.take(split, times, Instant::now());
        if is_end {
            self.clock.end(split, Instant::now());
        }
        Ok(())
    }

    /// What a barrier says.
    pub(super) fn at_barrier(&mut self) -> TaskTime {
        self.clock.at_barrier(Instant::now())
    }

    /// For each row its event time and its watermark.
    async fn times_of(&mut self, batch: &RecordBatch) -> Result<Vec<(Option<i64>, Option<i64>)>> {
        match self.times.apply(batch.clone()).await {
            Ok(results) => return milliseconds(&results),
            Err(error) if is_of_a_row(&error) => {}
            Err(error) => return Err(error),
        }
        // What becomes of the rows that fail is decided where they are computed for the table.
        let mut times = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            match self.times.apply(batch.slice(row, 1)).await {
                Ok(results) => times.extend(milliseconds(&results)?),
                Err(error) if is_of_a_row(&error) => times.push((None, None)),
                Err(error) => return Err(error),
            }
        }
        Ok(times)
    }
}

fn milliseconds(results: &[RecordBatch]) -> Result<Vec<(Option<i64>, Option<i64>)>> {
    let wanted = DataType::Timestamp(TimeUnit::Millisecond, None);
    let mut times = Vec::new();
    for result in results {
        let column = |index: usize| {
            let zoneless = match result.column(index).data_type() {
                DataType::Timestamp(unit, Some(_)) => {
                    cast(result.column(index), &DataType::Timestamp(*unit, Some(Arc::from("UTC"))))?
                }
                _ => Arc::clone(result.column(index)),
            };
            cast(&zoneless, &wanted)
        };
        let columns = column(0).and_then(|first| Ok((first, column(1)?)));
        let (event, watermark) = columns.map_err(|error| crate::Error::DataFusion(error.into()))?;
        let (event, watermark) =
            (event.as_primitive::<TimestampMillisecondType>(), watermark.as_primitive::<TimestampMillisecondType>());
        let at = |array: &arrow::array::TimestampMillisecondArray, row| array.is_valid(row).then(|| array.value(row));
        times.extend((0..result.num_rows()).map(|row| (at(event, row), at(watermark, row))));
    }
    Ok(times)
}

/// The watermark of a source task, and the rows behind it.
#[derive(Debug, Default)]
struct TaskClock {
    idle_timeout: Option<Duration>,
    /// Those that rows may come from.
    splits: BTreeMap<String, SplitClock>,
    watermark_ms: Option<i64>,
    late_rows: u64,
}

#[derive(Clone, Copy, Debug)]
struct SplitClock {
    watermark_ms: Option<i64>,
    /// When it last had rows, or was first heard of.
    heard: Instant,
}

impl TaskClock {
    /// `times`: for each row its event time and its watermark.
    fn take(&mut self, split: &str, times: Vec<(Option<i64>, Option<i64>)>, now: Instant) {
        let mut own = self.splits.get(split).copied().unwrap_or(SplitClock { watermark_ms: None, heard: now });
        if !times.is_empty() {
            own.heard = now;
        }
        let others: Vec<_> = self.active(now).filter(|(name, _)| *name != split).map(|(_, ms)| ms).collect();
        let least_other = least(others.iter().copied());
        for (event_ms, watermark_ms) in times {
            if event_ms.is_some_and(|event_ms| self.watermark_ms.is_some_and(|watermark_ms| event_ms <= watermark_ms)) {
                self.late_rows += 1;
            }
            own.watermark_ms = own.watermark_ms.max(watermark_ms);
            let all = match (others.is_empty(), least_other, own.watermark_ms) {
                (true, _, own) => own,
                (false, Some(other), Some(own)) => Some(other.min(own)),
                (false, ..) => None,
            };
            self.watermark_ms = self.watermark_ms.max(all);
        }
        self.splits.insert(split.to_owned(), own);
    }

    fn end(&mut self, split: &str, now: Instant) {
        self.splits.remove(split);
        self.advance(now);
    }

    fn at_barrier(&mut self, now: Instant) -> TaskTime {
        self.advance(now);
        let is_idle = self.active(now).next().is_none();
        TaskTime { watermark_ms: self.watermark_ms, is_idle, late_rows: std::mem::take(&mut self.late_rows) }
    }

    fn advance(&mut self, now: Instant) {
        self.watermark_ms = self.watermark_ms.max(least(self.active(now).map(|(_, ms)| ms)));
    }

    fn active(&self, now: Instant) -> impl Iterator<Item = (&str, Option<i64>)> {
        let is_active = move |clock: &SplitClock| match self.idle_timeout {
            Some(timeout) => now.duration_since(clock.heard) < timeout,
            None => true,
        };
        let active = self.splits.iter().filter(move |(_, clock)| is_active(clock));
        active.map(|(name, clock)| (name.as_str(), clock.watermark_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows whose watermark is ten behind their event time.
    fn rows(times: &[i64]) -> Vec<(Option<i64>, Option<i64>)> {
        times.iter().map(|ms| (Some(*ms), Some(*ms - 10))).collect()
    }

    fn clock(idle_timeout: Option<Duration>) -> (TaskClock, Instant) {
        (TaskClock { idle_timeout, ..TaskClock::default() }, Instant::now())
    }

    #[test]
    fn a_row_is_late_at_or_behind_the_watermark_of_the_rows_before_it() {
        let (mut clock, now) = clock(None);
        clock.take("a", rows(&[100, 91, 90, 89, 120, 110, 111]), now);
        assert_eq!(clock.at_barrier(now), TaskTime { watermark_ms: Some(110), is_idle: false, late_rows: 3 });
        clock.take("a", vec![(None, None), (Some(50), None)], now);
        assert_eq!(clock.at_barrier(now).late_rows, 1);
        // However the rows are cut into batches.
        let (mut single, _) = self::clock(None);
        for time in [100, 91, 90, 89, 120, 110, 111] {
            single.take("a", rows(&[time]), now);
        }
        assert_eq!(single.at_barrier(now).late_rows, 3);
    }

    #[test]
    fn the_watermark_is_the_least_of_the_splits_that_rows_come_from() {
        let (mut clock, begin) = clock(Some(Duration::from_secs(60)));
        clock.take("a", Vec::new(), begin);
        clock.take("b", Vec::new(), begin);
        clock.take("a", rows(&[1_000]), begin);
        assert_eq!(clock.at_barrier(begin).watermark_ms, None, "nobody knows of b");
        clock.take("b", rows(&[500]), begin);
        assert_eq!(clock.at_barrier(begin).watermark_ms, Some(490));
        let later = begin + Duration::from_secs(59);
        clock.take("a", rows(&[2_000]), later);
        assert_eq!(clock.at_barrier(later).watermark_ms, Some(490));
        // An older row behind a newer one takes its split not back.
        clock.take("a", rows(&[700]), later);
        let idle = begin + Duration::from_secs(61);
        assert_eq!(clock.at_barrier(idle).watermark_ms, Some(1_990), "b is left out");
        clock.take("b", rows(&[600]), idle);
        let back = clock.at_barrier(idle);
        assert_eq!((back.watermark_ms, back.late_rows), (Some(1_990), 1), "it never goes back");
        clock.take("b", rows(&[1_000, 2_100]), idle);
        let caught_up = clock.at_barrier(idle);
        assert_eq!((caught_up.watermark_ms, caught_up.late_rows), (Some(1_990), 1));
        clock.end("a", idle);
        assert_eq!(clock.at_barrier(idle).watermark_ms, Some(2_090));
        clock.end("b", idle);
        assert!(clock.at_barrier(idle).is_idle);
    }

    #[test]
    fn tasks_join_to_the_least_of_those_that_are_not_idle() {
        let task = |watermark_ms, is_idle| TaskTime { watermark_ms, is_idle, late_rows: 0 };
        let tasks = TaskTimes::from([(0, task(Some(7), false)), (1, task(Some(5), false)), (2, task(None, true))]);
        assert_eq!(joint_watermark(None, &tasks), Some(5));
        assert_eq!(joint_watermark(Some(6), &tasks), Some(6));
        let tasks = TaskTimes::from([(0, task(Some(7), false)), (1, task(None, false))]);
        assert_eq!(joint_watermark(Some(3), &tasks), Some(3));
        let all_idle = TaskTimes::from([(0, task(Some(9), true)), (1, task(Some(4), true))]);
        assert_eq!(joint_watermark(Some(3), &all_idle), Some(9), "no row is on its way");
    }
}
