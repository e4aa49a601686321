//! NDJSON and CSV files: records out of blocks of bytes.

use bytes::Bytes;

use super::position::{CHECKED_BYTES, TextPosition, stable_hash};
use super::{Position, Shared, SourceFile};
use crate::connectors::columns::FieldError;
use crate::connectors::csv;
use crate::connectors::decode::{Decoder, Format};
use crate::connectors::error::SourceError;
use crate::connectors::format::{CsvEncoding, CsvHeader, Encoding};
use crate::connectors::infer::Inference;
use crate::connectors::task::{End, Output};
use crate::dead_letter::Origin;
use crate::source::SourceBatch;
use crate::suggest::nearest_one;

/// Bytes of one request.
const BLOCK_BYTES: u64 = 1 << 20;

/// Bytes of records in a batch, however few rows they are.
const BATCH_BYTES: usize = 4 << 20;

/// Bytes of one record: what a file without line ends may take of the memory.
const RECORD_BYTES_MAX: usize = 64 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads a file from a position to its end.
pub(super) async fn read(
    shared: &Shared,
    name: &str,
    file: &SourceFile,
    position: Option<Position>,
    output: &mut Output,
) -> Result<(), End> {
    let mut from = TextPosition::default();
    match position {
        None => {}
        Some(Position::Text(text)) => from = text,
        Some(other) => {
            return Err(shared.lost(name, other, "it is a position in a Parquet file").into());
        }
    }
    let mut window = Window::open(shared, name, file, from).await?;
    let columns = shared.schema.fields().len();
    let format = match &shared.encoding {
        Encoding::Csv(csv) if csv.header != CsvHeader::None => header_format(shared, csv, &mut window, from).await?,
        other => other.format(columns),
    };
    let decoder = Decoder::new(&shared.schema, format).expect("FilesystemSource::new has made one");
    let mut decoder = decoder.inferring(shared.inference.as_ref()).putting_aside(&shared.malformed);
    let finish = |decoder: &mut Decoder, position: Position| {
        let rows = decoder.finish();
        decoder.source_batch(rows, name.to_owned(), position.to_string())
    };
    let mut noted = from.offset;
    loop {
        while let Some(length) = window.record_length() {
            window.take(length, &mut decoder)?;
            if decoder.rows() >= shared.batch_rows || decoder.bytes() >= BATCH_BYTES {
                let position = window.position();
                output.send(finish(&mut decoder, Position::Text(position))).await?;
                shared.note_read(position.offset - noted);
                noted = position.offset;
            }
        }
        if !window.fill().await? {
            break;
        }
    }
    let done = Position::Done { size_bytes: file.size_bytes };
    output.send(SourceBatch { is_end: true, ..finish(&mut decoder, done) }).await?;
    shared.note_read(file.size_bytes.saturating_sub(noted));
    Ok(())
}

/// Looks at the records of a file's first block for columns. What is wrong with a record is said when it is read.
pub(super) async fn sample(
    shared: &Shared,
    name: &str,
    file: &SourceFile,
    inference: &Inference,
) -> Result<(), Box<SourceError>> {
    let mut window = Window::open(shared, name, file, TextPosition::default()).await?;
    while let Some(length) = window.record_length() {
        let record = window.record(length).trim_ascii();
        if !record.is_empty()
            && let Err(error) = inference.grow(record)
        {
            tracing::debug!(table = %shared.table, place = window.place(), reason = error.reason, "not sampled");
        }
        window.advance(length);
    }
    Ok(())
}

/// Reads the header, and moves the window behind it when it is at the file's beginning.
async fn header_format<'a>(
    shared: &'a Shared,
    csv: &CsvEncoding,
    window: &mut Window<'a>,
    from: TextPosition,
) -> Result<Format, End> {
    let mut elsewhere;
    let top = match from.offset {
        0 => window,
        _ => {
            let start = TextPosition::default();
            elsewhere = Window::open(shared, window.name, window.file, start).await?;
            &mut elsewhere
        }
    };
    let length = loop {
        match top.record_length() {
            Some(length) => break length,
            None if top.fill().await? => {}
            None => break 0,
        }
    };
    let columns = shared.schema.fields().len();
    let mut layout = csv.layout((0..columns).map(Some).collect());
    // An empty file has no header and no rows.
    if csv.header == CsvHeader::Names && length > 0 {
        let names = csv::header(top.record(length), csv.delimiter);
        let names = names.map_err(|error| top.malformed(error))?;
        layout.columns = match_columns(shared, &names).map_err(|error| top.malformed(error))?;
    }
    top.advance(length);
    Ok(Format::Csv(layout))
}

/// For each name in the header the table's column; every column has to be found once.
fn match_columns(shared: &Shared, names: &[String]) -> Result<Vec<Option<usize>>, FieldError> {
    let mut columns = vec![None; names.len()];
    for (index, field) in shared.schema.fields().iter().enumerate() {
        let mut found = (0..names.len()).filter(|at| names[*at] == *field.name());
        let Some(at) = found.next() else {
            let help = match nearest_one(field.name(), names.iter().map(String::as_str)) {
                Some(near) => format!("is '{near}' meant?"),
                None => "set 'csv.header'='none' if the file begins with a row".to_owned(),
            };
            let reason = format!("the header has no such name; {help}");
            return Err(FieldError::new(reason).within(field.name()));
        };
        if found.next().is_some() {
            return Err(FieldError::new("the header has the name twice").within(field.name()));
        }
        columns[at] = Some(index);
    }
    Ok(columns)
}

