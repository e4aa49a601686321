use expect_test::expect;
use frazil_table::spec::TableMetadata;

use super::*;
use crate::fixture::{id, table};

const FIELDS: &str = r#"{"id":1,"name":"s","required":false,"type":{"type":"struct","fields":[
        {"id":2,"name":"deep","required":true,"type":"int"}]}},
    {"id":3,"name":"l","required":false,"type":{"type":"list","element-id":4,"element-required":false,"element":"int"}},
    {"id":5,"name":"flat","required":false,"type":"string"}"#;

fn modes(properties: &[(&str, &str)]) -> String {
    let table = table(FIELDS, &[], properties);
    let config = MetricsConfig::of(table.metadata()).unwrap();
    ["s.deep", "l.element", "flat"].map(|name| format!("{name}: {}", config.mode(id(&table, name)))).join(", ")
}

#[test]
fn properties_decide() {
    expect!["s.deep: truncate(16), l.element: truncate(16), flat: truncate(16)"].assert_eq(&modes(&[]));
    expect!["s.deep: counts, l.element: none, flat: full"].assert_eq(&modes(&[
        ("write.metadata.metrics.default", "Counts"),
        ("write.metadata.metrics.column.flat", "full"),
        ("write.metadata.metrics.column.l.element", "none"),
        ("write.metadata.metrics.column.dropped", "none"),
    ]));
}

#[test]
fn outer_columns_come_first_when_modes_are_inferred_for_some() {
    expect!["s.deep: none, l.element: none, flat: truncate(16)"]
        .assert_eq(&modes(&[("write.metadata.metrics.max-inferred-column-defaults", "1")]));
}

#[test]
fn a_mode_that_does_not_exist_is_an_error() {
    let error = |key| {
        let table = table(FIELDS, &[], &[(key, "truncate(0)")]);
        let metadata: &TableMetadata = table.metadata();
        MetricsConfig::of(metadata).unwrap_err().to_string()
    };
    expect![[r#"table property write.metadata.metrics.default is "truncate(0)", but it must be none, counts, truncate(N) with N > 0, or full"#]]
        .assert_eq(&error("write.metadata.metrics.default"));
    assert!(error("write.metadata.metrics.column.flat").contains("column.flat"));
}
