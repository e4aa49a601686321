//! An SQL error as a person reads it: what, where, and what would be right.

use std::fmt;

use super::Span;

/// A statement that can't be accepted.
///
/// Displays as the message, the place, the line with a caret under the offending part, and the help:
///
/// ```text
/// expected a data type, found 'STIRNG'
///   --> line 2, column 8, in CREATE TABLE
///    |
///  2 |   name STIRNG,
///    |        ^^^^^^
///    = did you mean 'STRING'?
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    /// What is wrong, in one line.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
    /// The kind of the statement, such as `CREATE TABLE`; empty when it is not known.
    pub statement: &'static str,
    /// The script's file or other name, when the caller has told it by [`Self::in_script`].
    pub script: Option<String>,
    /// The place; lines and columns count from 1, columns in characters. Empty when there is none.
    pub span: Span,
    /// The text of the line at which `span` starts.
    pub line: String,
}

impl SqlError {
    /// An error at a place of a script. `script` is the whole text, in which `span` is a place.
    pub fn new(message: impl Into<String>, span: Span, script: &str) -> Self {
        let line = match span.start.line {
            0 => "",
            line => script.lines().nth(line as usize - 1).unwrap_or(""),
        };
        Self { message: message.into(), help: None, statement: "", script: None, span, line: line.to_owned() }
    }

    /// The same with a help.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same with the statement's kind.
    pub fn in_statement(mut self, kind: &'static str) -> Self {
        self.statement = kind;
        self
    }

    /// The same with the name of the script's file.
    pub fn in_script(mut self, name: impl Into<String>) -> Self {
        self.script = Some(name.into());
        self
    }

    /// How many carets are drawn: the span's width on its first line, at least one.
    fn width(&self) -> usize {
        let (start, end) = (self.span.start, self.span.end);
        let rest = (self.line.chars().count() as u64 + 1).saturating_sub(start.column);
        let wide = match end.line == start.line {
            true => end.column.saturating_sub(start.column).min(rest),
            false => rest,
        };
        wide.max(1) as usize
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let start = self.span.start;
        if start.line > 0 {
            write!(f, "\n  --> ")?;
            if let Some(script) = &self.script {
                write!(f, "{script}, ")?;
            }
            write!(f, "line {}, column {}", start.line, start.column)?;
            if !self.statement.is_empty() {
                write!(f, ", in {}", self.statement)?;
            }
            let number = start.line.to_string();
            let gutter = " ".repeat(number.len() + 2);
            // Tabs stay tabs, so that the caret stands under its character however wide a tab is shown.
            let before: String =
                self.line.chars().take(start.column as usize - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            write!(f, "\n{gutter}|\n {number} | {}", self.line)?;
            write!(f, "\n{gutter}| {before}{}", "^".repeat(self.width()))?;
            if let Some(help) = &self.help {
                write!(f, "\n{gutter}= {help}")?;
            }
            return Ok(());
        }
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SqlError {}
