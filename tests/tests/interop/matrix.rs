//! Writer by reader, for one kind of table.

use std::fmt;
use std::fmt::Write as _;
use std::io::Write as _;

use frazil_tests::peers::{Answer, Checksum, ColumnSum, Error, Peer, Table};
use serde_json::Value;

use super::World;
use super::rows::Rows;

/// How one step between two engines went.
enum Cell {
    Worked,
    /// The number of the failure that is told below the matrix.
    Failed(usize),
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cell::Worked => f.pad("ok"),
            Cell::Failed(number) => f.pad(&format!("#{number}")),
        }
    }
}

/// One step of the matrix: a column group, with a cell per engine.
struct Group {
    title: &'static str,
    cells: Vec<(&'static str, Cell)>,
}

struct Matrix {
    title: &'static str,
    rows: Vec<(&'static str, Vec<Group>)>,
    failures: Vec<String>,
}

/// Runs every writer against every reader and prints the outcome.
///
/// # Panics
/// If any step failed.
pub fn run_matrix(world: &World, title: &'static str, rows: &Rows) {
    for skip in &world.skips {
        skip.report();
    }
    let mut matrix = Matrix { title, rows: Vec::new(), failures: Vec::new() };
    for writer in &world.peers {
        let groups = matrix.run_writer(writer, world, rows);
        matrix.rows.push((writer.engine().name(), groups));
    }
    // Not println!, which libtest keeps to itself when a test passes.
    std::io::stderr().write_all(matrix.to_string().as_bytes()).expect("standard error is open");
    assert!(matrix.failures.is_empty(), "{} cells failed:\n{matrix}", matrix.failures.len());
}

/// The table that a writer makes of some rows, in a namespace of the test's own.
pub fn table_of(test: &str, writer: &Peer, rows: &Rows) -> Table {
    Table {
        namespace: format!("interop_{test}"),
        name: format!("by_{}", writer.engine().name()),
        columns: rows.columns.clone(),
        month_of: rows.month_of.map(str::to_owned),
    }
}

impl Matrix {
    fn run_writer(&mut self, writer: &Peer, world: &World, rows: &Rows) -> Vec<Group> {
        let peers = &world.peers;
        let name = writer.engine().name();
        let table = table_of(&slug(self.title), writer, rows);
        let path = table.path();
        let mut written: Vec<&Value> = Vec::new();

        let made = writer.create_namespace(&table.namespace).and_then(|()| writer.create(&table));
        let exists = made.is_ok();
        let mut groups = vec![self.group("create", name, made)];
        if !exists {
            return groups;
        }
        let mut appended = Ok(());
        for batch in &rows.batches {
            appended = appended.and_then(|()| writer.append(&table, batch));
            if appended.is_ok() {
                written.extend(batch);
            }
        }
        groups.push(self.group("append", name, appended));
        groups.push(self.read_all("read", world, &table, &written));

        let mut others = Group { title: "append by others", cells: Vec::new() };
        for other in peers.iter().filter(|other| other.engine() != writer.engine()) {
            let appended = other.append(&table, &rows.batches[0]);
            if appended.is_ok() {
                written.extend(&rows.batches[0]);
            }
            others.cells.push((other.engine().name(), self.cell(appended)));
        }
        groups.push(others);
        groups.push(self.read_all("read again", world, &table, &written));

        let dropped = writer.drop_table(&path).map_err(|error| error.to_string()).and_then(|()| {
            let still = peers.iter().find(|peer| peer.scan(&path).is_ok());
            still.map_or(Ok(()), |peer| Err(format!("{} still reads {path}", peer.engine())))
        });
        groups.push(Group { title: "drop", cells: vec![(name, self.cell(dropped))] });
        groups
    }

    fn read_all(&mut self, title: &'static str, world: &World, table: &Table, written: &[&Value]) -> Group {
        let path = table.path();
        let frazil = world.frazil.as_ref().map(|frazil| {
            let read = frazil.scan(table).and_then(|found| Ok((found, frazil.checksum(&path, &["id"])?)));
            ("frazil", read)
        });
        let peers = world.peers.iter().map(|reader| {
            let read = reader.scan(&path).and_then(|found| Ok((found, reader.checksum(&path, &["id"])?)));
            (reader.engine().name(), read.map_err(|error| error.to_string()))
        });
        let cells = frazil.into_iter().chain(peers).map(|(reader, read)| {
            let outcome = read.and_then(|(found, checksum)| check_rows(table, written, &found, &checksum));
            let outcome = outcome.map_err(|error| format!("{path} by {reader}: {error}"));
            (reader, self.cell(outcome))
        });
        Group { title, cells: cells.collect() }
    }

    fn group(&mut self, title: &'static str, engine: &'static str, outcome: Result<(), Error>) -> Group {
        Group { title, cells: vec![(engine, self.cell(outcome))] }
    }

    fn cell<E: fmt::Display>(&mut self, outcome: Result<(), E>) -> Cell {
        match outcome {
            Ok(()) => Cell::Worked,
            Err(error) => {
                self.failures.push(error.to_string());
                Cell::Failed(self.failures.len())
            }
        }
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\ninterop: {} (format version 2; one row per writer)", self.title)?;
        for (writer, groups) in &self.rows {
            let mut line = format!("  {writer:<10}");
            for group in groups {
                let cells: Vec<String> = match group.cells.as_slice() {
                    [(_, only)] => vec![only.to_string()],
                    many => many.iter().map(|(engine, cell)| format!("{engine} {cell}")).collect(),
                };
                write!(line, "| {}: {} ", group.title, cells.join(", "))?;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        for (number, failure) in (1..).zip(&self.failures) {
            writeln!(f, "  #{number} {failure}")?;
        }
        Ok(())
    }
}

/// Whether a reader found exactly the rows that were written, and worked out their checksum.
fn check_rows(table: &Table, written: &[&Value], found: &Answer, checksum: &Checksum) -> Result<(), String> {
    let mut wanted: Vec<String> = written.iter().map(|row| Value::from(table.plain_row(row)).to_string()).collect();
    wanted.sort_unstable();
    let rows = found.sorted_rows();
    if rows != wanted {
        let missing: Vec<&String> = wanted.iter().filter(|row| !rows.contains(row)).collect();
        let extra: Vec<&String> = rows.iter().filter(|row| !wanted.contains(row)).collect();
        let (read, written) = (rows.len(), wanted.len());
        return Err(format!("{read} rows, {written} were written\n    missing: {missing:?}\n    extra: {extra:?}"));
    }
    let wanted = checksum_of_ids(written);
    if *checksum != wanted {
        return Err(format!("{checksum:?}, expected {wanted:?}"));
    }
    Ok(())
}

fn checksum_of_ids(written: &[&Value]) -> Checksum {
    let ids = || written.iter().filter_map(|row| row["id"].as_i64());
    let sum =
        ColumnSum { column: "id".into(), sum: ids().reduce(|sum, id| sum + id), min: ids().min(), max: ids().max() };
    Checksum { rows: i64::try_from(written.len()).expect("a test has few rows"), columns: vec![sum] }
}

fn slug(title: &str) -> String {
    title.replace(", ", "_").replace(' ', "_")
}
