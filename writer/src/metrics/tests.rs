use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int32Array, Int64Array, ListArray, MapArray, RecordBatch, StringArray, StructArray,
    Time64MicrosecondArray, TimestampMicrosecondArray, TimestampNanosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Schema as ArrowSchema};
use expect_test::expect;
use frazil_storage::Env;
use frazil_table::Table;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::fixture::{batch, id, read, table};
use crate::{FileOptions, TableWriter, WriterConfig};

/// One column of each type, in a struct, in a list, in a map.
const FIELDS: &str = r#"
    {"id":1,"name":"bool","required":false,"type":"boolean"},
    {"id":2,"name":"int","required":false,"type":"int"},
    {"id":3,"name":"long","required":true,"type":"long"},
    {"id":4,"name":"float","required":false,"type":"float"},
    {"id":5,"name":"double","required":false,"type":"double"},
    {"id":6,"name":"dec9","required":false,"type":"decimal(9, 2)"},
    {"id":7,"name":"dec18","required":false,"type":"decimal(18, 2)"},
    {"id":8,"name":"dec38","required":false,"type":"decimal(38, 2)"},
    {"id":9,"name":"date","required":false,"type":"date"},
    {"id":10,"name":"time","required":false,"type":"time"},
    {"id":11,"name":"ts","required":false,"type":"timestamp"},
    {"id":12,"name":"tz","required":false,"type":"timestamptz"},
    {"id":13,"name":"tns","required":false,"type":"timestamp_ns"},
    {"id":14,"name":"tzns","required":false,"type":"timestamptz_ns"},
    {"id":15,"name":"string","required":false,"type":"string"},
    {"id":16,"name":"uuid","required":false,"type":"uuid"},
    {"id":17,"name":"fixed","required":false,"type":"fixed[20]"},
    {"id":18,"name":"binary","required":false,"type":"binary"},
    {"id":19,"name":"s","required":false,"type":{"type":"struct","fields":[
        {"id":20,"name":"text","required":false,"type":"string"},
        {"id":21,"name":"deep","required":false,"type":{"type":"struct","fields":[
            {"id":22,"name":"x","required":true,"type":"double"}]}}]}},
    {"id":23,"name":"list","required":false,"type":{"type":"list","element-id":24,"element-required":false,"element":"string"}},
    {"id":25,"name":"map","required":false,"type":{"type":"map","key-id":26,"key":"string","value-id":27,"value-required":false,
        "value":"double"}}"#;

/// A leaf's values, one for each row, as the batch shows them.
type Shown<T> = Vec<Option<T>>;