/// The part of a file that is in memory.
struct Window<'a> {
    shared: &'a Shared,
    name: &'a str,
    file: &'a SourceFile,
    /// What was read and is still needed: at least the last [`CHECKED_BYTES`] before `at`.
    buffer: Vec<u8>,
    /// Offset of the buffer's first byte.
    base: u64,
    /// Where the next record begins in the buffer.
    at: usize,
    /// Line ends before it.
    line: u64,
    scanner: csv::Scanner,
    /// The delimiter of CSV; none for JSON, whose records are lines.
    delimiter: Option<u8>,
}

impl<'a> Window<'a> {
    /// # Errors
    /// When the file is not the one that was read up to the position.
    async fn open(
        shared: &'a Shared,
        name: &'a str,
        file: &'a SourceFile,
        from: TextPosition,
    ) -> Result<Self, Box<SourceError>> {
        let before = from.offset.min(CHECKED_BYTES as u64);
        let mut window = Self {
            shared,
            name,
            file,
            buffer: Vec::new(),
            base: from.offset - before,
            at: before as usize,
            line: from.line,
            scanner: csv::Scanner::default(),
            delimiter: match &shared.encoding {
                Encoding::Csv(csv) => Some(csv.delimiter),
                Encoding::Json | Encoding::Debezium(_) | Encoding::Parquet => None,
            },
        };
        if from.offset == 0 {
            window.fill().await?;
            if window.buffer.starts_with(BYTE_ORDER_MARK) {
                window.at = BYTE_ORDER_MARK.len();
            }
            return Ok(window);
        }
        let position = Position::Text(from);
        if file.size_bytes < from.offset {
            let reason = format!("the file has only {} bytes", file.size_bytes);
            return Err(shared.lost(name, position, reason));
        }
        window.buffer = window.read(window.base, from.offset).await?.to_vec();
        if stable_hash(&window.buffer) != from.check {
            let reason = "the file has other rows before it than those that were read";
            return Err(shared.lost(name, position, reason));
        }
        Ok(window)
    }

    async fn read(&self, from: u64, to: u64) -> Result<Bytes, Box<SourceError>> {
        let read = self.shared.env.store.read_range(&self.file.location, from..to).await;
        read.map_err(|error| self.shared.read_error(self.name, error))
    }

    /// Reads the next block; false at the end of the file.
    async fn fill(&mut self) -> Result<bool, Box<SourceError>> {
        let from = self.base + self.buffer.len() as u64;
        let to = self.file.size_bytes.min(from + BLOCK_BYTES);
        if from >= to {
            return Ok(false);
        }
        if self.buffer.len() - self.at > RECORD_BYTES_MAX {
            let reason = format!("it is longer than {RECORD_BYTES_MAX} bytes; are there line ends in the file?");
            return Err(self.malformed(FieldError::new(reason)));
        }
        let unneeded = self.at.saturating_sub(CHECKED_BYTES);
        self.buffer.drain(..unneeded);
        self.base += unneeded as u64;
        self.at -= unneeded;
        let block = self.read(from, to).await?;
        self.buffer.extend_from_slice(&block);
        Ok(true)
    }

    /// The length of the next record with its line end; none when more has to be read.
    fn record_length(&mut self) -> Option<usize> {
        let rest = &self.buffer[self.at..];
        let found = match self.delimiter {
            Some(delimiter) => self.scanner.record_length(rest, delimiter),
            None => rest.iter().position(|byte| *byte == b'\n').map(|at| at + 1),
        };
        let at_end = self.base + self.buffer.len() as u64 >= self.file.size_bytes;
        found.or_else(|| (at_end && !rest.is_empty()).then_some(rest.len()))
    }

    /// The next record without its line end.
    fn record(&self, length: usize) -> &[u8] {
        let record = &self.buffer[self.at..self.at + length];
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        record.strip_suffix(b"\r").unwrap_or(record)
    }

    /// Decodes the next record and goes on behind it; a blank line is none.
    fn take(&mut self, length: usize, decoder: &mut Decoder) -> Result<(), Box<SourceError>> {
        let record = self.record(length);
        if !record.trim_ascii().is_empty() {
            let offset = i64::try_from(self.base + self.at as u64).unwrap_or(i64::MAX);
            let origin = Origin { offset, line: i64::try_from(self.line + 1).ok() };
            decoder.take(record, origin, &self.shared.malformed, || self.place())?;
        }
        self.advance(length);
        Ok(())
    }

    fn advance(&mut self, length: usize) {
        let passed = &self.buffer[self.at..self.at + length];
        self.line += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.at += length;
    }

    fn position(&self) -> TextPosition {
        let before = &self.buffer[self.at.saturating_sub(CHECKED_BYTES)..self.at];
        TextPosition { offset: self.base + self.at as u64, line: self.line, check: stable_hash(before) }
    }

    fn place(&self) -> String {
        format!("{} line {}", self.name, self.line + 1)
    }

    /// An error that can't be skipped, since nothing after it can be read.
    fn malformed(&self, error: FieldError) -> Box<SourceError> {
        Box::new(SourceError::MalformedRow {
            table: self.shared.table.clone(),
            place: self.place(),
            field: error.field(),
            reason: error.reason,
        })
    }
}
