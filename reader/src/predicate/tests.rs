use expect_test::{Expect, expect};

use super::*;

fn schema() -> Schema {
    serde_json::from_str(
        r#"{"type":"struct","fields":[
        {"id":1,"name":"i","required":true,"type":"int"},
        {"id":2,"name":"d","required":false,"type":"decimal(9, 2)"},
        {"id":3,"name":"t","required":false,"type":"timestamptz"},
        {"id":4,"name":"day","required":false,"type":"date"},
        {"id":5,"name":"f","required":false,"type":"float"},
        {"id":6,"name":"s","required":false,"type":"string"},
        {"id":7,"name":"l","required":false,"type":{"type":"list","element-id":8,"element-required":true,"element":"int"}}]}"#,
    )
    .unwrap()
}

fn check(predicate: Predicate, expected: Expect) {
    let shown = match predicate.bind(&schema()) {
        Ok(bound) => bound.to_string(),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&shown);
}

fn less(path: &str, value: Datum) -> Predicate {
    Predicate::compare(path, Comparison::Less, value)
}

#[test]
fn not_is_resolved_down_to_the_tests() {
    let both = less("i", Datum::int(3)).and(Predicate::IsNull("s".to_owned()));
    check(both.clone(), expect!["i < 3 and s is null"]);
    check(both.clone().negate(), expect!["i >= 3 or s is not null"]);
    check(both.negate().negate(), expect!["i < 3 and s is null"]);
    let nested = Predicate::Or(vec![Predicate::True.negate(), less("i", Datum::int(1)), less("i", Datum::int(2))]);
    check(nested.and(Predicate::True), expect!["i < 1 or i < 2"]);
    check(Predicate::And(vec![]), expect!["true"]);
    check(Predicate::Or(vec![]), expect!["false"]);
}

#[test]
fn values_take_the_type_of_the_column() {
    check(less("i", Datum::long(7)), expect!["i < 7"]);
    check(less("d", Datum::int(7)), expect!["d < 700"]);
    check(less("f", Datum::int(7)), expect!["f < 7"]);
    check(less("f", Datum::double(0.5)), expect!["f < 0.5"]);
    check(less("day", Datum::string("1970-01-11")), expect!["day < 10"]);
    check(less("t", Datum::string("1970-01-01T00:00:01Z")), expect!["t < 1000000"]);
}

#[test]
fn a_value_beyond_the_columns_range_decides_for_all_values() {
    let huge = Datum::long(i64::MAX);
    check(less("i", huge.clone()), expect!["i is not null"]);
    check(less("i", huge.clone()).negate(), expect!["false"]);
    check(Predicate::equal("i", huge.clone()), expect!["false"]);
    check(Predicate::In { path: "i".to_owned(), values: vec![huge.clone(), Datum::int(4)] }, expect!["i in (4)"]);
    check(Predicate::In { path: "i".to_owned(), values: vec![huge] }.negate(), expect!["i is not null"]);
}

#[test]
fn conditions_that_make_no_sense_are_errors() {
    check(less("l", Datum::int(1)), expect!["the condition on l can't be used: it is a list, not a leaf"]);
    check(
        less("l.element", Datum::int(1)),
        expect!["the condition on l.element can't be used: it lies in a list or map and has many values in a row"],
    );
    check(
        Predicate::IsNan("i".to_owned()),
        expect!["the condition on i can't be used: only float and double columns have NaN"],
    );
    check(
        less("t", Datum::long(5)),
        expect!["the condition on t can't be used: 5 is a long, the column a timestamptz"],
    );
    check(less("nope", Datum::int(1)), expect![[r#"there is no column "nope"; the nearest are l.element, d, day"#]]);
    let prefix = Predicate::StartsWith { path: "i".to_owned(), prefix: "x".to_owned() };
    check(prefix, expect!["the condition on i can't be used: starts_with needs a string column"]);
}