/// Random rows, and beside the batch what the leaves outside of lists and maps show.
struct Rows {
    batch: RecordBatch,
    ints: Vec<(&'static str, Shown<i64>)>,
    decimals: Vec<(&'static str, Shown<i128>)>,
    floats: Vec<(&'static str, Shown<f64>)>,
    bytes: Vec<(&'static str, Shown<Vec<u8>>)>,
}

fn column<T>(rng: &mut StdRng, rows: usize, nulls: f64, mut value: impl FnMut(&mut StdRng) -> T) -> Shown<T> {
    (0..rows).map(|_| (!rng.random_bool(nulls)).then(|| value(rng))).collect()
}

fn text(rng: &mut StdRng) -> String {
    const CHARACTERS: [char; 8] = ['a', 'b', 'z', 'é', '漢', '\u{d7ff}', '\u{10ffff}', '\u{7f}'];
    let length = if rng.random_bool(0.3) { rng.random_range(0..200) } else { rng.random_range(0..20) };
    (0..length).map(|_| CHARACTERS[rng.random_range(0..8)]).collect()
}

fn binary(rng: &mut StdRng, length: usize) -> Vec<u8> {
    (0..length).map(|_| if rng.random_bool(0.7) { 0xff } else { rng.random() }).collect()
}

fn float(rng: &mut StdRng) -> f64 {
    match rng.random_range(0..8) {
        0 => f64::NAN,
        1 => -0.0,
        2 => 0.0,
        3 => f64::NEG_INFINITY,
        _ => f64::from(rng.random_range(-5..5)) / 4.0,
    }
}

fn masked<T: Clone>(values: &Shown<T>, valid: &[bool]) -> Shown<T> {
    values.iter().zip(valid).map(|(value, valid)| value.clone().filter(|_| *valid)).collect()
}

fn structs(schema_type: &DataType, columns: Vec<ArrayRef>, valid: &[bool]) -> ArrayRef {
    let DataType::Struct(fields) = schema_type else { panic!() };
    Arc::new(StructArray::new(fields.clone(), columns, Some(NullBuffer::from(valid.to_vec()))))
}

/// Rows whose share of nulls and NaNs differs from batch to batch, so that some row groups have nothing else.
fn rows(rng: &mut StdRng, table: &Table, count: usize) -> Rows {
    let schema = frazil_table::arrow::arrow_schema(table.metadata().current_schema()).unwrap();
    let r#type = |name: &str| schema.field_with_name(name).unwrap().data_type().clone();
    let nulls = [0.0, 0.1, 1.0][rng.random_range(0..3)];
    let ints = |rng: &mut StdRng, nulls, range: std::ops::Range<i64>| {
        column(rng, count, nulls, |rng| rng.random_range(range.clone()))
    };
    let bools = ints(rng, nulls, 0..2);
    let int = ints(rng, nulls, -100_000..100_000);
    let long = ints(rng, 0.0, i64::MIN..i64::MAX);
    let days = ints(rng, nulls, -30_000..30_000);
    let time = ints(rng, nulls, 0..86_400_000_000);
    let moments = ints(rng, nulls, -1_000_000_000_000_000..2_000_000_000_000_000);
    let decimals = |rng: &mut StdRng, digits: u32| {
        column(rng, count, nulls, |rng| rng.random_range(-10i128.pow(digits) + 1..10i128.pow(digits)))
    };
    let (dec9, dec18, dec38) = (decimals(rng, 9), decimals(rng, 18), decimals(rng, 38));
    let only_nans = rng.random_bool(0.3);
    let float = |rng: &mut StdRng| if only_nans { f64::NAN } else { float(rng) };
    let (f32s, f64s, x) =
        (column(rng, count, nulls, float), column(rng, count, nulls, float), column(rng, count, 0.0, float));
    let (string, nested) = (column(rng, count, nulls, text), column(rng, count, nulls, text));
    let uuid = column(rng, count, nulls, |rng| binary(rng, 16));
    let fixed = column(rng, count, nulls, |rng| binary(rng, 20));
    let bytes = column(rng, count, nulls, |rng| {
        let length = rng.random_range(0..40);
        binary(rng, length)
    });
    let outer: Vec<bool> = (0..count).map(|_| rng.random_bool(0.8)).collect();
    let inner: Vec<bool> = (0..count).map(|_| rng.random_bool(0.8)).collect();
    let both: Vec<bool> = outer.iter().zip(&inner).map(|(a, b)| *a && *b).collect();

    let decimal = |values: &Shown<i128>, precision| -> ArrayRef {
        Arc::new(Decimal128Array::from(values.clone()).with_precision_and_scale(precision, 2).unwrap())
    };
    let narrow = |values: &Shown<i64>| values.iter().map(|v| v.map(|v| v as i32)).collect::<Vec<_>>();
    let micros = || TimestampMicrosecondArray::from(moments.clone());
    let nanos = || TimestampNanosecondArray::from(moments.clone());
    let texts = |values: &Shown<String>| -> ArrayRef { Arc::new(StringArray::from(values.clone())) };
    let fixed_size = |values: &Shown<Vec<u8>>, size| -> ArrayRef {
        let values = values.iter().map(|value| value.as_deref());
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, size).unwrap())
    };
    let DataType::Struct(inner_fields) = r#type("s") else { panic!() };
    let deep = structs(inner_fields[1].data_type(), vec![Arc::new(Float64Array::from(x.clone()))], &inner);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(bools.iter().map(|v| v.map(|v| v == 1)).collect::<BooleanArray>()),
        Arc::new(Int32Array::from(narrow(&int))),
        Arc::new(Int64Array::from(long.clone())),
        Arc::new(f32s.iter().map(|v| v.map(|v| v as f32)).collect::<Float32Array>()),
        Arc::new(Float64Array::from(f64s.clone())),
        decimal(&dec9, 9),
        decimal(&dec18, 18),
        decimal(&dec38, 38),
        Arc::new(Date32Array::from(narrow(&days))),
        Arc::new(Time64MicrosecondArray::from(time.clone())),
        Arc::new(micros()),
        Arc::new(micros().with_timezone("+00:00")),
        Arc::new(nanos()),
        Arc::new(nanos().with_timezone("+00:00")),
        texts(&string),
        fixed_size(&uuid, 16),
        fixed_size(&fixed, 20),
        Arc::new(bytes.iter().map(|value| value.as_deref()).collect::<BinaryArray>()),
        structs(&r#type("s"), vec![texts(&nested), deep], &outer),
        lists(rng, &r#type("list"), count),
        maps(rng, &r#type("map"), count),
    ];
    let as_bytes = |values: &Shown<String>| -> Shown<Vec<u8>> {
        values.iter().map(|v| v.as_ref().map(|v| v.clone().into_bytes())).collect()
    };
    Rows {
        batch: batch(table, columns),
        ints: vec![
            ("bool", bools),
            ("int", int),
            ("long", long),
            ("date", days),
            ("time", time),
            ("ts", moments.clone()),
            ("tz", moments.clone()),
            ("tns", moments.clone()),
            ("tzns", moments),
        ],
        decimals: vec![("dec9", dec9), ("dec18", dec18), ("dec38", dec38)],
        floats: vec![("float", f32s), ("double", f64s), ("s.deep.x", masked(&x, &both))],
        bytes: vec![
            ("string", as_bytes(&string)),
            ("uuid", uuid),
            ("fixed", fixed),
            ("binary", bytes),
            ("s.text", as_bytes(&masked(&nested, &outer))),
        ],
    }
}

fn lists(rng: &mut StdRng, r#type: &DataType, count: usize) -> ArrayRef {
    let DataType::List(element) = r#type else { panic!() };
    let lengths: Vec<usize> = (0..count).map(|_| rng.random_range(0..4)).collect();
    let total = lengths.iter().sum();
    let values = StringArray::from(column(rng, total, 0.2, text));
    Arc::new(ListArray::new(element.clone(), OffsetBuffer::from_lengths(lengths), Arc::new(values), None))
}

fn maps(rng: &mut StdRng, r#type: &DataType, count: usize) -> ArrayRef {
    let DataType::Map(entries, _) = r#type else { panic!() };
    let DataType::Struct(fields) = entries.data_type() else { panic!() };
    let lengths: Vec<usize> = (0..count).map(|_| rng.random_range(0..3)).collect();
    let total = lengths.iter().sum();
    let keys: ArrayRef = Arc::new(StringArray::from(column(rng, total, 0.0, text)));
    let values: ArrayRef = Arc::new(Float64Array::from(column(rng, total, 0.2, float)));
    let pairs = StructArray::new(fields.clone(), vec![keys, values], None);
    Arc::new(MapArray::new(entries.clone(), OffsetBuffer::from_lengths(lengths), pairs, None, false))
}

/// What the specification wants of a bound, written down apart from the code under test.
fn model_bytes(r#type: &PrimitiveType, low: Vec<u8>, high: Vec<u8>) -> (Datum, Option<Datum>) {
    match r#type {
        PrimitiveType::String => {
            let low: String = String::from_utf8(low).unwrap().chars().take(16).collect();
            let high: Vec<char> = String::from_utf8(high).unwrap().chars().collect();
            if high.len() <= 16 {
                return (Datum::string(low), Some(Datum::string(high.into_iter().collect::<String>())));
            }
            let raised = (0..16).rev().find(|i| high[*i] != char::MAX).map(|i| {
                let next = match high[i] {
                    '\u{d7ff}' => '\u{e000}',
                    other => char::from_u32(u32::from(other) + 1).unwrap(),
                };
                Datum::string(high[..i].iter().chain([&next]).collect::<String>())
            });
            (Datum::string(low), raised)
        }
        PrimitiveType::Uuid => {
            let uuid = |bytes: Vec<u8>| Datum::uuid(uuid::Uuid::from_slice(&bytes).unwrap());
            (uuid(low), Some(uuid(high)))
        }
        _ => {
            let datum = |bytes: &[u8]| Datum::try_from_bytes(bytes, r#type.clone()).unwrap();
            let raised = match high.len() {
                0..=16 => Some(high),
                _ => (0..16).rev().find(|i| high[*i] != 0xff).map(|i| [&high[..i], &[high[i] + 1]].concat()),
            };
            (datum(&low[..low.len().min(16)]), raised.map(|bytes| datum(&bytes)))
        }
    }
}

struct Model<'a> {
    table: &'a Table,
    file: &'a DataFile,
    seed: u64,
}

impl Model<'_> {
    fn check(&self, name: &str, count: usize, nulls: usize, bounds: Option<(Datum, Option<Datum>)>) {
        let (id, seed) = (id(self.table, name), self.seed);
        assert_eq!(self.file.value_counts().get(&id), Some(&(count as u64)), "values of {name}, seed {seed}");
        assert_eq!(self.file.null_value_counts().get(&id), Some(&(nulls as u64)), "nulls of {name}, seed {seed}");
        let (lower, upper) = bounds.map_or((None, None), |(lower, upper)| (Some(lower), upper));
        assert_eq!(self.file.lower_bounds().get(&id), lower.as_ref(), "lower bound of {name}, seed {seed}");
        assert_eq!(self.file.upper_bounds().get(&id), upper.as_ref(), "upper bound of {name}, seed {seed}");
    }

    fn r#type(&self, name: &str) -> PrimitiveType {
        let field = self.table.metadata().current_schema().field_by_name(name).unwrap();
        field.field_type.as_primitive_type().unwrap().clone()
    }

    fn ints(&self, name: &str, values: &Shown<i64>) {
        let datum = |value: &i64| match self.r#type(name) {
            PrimitiveType::Boolean => Datum::bool(*value == 1),
            PrimitiveType::Int => Datum::int(*value as i32),
            PrimitiveType::Date => Datum::date(*value as i32),
            PrimitiveType::Long => Datum::long(*value),
            PrimitiveType::Time => Datum::time_micros(*value).unwrap(),
            PrimitiveType::Timestamp => Datum::timestamp_micros(*value),
            PrimitiveType::Timestamptz => Datum::timestamptz_micros(*value),
            PrimitiveType::TimestampNs => Datum::timestamp_nanos(*value),
            PrimitiveType::TimestamptzNs => Datum::timestamptz_nanos(*value),
            other => panic!("{other}"),
        };
        let (low, high) = (values.iter().flatten().min(), values.iter().flatten().max());
        self.check(name, values.len(), nulls(values), low.zip(high).map(|(low, high)| (datum(low), Some(datum(high)))));
    }

