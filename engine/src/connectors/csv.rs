//! CSV records (RFC 4180): where one ends, what its fields are.
//!
//! A field that begins with `"` goes to the next single `"`, over delimiters and line ends; `""` inside of it stands for
//! one. An empty field is NULL, `""` is an empty string.

use std::borrow::Cow;

use super::columns::{ColumnBuilder, FieldError, Values};
use super::text;

/// How CSV files are written and what their fields are.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// Between fields.
    pub(super) delimiter: u8,
    /// A field without quotes that stands for NULL, besides the empty one.
    pub(super) null_literal: Option<String>,
    /// For each field of a record the table's column, if it has one.
    pub(super) columns: Vec<Option<usize>>,
}

/// Appends a record to the columns of `root`, which is a struct of plain columns.
///
/// # Errors
/// What is wrong with it; `root` is left with a part of the row and has to be truncated.
pub(super) fn append_record(root: &mut ColumnBuilder, record: &[u8], layout: &Layout) -> Result<(), FieldError> {
    let record = std::str::from_utf8(record)
        .map_err(|e| FieldError::new(format!("byte {} of the row is not UTF-8", e.valid_up_to() + 1)))?;
    let Values::Struct { children, .. } = &mut root.values else {
        unreachable!("the root of a row is a struct");
    };
    let mut count = 0;
    for field in fields(record, layout.delimiter) {
        let field = field?;
        if let Some(Some(column)) = layout.columns.get(count) {
            let child = &mut children[*column];
            append_field(child, &field, layout).map_err(|e| e.within(child.field.name()))?;
        }
        count += 1;
    }
    if count != layout.columns.len() {
        let wanted = layout.columns.len();
        return Err(FieldError::new(format!("it has {count} fields instead of {wanted}")));
    }
    root.close_nested()
}

fn append_field(column: &mut ColumnBuilder, field: &RawField<'_>, layout: &Layout) -> Result<(), FieldError> {
    let is_null = !field.quoted && (field.value.is_empty() || layout.null_literal.as_deref() == Some(&*field.value));
    match is_null {
        true => column.append_null(),
        false => column.append_text(&field.value),
    }
}

/// The names in a header.
///
/// # Errors
/// When it is not UTF-8, or its quotes are wrong.
pub(super) fn header(record: &[u8], delimiter: u8) -> Result<Vec<String>, FieldError> {
    let record = std::str::from_utf8(record).map_err(|_| FieldError::new("the header is not UTF-8"))?;
    let names = fields(record, delimiter).map(|field| Ok(field?.value.trim().to_owned()));
    names.collect()
}

/// Finds the ends of records in a growing text.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Scanner {
    in_quotes: bool,
    /// Some byte of the field was seen: a `"` is an ordinary character there.
    in_field: bool,
    /// Bytes of the record that were looked at.
    scanned: usize,
}

impl Scanner {
    /// The length of the record at the front of `text` with its line end; `None` when more text is needed. Is ready for
    /// the next record after one was found.
    pub(super) fn record_length(&mut self, text: &[u8], delimiter: u8) -> Option<usize> {
        for (index, byte) in text.iter().enumerate().skip(self.scanned) {
            match *byte {
                b'"' if self.in_quotes => self.in_quotes = false,
                // Behind a closing quote this opens again, which is how "" stands for one.
                b'"' if !self.in_field => self.in_quotes = true,
                _ if self.in_quotes => self.in_field = false,
                b'\n' => {
                    *self = Self::default();
                    return Some(index + 1);
                }
                byte => self.in_field = byte != delimiter,
            }
        }
        self.scanned = text.len();
        None
    }
}

struct RawField<'a> {
    value: Cow<'a, str>,
    quoted: bool,
}

/// The fields of a record without its line end; at least one.
fn fields(record: &str, delimiter: u8) -> impl Iterator<Item = Result<RawField<'_>, FieldError>> {
    let mut rest = Some(record);
    std::iter::from_fn(move || {
        let text = rest?;
        let taken = match text.strip_prefix('"') {
            Some(text) => quoted_field(text, delimiter),
            None => {
                let end = text.bytes().position(|byte| byte == delimiter);
                let (value, after) = text.split_at(end.unwrap_or(text.len()));
                let value = Cow::Borrowed(value);
                Ok((RawField { value, quoted: false }, after))
            }
        };
        match taken {
            Ok((field, after)) => {
                rest = (!after.is_empty()).then(|| &after[1..]);
                Some(Ok(field))
            }
            Err(error) => {
                rest = None;
                Some(Err(error))
            }
        }
    })
}

/// A field from behind its opening quote, and what follows from the delimiter on.
fn quoted_field(text: &str, delimiter: u8) -> Result<(RawField<'_>, &str), FieldError> {
    let mut from = 0;
    let (value, after) = loop {
        let Some(quote) = text[from..].find('"').map(|at| from + at) else {
            let shown = text::shown(text);
            return Err(FieldError::new(format!("the quote before {shown} is not closed")));
        };
        match text[quote + 1..].strip_prefix('"') {
            Some(_) => from = quote + 2,
            None => break (&text[..quote], &text[quote + 1..]),
        }
    };
    if !after.is_empty() && after.as_bytes()[0] != delimiter {
        let shown = text::shown(after);
        return Err(FieldError::new(format!("{shown} stands behind a closing quote")));
    }
    let value = match value.contains('"') {
        true => Cow::Owned(value.replace("\"\"", "\"")),
        false => Cow::Borrowed(value),
    };
    Ok((RawField { value, quoted: true }, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(record: &str) -> Result<Vec<String>, String> {
        let parts: Result<Vec<_>, _> = fields(record, b',').collect();
        let parts = parts.map_err(|e| e.reason)?;
        Ok(parts.into_iter().map(|f| format!("{}{}", if f.quoted { "q:" } else { "" }, f.value)).collect())
    }

    #[test]
    fn fields_with_and_without_quotes() {
        assert_eq!(split("a,b").unwrap(), ["a", "b"]);
        assert_eq!(split("").unwrap(), [""]);
        assert_eq!(split("a,").unwrap(), ["a", ""]);
        assert_eq!(split(r#""a,b","c ""d""",e"f,"""#).unwrap(), ["q:a,b", r#"q:c "d""#, r#"e"f"#, "q:"]);
        assert!(split(r#""a"b,c"#).unwrap_err().contains("behind a closing quote"));
        assert!(split(r#"a,"b"#).unwrap_err().contains("not closed"));
    }

    #[test]
    fn records_end_outside_of_quotes_wherever_the_text_is_cut() {
        let text = "a,b\n\"x\ny\",\"z\"\"\n\"\r\nit\"s,1\n\"\",2\n";
        let wanted = ["a,b\n", "\"x\ny\",\"z\"\"\n\"\r\n", "it\"s,1\n", "\"\",2\n"];
        for cut in 0..=text.len() {
            let (mut scanner, mut from, mut records) = (Scanner::default(), 0, Vec::new());
            for end in [cut, text.len()] {
                while let Some(length) = scanner.record_length(&text.as_bytes()[from..end], b',') {
                    records.push(&text[from..from + length]);
                    from += length;
                }
            }
            assert_eq!(records, wanted, "cut at {cut}");
        }
    }
}
