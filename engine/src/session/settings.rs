//! `SET 'key' = 'value'`.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{RecordBatch, StringArray};
use datafusion::common::config::ConfigOptions;

use super::text::{placed, script_around};
use crate::Result;
use crate::options::{Checked, Entry, Kind, OptionError, Options, Problem, Schema, Spec};
use crate::sql::{Setting, SqlError, Statement, parse_script};

/// Keys with this prefix are DataFusion's own; they hold for batch queries.
const DATAFUSION: &str = "datafusion.";

const MODE: &str = "execution.runtime-mode";
const INTERVAL: &str = "execution.checkpointing.interval";
const PARALLELISM: &str = "parallelism.default";
const NAME: &str = "pipeline.name";

/// More tasks of an operator than this are a slip.
pub const PARALLELISM_MAX: usize = 256;

/// Checkpoints that come faster than this would be all that a job does.
pub const CHECKPOINT_INTERVAL_MIN: Duration = Duration::from_millis(10);

fn schema() -> Schema {
    Schema::new("SET")
        .key(Spec::new(MODE, Kind::OneOf(&["streaming", "batch"])))
        .key(Spec::new(INTERVAL, Kind::Duration))
        .key(Spec::new(PARALLELISM, Kind::Integer { min: 1, max: PARALLELISM_MAX as i64 }))
        .key(Spec::new(NAME, Kind::Text))
        .prefix(DATAFUSION)
}

/// What a script says of the job that it is, by `SET` before its first statement that runs something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobSettings {
    /// `execution.runtime-mode` = `batch`, or `streaming`.
    pub is_batch: Option<bool>,
    /// `parallelism.default`.
    pub parallelism: Option<usize>,
    /// `execution.checkpointing.interval`.
    pub checkpoint_interval: Option<Duration>,
    /// `pipeline.name`: the job's id.
    pub job_id: Option<String>,
}

impl JobSettings {
    /// Reads the settings of a script. Nothing is carried out.
    ///
    /// # Errors
    /// What can't be read; a key that is not known or has a wrong value; a setting of the job that comes too late: all of
    /// them with their place.
    pub fn of_script(script: &str) -> Result<Self> {
        let mut settings = Settings::default();
        let mut is_running = false;
        for statement in parse_script(script)? {
            let kind = statement.node.kind();
            match &statement.node {
                Statement::Set(Some(setting)) if is_running && !setting.key.starts_with(DATAFUSION) => {
                    let message = format!("'{}' holds for the whole job, and the job has begun here", setting.key);
                    let error = SqlError::new(message, setting.key_span, script).in_statement(kind);
                    return Err(error.help("move it before the first INSERT").into());
                }
                Statement::Set(Some(setting)) => {
                    let set = settings.set(setting);
                    set.map_err(|error| placed(error, kind, &script_around(&statement)))?;
                }
                Statement::Reset(key) => {
                    let reset = settings.reset(key.as_deref());
                    reset.map_err(|error| placed(error, kind, &script_around(&statement)))?;
                }
                Statement::Insert(_) | Statement::StatementSet(_) => is_running = true,
                _ => {}
            }
        }
        let checked = settings.checked();
        Ok(Self {
            is_batch: checked.text_opt(MODE).map(|mode| mode == "batch"),
            parallelism: checked.integer_opt(PARALLELISM).and_then(|number| usize::try_from(number).ok()),
            checkpoint_interval: checked.duration_opt(INTERVAL),
            job_id: checked.text_opt(NAME).map(str::to_owned),
        })
    }
}

/// Whether a text may name a job: letters, digits, `-`, `_` and `.`, at least one.
pub fn is_job_id(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn wrong_value(setting: &Setting, expected: String) -> OptionError {
    OptionError {
        owner: "SET".to_owned(),
        key: setting.key.clone(),
        problem: Problem::Value { value: setting.value.clone(), expected, nearest: None },
        span: setting.value_span,
    }
}

/// The settings of a session: every one that is here is known and has a value of its kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    options: Options,
}

impl Settings {
    /// The values: `execution.runtime-mode`, `execution.checkpointing.interval`, `parallelism.default`,
    /// `pipeline.name`. None has a default here.
    pub fn checked(&self) -> Checked {
        schema().check(&self.options).expect("only checked settings are put")
    }

    pub(super) fn set(&mut self, setting: &Setting) -> Result<String> {
        let mut options = self.options.clone();
        options.put(Entry {
            key: setting.key.clone(),
            value: setting.value.clone(),
            key_span: setting.key_span,
            value_span: setting.value_span,
        });
        let checked = schema().check(&options)?;
        if checked.duration_opt(INTERVAL).is_some_and(|interval| interval < CHECKPOINT_INTERVAL_MIN) {
            let expected = format!("{} ms or more", CHECKPOINT_INTERVAL_MIN.as_millis());
            return Err(wrong_value(setting, expected).into());
        }
        if let Some(name) = checked.text_opt(NAME).filter(|name| !is_job_id(name)) {
            let expected = format!("of letters, digits, '-', '_' and '.' ({name:?} has others)");
            return Err(wrong_value(setting, expected).into());
        }
        let changed = Self { options };
        changed.apply_to(&mut ConfigOptions::new())?;
        *self = changed;
        Ok(format!("{} is {}", setting.key, setting.value))
    }

    pub(super) fn reset(&mut self, key: Option<&str>) -> Result<String> {
        let Some(key) = key else {
            self.options = Options::new();
            return Ok("all settings are as they were at the start".to_owned());
        };
        // Also says that there is no such key, and which is near.
        if self.options.get(key).is_none() && !key.starts_with(DATAFUSION) {
            let asked = Options::from_pairs([(key, "1")]);
            if let Err(error) = schema().check(&asked)
                && matches!(error.problem, Problem::Unknown { .. })
            {
                return Err(error.into());
            }
        }
        let kept = self.options.iter().filter(|entry| entry.key != key).cloned();
        self.options = kept.fold(Options::new(), |mut options, entry| {
            options.put(entry);
            options
        });
        Ok(format!("{key} is as it was at the start"))
    }

    pub(super) fn list(&self) -> RecordBatch {
        let column = |of: fn(&Entry) -> &str| Arc::new(StringArray::from_iter_values(self.options.iter().map(of)));
        let columns = [("key", column(|e| &e.key) as _), ("value", column(|e| &e.value) as _)];
        RecordBatch::try_from_iter(columns).expect("two columns of the same length")
    }

    /// Passes on what is DataFusion's.
    pub(super) fn apply_to(&self, config: &mut ConfigOptions) -> Result<()> {
        for entry in self.options.iter().filter(|entry| entry.key.starts_with(DATAFUSION)) {
            config.set(&entry.key, &entry.value).map_err(|error| OptionError {
                owner: "DataFusion".to_owned(),
                key: entry.key.clone(),
                problem: Problem::Value {
                    value: entry.value.clone(),
                    expected: format!("one that it takes ({})", error.strip_backtrace()),
                    nearest: None,
                },
                span: entry.key_span,
            })?;
        }
        Ok(())
    }
}
