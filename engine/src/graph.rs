//! A job's operators and how they are joined, for a person and for programs.

use std::fmt;

use serde::Serialize;

/// The operators of a job. Prints as text; see also [`JobGraph::to_dot`] and [`JobGraph::to_json`].
#[derive(Clone, Debug, Default, Serialize, PartialEq, Eq)]
pub struct JobGraph {
    /// In the order in which rows pass them.
    pub operators: Vec<Operator>,
    /// Who sends to whom.
    pub edges: Vec<Edge>,
}

/// One operator.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub struct Operator {
    /// Stable over restarts, unique in the job.
    pub uid: String,
    /// What it does, in two words.
    pub kind: &'static str,
    /// How many tasks do it.
    pub parallelism: usize,
    /// The rest, one fact a line.
    pub details: Vec<String>,
}

/// One connection.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Edge {
    /// The sending operator's uid.
    pub from: String,
    /// The receiving operator's uid.
    pub to: String,
    /// How what is sent is spread over the receiving tasks.
    pub strategy: Strategy,
}

/// How what is sent is spread.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// In turn to all tasks.
    Rebalance,
    /// All rows of one key to the same task.
    Hash,
    /// By ranges of the sort order or of the partitions, one for each task.
    Range,
    /// Each task to the one beside it, in the same thread of work.
    Chain,
    /// All to the one task.
    Gather,
    /// To whichever task is free.
    Share,
}

impl JobGraph {
    /// For Graphviz.
    pub fn to_dot(&self) -> String {
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let mut dot = String::from("digraph job {\n  rankdir=LR;\n  node [shape=box];\n");
        for operator in &self.operators {
            let label = format!("{} ×{}", operator.kind, operator.parallelism);
            dot += &format!("  \"{}\" [label=\"{}\"];\n", quoted(&operator.uid), quoted(&label));
        }
        for edge in &self.edges {
            let strategy = format!("{:?}", edge.strategy).to_lowercase();
            let (from, to) = (quoted(&edge.from), quoted(&edge.to));
            dot += &format!("  \"{from}\" -> \"{to}\" [label=\"{strategy}\"];\n");
        }
        dot + "}\n"
    }

    /// For programs.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a graph has a JSON form")
    }
}

impl fmt::Display for JobGraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for operator in &self.operators {
            writeln!(f, "{} ×{}  [{}]", operator.kind, operator.parallelism, operator.uid)?;
            for detail in operator.details.iter().flat_map(|detail| detail.lines()) {
                writeln!(f, "    {detail}")?;
            }
            for edge in self.edges.iter().filter(|edge| edge.from == operator.uid) {
                writeln!(f, "  └─{}─▶ {}", format!("{:?}", edge.strategy).to_lowercase(), edge.to)?;
            }
        }
        Ok(())
    }
}
