use std::fmt::Write as _;
use std::time::Duration;

use expect_test::{Expect, expect};

use super::*;
use crate::sql::{Statement, parse_one};

fn iceberg() -> Schema {
    Schema::new("connector 'iceberg'")
        .key(Spec::new("connector", Kind::Text).required())
        .key(Spec::new("streaming", Kind::Boolean).default("false"))
        .key(Spec::new("monitor-interval", Kind::Duration).default("1 s"))
        .key(Spec::new("start-snapshot-id", Kind::Integer { min: 0, max: i64::MAX }))
        .key(Spec::new("auto-compact", Kind::Boolean).default("true"))
        .key(Spec::new("compact.delta.commits", Kind::COUNT).default("5"))
        .key(Spec::new("read.split-size", Kind::Size))
        .key(Spec::new(
            "starting-strategy",
            Kind::OneOf(&["INCREMENTAL_FROM_LATEST_SNAPSHOT", "TABLE_SCAN_THEN_INCREMENTAL"]),
        ))
        .table_properties()
}

fn kafka() -> Schema {
    Schema::new("connector 'kafka'")
        .key(Spec::new("topic", Kind::Text).required())
        .key(Spec::new("format", Kind::OneOf(&["json", "csv"])).required())
        .prefix("properties.")
}

fn check(schema: Schema, pairs: &[(&str, &str)], expected: Expect) {
    let outcome = match schema.check(&Options::from_pairs(pairs.iter().copied())) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&outcome);
}

#[test]
fn values_come_in_their_types() {
    let checked = iceberg()
        .check(&Options::from_pairs([
            ("connector", "iceberg"),
            ("streaming", "TRUE"),
            ("monitor-interval", "500ms"),
            ("read.split-size", "128 mb"),
            ("starting-strategy", "incremental_from_latest_snapshot"),
            ("write.target-file-size-bytes", "1048576"),
            ("write.metadata.metrics.column.a.b", "full"),
            ("write.made-up-by-somebody-else", "x"),
            ("format-version", "3"),
        ]))
        .expect("all of it is right");
    assert_eq!(checked.text("connector"), "iceberg");
    assert!(checked.boolean("streaming"));
    assert_eq!(checked.duration("monitor-interval"), Duration::from_millis(500));
    assert_eq!(checked.size_bytes_opt("read.split-size"), Some(128 << 20));
    assert_eq!(checked.integer_opt("start-snapshot-id"), None);
    assert_eq!(checked.integer("compact.delta.commits"), 5);
    assert_eq!(checked.text_opt("starting-strategy"), Some("INCREMENTAL_FROM_LATEST_SNAPSHOT"));
    let passed: Vec<_> = checked.passed().collect();
    assert_eq!(
        passed,
        [
            ("write.target-file-size-bytes", "1048576"),
            ("write.metadata.metrics.column.a.b", "full"),
            ("write.made-up-by-somebody-else", "x"),
            ("format-version", "3"),
        ]
    );
    let metrics: Vec<_> = checked.passed_under("write.metadata.metrics.column.").collect();
    assert_eq!(metrics, [("a.b", "full")]);
}

#[test]
fn unknown_keys_name_the_near_ones() {
    check(kafka(), &[("topik", "t")], expect!["connector 'kafka' has no option 'topik'; did you mean 'topic'?"]);
    check(kafka(), &[("zzzzzz", "t")], expect!["connector 'kafka' has no option 'zzzzzz'; it has topic, format"]);
    check(Schema::new("catalog 'x'"), &[("a", "t")], expect!["catalog 'x' has no option 'a'; it takes none"]);
    check(
        iceberg(),
        &[("write.target-file-size-byte", "1")],
        expect![
            "connector 'iceberg' has no option 'write.target-file-size-byte'; did you mean 'write.target-file-size-bytes'?"
        ],
    );
    check(
        iceberg(),
        &[("format_version", "2")],
        expect!["connector 'iceberg' has no option 'format_version'; did you mean 'format-version'?"],
    );
    check(
        iceberg(),
        &[("target-file-size-bytes", "1")],
        expect![
            "connector 'iceberg' has no option 'target-file-size-bytes'; did you mean 'write.target-file-size-bytes' or 'write.delete.target-file-size-bytes'?"
        ],
    );
    check(
        iceberg(),
        &[("compact.delta.commit", "1")],
        expect!["connector 'iceberg' has no option 'compact.delta.commit'; did you mean 'compact.delta.commits'?"],
    );
    check(
        kafka(),
        &[("properties.", "t")],
        expect!["connector 'kafka' has no option 'properties.'; it has topic, format"],
    );
}

#[test]
fn missing_keys_say_what_they_are() {
    check(kafka(), &[("format", "json")], expect!["connector 'kafka' needs the option 'topic' (a text)"]);
    check(
        kafka(),
        &[("format", "json"), ("properties.topic", "x")],
        expect!["connector 'kafka' needs the option 'topic' (a text); is 'properties.topic' meant for it?"],
    );
}

