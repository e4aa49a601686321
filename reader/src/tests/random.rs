//! Random histories of a table against a model in memory: appends, deletes of every kind, schema changes, rewrites.
//!
//! `FRAZIL_LONG=1` runs more seeds; `FRAZIL_SEED=N` runs one.

use std::collections::BTreeMap;

use frazil_table::spec::{Datum, FormatVersion, Struct, TableUpdate};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

use super::world::*;
use crate::{Comparison, Predicate, Projection, ScanRequest};

/// A leaf of the schema as it is now.
#[derive(Clone, Debug)]
struct Leaf {
    id: i32,
    name: String,
    kind: &'static str,
    in_struct: bool,
}

/// A row by field id, so that a change of the schema changes nothing of it.
#[derive(Clone, Debug)]
struct Row {
    values: BTreeMap<i32, Value>,
    struct_is_null: bool,
    /// Data file and position.
    place: (String, i64),
}

struct Model {
    world: World,
    leaves: Vec<Leaf>,
    rows: Vec<Row>,
    next_id: i32,
    next_key: i64,
    random: StdRng,
}

/// Whether a value of a leaf matches.
type Matches = Box<dyn Fn(&Value) -> bool>;

/// Whether a comparison holds of an order.
type Holds = fn(std::cmp::Ordering) -> bool;

const STRUCT_ID: i32 = 2;
const KEY_ID: i32 = 1;

impl Model {
    async fn new(seed: u64) -> Self {
        let leaves = vec![
            Leaf { id: 3, name: "n".to_owned(), kind: "int", in_struct: true },
            Leaf { id: 4, name: "t".to_owned(), kind: "string", in_struct: true },
        ];
        let random = StdRng::seed_from_u64(seed);
        let world = World::with(&schema_json(&leaves, 0), None, FormatVersion::V2, &[]).await;
        Self { world, leaves, rows: Vec::new(), next_id: 5, next_key: 0, random }
    }

    fn value(&mut self, kind: &str) -> Value {
        if self.random.random_bool(0.2) {
            return Value::Null;
        }
        let n = self.random.random_range(0..12_i64);
        match kind {
            "string" => json!(format!("{}{n}", "long-".repeat(n as usize % 4))),
            "double" => json!(n as f64 / 2.0),
            _ => json!(n),
        }
    }

    fn json_of(&self, row: &Row) -> Value {
        let mut top = Map::from_iter([("key".to_owned(), row.values[&KEY_ID].clone())]);
        let mut inner = Map::new();
        for leaf in &self.leaves {
            let value = row.values.get(&leaf.id).cloned().unwrap_or(Value::Null);
            let into = if leaf.in_struct { &mut inner } else { &mut top };
            into.insert(leaf.name.clone(), value);
        }
        if !inner.is_empty() {
            top.insert("s".to_owned(), if row.struct_is_null { Value::Null } else { inner.into() });
        }
        top.into()
    }

    async fn append(&mut self) -> Vec<frazil_table::TableFile> {
        let count = self.random.random_range(1..40);
        let mut rows: Vec<Row> = Vec::new();
        for _ in 0..count {
            self.next_key += 1;
            let mut values = BTreeMap::from([(KEY_ID, json!(self.next_key))]);
            let struct_is_null = self.random.random_bool(0.2);
            for leaf in self.leaves.clone() {
                if !(leaf.in_struct && struct_is_null) {
                    let value = self.value(leaf.kind);
                    values.insert(leaf.id, value);
                }
            }
            rows.push(Row { values, struct_is_null, place: (String::new(), 0) });
        }
        let json: Vec<Value> = rows.iter().map(|row| self.json_of(row)).collect();
        let group_rows = self.random.random_range(1..20);
        let file = self.world.write(&json, group_rows, Struct::empty()).await;
        for (position, row) in rows.iter_mut().enumerate() {
            row.place = (file.file.file_path().to_owned(), position as i64);
        }
        self.rows.extend(rows);
        vec![file]
    }

    async fn delete_positions(&mut self) {
        if self.world.table.metadata().format_version() > FormatVersion::V2 {
            return;
        }
        self.rows.shuffle(&mut self.random);
        let count = self.random.random_range(0..=self.rows.len().min(9));
        let mut gone: Vec<(String, i64)> = self.rows.drain(..count).map(|row| row.place).collect();
        gone.sort();
        let places: Vec<(&str, i64)> = gone.iter().map(|(path, row)| (path.as_str(), *row)).collect();
        let file = self.world.position_deletes(&places, None).await;
        self.world.row_delta(vec![], vec![file]).await;
    }

