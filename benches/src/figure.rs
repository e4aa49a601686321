//! One measured figure with what it has to reach, and the table of all.

use std::path::PathBuf;

use serde::Serialize;

use crate::Result;
use crate::measure::Machine;

/// Whether more or less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// The ratio is at least the floor.
    More,
    /// The ratio is at most the floor.
    Less,
}

/// A figure.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// Of `measured` and `beside`.
    pub unit: &'static str,
    /// What came out.
    pub measured: f64,
    /// What it is measured against, and what came out for that in the same run.
    pub beside: Option<(String, f64)>,
    /// Which way is good.
    pub better: Better,
    /// What the ratio to `beside` must reach; without one, the figure is for information.
    pub floor: Option<f64>,
    /// What it should reach.
    pub aim: Option<f64>,
    /// The most memory the process had, if it is stated.
    pub peak_rss_mib: Option<u64>,
}

impl Figure {
    /// `measured / beside`.
    pub fn ratio(&self) -> Option<f64> {
        self.beside.as_ref().map(|(_, beside)| self.measured / beside)
    }

    /// Whether its floor holds; one without a floor does.
    pub fn holds(&self) -> bool {
        match (self.ratio(), self.floor, self.better) {
            (Some(ratio), Some(floor), Better::More) => ratio >= floor,
            (Some(ratio), Some(floor), Better::Less) => ratio <= floor,
            _ => true,
        }
    }
}

/// All figures of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    suite: &'static str,
    machine: Machine,
    figures: Vec<Figure>,
}

impl Report {
    /// A report of figures.
    pub fn new(suite: &'static str, figures: Vec<Figure>) -> Self {
        Self { suite, machine: Machine::look(), figures }
    }

    /// Whether all floors hold.
    pub fn holds(&self) -> bool {
        self.figures.iter().all(Figure::holds)
    }

    /// Prints the table.
    #[expect(clippy::print_stdout, reason = "it is what the command is for")]
    pub fn print(&self) {
        let wide = self.figures.iter().map(|figure| figure.name.len()).max().unwrap_or(0).max(6);
        println!(
            "{:wide$}  {:>12} {:14} {:>8} {:>8} {:>8}  beside",
            "figure", "measured", "unit", "ratio", "floor", "aim"
        );
        let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
        for figure in &self.figures {
            let beside =
                figure.beside.as_ref().map_or(String::new(), |(name, value)| format!("{name}: {}", short(*value)));
            let missed = if figure.holds() { "" } else { "  MISSED" };
            let rss = figure.peak_rss_mib.map_or(String::new(), |mib| format!("  peak {mib} MiB"));
            println!(
                "{:wide$}  {:>12} {:14} {:>8} {:>8} {:>8}  {beside}{rss}{missed}",
                figure.name,
                short(figure.measured),
                figure.unit,
                number(figure.ratio()),
                number(figure.floor),
                number(figure.aim),
            );
        }
    }

    /// Writes `benches/results/<suite>.json` below the working folder, which `./bench` makes the repository's.
    pub fn store(&self) -> Result<()> {
        let folder = PathBuf::from("benches/results");
        std::fs::create_dir_all(&folder)?;
        let mut json = serde_json::to_string_pretty(self)?;
        json.push('\n');
        Ok(std::fs::write(folder.join(format!("{}.json", self.suite)), json)?)
    }
}

fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.3} M", value / 1e6),
        value if value >= 1e4 => format!("{:.1} k", value / 1e3),
        value => format!("{value:.3}"),
    }
}
