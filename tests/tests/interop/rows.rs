//! The kinds of table and the rows that go into them: two batches, so that a table has several files and snapshots.

use frazil_tests::peers::{Column, Kind};
use serde_json::{Value, json};

/// A kind of table with its rows.
pub struct Rows {
    pub columns: Vec<Column>,
    pub month_of: Option<&'static str>,
    pub batches: Vec<Vec<Value>>,
}

/// Every primitive type that all four engines have, at its edges and null.
pub fn primitives() -> Rows {
    Rows {
        columns: vec![
            Column::new("id", Kind::Long),
            Column::new("flag", Kind::Boolean),
            Column::new("small", Kind::Int),
            Column::new("ratio", Kind::Double),
            Column::new("price", Kind::Decimal(12, 2)),
            Column::new("name", Kind::String),
            Column::new("day", Kind::Date),
            Column::new("moment", Kind::Timestamp),
            Column::new("seen", Kind::Timestamptz),
        ],
        month_of: None,
        batches: vec![
            vec![
                json!({"id": 1, "flag": true, "small": 2147483647, "ratio": 0.1,
                    "price": "12345.67", "name": "it's \"quoted\" \\ and: äöü 雪",
                    "day": "2013-01-31", "moment": "2013-01-31T23:59:59.999999",
                    "seen": "2013-01-31T23:59:59.999999"}),
                json!({"id": 2, "flag": false, "small": -2147483648, "ratio": -2.5e300,
                    "price": "-0.01", "name": "", "day": "1969-12-31",
                    "moment": "1969-12-31T23:59:59.000001", "seen": "1969-12-31T23:59:59.000001"}),
            ],
            vec![
                json!({"id": 4611686018427387904_i64, "flag": null, "small": null, "ratio": null,
                    "price": null, "name": null, "day": null, "moment": null, "seen": null}),
                // The same row twice: a multiset, not a set.
                json!({"id": 4, "name": "twin"}),
                json!({"id": 4, "name": "twin"}),
            ],
        ],
    }
}

/// Rows of several months in one batch, before 1970 and without a time.
pub fn by_month() -> Rows {
    Rows {
        columns: vec![
            Column::new("id", Kind::Long),
            Column::new("moment", Kind::Timestamp),
            Column::new("name", Kind::String),
        ],
        month_of: Some("moment"),
        batches: vec![
            vec![
                json!({"id": 1, "moment": "2013-01-31T23:59:59.999999", "name": "January's end"}),
                json!({"id": 2, "moment": "2013-02-01T00:00:00.000000", "name": "February's start"}),
                json!({"id": 3, "moment": "1969-12-31T23:59:59.999999", "name": "month -1"}),
            ],
            vec![
                json!({"id": 4, "moment": "2013-02-14T12:00:00.000000", "name": null}),
                json!({"id": 5, "moment": null, "name": "no month"}),
            ],
        ],
    }
}

/// Structs in structs, lists, lists of structs: whole, null at each depth, and empty. A list of structs that is null is
/// in [`null_list_of_structs`].
pub fn nested() -> Rows {
    let place = Kind::Struct(vec![Column::new("lat", Kind::Double), Column::new("lon", Kind::Double)]);
    let origin = Kind::Struct(vec![Column::new("faa", Kind::String), Column::new("place", place)]);
    let leg = Kind::Struct(vec![Column::new("dest", Kind::String), Column::new("minutes", Kind::Int)]);
    Rows {
        columns: vec![
            Column::new("id", Kind::Long),
            Column::new("origin", origin),
            Column::new("tags", Kind::List(Box::new(Kind::String))),
            Column::new("legs", Kind::List(Box::new(leg))),
        ],
        month_of: None,
        batches: vec![
            vec![
                json!({"id": 1, "origin": {"faa": "JFK", "place": {"lat": 40.639751, "lon": -73.778925}},
                    "tags": ["late", "full"],
                    "legs": [{"dest": "BQN", "minutes": 183}, {"dest": "MIA", "minutes": null}]}),
                json!({"id": 2, "origin": {"faa": "LGA", "place": null}, "tags": [], "legs": []}),
            ],
            vec![
                json!({"id": 3, "origin": {"faa": null, "place": {"lat": null, "lon": 0.0}},
                    "tags": [null, "x"], "legs": [{"dest": null, "minutes": 1}]}),
                json!({"id": 4, "origin": null, "tags": null, "legs": []}),
            ],
        ],
    }
}

/// What PyIceberg takes for an empty list.
pub fn null_list_of_structs() -> Rows {
    let leg = Kind::Struct(vec![Column::new("dest", Kind::String)]);
    Rows {
        columns: vec![Column::new("id", Kind::Long), Column::new("legs", Kind::List(Box::new(leg)))],
        month_of: None,
        batches: vec![vec![json!({"id": 1, "legs": null})]],
    }
}

/// [`nested`] with a month beside it.
pub fn nested_by_month() -> Rows {
    let mut rows = nested();
    rows.columns.push(Column::new("moment", Kind::Timestamp));
    rows.month_of = Some("moment");
    for (month, row) in (1..).zip(rows.batches.iter_mut().flatten()) {
        row["moment"] = json!(format!("2013-{month:02}-01T00:00:00.000000"));
    }
    rows
}
