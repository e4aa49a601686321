use std::fs;
use std::path::Path;

use arrow::array::{AsArray, Int32Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema as ArrowSchema};
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

use super::*;
use crate::connectors::{bounded_stream, collect_bounded, create_source};

fn id_schema() -> ArrowSchema {
    ArrowSchema::new(vec![Field::new("id", DataType::Int64, false), Field::new("name", DataType::Utf8, true)])
}

fn source(folder: &Path, format: &str, more: &[(&str, &str)]) -> Arc<dyn Source> {
    try_source(folder, format, more).unwrap()
}

fn try_source(folder: &Path, format: &str, more: &[(&str, &str)]) -> Result<Arc<dyn Source>> {
    let path = folder.to_str().unwrap();
    let mut options = vec![("connector", "filesystem"), ("path", path), ("format", format)];
    options.extend_from_slice(more);
    let table = TableDefinition::new("t", &id_schema(), options);
    create_source(&table, &Env::system())
}

async fn batches(
    source: &dyn Source,
    (subtask, parallelism): (usize, usize),
    positions: &SourcePositions,
) -> Result<Vec<SourceBatch>> {
    let stop = CancellationToken::new();
    let mut stream = source.start(subtask, parallelism, positions, stop).await?;
    let mut all = Vec::new();
    while let Some(batch) = stream.recv().await {
        all.push(batch?);
    }
    Ok(all)
}

fn ids(batches: &[SourceBatch]) -> Vec<i64> {
    let columns = batches.iter().map(|batch| batch.batch.column(0).as_primitive::<Int64Type>().values().to_vec());
    columns.flatten().collect()
}

async fn error(source: &dyn Source, positions: &SourcePositions) -> String {
    batches(source, (0, 1), positions).await.unwrap_err().to_string()
}

