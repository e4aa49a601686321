use expect_test::{Expect, expect};

use super::*;
use crate::spec::Schema;

fn all_types() -> Schema {
    let json = r#"{"type":"struct","schema-id":0,"fields":[
        {"id":1,"name":"b","required":true,"type":"boolean"},
        {"id":2,"name":"i","required":false,"type":"int","doc":"an int"},
        {"id":3,"name":"dec","required":false,"type":"decimal(12, 2)"},
        {"id":4,"name":"t","required":false,"type":"time"},
        {"id":5,"name":"ts","required":false,"type":"timestamp"},
        {"id":6,"name":"tz","required":false,"type":"timestamptz"},
        {"id":7,"name":"tns","required":false,"type":"timestamp_ns"},
        {"id":8,"name":"tzns","required":false,"type":"timestamptz_ns"},
        {"id":9,"name":"u","required":false,"type":"uuid"},
        {"id":10,"name":"f","required":false,"type":"fixed[5]"},
        {"id":11,"name":"s","required":false,"type":{"type":"struct","fields":[
            {"id":12,"name":"l","required":true,"type":{"type":"list","element-id":13,"element-required":false,
                "element":{"type":"map","key-id":14,"key":"string","value-id":15,"value-required":true,"value":"binary"}}}]}}
    ]}"#;
    serde_json::from_str(json).unwrap()
}

fn render(fields: &Fields, depth: usize, out: &mut String) {
    for field in fields {
        let nested = match field.data_type() {
            DataType::Struct(fields) => fields.clone(),
            DataType::List(element) | DataType::Map(element, _) => [element.clone()].into_iter().collect(),
            _ => Fields::empty(),
        };
        let r#type = if nested.is_empty() { field.data_type().to_string() } else { "…".to_owned() };
        let null = if field.is_nullable() { "?" } else { "" };
        let id = field_id(field).map_or("-".to_owned(), |id| id.to_string());
        let doc = field.metadata().get(DOC_KEY).map_or(String::new(), |doc| format!(" // {doc}"));
        out.push_str(&format!("{}{id} {}{null}: {type}{doc}\n", "  ".repeat(depth), field.name()));
        render(&nested, depth + 1, out);
    }
}

fn check(schema: &ArrowSchema, expect: Expect) {
    let mut out = String::new();
    render(schema.fields(), 0, &mut out);
    expect.assert_eq(&out);
}

#[test]
fn every_field_carries_its_id_at_every_depth() {
    check(
        &arrow_schema(&all_types()).unwrap(),
        expect![[r#"
            1 b: Boolean
            2 i?: Int32 // an int
            3 dec?: Decimal128(12, 2)
            4 t?: Time64(µs)
            5 ts?: Timestamp(µs)
            6 tz?: Timestamp(µs, "+00:00")
            7 tns?: Timestamp(ns)
            8 tzns?: Timestamp(ns, "+00:00")
            9 u?: FixedSizeBinary(16)
            10 f?: FixedSizeBinary(5)
            11 s?: …
              12 l: …
                13 element?: …
                  - key_value: …
                    14 key: Utf8
                    15 value: Binary
        "#]],
    );
}

#[test]
fn a_schema_comes_back_with_fresh_ids_level_by_level() {
    let back = iceberg_schema(&arrow_schema(&all_types()).unwrap()).unwrap();
    check(
        &arrow_schema(&back).unwrap(),
        expect![[r#"
            1 b: Boolean
            2 i?: Int32 // an int
            3 dec?: Decimal128(12, 2)
            4 t?: Time64(µs)
            5 ts?: Timestamp(µs)
            6 tz?: Timestamp(µs, "+00:00")
            7 tns?: Timestamp(ns)
            8 tzns?: Timestamp(ns, "+00:00")
            9 u?: FixedSizeBinary(16)
            10 f?: FixedSizeBinary(5)
            11 s?: …
              12 l: …
                13 element?: …
                  - key_value: …
                    14 key: Utf8
                    15 value: Binary
        "#]],
    );
}

#[test]
fn types_that_iceberg_lacks_widen() {
    let cases = [
        (DataType::UInt8, "int"),
        (DataType::UInt32, "long"),
        (DataType::UInt64, "decimal(20, 0)"),
        (DataType::Float16, "float"),
        (DataType::Timestamp(TimeUnit::Millisecond, None), "timestamp"),
        (DataType::Timestamp(TimeUnit::Second, Some("Europe/Paris".into())), "timestamptz"),
        (DataType::Utf8View, "string"),
        (DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::LargeUtf8)), "string"),
        (DataType::Decimal64(9, 0), "decimal(9, 0)"),
    ];
    for (arrow, iceberg) in cases {
        let schema = ArrowSchema::new(vec![Field::new("a", arrow.clone(), true)]);
        let field = iceberg_schema(&schema).unwrap().field_by_name("a").unwrap().clone();
        assert_eq!(field.field_type.to_string(), iceberg, "{arrow}");
    }
}

#[test]
fn a_type_without_counterpart_names_its_field() {
    let leaf = Field::new("gap", DataType::Duration(TimeUnit::Second), true);
    let outer = Field::new("outer", DataType::Struct([leaf].into_iter().collect()), true);
    let error = iceberg_schema(&ArrowSchema::new(vec![outer])).unwrap_err().to_string();
    expect!["field outer.gap: Iceberg has no type for Arrow's Duration(s); cast the column first"].assert_eq(&error);
}

#[test]
fn a_decimal_that_arrow_cannot_hold_is_refused() {
    let field = NestedField::optional(1, "d", Type::Primitive(PrimitiveType::Decimal { precision: 39, scale: 0 }));
    let schema = Schema::builder().with_fields([Arc::new(field)]).build().unwrap();
    let error = arrow_schema(&schema).unwrap_err().to_string();
    expect!["field d: decimal(39, 0) needs 1 ≤ precision ≤ 38 and scale ≤ precision"].assert_eq(&error);
}