#[test]
fn wrong_values_say_what_is_right() {
    check(
        kafka(),
        &[("topic", "")],
        expect!["option 'topic' of connector 'kafka' is '', but has to be a text (it is empty)"],
    );
    check(
        kafka(),
        &[("topic", "t"), ("format", "jsn")],
        expect!["option 'format' of connector 'kafka' is 'jsn', but has to be 'json' or 'csv'; did you mean 'json'?"],
    );
    check(
        iceberg(),
        &[("streaming", "yes")],
        expect!["option 'streaming' of connector 'iceberg' is 'yes', but has to be 'true' or 'false'"],
    );
    check(
        iceberg(),
        &[("compact.delta.commits", "0")],
        expect!["option 'compact.delta.commits' of connector 'iceberg' is '0', but has to be a whole number from 1 up"],
    );
    check(
        iceberg(),
        &[("start-snapshot-id", "9223372036854775808")],
        expect![
            "option 'start-snapshot-id' of connector 'iceberg' is '9223372036854775808', but has to be a whole number from 0 up"
        ],
    );
    check(
        iceberg(),
        &[("monitor-interval", "1 fortnight")],
        expect![
            "option 'monitor-interval' of connector 'iceberg' is '1 fortnight', but has to be a time span such as '500 ms', '1 s' or '10 min' ('fortnight' is not a unit of time (ns, us, ms, s, min, h, d))"
        ],
    );
    check(
        iceberg(),
        &[("read.split-size", "many")],
        expect![
            "option 'read.split-size' of connector 'iceberg' is 'many', but has to be a size such as '64 kb' or '128 mb' (it does not begin with a whole number)"
        ],
    );
}

#[test]
fn durations_and_sizes() {
    let mut out = String::new();
    for text in [
        "1",
        "1 s",
        "500ms",
        "10 min",
        "2 H",
        "3d",
        "7 us",
        "",
        "s",
        "1.5 s",
        "-1 s",
        "99999999999999999999 s",
        "300000 d",
    ] {
        writeln!(out, "{text:?} = {:?}", parse_duration(text)).expect("a String takes it");
    }
    for text in ["1", "64 kb", "128mb", "2 GiB", "1t", "1 parsec", "18446744073709551615 kb"] {
        writeln!(out, "{text:?} = {:?}", parse_size_bytes(text)).expect("a String takes it");
    }
    expect![[r#"
        "1" = Ok(1ms)
        "1 s" = Ok(1s)
        "500ms" = Ok(500ms)
        "10 min" = Ok(600s)
        "2 H" = Ok(7200s)
        "3d" = Ok(259200s)
        "7 us" = Ok(7µs)
        "" = Err("it does not begin with a whole number")
        "s" = Err("it does not begin with a whole number")
        "1.5 s" = Err("'.5 s' is not a unit of time (ns, us, ms, s, min, h, d)")
        "-1 s" = Err("it does not begin with a whole number")
        "99999999999999999999 s" = Err("its number is too large")
        "300000 d" = Err("it is too long")
        "1" = Ok(1)
        "64 kb" = Ok(65536)
        "128mb" = Ok(134217728)
        "2 GiB" = Ok(2147483648)
        "1t" = Ok(1099511627776)
        "1 parsec" = Err("'parsec' is not a unit of size (b, kb, mb, gb, tb)")
        "18446744073709551615 kb" = Err("it is too large")
    "#]]
    .assert_eq(&out);
}

#[test]
fn an_error_points_into_the_script() {
    let script = "CREATE TABLE t (x INT) WITH (\n  'topic' = 't',\n  'format' = 'jsn')";
    let statement = parse_one(script).expect("it parses");
    let Statement::CreateTable(table) = statement.node else { panic!("a table") };
    let error = kafka().check(&table.options).expect_err("jsn is no format");
    let shown = error.in_script(script).to_string();
    expect![[r#"
        option 'format' of connector 'kafka' is 'jsn', but has to be 'json' or 'csv'; did you mean 'json'?
          --> line 3, column 14
           |
         3 |   'format' = 'jsn')
           |              ^^^^^"#]]
    .assert_eq(&shown);
}

#[test]
fn a_hint_wins_over_the_table() {
    let table = Options::from_pairs([("a", "1"), ("b", "1")]);
    let hint = Options::from_pairs([("b", "2"), ("c", "2")]);
    let merged = table.overlaid(&hint);
    let merged: Vec<_> = merged.iter().map(|e| (e.key.as_str(), e.value.as_str())).collect();
    assert_eq!(merged, [("a", "1"), ("b", "2"), ("c", "2")]);
}

#[test]
#[should_panic(expected = "declared twice")]
fn a_key_is_declared_once() {
    let _ = kafka().include(Schema::new("x").key(Spec::new("topic", Kind::Text)));
}
