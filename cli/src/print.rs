//! What goes to standard output.

use std::io::{IsTerminal, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::util::pretty::pretty_format_batches_with_schema;

use crate::args::Output;
use crate::error::{Error, Result};

/// Prints a line. A reader that has gone away, as in `frazil … | head`, is no error.
pub(crate) fn say(line: &str) {
    writeln!(std::io::stdout().lock(), "{line}").ok();
}

/// Prints a remark: a line for a person, or an object with a `note`.
pub(crate) fn note(output: Output, text: &str) {
    match output {
        Output::Text => say(text),
        Output::Json => say(&serde_json::json!({ "note": text.trim() }).to_string()),
    }
}

/// Prints rows as a table for a person.
pub(crate) fn say_table(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<()> {
    let table = pretty_format_batches_with_schema(schema.clone(), batches);
    say(&table.map_err(|e| Error::failed("printing rows", e))?.to_string());
    Ok(())
}

/// Prints rows as one JSON object a line.
pub(crate) fn say_ndjson(batch: &RecordBatch) -> Result<()> {
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    let written = writer.write(batch).and_then(|()| writer.finish());
    written.map_err(|e| Error::failed("printing rows", e))?;
    std::io::stdout().lock().write_all(&writer.into_inner()).ok();
    Ok(())
}

/// A line at the bottom of a terminal that is written over and over. Silent where there is no terminal.
#[derive(Debug)]
pub(crate) struct StatusLine {
    is_shown: bool,
    is_terminal: bool,
}

impl StatusLine {
    pub(crate) fn new() -> Self {
        Self { is_shown: false, is_terminal: std::io::stderr().is_terminal() }
    }

    /// Whether somebody sees it.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Shows `text` in place of what was there.
    pub(crate) fn show(&mut self, text: &str) {
        if self.is_terminal {
            write!(std::io::stderr().lock(), "\r\x1b[K{text}").ok();
            self.is_shown = true;
        }
    }

    /// Makes room for a line that stays.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            write!(std::io::stderr().lock(), "\r\x1b[K").ok();
        }
    }
}
