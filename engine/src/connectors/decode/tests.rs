use arrow::array::Array;
use arrow::datatypes::Schema;
use arrow::util::display::array_value_to_string;

use super::*;
use crate::sql::parse_type;

fn schema(columns: &[(&str, &str)]) -> SchemaRef {
    let fields: Vec<Field> = columns.iter().map(|(name, sql)| parse_type(sql).unwrap().to_field(name)).collect();
    Arc::new(Schema::new(fields))
}

fn json(columns: &[(&str, &str)]) -> Decoder {
    Decoder::new(&schema(columns), Format::Json).unwrap()
}

fn shown(batch: &RecordBatch) -> Vec<String> {
    let row = |row| {
        let columns = batch.columns().iter();
        let values: Vec<String> = columns
            .map(|column| match column.is_null(row) {
                true => "NULL".to_owned(),
                false => array_value_to_string(column, row).unwrap(),
            })
            .collect();
        values.join("|")
    };
    (0..batch.num_rows()).map(row).collect()
}

/// The field and the reason.
fn mistake(decoder: &mut Decoder, record: &str) -> String {
    let error = decoder.append(record.as_bytes()).unwrap_err();
    format!("{}: {}", error.field().unwrap_or("row".to_owned()), error.reason)
}

#[test]
fn every_type_comes_out_of_json() {
    let mut decoder = json(&[
        ("b", "BOOLEAN"),
        ("i", "INT"),
        ("l", "BIGINT"),
        ("d", "DOUBLE"),
        ("p", "DECIMAL(20, 2)"),
        ("s", "STRING"),
        ("x", "BYTES"),
        ("day", "DATE"),
        ("at", "TIMESTAMP(3)"),
        ("utc", "TIMESTAMP_LTZ(3)"),
        ("r", "ROW<a INT, b ROW<c STRING>>"),
        ("xs", "ARRAY<ROW<k STRING>>"),
        ("m", "MAP<STRING, INT>"),
    ]);
    let record = r#"{"b":true,"i":-1,"l":9007199254740993,"d":0.5,"p":123456789012345678.91,"s":"a\"\u00e9",
        "x":"aGk=","day":"2013-01-31","at":"2013-01-31 17:30:00","utc":"2013-01-31T17:30:00.5+01:00",
        "r":{"a":7,"b":{"c":"deep"},"unknown":[1,{"y":2}]},"xs":[{"k":"v"},null],"m":{"one":1,"none":null}}"#;
    decoder.append(record.as_bytes()).unwrap();
    decoder.append(b"{}").unwrap();
    let batch = decoder.finish();
    assert_eq!(
        shown(&batch),
        [
            "true|-1|9007199254740993|0.5|123456789012345678.91|a\"é|6869|2013-01-31|2013-01-31T17:30:00|\
             2013-01-31T16:30:00.500Z|{a: 7, b: {c: deep}}|[{k: v}, ]|{one: 1, none: }",
            "NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL",
        ]
    );
    assert_eq!(decoder.rows(), 0);
    assert_eq!(decoder.finish().num_rows(), 0);
}