    fn decimals(&self, name: &str, values: &Shown<i128>) {
        let datum = |value: &i128| Datum::try_from_bytes(&value.to_be_bytes(), self.r#type(name)).unwrap();
        let (low, high) = (values.iter().flatten().min(), values.iter().flatten().max());
        self.check(name, values.len(), nulls(values), low.zip(high).map(|(low, high)| (datum(low), Some(datum(high)))));
    }

    fn floats(&self, name: &str, values: &Shown<f64>) {
        let nans = values.iter().flatten().filter(|v| v.is_nan()).count();
        assert_eq!(self.file.nan_value_counts().get(&id(self.table, name)), Some(&(nans as u64)), "NaNs of {name}");
        let numbers = || values.iter().flatten().filter(|v| !v.is_nan()).copied();
        let low = numbers().reduce(f64::min).map(|v| if v == 0.0 { -0.0 } else { v });
        let high = numbers().reduce(f64::max).map(|v| if v == 0.0 { 0.0 } else { v });
        let datum = |value: f64| match self.r#type(name) {
            PrimitiveType::Float => Datum::float(value as f32),
            _ => Datum::double(value),
        };
        // Zeros of either sign are equal as data: the bytes tell them apart.
        let bytes = |bounds: &HashMap<i32, Datum>| bounds.get(&id(self.table, name)).map(|d| d.to_bytes().unwrap());
        assert_eq!(
            bytes(self.file.lower_bounds()),
            low.map(|v| datum(v).to_bytes().unwrap()),
            "{name}, seed {}",
            self.seed
        );
        assert_eq!(
            bytes(self.file.upper_bounds()),
            high.map(|v| datum(v).to_bytes().unwrap()),
            "{name}, seed {}",
            self.seed
        );
        self.check(name, values.len(), nulls(values), low.zip(high).map(|(low, high)| (datum(low), Some(datum(high)))));
    }