fn write_parquet(path: &Path, ids: std::ops::Range<i64>) {
    let names: StringArray = ids.clone().map(|id| Some(format!("n{id}"))).collect();
    let batch = RecordBatch::try_from_iter([
        ("name", Arc::new(names) as _),
        ("other", Arc::new(Int32Array::from_iter_values(ids.clone().map(|id| id as i32))) as _),
        ("id", Arc::new(Int64Array::from_iter_values(ids)) as _),
    ])
    .unwrap();
    let mut writer = ArrowWriter::try_new(fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// 40 rows in three files below each other; what a folder may hold besides.
fn fill(folder: &Path, format: &str) {
    fs::create_dir_all(folder.join("sub")).unwrap();
    fs::write(folder.join("_SUCCESS"), "").unwrap();
    fs::write(folder.join(".hidden.json"), "{").unwrap();
    for (name, range) in [("a", 0..13), ("b", 13..14), ("sub/c", 14..40)] {
        let path = folder.join(name);
        let line = |id: i64| match format {
            "json" => format!("{{\"name\":\"n{id}\",\"id\":{id}}}\n"),
            _ if id % 5 == 0 => format!("\"n\n{id}\",{id},x\r\n"),
            _ => format!("n{id},{id},x\n"),
        };
        match format {
            "parquet" => write_parquet(&path, range),
            "json" => fs::write(path, range.map(line).collect::<String>()).unwrap(),
            _ => fs::write(path, format!("name,id,other\n{}", range.map(line).collect::<String>())).unwrap(),
        }
    }
}

#[tokio::test]
async fn reading_on_from_every_position_gives_the_rest() {
    for format in ["json", "csv", "parquet"] {
        let folder = TempDir::new().unwrap();
        fill(folder.path(), format);
        let source = source(folder.path(), format, &[("batch-rows", "3")]);
        let all = batches(&*source, (0, 1), &SourcePositions::new()).await.unwrap();
        assert_eq!(ids(&all), (0..40).collect::<Vec<_>>(), "{format}");
        assert!(all.len() > 13, "{format}: {} batches", all.len());
        let mut positions = SourcePositions::new();
        for read in 0..=all.len() {
            let rest = batches(&*source, (0, 1), &positions).await.unwrap();
            assert_eq!(ids(&rest), ids(&all[read..]), "{format} after {read} batches: {positions:?}");
            if let Some(batch) = all.get(read) {
                positions.insert(batch.split.clone(), batch.position.clone());
            }
        }
    }
}

#[tokio::test]
async fn every_file_belongs_to_one_subtask() {
    let folder = TempDir::new().unwrap();
    for file in 0..20 {
        fs::write(folder.path().join(format!("f{file}")), format!("{{\"id\":{file}}}\n")).unwrap();
    }
    let source = source(folder.path(), "json", &[]);
    assert_eq!(source.parallelism_max().await.unwrap(), 20);
    let mut all = Vec::new();
    for subtask in 0..3 {
        let part = ids(&batches(&*source, (subtask, 3), &SourcePositions::new()).await.unwrap());
        assert!(!part.is_empty() && part.len() < 20);
        all.extend(part);
    }
    all.sort_unstable();
    assert_eq!(all, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_malformed_row_is_named_or_passed_over() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("f.json");
    fs::write(&file, "{\"id\":1}\n\n{\"id\":\"x\"}\n{\"id\":\n{\"id\":4}").unwrap();
    let strict = source(&file, "json", &[]);
    assert_eq!(
        error(&*strict, &SourcePositions::new()).await,
        "table 't': f.json line 3, field 'id': expected BIGINT, found 'x' ('on-error'='skip' passes over such rows)"
    );
    for option in ["on-error", "json.ignore-parse-errors"] {
        let value = if option == "on-error" { "skip" } else { "true" };
        let lenient = source(&file, "json", &[(option, value)]);
        let read = batches(&*lenient, (0, 1), &SourcePositions::new()).await.unwrap();
        assert_eq!(ids(&read), [1, 4]);
        assert_eq!(lenient.rows_skipped(), 2);
    }
    let both = [("on-error", "fail"), ("json.ignore-parse-errors", "true")];
    let error = try_source(&file, "json", &both).unwrap_err().to_string();
    assert!(error.contains("contradicts"), "{error}");
}

#[tokio::test]
async fn the_line_of_a_csv_row_counts_quoted_line_ends_and_the_header() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("f.csv");
    fs::write(&file, "\u{feff}id,name\n1,\"a\nb\"\n2,c\n3\n").unwrap();
    let found = error(&*source(&file, "csv", &[("batch-rows", "1")]), &SourcePositions::new()).await;
    assert!(found.contains("f.csv line 5: it has 1 fields instead of 2"), "{found}");
    fs::write(&file, "1;c\n2;NULL\n").unwrap();
    let options = [("csv.header", "none"), ("csv.field-delimiter", ";"), ("csv.null-literal", "NULL")];
    let rows = collect_bounded(&*source(&file, "csv", &options), "t", 1 << 20).await.unwrap();
    assert_eq!(rows[0].column(1).null_count(), 1);
    let found = error(&*source(&file, "csv", &[("csv.field-delimiter", ";")]), &SourcePositions::new()).await;
    assert!(found.contains("f.csv line 1, field 'id': the header has no such name"), "{found}");
    fs::write(&file, "").unwrap();
    assert!(collect_bounded(&*source(&file, "csv", &[]), "t", 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_file_that_is_not_what_was_read_is_an_error() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("f");
    let lines = |ids: &[i64]| ids.iter().map(|id| format!("{{\"id\":{id}}}\n")).collect::<String>();
    fs::write(&file, lines(&[1, 2, 3])).unwrap();
    let source = source(folder.path(), "json", &[("batch-rows", "1")]);
    let all = batches(&*source, (0, 1), &SourcePositions::new()).await.unwrap();
    let at = |index: usize| SourcePositions::from([("f".to_owned(), all[index].position.clone())]);
    for (content, index, wanted) in [
        (lines(&[1]), 1, "the file has only 9 bytes"),
        (lines(&[1, 7, 3]), 1, "other rows before it"),
        (lines(&[1, 2, 3, 4]), all.len() - 1, "the file changed after it was read"),
    ] {
        fs::write(&file, content).unwrap();
        let found = error(&*source, &at(index)).await;
        assert!(found.contains(wanted), "{found}");
    }
    fs::remove_file(&file).unwrap();
    let found = error(&*source, &at(0)).await;
    assert!(found.contains("the file is gone"), "{found}");
    // What was read to its end may go.
    assert!(batches(&*source, (0, 1), &at(all.len() - 1)).await.unwrap().is_empty());
    let foreign = SourcePositions::from([("f".to_owned(), "topic".to_owned())]);
    assert!(error(&*source, &foreign).await.contains("no position of a file"));
}

#[tokio::test]
async fn a_watched_folder_gives_new_files_until_it_is_stopped() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a"), "{\"id\":1}\n").unwrap();
    let source = source(folder.path(), "json", &[("source.monitor-interval", "10 ms")]);
    assert!(!source.is_bounded());
    let stop = CancellationToken::new();
    let mut stream = source.start(0, 1, &SourcePositions::new(), stop.clone()).await.unwrap();
    assert_eq!(ids(&[stream.recv().await.unwrap().unwrap()]), [1]);
    fs::write(folder.path().join("b"), "{\"id\":2}\n").unwrap();
    assert_eq!(ids(&[stream.recv().await.unwrap().unwrap()]), [2]);
    stop.cancel();
    assert!(stream.recv().await.is_none());
    assert!(bounded_stream(&*source, "t", 1).await.is_err());
}

#[tokio::test]
async fn the_rate_is_a_limit() {
    let folder = TempDir::new().unwrap();
    let lines: String = (0..300).map(|id| format!("{{\"id\":{id}}}\n")).collect();
    fs::write(folder.path().join("a"), lines).unwrap();
    let source = source(folder.path(), "json", &[("rows-per-second", "1000")]);
    let begin = tokio::time::Instant::now();
    let read = batches(&*source, (0, 1), &SourcePositions::new()).await.unwrap();
    assert_eq!(ids(&read).len(), 300);
    // The first slice goes at once; a busy machine may only be slower.
    assert!(begin.elapsed().as_secs_f64() >= 0.25, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn parquet_columns_are_cast_or_refused() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("f.parquet");
    let batch = RecordBatch::try_from_iter([("id", Arc::new(Int32Array::from(vec![Some(1), None])) as _)]).unwrap();
    let mut writer = ArrowWriter::try_new(fs::File::create(&file).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let found = error(&*source(&file, "parquet", &[]), &SourcePositions::new()).await;
    assert!(found.contains("f.parquet row 2, field 'id': there is no value"), "{found}");
    for damage in [&b"PAR1"[..], b"", b"PAR1\x15\x02\x19\xfc\xff\xff\xff\xff\x0f\x00\x0a\x00\x00\x00PAR1"] {
        fs::write(&file, damage).unwrap();
        let found = error(&*source(&file, "parquet", &[]), &SourcePositions::new()).await;
        assert!(found.starts_with("table 't': reading f.parquet failed"), "{found}");
    }
}

#[tokio::test]
async fn a_small_table_is_held_up_to_a_bound() {
    let folder = TempDir::new().unwrap();
    fill(folder.path(), "csv");
    let source = source(folder.path(), "csv", &[]);
    let rows = collect_bounded(&*source, "t", 1 << 20).await.unwrap();
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 40);
    let found = collect_bounded(&*source, "t", 10).await.unwrap_err().to_string();
    assert!(found.contains("table 't' has more than 10 bytes"), "{found}");
}

#[test]
fn a_wrong_definition_says_what_to_do() {
    let folder = Path::new("/nowhere");
    let found = |format: &str, more: &[(&str, &str)]| try_source(folder, format, more).unwrap_err().to_string();
    assert!(found("jsn", &[]).contains("did you mean 'json'?"));
    assert!(found("json", &[("pth", "x")]).contains("did you mean 'path'?"));
    assert!(found("csv", &[("csv.field-delimiter", "--")]).contains("one ASCII character"));
    let misspelt = found("json", &[("connector", "filsystem")]);
    assert!(misspelt.contains("did you mean 'filesystem'?"), "{misspelt}");
    let none = TableDefinition::new("t", &id_schema(), [("path", "x")]);
    let error = create_source(&none, &Env::system()).unwrap_err().to_string();
    assert!(error.contains("needs the option 'connector'"), "{error}");
}

#[tokio::test]
async fn a_compressed_file_is_not_taken_for_text() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a.json.gz"), [0x1f, 0x8b]).unwrap();
    let lenient = source(folder.path(), "json", &[("on-error", "skip")]);
    let found = error(&*lenient, &SourcePositions::new()).await;
    assert!(found.contains("a.json.gz") && found.contains("unpack it"), "{found}");
}

#[tokio::test]
async fn an_empty_folder_has_no_rows() {
    let folder = TempDir::new().unwrap();
    let source = source(folder.path(), "json", &[]);
    assert!(batches(&*source, (0, 1), &SourcePositions::new()).await.unwrap().is_empty());
    assert_eq!(source.parallelism_max().await.unwrap(), 1);
}

#[tokio::test]
async fn a_missing_path_is_named() {
    let source = source(Path::new("/nowhere/at-all"), "json", &[]);
    let found = error(&*source, &SourcePositions::new()).await;
    assert_eq!(found, "table 't': there is no file or folder /nowhere/at-all; check the option 'path'");
    assert!(source.parallelism_max().await.is_err());
}