#[test]
fn a_string_column_takes_any_value_as_its_text() {
    let mut decoder = json(&[("s", "STRING")]);
    for record in [r#"{"s":1.10}"#, r#"{"s":true}"#, r#"{"s":{"a": [1]}}"#, r#"{"s":null}"#, r#"{"s":""}"#] {
        decoder.append(record.as_bytes()).unwrap();
    }
    assert_eq!(shown(&decoder.finish()), ["1.10", "true", r#"{"a": [1]}"#, "NULL", ""]);
}

#[test]
fn a_mistake_names_the_field_and_leaves_the_rows_before_it() {
    let mut decoder = json(&[
        ("id", "BIGINT NOT NULL"),
        ("r", "ROW<a INT NOT NULL, b STRING>"),
        ("xs", "ARRAY<ARRAY<INT>>"),
        ("m", "MAP<STRING, INT>"),
        ("at", "TIMESTAMP(3)"),
    ]);
    let good = br#"{"id":1,"r":{"a":1,"b":"x"},"xs":[[1,2],[3]],"m":{"k":1}}"#;
    decoder.append(good).unwrap();
    for (record, wanted) in [
        ("{}", "id: there is no value, but it is NOT NULL"),
        (r#"{"id":null}"#, "id: there is no value, but it is NOT NULL"),
        (r#"{"id":1.5}"#, "id: expected BIGINT, found '1.5'"),
        (r#"{"id":"twelve"}"#, "id: expected BIGINT, found 'twelve'"),
        (r#"{"id":{}}"#, "id: expected a plain value, found an object"),
        (r#"{"id":1,"r":{"a":2,"b":"y"},"xs":[[1],[2,"x"]]}"#, "xs[1][1]: expected INT, found 'x'"),
        (r#"{"id":1,"r":{"b":"y"}}"#, "r.a: there is no value, but it is NOT NULL"),
        (r#"{"id":1,"r":7}"#, "r: expected an object, found the number 7"),
        (r#"{"id":1,"r":[]}"#, "r: expected an object, found an array"),
        (r#"{"id":1,"xs":{}}"#, "xs: expected an array, found an object"),
        (r#"{"id":1,"m":{"k":"z"}}"#, "m['k']: expected INT, found 'z'"),
        (r#"{"id":1,"id":2}"#, "id: it is there twice"),
        (
            r#"{"id":1,"at":1357041600}"#,
            "at: expected a timestamp in text, found the number 1357041600; declare it as BIGINT and convert it with TO_TIMESTAMP_SECONDS, TO_TIMESTAMP_MILLIS or TO_TIMESTAMP_MICROS",
        ),
        ("[1]", "row: expected an object, found an array"),
        ("null", "row: there is no value, but it is NOT NULL"),
        (r#"{"id":1"#, "row: not valid JSON at byte 7: EOF while parsing an object"),
        (r#"{"id":1} x"#, "row: not valid JSON at byte 10: trailing characters"),
        ("", "row: not valid JSON at byte 0: EOF while parsing a value"),
    ] {
        assert_eq!(mistake(&mut decoder, record), wanted, "{record}");
        assert_eq!(decoder.rows(), 1);
    }
    // Not UTF-8, and deeper than any recursion may go.
    assert!(decoder.append(b"{\"id\":1,\"r\":{\"b\":\"\xff\"}}").is_err());
    let deep = format!("{{\"id\":1,\"z\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let _ = decoder.append(deep.as_bytes());
    decoder.append(good).unwrap();
    let batch = decoder.finish();
    let rows = shown(&batch);
    assert_eq!(rows.first(), rows.last());
    assert_eq!(rows[0], "1|{a: 1, b: x}|[[1, 2], [3]]|{k: 1}|NULL");
}

#[test]
fn csv_fields_by_their_columns() {
    let layout =
        csv::Layout { delimiter: b';', null_literal: Some("NA".to_owned()), columns: vec![Some(1), None, Some(0)] };
    let columns = [("name", "STRING"), ("count", "INT NOT NULL")];
    let mut decoder = Decoder::new(&schema(&columns), Format::Csv(layout)).unwrap();
    for record in ["1;x;ann", "2;x;\"b;\"\"b\"\"\"", "3;x;NA", "4;x;", "5;x;\"\"", "6;x;\"NA\""] {
        decoder.append(record.as_bytes()).unwrap();
    }
    for (record, wanted) in [
        ("x;y;z", "count: expected INT, found 'x'"),
        (";y;z", "count: there is no value, but it is NOT NULL"),
        ("1;2", "row: it has 2 fields instead of 3"),
        ("1;2;3;4", "row: it has 4 fields instead of 3"),
        ("1;2;\"3", "row: the quote before '3' is not closed"),
    ] {
        assert_eq!(mistake(&mut decoder, record), wanted, "{record}");
    }
    assert_eq!(shown(&decoder.finish()), ["ann|1", "b;\"b\"|2", "NULL|3", "NULL|4", "|5", "NA|6"]);
    let nested = schema(&[("r", "ROW<a INT>")]);
    let layout = csv::Layout { delimiter: b',', null_literal: None, columns: vec![Some(0)] };
    let error = Decoder::new(&nested, Format::Csv(layout)).unwrap_err();
    assert_eq!(error.field().as_deref(), Some("r"));
}

#[test]
fn skipped_records_are_counted() {
    let malformed = Malformed::new("t", OnError::Skip);
    for _ in 0..1000 {
        malformed.take(|| "f line 1".to_owned(), FieldError::new("wrong")).unwrap();
    }
    assert_eq!(malformed.skipped(), 1000);
    let strict = Malformed::new("t", OnError::Fail);
    let error = strict.take(|| "f line 1".to_owned(), FieldError::new("wrong").within("a")).unwrap_err();
    assert_eq!(error.to_string(), "table 't': f line 1, field 'a': wrong ('on-error'='skip' passes over such rows)");
}
