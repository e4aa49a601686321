//! What a peer answers, in a form that does not depend on the peer.

use serde::Deserialize;
use serde_json::Value;

/// Columns and rows. How values are written is in `tests/peers/peer.py`, `plain`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Answer {
    /// The columns' names.
    #[serde(default)]
    pub columns: Vec<String>,
    /// One value per column.
    #[serde(default)]
    pub rows: Vec<Vec<Value>>,
}

impl Answer {
    /// The rows as a multiset: sorted text, so that two answers compare equal whatever order they came in.
    pub fn sorted_rows(&self) -> Vec<String> {
        let mut rows: Vec<String> = self.rows.iter().map(|row| Value::from(row.clone()).to_string()).collect();
        rows.sort_unstable();
        rows
    }

    /// The one integer that a query such as `SELECT count(*)` answers.
    ///
    /// # Panics
    /// If the answer is anything else.
    pub fn integer(&self) -> i64 {
        match self.rows.as_slice() {
            [row] if row.len() == 1 => row[0].as_i64(),
            _ => None,
        }
        .unwrap_or_else(|| panic!("not one integer: {self:?}"))
    }
}

/// Rows and figures of integer columns: does not depend on the order of the rows, and every peer can work it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// Rows of the table.
    pub rows: i64,
    /// One per column asked for, in that order.
    pub columns: Vec<ColumnSum>,
}

/// The figures of one integer column; `None` where the column has no value that is not null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnSum {
    /// The column's name.
    pub column: String,
    /// The sum of its values.
    pub sum: Option<i64>,
    /// The smallest value.
    pub min: Option<i64>,
    /// The largest value.
    pub max: Option<i64>,
}

impl Checksum {
    /// The expressions to select, in the order that [`Checksum::from_answer`] reads them.
    pub fn expressions(columns: &[&str]) -> String {
        let figures = columns.iter().map(|c| format!(", sum({c}), min({c}), max({c})"));
        format!("count(*){}", figures.collect::<String>())
    }

    /// Reads one row: the number of rows, then sum, minimum and maximum of each column.
    ///
    /// # Panics
    /// If the answer has another shape.
    pub fn from_answer(answer: &Answer, columns: &[&str]) -> Checksum {
        let [row] = answer.rows.as_slice() else { panic!("not one row: {answer:?}") };
        assert_eq!(row.len(), 1 + 3 * columns.len(), "not a checksum of {columns:?}: {row:?}");
        let figure = |value: &Value| -> Option<i64> {
            // A sum may come as a decimal, which is written as text.
            match value {
                Value::Null => None,
                Value::String(text) => Some(text.parse().expect("an integer's sum is an integer")),
                other => Some(other.as_i64().expect("a column of integers has integer figures")),
            }
        };
        Checksum {
            rows: figure(&row[0]).expect("a count is not null"),
            columns: columns
                .iter()
                .zip(row[1..].chunks(3))
                .map(|(column, figures)| ColumnSum {
                    column: (*column).to_owned(),
                    sum: figure(&figures[0]),
                    min: figure(&figures[1]),
                    max: figure(&figures[2]),
                })
                .collect(),
        }
    }
}