    /// Position delete files stay, but no more come.
    async fn upgrade(&mut self) {
        let format_version = FormatVersion::V3;
        self.world.update(vec![TableUpdate::UpgradeFormatVersion { format_version }]).await;
    }

    async fn delete_equal(&mut self) {
        let Some(leaf) = self.leaves.choose(&mut self.random).cloned() else { return };
        if leaf.kind == "double" {
            return;
        }
        let values: Vec<Value> = (0..2).map(|_| self.value(leaf.kind)).collect();
        let path = if leaf.in_struct { format!("s.{}", leaf.name) } else { leaf.name.clone() };
        let rows: Vec<Value> = values
            .iter()
            .map(|value| if leaf.in_struct { json!({"s": {&leaf.name: value}}) } else { json!({&leaf.name: value}) })
            .collect();
        let deletes = self.world.equality_deletes(&[&path], &rows).await;
        let of = |row: &Row| row.values.get(&leaf.id).cloned().unwrap_or(Value::Null);
        self.rows.retain(|row| !values.contains(&of(row)));
        // Rows of the same commit stay.
        let data = if self.random.random_bool(0.5) { self.append().await } else { Vec::new() };
        self.world.row_delta(data, vec![deletes]).await;
    }

    async fn change_schema(&mut self) {
        match self.random.random_range(0..4) {
            0 => {
                let kind = *["int", "long", "string", "double"].choose(&mut self.random).unwrap();
                let in_struct = self.random.random_bool(0.5);
                // Old names come back as new columns.
                let free: Vec<&str> = ["n", "t", "u", "v", "w"]
                    .into_iter()
                    .filter(|name| self.leaves.iter().all(|leaf| leaf.name != *name))
                    .collect();
                let Some(name) = free.choose(&mut self.random) else { return };
                self.leaves.push(Leaf { id: self.next_id, name: (*name).to_owned(), kind, in_struct });
                self.next_id += 1;
            }
            1 => {
                let inner = self.leaves.iter().filter(|leaf| leaf.in_struct).count();
                let at = self.random.random_range(0..self.leaves.len());
                if !(self.leaves[at].in_struct && inner == 1) {
                    self.leaves.remove(at);
                }
            }
            2 => {
                // Two columns swap their names, all change places.
                self.leaves.shuffle(&mut self.random);
                if let [a, b, ..] = self.leaves.as_mut_slice() {
                    std::mem::swap(&mut a.name, &mut b.name);
                }
            }
            _ => {
                if let Some(leaf) = self.leaves.iter_mut().find(|leaf| leaf.kind == "int") {
                    leaf.kind = "long";
                }
            }
        }
        let json = schema_json(&self.leaves, self.random.random_range(0..2));
        self.world.evolve(&json).await;
    }

    async fn rewrite(&mut self) {
        let state = self.world.state().await;
        if state.has_deletes() || self.world.table.metadata().format_version() > FormatVersion::V2 {
            return;
        }
        let live: Vec<String> =
            state.live_data_files().unwrap().iter().map(|live| live.file.file_path().to_owned()).collect();
        if live.is_empty() {
            return;
        }
        let json: Vec<Value> = self.rows.iter().map(|row| self.json_of(row)).collect();
        let file = self.world.write(&json, 7, Struct::empty()).await;
        for (position, row) in self.rows.iter_mut().enumerate() {
            row.place = (file.file.file_path().to_owned(), position as i64);
        }
        self.world.replace(live, vec![file]).await;
    }

    async fn step(&mut self) {
        match self.random.random_range(0..10) {
            0..=3 => {
                let files = self.append().await;
                self.world.append_files(files).await;
            }
            4 => self.delete_positions().await,
            5 => self.delete_equal().await,
            6 | 7 => self.change_schema().await,
            8 if self.random.random_bool(0.1) => self.upgrade().await,
            _ => self.rewrite().await,
        }
    }

