//! When to merge what.

use std::collections::HashMap;
use std::str::FromStr;

use crate::{Error, Result};

/// Which of a partition's small files are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Every `delta_commits` commits the newest files become one, which is merged on with older ones so rarely that each
    /// row is rewritten a logarithmic number of times; see [`crate::tier`].
    Tiered,
    /// All small files of a partition are packed into files of the target size.
    Pack,
}

/// The settings of the coordinator and of a rewrite.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Whether a job compacts as it commits (`auto-compact`).
    pub enabled: bool,
    /// A compaction is planned after so many commits that changed the table's files (`compact.delta.commits`).
    pub delta_commits: usize,
    /// A file that has lost this share of its rows to deletes is rewritten whatever its size (`compact.delete-ratio`): from
    /// 0, any lost row, to 1, all of them.
    pub delete_ratio: f64,
    /// For so long after another program changed rows of a file by a commit of its own the file is left alone
    /// (`compact.cooling-ms`): who changes rows of a file that is rewritten meanwhile mostly fails.
    pub cooling_ms: u64,
    /// A table with more equality delete files than this has them turned into positions by the service
    /// (`compact.equality-deletes-max`): each of them costs every reader of its partition a look at every row.
    pub equality_deletes_max: usize,
    /// Files that one commit may add to a partition: the job's writers.
    pub writers: usize,
    /// The size that files are to have (`write.target-file-size-bytes`).
    pub target_file_size_bytes: u64,
    /// The size that row groups are to have (`write.parquet.row-group-size-bytes`).
    pub row_group_size_bytes: u64,
    /// A group has at least so many files. Never less than 2.
    pub min_input_files: usize,
    /// A group has at most so many files.
    pub group_files_max: usize,
    /// A plan has at most so many bytes to read, but at least one group.
    pub plan_bytes_max: u64,
    /// How files are chosen.
    pub policy: Policy,
    /// What one rewrite may hold in memory: more than a row group of the wanted size, which is there whole until it is full.
    pub memory_max_bytes: usize,
    /// Rewrites that run at the same time.
    pub parallelism: usize,
}

/// The key that switches compaction in a job on and off.
pub const AUTO_COMPACT: &str = "auto-compact";
/// The key of the number of commits between two compactions.
pub const DELTA_COMMITS: &str = "compact.delta.commits";
/// The key of the share of deleted rows from which a file is rewritten.
pub const DELETE_RATIO: &str = "compact.delete-ratio";
/// The key of the time for which files rest whose rows another program has changed.
pub const COOLING_MS: &str = "compact.cooling-ms";
/// The key of the number of equality delete files from which they are turned into positions.
pub const EQUALITY_DELETES_MAX: &str = "compact.equality-deletes-max";

const TARGET_FILE_SIZE: &str = "write.target-file-size-bytes";
const ROW_GROUP_SIZE: &str = "write.parquet.row-group-size-bytes";

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            delta_commits: 10,
            delete_ratio: 0.3,
            cooling_ms: 30_000,
            equality_deletes_max: 100,
            writers: 1,
            target_file_size_bytes: 512 << 20,
            row_group_size_bytes: 128 << 20,
            min_input_files: 2,
            group_files_max: 1_000,
            plan_bytes_max: 64 << 30,
            policy: Policy::Tiered,
            memory_max_bytes: 256 << 20,
            parallelism: 2,
        }
    }
}

impl Config {
    /// Reads a table's properties, over which a job's own options (`auto-compact`, `compact.delta.commits`,
    /// `compact.delete-ratio`, `compact.cooling-ms`, `compact.equality-deletes-max`) go.
    /// `writers` is the job's parallelism.
    ///
    /// # Errors
    /// [`Error::BadOption`] names the option whose value means nothing.
    pub fn from_options(
        properties: &HashMap<String, String>,
        options: &HashMap<String, String>,
        writers: usize,
    ) -> Result<Self> {
        let default = Self::default();
        let read = Reader { properties, options };
        Ok(Self {
            enabled: read.parse(AUTO_COMPACT, default.enabled, "true or false", |_| true)?,
            delta_commits: read.parse(DELTA_COMMITS, default.delta_commits, "a positive number", |n| *n > 0)?,
            delete_ratio: read.parse(DELETE_RATIO, default.delete_ratio, "a number from 0 to 1", |ratio| {
                (0.0..=1.0).contains(ratio)
            })?,
            cooling_ms: read.parse(COOLING_MS, default.cooling_ms, "a number of milliseconds", |_| true)?,
            equality_deletes_max: read.parse(
                EQUALITY_DELETES_MAX,
                default.equality_deletes_max,
                "a number of files",
                |_| true,
            )?,
            writers: writers.max(1),
            parallelism: writers.max(1),
            target_file_size_bytes: read.size(TARGET_FILE_SIZE, default.target_file_size_bytes)?,
            row_group_size_bytes: read.size(ROW_GROUP_SIZE, default.row_group_size_bytes)?,
            ..default
        })
    }

