//! How fast a job goes and how far it is behind.

use std::fmt;
use std::time::{Duration, Instant};

use frazil_engine::{PipelineProgress, Progress};
use serde_json::json;

/// Rows a second are those of the last looks that lie within this time.
const WINDOW: Duration = Duration::from_secs(2);

/// Measures rates between one look at a job and the next.
#[derive(Debug)]
pub(crate) struct Meter {
    /// Rows read by each pipeline, oldest first.
    looks: Vec<(Instant, Vec<u64>)>,
}

/// One pipeline at one moment.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) pipeline: PipelineProgress,
    pub(crate) rows_per_second: u64,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self { looks: vec![(Instant::now(), Vec::new())] }
    }

    /// Looks at all pipelines of a job.
    pub(crate) fn read(&mut self, progress: &Progress) -> Vec<Figures> {
        let (now, pipelines) = (Instant::now(), progress.pipelines());
        // The oldest look that is kept is one from before the window, or the first.
        let outside = self.looks.iter().rposition(|(at, _)| now.duration_since(*at) >= WINDOW).unwrap_or(0);
        self.looks.drain(..outside);
        let (since, before) = self.looks[0].clone();
        self.looks.push((now, pipelines.iter().map(|pipeline| pipeline.rows_in).collect()));
        let seconds = now.duration_since(since).as_secs_f64().max(0.001);
        let figures = pipelines.into_iter().enumerate().map(|(index, pipeline)| {
            let rows = pipeline.rows_in - before.get(index).copied().unwrap_or(0);
            Figures { pipeline, rows_per_second: (rows as f64 / seconds).round() as u64 }
        });
        figures.collect()
    }
}

impl Figures {
    /// One JSON object, an event like the others.
    pub(crate) fn to_json(&self) -> String {
        let PipelineProgress { table, rows_in, rows_committed, rows_skipped, late_rows, lag, .. } = &self.pipeline;
        json!({
            "event": "progress", "table": table, "rows-read": rows_in, "rows-committed": rows_committed,
            "rows-skipped": rows_skipped, "late-rows": late_rows, "rows-per-second": self.rows_per_second, "lag": lag,
        })
        .to_string()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PipelineProgress { table, rows_in, rows_committed, rows_skipped, late_rows, lag, .. } = &self.pipeline;
        write!(f, "{table}: {rows_in} rows read, {} rows/s, {rows_committed} in the table", self.rows_per_second)?;
        if let Some(lag) = lag {
            write!(f, ", {lag}")?;
        }
        if *late_rows > 0 {
            write!(f, ", {late_rows} late rows")?;
        }
        match rows_skipped {
            0 => Ok(()),
            rows => write!(f, ", {rows} malformed rows passed over"),
        }
    }
}