    async fn check(&mut self, seed: u64, step: usize) {
        let expected: Vec<Value> = self.rows.iter().map(|row| self.json_of(row)).collect();
        assert_eq!(self.world.rows(&all()).await, sorted(expected.clone()), "seed {seed} step {step}");
        let leaf = self.leaves.choose(&mut self.random).cloned().unwrap();
        let path = if leaf.in_struct { format!("s.{}", leaf.name) } else { leaf.name.clone() };
        let (predicate, matches) = self.predicate(&leaf, &path);
        let request = ScanRequest {
            projection: Projection::paths([path.as_str(), "key"]),
            predicate: Some(predicate.clone()),
            split_size_bytes: Some(self.random.random_range(1..4_000)),
            ..ScanRequest::default()
        };
        let narrow = |row: &Value| match leaf.in_struct {
            false => json!({&leaf.name: row[&leaf.name], "key": row["key"]}),
            true if row["s"].is_null() => json!({"s": null, "key": row["key"]}),
            true => json!({"s": {&leaf.name: row["s"][&leaf.name]}, "key": row["key"]}),
        };
        let of = |row: &Value| match leaf.in_struct {
            true => row["s"].get(&leaf.name).cloned().unwrap_or(Value::Null),
            false => row[&leaf.name].clone(),
        };
        let expected = expected.iter().filter(|row| matches(&of(row))).map(narrow).collect();
        let got = self.world.rows(&request).await;
        assert_eq!(got, sorted(expected), "seed {seed} step {step}: {predicate:?}");
    }

    fn predicate(&mut self, leaf: &Leaf, path: &str) -> (Predicate, Matches) {
        let value = loop {
            let value = self.value(leaf.kind);
            if !value.is_null() {
                break value;
            }
        };
        let datum = match &value {
            Value::String(text) => Datum::string(text),
            number if leaf.kind == "double" => Datum::double(number.as_f64().unwrap()),
            number => Datum::long(number.as_i64().unwrap()),
        };
        let order = |a: &Value, b: &Value| match (a, b) {
            (Value::String(a), Value::String(b)) => a.cmp(b),
            (a, b) => a.as_f64().unwrap().total_cmp(&b.as_f64().unwrap()),
        };
        let comparisons: [(Comparison, Holds); 6] = [
            (Comparison::Equal, std::cmp::Ordering::is_eq),
            (Comparison::NotEqual, std::cmp::Ordering::is_ne),
            (Comparison::Less, std::cmp::Ordering::is_lt),
            (Comparison::LessOrEqual, std::cmp::Ordering::is_le),
            (Comparison::Greater, std::cmp::Ordering::is_gt),
            (Comparison::GreaterOrEqual, std::cmp::Ordering::is_ge),
        ];
        let (comparison, holds) = comparisons[self.random.random_range(0..6)];
        let compared = Predicate::compare(path, comparison, datum.clone());
        let null = Predicate::IsNull(path.to_owned());
        let test = move |other: &Value| !other.is_null() && holds(order(other, &value));
        match self.random.random_range(0..5) {
            0 => (null, Box::new(Value::is_null)),
            1 => (compared.negate(), Box::new(move |other| !other.is_null() && !test(other))),
            2 => (Predicate::Or(vec![compared, null]), Box::new(move |other| other.is_null() || test(other))),
            3 => (compared.and(null.negate()), Box::new(test)),
            _ => (compared, Box::new(test)),
        }
    }
}

/// The struct comes before or after the other columns.
fn schema_json(leaves: &[Leaf], struct_at: usize) -> String {
    let field =
        |leaf: &Leaf| format!(r#"{{"id":{},"name":"{}","required":false,"type":"{}"}}"#, leaf.id, leaf.name, leaf.kind);
    let inner: Vec<String> = leaves.iter().filter(|leaf| leaf.in_struct).map(field).collect();
    let mut fields: Vec<String> = leaves.iter().filter(|leaf| !leaf.in_struct).map(field).collect();
    let nested = format!(
        r#"{{"id":{STRUCT_ID},"name":"s","required":false,"type":{{"type":"struct","fields":[{}]}}}}"#,
        inner.join(",")
    );
    fields.insert(struct_at.min(fields.len()), nested);
    fields.insert(0, format!(r#"{{"id":{KEY_ID},"name":"key","required":true,"type":"long"}}"#));
    format!(r#"{{"type":"struct","fields":[{}]}}"#, fields.join(","))
}

#[tokio::test]
async fn random_histories_read_as_their_model() {
    let only = std::env::var("FRAZIL_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let count = if std::env::var_os("FRAZIL_LONG").is_some() { 2_000 } else { 40 };
    let seeds = only.map_or(0..count, |seed| seed..seed + 1);
    for seed in seeds {
        let mut model = Model::new(seed).await;
        for step in 0..12 {
            model.step().await;
            model.check(seed, step).await;
        }
    }
}