    fn bytes(&self, name: &str, values: &Shown<Vec<u8>>) {
        let (low, high) = (values.iter().flatten().min().cloned(), values.iter().flatten().max().cloned());
        let bounds = low.zip(high).map(|(low, high)| model_bytes(&self.r#type(name), low, high));
        self.check(name, values.len(), nulls(values), bounds);
    }
}

fn nulls<T>(values: &Shown<T>) -> usize {
    values.iter().filter(|value| value.is_none()).count()
}

fn concat<T: Clone>(
    parts: &[Rows],
    of: impl Fn(&Rows) -> &Vec<(&'static str, Shown<T>)>,
) -> Vec<(&'static str, Shown<T>)> {
    let mut whole = of(&parts[0]).clone();
    for part in &parts[1..] {
        for ((_, values), (_, more)) in whole.iter_mut().zip(of(part)) {
            values.extend_from_slice(more);
        }
    }
    whole
}

async fn write(table: &Table, env: &Env, parts: &[Rows]) -> DataFile {
    // No batch fits beside its partition: each is spilled into a row group of its own.
    let config = WriterConfig { memory_max_bytes: 2048, ..WriterConfig::default() };
    let mut writer = TableWriter::new(env.clone(), table, config).unwrap();
    for part in parts {
        writer.write(part.batch.clone()).await.unwrap();
    }
    let files = writer.close().await.unwrap();
    assert_eq!(files.len(), 1);
    files[0].file.clone()
}

#[tokio::test]
async fn every_type_comes_back_and_bounds_are_those_of_a_model() {
    for seed in 0..40 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (env, table) = (Env::in_memory(seed), table(FIELDS, &[], &[]));
        let parts: Vec<_> = (0..3)
            .map(|_| {
                let count = rng.random_range(1..60);
                rows(&mut rng, &table, count)
            })
            .collect();
        let file = write(&table, &env, &parts).await;
        let whole: Vec<_> = parts.iter().map(|part| part.batch.clone()).collect();
        let (back, parquet) = read(&env, &table, file.file_path()).await;
        assert_eq!(parquet.num_row_groups(), 3);
        assert_eq!(back, concat_batches(&back.schema(), &whole).unwrap(), "seed {seed}");
        let model = Model { table: &table, file: &file, seed };
        concat(&parts, |part| &part.ints).iter().for_each(|(name, values)| model.ints(name, values));
        concat(&parts, |part| &part.decimals).iter().for_each(|(name, values)| model.decimals(name, values));
        concat(&parts, |part| &part.floats).iter().for_each(|(name, values)| model.floats(name, values));
        concat(&parts, |part| &part.bytes).iter().for_each(|(name, values)| model.bytes(name, values));
        for repeated in ["list.element", "map.key", "map.value"] {
            let id = id(&table, repeated);
            assert!(file.value_counts()[&id] >= back.num_rows() as u64);
            assert!(file.null_value_counts().contains_key(&id) && file.column_sizes().contains_key(&id));
            assert!(!file.lower_bounds().contains_key(&id) && !file.upper_bounds().contains_key(&id));
        }
        assert_eq!(file.split_offsets().map(<[i64]>::len), Some(3));
        assert!(file.column_sizes().values().all(|size| *size > 0));
        assert_eq!(file.column_sizes().len(), 23);
    }
}

/// The bug of a row group that is passed over: it must take the bound with it.
#[test]
fn a_row_group_without_statistics_takes_the_bound_with_it() {
    let table = table(r#"{"id":1,"name":"n","required":false,"type":"long"}"#, &[], &[]);
    let options = FileOptions::of(&table).unwrap();
    let file = |enabled, nan_counts: NanCounts<'_>| {
        let properties = WriterProperties::builder().set_statistics_enabled(enabled).build();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, options.arrow_schema.clone(), Some(properties)).unwrap();
        for value in [1, 1000] {
            writer.write(&batch(&table, vec![Arc::new(Int64Array::from(vec![value]))])).unwrap();
            writer.flush().unwrap();
        }
        let mut parquet = writer.close().unwrap();
        if enabled != EnabledStatistics::None {
            parquet = without_statistics_in_second_group(parquet);
        }
        let identity = FileIdentity {
            location: "f",
            size_bytes: 1,
            partition_spec_id: 0,
            partition: Struct::empty(),
            sort_order_id: None,
        };
        data_file_from_parquet(&parquet, identity, table.metadata().current_schema(), &options.metrics, nan_counts)
    };
    for enabled in [EnabledStatistics::None, EnabledStatistics::Chunk] {
        let file = file(enabled, NanCounts::Unknown);
        assert!(file.lower_bounds().is_empty() && file.upper_bounds().is_empty(), "{enabled:?}");
        assert_eq!(file.value_counts().get(&1), Some(&2));
        assert!(file.null_value_counts().is_empty(), "{enabled:?}");
    }
}

fn without_statistics_in_second_group(parquet: ParquetMetaData) -> ParquetMetaData {
    let mut builder = parquet.into_builder();
    let mut groups = builder.take_row_groups();
    let last = groups.pop().unwrap();
    let mut last = last.into_builder();
    let columns = last.take_columns().into_iter();
    let columns = columns.map(|column| column.into_builder().clear_statistics().build().unwrap()).collect();
    groups.push(last.set_column_metadata(columns).build().unwrap());
    builder.set_row_groups(groups).build()
}

/// Statistics that another writer cut at 64 bytes are still bounds.
#[test]
fn bounds_hold_for_statistics_that_were_cut() {
    let table = table(r#"{"id":1,"name":"s","required":false,"type":"string"}"#, &[], &[]);
    let schema = Arc::new(ArrowSchema::clone(&FileOptions::of(&table).unwrap().arrow_schema));
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, schema, None).unwrap();
    let long = "z".repeat(100);
    for values in [vec!["aa", "bb"], vec![long.as_str(), long.as_str()]] {
        writer.write(&batch(&table, vec![Arc::new(StringArray::from(values))])).unwrap();
        writer.flush().unwrap();
    }
    let parquet = writer.close().unwrap();
    let bounds = |mode| {
        let identity = FileIdentity {
            location: "f",
            size_bytes: 1,
            partition_spec_id: 0,
            partition: Struct::empty(),
            sort_order_id: None,
        };
        let schema = table.metadata().current_schema();
        let metrics = MetricsConfig::uniform(schema, mode);
        let file = data_file_from_parquet(&parquet, identity, schema, &metrics, NanCounts::Unknown);
        format!(
            "{:?}",
            (file.lower_bounds().get(&1).map(Datum::to_string), file.upper_bounds().get(&1).map(Datum::to_string))
        )
    };
    expect![[r#"(Some("\"aa\""), Some("\"zzzzzzzzzzzzzzz{\""))"#]].assert_eq(&bounds(MetricsMode::Truncate(16)));
    expect![[r#"(Some("\"a\""), Some("\"{\""))"#]].assert_eq(&bounds(MetricsMode::Truncate(1)));
    expect!["(None, None)"].assert_eq(&bounds(MetricsMode::Counts));
    let full = bounds(MetricsMode::Full);
    assert!(full.contains("zzz{"), "{full}");
}

#[tokio::test]
async fn modes_decide_what_is_kept() {
    let fields = r#"{"id":1,"name":"a","required":false,"type":"string"},{"id":2,"name":"b","required":false,"type":"string"},
        {"id":3,"name":"c","required":false,"type":"string"}"#;
    let (env, table) = (
        Env::in_memory(1),
        table(
            fields,
            &[],
            &[
                ("write.metadata.metrics.column.a", "none"),
                ("write.metadata.metrics.column.b", "counts"),
                ("write.metadata.metrics.column.c", "full"),
            ],
        ),
    );
    let mut writer = TableWriter::new(env, &table, WriterConfig::default()).unwrap();
    let long = "x".repeat(3000);
    let column: ArrayRef = Arc::new(StringArray::from(vec![Some(long.as_str()), None]));
    writer.write(batch(&table, vec![column.clone(), column.clone(), column])).await.unwrap();
    let file = writer.close().await.unwrap().remove(0).file;
    let [a, b, c] = ["a", "b", "c"].map(|name| id(&table, name));
    assert_eq!(file.column_sizes().len(), 3);
    assert!(!file.value_counts().contains_key(&a));
    assert_eq!((file.value_counts()[&b], file.null_value_counts()[&b]), (2, 1));
    assert!(!file.lower_bounds().contains_key(&b));
    assert_eq!(file.lower_bounds()[&c], Datum::string(&long));
    assert_eq!(file.upper_bounds()[&c], Datum::string(&long));
}

#[test]
fn nans_of_the_whole_file_explain_a_single_row_group_only() {
    let table = table(r#"{"id":1,"name":"x","required":true,"type":"double"}"#, &[], &[]);
    let options = FileOptions::of(&table).unwrap();
    let file = |groups: &[f64], nan_counts: NanCounts<'_>| {
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, options.arrow_schema.clone(), None).unwrap();
        for value in groups {
            writer.write(&batch(&table, vec![Arc::new(Float64Array::from(vec![*value]))])).unwrap();
            writer.flush().unwrap();
        }
        let parquet = writer.close().unwrap();
        let identity = FileIdentity {
            location: "f",
            size_bytes: 1,
            partition_spec_id: 0,
            partition: Struct::empty(),
            sort_order_id: None,
        };
        let file =
            data_file_from_parquet(&parquet, identity, table.metadata().current_schema(), &options.metrics, nan_counts);
        (file.nan_value_counts().get(&1).copied(), file.lower_bounds().get(&1).cloned())
    };
    let one = HashMap::from([(1, 1)]);
    assert_eq!(file(&[f64::NAN, 2.0], NanCounts::Unknown), (None, None));
    // Which of the row groups has the NaN is not known, so the one without statistics might have numbers.
    assert_eq!(file(&[f64::NAN, 2.0], NanCounts::File(&one)), (Some(1), None));
    let groups = [one.clone(), HashMap::new()];
    assert_eq!(file(&[f64::NAN, 2.0], NanCounts::RowGroups(&groups)), (Some(1), Some(Datum::double(2.0))));
    assert_eq!(file(&[f64::NAN], NanCounts::File(&one)), (Some(1), None));
}
