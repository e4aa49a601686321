//! `SET 'key' = 'value'`.

use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use datafusion::common::config::ConfigOptions;

use crate::Result;
use crate::options::{Checked, Entry, Kind, OptionError, Options, Problem, Schema, Spec};
use crate::sql::Setting;

/// Keys with this prefix are DataFusion's own; they hold for batch queries.
const DATAFUSION: &str = "datafusion.";

fn schema() -> Schema {
    Schema::new("SET")
        .key(Spec::new("execution.runtime-mode", Kind::OneOf(&["streaming", "batch"])))
        .key(Spec::new("execution.checkpointing.interval", Kind::Duration))
        .key(Spec::new("parallelism.default", Kind::COUNT))
        .key(Spec::new("pipeline.name", Kind::Text))
        .prefix(DATAFUSION)
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
        schema().check(&options)?;
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