    /// The same settings for packing everything that is small, whoever wrote it and when. Nothing rests: it is a person who
    /// wants it now.
    pub fn packing(self) -> Self {
        Self { policy: Policy::Pack, cooling_ms: 0, ..self }
    }

    /// A file below this size is a candidate: three quarters of the target.
    pub fn small_file_size_bytes(&self) -> u64 {
        self.target_file_size_bytes / 4 * 3
    }

    /// How many small files a partition may have right after a compaction: N × writers. Before one it has N × writers
    /// more at most.
    pub fn small_files_max(&self) -> usize {
        self.delta_commits.saturating_mul(self.writers).max(1)
    }

    /// Commits that may land while a compaction is under way: a fifth of N. A job's next commit waits for it.
    ///
    /// The files of these commits are there when the compaction lands, so it leaves so many places free for them
    /// ([`Config::slots`]). The fewer they are, the longer commits wait; the more, the fewer places are left, and the more
    /// often rows are rewritten.
    pub fn commits_ahead_max(&self) -> usize {
        self.delta_commits / 5
    }

    /// How many small files a plan leaves in a partition: those of [`Config::small_files_max`] without those that come
    /// while it is carried out. With one place, N = 1 and one writer, every commit rewrites the partition's small file:
    /// that is what compaction after each commit means.
    pub fn slots(&self) -> usize {
        let ahead = self.commits_ahead_max().saturating_mul(self.writers);
        self.small_files_max().saturating_sub(ahead).max(1)
    }

    /// A row group below this size is encoded anew, so that it can grow together with its neighbours: at a sixteenth of the
    /// wanted size, 8 MiB, a scan gains nothing from larger ones any more.
    pub fn small_row_group_bytes(&self) -> u64 {
        self.row_group_size_bytes / 16
    }
}

struct Reader<'a> {
    properties: &'a HashMap<String, String>,
    options: &'a HashMap<String, String>,
}

impl Reader<'_> {
    fn parse<T: FromStr>(&self, name: &str, default: T, wanted: &'static str, valid: impl Fn(&T) -> bool) -> Result<T> {
        let Some(value) = self.options.get(name).or_else(|| self.properties.get(name)) else { return Ok(default) };
        value.trim().parse().ok().filter(valid).ok_or_else(|| Error::BadOption {
            name: name.to_owned(),
            value: value.clone(),
            wanted,
        })
    }

    fn size(&self, name: &str, default: u64) -> Result<u64> {
        self.parse(name, default, "a positive number of bytes", |n| *n > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn a_job_s_options_go_over_the_table_s() {
        let properties = map(&[(DELTA_COMMITS, "7"), (AUTO_COMPACT, "false"), (TARGET_FILE_SIZE, "1000")]);
        let config = Config::from_options(&properties, &map(&[(AUTO_COMPACT, "true")]), 2).unwrap();
        assert!(config.enabled);
        assert_eq!((config.delta_commits, config.small_files_max(), config.small_file_size_bytes()), (7, 14, 750));
        assert_eq!((config.commits_ahead_max(), config.slots()), (1, 12));
    }

    #[test]
    fn a_value_that_means_nothing_is_named() {
        let bad = [
            (DELTA_COMMITS, "0"),
            (AUTO_COMPACT, "yes"),
            (TARGET_FILE_SIZE, "-1"),
            (DELETE_RATIO, "30"),
            (DELETE_RATIO, "NaN"),
            (COOLING_MS, "-1"),
            (COOLING_MS, "30 s"),
        ];
        for (name, value) in bad {
            let error = Config::from_options(&HashMap::new(), &map(&[(name, value)]), 1).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
