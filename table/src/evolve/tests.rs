//! Plans of metadata changes, on tables that the ground crate's builder takes.

use std::collections::HashMap;

use expect_test::{Expect, expect};

use super::*;
use crate::spec::{
    ListType, Literal, MapType, NestedField, NestedFieldRef, NullOrder, PrimitiveType, Schema, SortDirection,
    StructType, TableCreation, TableIdent, TableMetadataBuilder, Transform, Type, UnboundPartitionSpec,
};

fn primitive(field_type: PrimitiveType) -> Type {
    Type::Primitive(field_type)
}

fn optional(id: i32, name: &str, field_type: PrimitiveType) -> NestedFieldRef {
    NestedField::optional(id, name, primitive(field_type)).into()
}

/// id (identifier), day, price, place: struct<lat, lon>, points: list<struct<x, y>>, prices: map<string, struct<net>>
fn schema() -> Schema {
    let place =
        StructType::new(vec![optional(5, "lat", PrimitiveType::Float), optional(6, "lon", PrimitiveType::Float)]);
    let point = StructType::new(vec![optional(9, "x", PrimitiveType::Int), optional(10, "y", PrimitiveType::Int)]);
    let price = StructType::new(vec![optional(14, "net", PrimitiveType::Decimal { precision: 9, scale: 2 })]);
    let points = ListType::new(NestedField::list_element(8, Type::Struct(point), true).into());
    let prices = MapType::new(
        NestedField::map_key_element(12, primitive(PrimitiveType::String)).into(),
        NestedField::map_value_element(13, Type::Struct(price), true).into(),
    );
    let fields = [
        NestedField::required(1, "id", primitive(PrimitiveType::Int)).into(),
        optional(2, "day", PrimitiveType::Date),
        optional(3, "Price", PrimitiveType::Float),
        NestedField::optional(4, "place", Type::Struct(place)).into(),
        NestedField::optional(7, "points", Type::List(points)).into(),
        NestedField::optional(11, "prices", Type::Map(prices)).into(),
    ];
    Schema::builder().with_fields(fields).with_identifier_field_ids([1]).build().unwrap()
}

fn table_of(version: FormatVersion, schema: Schema, spec: UnboundPartitionSpec) -> Table {
    let creation = TableCreation::builder()
        .name("t".to_owned())
        .location("memory://w/t".to_owned())
        .schema(schema)
        .partition_spec(spec)
        .properties(HashMap::new())
        .format_version(version)
        .build();
    let metadata = TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap().metadata;
    Table::new(TableIdent::from_strs(["db", "t"]).unwrap(), Arc::new(metadata), "memory://w/t/metadata/0.metadata.json")
}

fn table(version: FormatVersion) -> Table {
    table_of(version, schema(), UnboundPartitionSpec::builder().build())
}

/// What a person reads of the plan, or why there is none. The columns as a table afterwards has them come last.
fn text(table: &Table, change: &MetadataChange) -> String {
    match plan_metadata(table, change) {
        Ok(plan) => plan.to_string(),
        Err(error) => format!("{error}\n"),
    }
}

fn changed(table: &Table, change: &MetadataChange) -> Table {
    let plan = plan_metadata(table, change).unwrap();
    for requirement in &plan.requirements {
        requirement.check(Some(table.metadata())).unwrap();
    }
    let changed = apply(table, &plan.updates).unwrap();
    assert!(has_outcome(&changed, &plan.updates), "{plan}");
    assert!(plan.updates.is_empty() || !has_outcome(table, &plan.updates), "{plan}");
    changed
}

fn steps(steps: impl IntoIterator<Item = SchemaStep>) -> MetadataChange {
    MetadataChange::Schema(SchemaChange { steps: steps.into_iter().collect(), ..SchemaChange::default() })
}

fn add(parent: &str, name: &str, field_type: Type) -> NewField {
    NewField {
        parent: if parent.is_empty() { FieldPath::root() } else { parent.into() },
        name: name.to_owned(),
        field_type,
        required: false,
        doc: None,
        default: None,
        position: None,
    }
}

fn rename(path: &str, name: &str) -> SchemaStep {
    SchemaStep::Rename { path: path.into(), name: name.to_owned() }
}

fn set_type(path: &str, field_type: PrimitiveType) -> SchemaStep {
    SchemaStep::SetType { path: path.into(), field_type }
}

fn check(version: FormatVersion, change: &MetadataChange, expected: Expect) {
    expected.assert_eq(&text(&table(version), change));
}

#[test]
fn a_schema_changes_at_any_depth_and_keeps_ids() {
    let change = steps([
        SchemaStep::Add(Box::new(NewField {
            doc: Some("metres".to_owned()),
            position: Some(Position::After("lat".to_owned())),
            ..add("place", "alt", primitive(PrimitiveType::Double))
        })),
        SchemaStep::Add(Box::new(add("points", "z", primitive(PrimitiveType::Int)))),
        SchemaStep::Add(Box::new(add("prices.value", "gross", primitive(PrimitiveType::Long)))),
        rename("place.lon", "lng"),
        set_type("points.element.x", PrimitiveType::Long),
        set_type("prices.net", PrimitiveType::Decimal { precision: 18, scale: 2 }),
        SchemaStep::Drop("points.y".into()),
        SchemaStep::Move { path: "points".into(), position: Position::First },
        SchemaStep::Move { path: "Price".into(), position: Position::Before("id".to_owned()) },
    ]);
    check(
        FormatVersion::V2,
        &change,
        expect![[r#"
        schema 5: points list<9: element struct<10: x long, 16: z int> not null>, 3: Price float, 1: id int not null, 2: day date, 4: place struct<7: lat float, 15: alt double, 8: lng float>, 6: prices map<12: key string not null, 13: value struct<14: net decimal(18, 2), 17: gross long> not null>
        the schema becomes the current one
        requires current schema id 0
        requires last assigned field id 14
    "#]],
    );
}

#[test]
fn a_dropped_column_that_comes_back_is_another_one() {
    let change = steps([
        SchemaStep::Drop("Price".into()),
        SchemaStep::Add(Box::new(add("", "Price", primitive(PrimitiveType::String)))),
    ]);
    check(
        FormatVersion::V2,
        &change,
        expect![[r#"
        schema 1: id int not null, 2: day date, 4: place struct<7: lat float, 8: lon float>, 5: points list<9: element struct<10: x int, 11: y int> not null>, 6: prices map<12: key string not null, 13: value struct<14: net decimal(9, 2)> not null>, 15: Price string
        the schema becomes the current one
        requires current schema id 0
        requires last assigned field id 14
    "#]],
    );
    let dropped = changed(&table(FormatVersion::V2), &steps([SchemaStep::Drop("prices".into())]));
    // The highest id of the schema has become 10, but 14 was given out.
    let again = steps([SchemaStep::Add(Box::new(add("", "prices", primitive(PrimitiveType::String))))]);
    expect![[r#"
        schema 1: id int not null, 2: day date, 3: Price float, 4: place struct<7: lat float, 8: lon float>, 5: points list<9: element struct<10: x int, 11: y int> not null>, 15: prices string
        the schema becomes the current one
        requires current schema id 1
        requires last assigned field id 14
    "#]].assert_eq(&text(&dropped, &again));
}

#[test]
fn ids_inside_of_a_new_type_are_fresh_and_in_icebergs_order() {
    let inner = Type::Struct(StructType::new(vec![
        NestedField::optional(
            1,
            "a",
            Type::List(ListType::new(NestedField::list_element(1, schema_type(), false).into())),
        )
        .into(),
        optional(2, "b", PrimitiveType::Int),
    ]));
    check(
        FormatVersion::V2,
        &steps([SchemaStep::Add(Box::new(add("", "deep", inner)))]),
        expect![[r#"
        schema 1: id int not null, 2: day date, 3: Price float, 4: place struct<7: lat float, 8: lon float>, 5: points list<9: element struct<10: x int, 11: y int> not null>, 6: prices map<12: key string not null, 13: value struct<14: net decimal(9, 2)> not null>, 15: deep struct<16: a list<18: element struct<19: c int, 20: d int>>, 17: b int>
        the schema becomes the current one
        requires current schema id 0
        requires last assigned field id 14
    "#]],
    );
}

fn schema_type() -> Type {
    Type::Struct(StructType::new(vec![optional(1, "c", PrimitiveType::Int), optional(2, "d", PrimitiveType::Int)]))
}

#[test]
fn what_a_schema_can_not_become_is_refused_with_the_reason() {
    let refused = [
        steps([SchemaStep::Drop("id".into())]),
        steps([SchemaStep::Drop("nothing".into())]),
        steps([SchemaStep::Drop("price".into())]),
        steps([SchemaStep::Drop("points.element".into())]),
        steps([SchemaStep::Drop("prices.key".into())]),
        steps([SchemaStep::Drop("prices.net".into())]),
        steps([rename("place.lat", "lon")]),
        steps([rename("points.element", "point")]),
        steps([set_type("id", PrimitiveType::String)]),
        steps([set_type("id", PrimitiveType::Float)]),
        steps([set_type("prices.net", PrimitiveType::Decimal { precision: 8, scale: 2 })]),
        steps([set_type("prices.net", PrimitiveType::Decimal { precision: 18, scale: 3 })]),
        steps([set_type("day", PrimitiveType::Timestamp)]),
        steps([set_type("place", PrimitiveType::String)]),
        steps([SchemaStep::SetRequired { path: "day".into(), required: true }]),
        steps([SchemaStep::SetRequired { path: "id".into(), required: false }]),
        steps([SchemaStep::Add(Box::new(NewField { required: true, ..add("", "n", primitive(PrimitiveType::Int)) }))]),
        steps([SchemaStep::Add(Box::new(NewField {
            default: Some(Literal::int(1)),
            ..add("", "n", primitive(PrimitiveType::Int))
        }))]),
        steps([SchemaStep::Add(Box::new(add("day", "n", primitive(PrimitiveType::Int))))]),
        steps([SchemaStep::Add(Box::new(add("prices.key", "n", primitive(PrimitiveType::Int))))]),
        steps([SchemaStep::Add(Box::new(add("place", "lat", primitive(PrimitiveType::Int))))]),
        steps([SchemaStep::Move { path: "place.lat".into(), position: Position::After("id".to_owned()) }]),
        steps([SchemaStep::Move { path: "id".into(), position: Position::After("id".to_owned()) }]),
        steps([SchemaStep::SetIdentifierFields(vec!["day".into()])]),
        steps([SchemaStep::SetIdentifierFields(vec!["points.x".into()])]),
    ];
    let texts: String = refused.iter().map(|change| text(&table(FormatVersion::V2), change)).collect();
    expect![[r#"
        field id: it is an identifier field, so it can't be dropped; take it out of the identifier fields first
        field nothing: there is no field 'nothing'; there are id, day, Price, place, points, prices
        field price: there is no such field, but there is 'Price'; case counts
        field points.element: a list's element can't be dropped
        field prices.key: a map's key can't be dropped
        field prices.net: it is the only field of its struct, so it can't be dropped
        field place.lat: there is a field 'lon' already
        field points.element: a list's element can't be renamed
        field id: int can't become string: old values would have no value in the new type; int may become long
        field id: int can't become float: old values would have no value in the new type; int may become long
        field prices.net: decimal(9, 2) can't become decimal(8, 2): the precision of a decimal only grows
        field prices.net: decimal(9, 2) can't become decimal(18, 3): the scale of a decimal is fixed
        field day: date can't become timestamp: old values would have no value in the new type
        field place: struct<7: lat float, 8: lon float> can't become string: change the fields inside by their own names, or drop the column and add it again
        field day: it can't become NOT NULL: rows that are there already may have no value for it
        field id: 'id' may be null, so it can't identify rows
        field n: it can't be NOT NULL: rows that are there already have no value for it; let it be nullable, or give it a DEFAULT (format version 3)
        field n: a DEFAULT needs format version 3, and the table has v2; ALTER TABLE … SET ('format-version' = '3') upgrades it
        field day: it is date, which has no fields
        field prices.key: it is string, which has no fields
        field place.lat: there is a field 'lat' already
        field place.lat: there is no field 'id' beside it
        field id: a field can't be moved next to itself
        field day: 'day' may be null, so it can't identify rows
        field points.element.x: it is inside of a list or map, so it can't identify rows
    "#]].assert_eq(&texts);
}

#[test]
fn names_agree_without_case_only_where_that_is_asked_for() {
    let change = |steps: Vec<SchemaStep>| {
        MetadataChange::Schema(SchemaChange { steps, ignore_case: true, ..SchemaChange::default() })
    };
    let table = table(FormatVersion::V2);
    let renamed = changed(&table, &change(vec![rename("PRICE", "cost")]));
    assert_eq!(renamed.metadata().current_schema().field_by_id(3).unwrap().name, "cost");
    let twice = change(vec![SchemaStep::Add(Box::new(add("", "PRICE", primitive(PrimitiveType::Int))))]);
    expect![[r#"
        field PRICE: there is a field 'Price' already
    "#]]
    .assert_eq(&text(&table, &twice));
    let both = changed(&table, &steps([SchemaStep::Add(Box::new(add("", "PRICE", primitive(PrimitiveType::Int))))]));
    expect![[r#"
        field price: 'price' may be Price or PRICE; write it as the schema has it
    "#]]
    .assert_eq(&text(&both, &change(vec![rename("price", "cost")])));
}

#[test]
fn old_rows_make_a_field_required_only_with_a_default_or_by_force() {
    let required = SchemaStep::SetRequired { path: "day".into(), required: true };
    let forced = MetadataChange::Schema(SchemaChange {
        steps: vec![required.clone()],
        allow_incompatible: true,
        ..SchemaChange::default()
    });
    let table = table(FormatVersion::V3);
    assert!(changed(&table, &forced).metadata().current_schema().field_by_id(2).unwrap().required);
    let with_default = NewField {
        required: true,
        default: Some(Literal::int(7)),
        ..add("place", "zone", primitive(PrimitiveType::Int))
    };
    let added = changed(&table, &steps([SchemaStep::Add(Box::new(with_default))]));
    let field = added.metadata().current_schema().field_by_name("place.zone").unwrap().clone();
    assert_eq!((field.required, &field.initial_default), (true, &Some(Literal::int(7))));
    // What is written from now on is another thing than what old rows have.
    let later = SchemaStep::SetWriteDefault { path: "place.zone".into(), value: Some(Literal::int(8)) };
    let wider = changed(&added, &steps([later, set_type("place.zone", PrimitiveType::Long)]));
    let field = wider.metadata().current_schema().field_by_name("place.zone").unwrap().clone();
    assert_eq!(
        (field.initial_default.clone(), field.write_default.clone()),
        (Some(Literal::long(7)), Some(Literal::long(8)))
    );
    let mistyped = SchemaStep::SetWriteDefault { path: "day".into(), value: Some(Literal::string("x")) };
    expect![[r#"
        field day: the DEFAULT is not of the type date
    "#]]
    .assert_eq(&text(&table, &steps([mistyped])));
}

#[test]
fn identifier_fields_can_change_together_with_what_they_were() {
    let change = steps([
        SchemaStep::Add(Box::new(NewField {
            required: true,
            default: Some(Literal::string("")),
            ..add("", "key", primitive(PrimitiveType::String))
        })),
        SchemaStep::SetIdentifierFields(vec!["key".into()]),
        SchemaStep::Drop("id".into()),
    ]);
    let after = changed(&table(FormatVersion::V3), &change);
    assert_eq!(after.metadata().current_schema().identifier_field_ids().collect::<Vec<_>>(), [15]);
}

#[test]
fn properties_that_name_a_column_follow_it() {
    let mapping = r#"[{"field-id":1,"names":["id"]},{"field-id":3,"names":["Price","price"]},
        {"field-id":4,"names":["place"],"fields":[{"field-id":7,"names":["lat"]}]}]"#;
    let properties = HashMap::from([
        ("write.metadata.metrics.column.place.lat".to_owned(), "full".to_owned()),
        ("write.parquet.bloom-filter-enabled.column.Price".to_owned(), "true".to_owned()),
        ("schema.name-mapping.default".to_owned(), mapping.to_owned()),
    ]);
    let before = apply(&table(FormatVersion::V2), &[TableUpdate::SetProperties { updates: properties }]).unwrap();
    let change = steps([
        rename("place", "spot"),
        rename("spot.lat", "latitude"),
        SchemaStep::Drop("Price".into()),
        SchemaStep::Add(Box::new(add("", "price", primitive(PrimitiveType::Int)))),
    ]);
    let after = changed(&before, &change);
    let mut properties: Vec<_> = after.metadata().properties().iter().map(|(k, v)| format!("{k}={v}\n")).collect();
    properties.sort();
    expect![[r#"
        schema.name-mapping.default=[{"field-id":1,"names":["id"]},{"field-id":2,"names":["day"]},{"field-id":4,"fields":[{"field-id":7,"names":["lat","latitude"]},{"field-id":8,"names":["lon"]}],"names":["place","spot"]},{"field-id":5,"fields":[{"field-id":9,"fields":[{"field-id":10,"names":["x"]},{"field-id":11,"names":["y"]}],"names":["element"]}],"names":["points"]},{"field-id":6,"fields":[{"field-id":12,"names":["key"]},{"field-id":13,"fields":[{"field-id":14,"names":["net"]}],"names":["value"]}],"names":["prices"]},{"field-id":15,"names":["price"]},{"field-id":3,"names":["Price"]}]
        write.metadata.metrics.column.spot.latitude=full
    "#]].assert_eq(&properties.concat());
}

fn spec(steps: impl IntoIterator<Item = SpecStep>) -> MetadataChange {
    MetadataChange::PartitionSpec(steps.into_iter().collect())
}

fn by(source: &str, transform: Transform) -> SpecStep {
    SpecStep::Add { source: source.into(), transform, name: None }
}

fn drop_spec(name: &str) -> SpecStep {
    SpecStep::Drop { name: name.to_owned() }
}

#[test]
fn partition_fields_keep_their_ids_and_come_back_under_them() {
    let t = table(FormatVersion::V2);
    let t = changed(&t, &spec([by("id", Transform::Bucket(16)), by("day", Transform::Month)]));
    let t = changed(&t, &spec([drop_spec("day_month"), by("place.lat", Transform::Identity).clone()]).clone());
    expect![[r#"
        partition spec [1000: id_bucket_16 = bucket[16](1), 1002: place_lat = identity(7), 1001: day_month = month(2)]
        the partition spec becomes the default
        requires last assigned partition id 1002
        requires default spec id 2
        requires current schema id 0
    "#]]
    .assert_eq(&text(&t, &spec([by("day", Transform::Month)])));
    expect![[r#"
        partition spec [1002: place_lat = identity(7), 1000: id_bucket_16 = bucket[16](1)]
        the partition spec becomes the default
        requires last assigned partition id 1002
        requires default spec id 2
        requires current schema id 0
    "#]]
    .assert_eq(&text(&t, &spec([drop_spec("id_bucket_16"), by("id", Transform::Bucket(16))])));
    let t = changed(&t, &spec([SpecStep::Rename { name: "id_bucket_16".to_owned(), to: "shard".to_owned() }]));
    let term = SpecStep::DropTerm { source: "id".into(), transform: Transform::Bucket(16) };
    expect![[r#"
        partition spec [1002: place_lat = identity(7)]
        the partition spec becomes the default
        requires last assigned partition id 1002
        requires default spec id 3
        requires current schema id 0
    "#]]
    .assert_eq(&text(&t, &spec([term])));
}

#[test]
fn a_partition_field_of_version_1_stays_as_void() {
    let t = changed(&table(FormatVersion::V1), &spec([by("day", Transform::Day), by("id", Transform::Bucket(4))]));
    let dropped = spec([drop_spec("day_day")]);
    expect![[r#"
        partition spec [1000: day_day = void(2), 1001: id_bucket_4 = bucket[4](1)]
        the partition spec becomes the default
        requires last assigned partition id 1001
        requires default spec id 1
        requires current schema id 0
    "#]]
    .assert_eq(&text(&t, &dropped));
    let t = changed(&t, &dropped);
    // The name is free again, the id is not.
    expect![[r#"
        partition spec [1000: day_day_1000 = void(2), 1001: id_bucket_4 = bucket[4](1), 1002: day_day = day(2)]
        the partition spec becomes the default
        requires last assigned partition id 1001
        requires default spec id 2
        requires current schema id 0
    "#]]
    .assert_eq(&text(&t, &spec([by("day", Transform::Day)])));
    // The column of a void field must stay as long as the spec names it.
    expect![[r#"
        field day: partition field 'day_day' stays in a table of format version 1 and needs it; upgrade the table to format version 2 and drop the partition field again
    "#]].assert_eq(&text(&t, &steps([SchemaStep::Drop("day".into())])));
    let t = changed(&t, &MetadataChange::UpgradeFormatVersion(FormatVersion::V2));
    expect![[r#"
        partition spec [1001: id_bucket_4 = bucket[4](1)]
        the partition spec becomes the default
        requires last assigned partition id 1001
        requires default spec id 2
        requires current schema id 0
    "#]]
    .assert_eq(&text(&t, &spec([drop_spec("day_day")])));
}

#[test]
fn what_a_partition_spec_can_not_become_is_refused_with_the_reason() {
    let t = changed(&table(FormatVersion::V2), &spec([by("day", Transform::Day)]));
    let refused = [
        spec([by("day", Transform::Day)]),
        spec([by("day", Transform::Year)]),
        spec([by("day", Transform::Hour)]),
        spec([by("id", Transform::Year)]),
        spec([by("points.x", Transform::Identity)]),
        spec([by("place", Transform::Identity)]),
        spec([by("nothing", Transform::Identity)]),
        spec([drop_spec("nothing")]),
        spec([SpecStep::Add { source: "id".into(), transform: Transform::Bucket(2), name: Some("Price".to_owned()) }]),
        spec([SpecStep::Add {
            source: "id".into(),
            transform: Transform::Bucket(2),
            name: Some("day_day".to_owned()),
        }]),
        steps([SchemaStep::Drop("day".into())]),
    ];
    let texts: String = refused.iter().map(|change| text(&t, change)).collect();
    expect![[r#"
        the change can't be made: the table is partitioned by day of day already, as 'day_day'
        the change can't be made: year of day would come beside 'day_day': partition by one of them, DROP PARTITION FIELD the other
        field day: there is no hour of date
        field id: there is no year of int
        field points.element.x: a table can't be partitioned by it: it is not a primitive column, or inside of a list or map
        field place: a table can't be partitioned by it: it is not a primitive column, or inside of a list or map
        field nothing: there is no field 'nothing'; there are id, day, Price, place, points, prices
        the change can't be made: there is no partition field 'nothing'; there are day_day
        the change can't be made: the partition field can't be called 'Price': there is a column of that name
        the change can't be made: there is a partition field 'day_day' already
        field day: partition field 'day_day' is made from it; DROP PARTITION FIELD day_day first
    "#]].assert_eq(&texts);
}

#[test]
fn a_date_stays_a_date() {
    let wider = steps([set_type("day", PrimitiveType::Timestamp)]);
    expect![[r#"
        field day: date can't become timestamp: old values would have no value in the new type
        field day: date can't become timestamp yet: engines do not read it; add another column and fill it
    "#]]
    .assert_eq(&[FormatVersion::V2, FormatVersion::V3].map(|v| text(&table(v), &wider)).concat());
}

fn sort_term(source: &str, transform: Transform) -> SortTerm {
    let (direction, null_order) = (SortDirection::Descending, NullOrder::Last);
    SortTerm { source: source.into(), transform, direction, null_order }
}

#[test]
fn a_sort_order_replaces_the_one_before() {
    let t = table(FormatVersion::V2);
    let change = MetadataChange::SortOrder(vec![
        sort_term("place.lat", Transform::Identity),
        sort_term("id", Transform::Bucket(4)),
    ]);
    expect![[r#"
        sort order [identity(7) descending nulls last, bucket[4](1) descending nulls last]
        the sort order becomes the default
        requires default sort order id 0
        requires current schema id 0
    "#]]
    .assert_eq(&text(&t, &change));
    let sorted = changed(&t, &change);
    assert_eq!(text(&sorted, &change), "nothing to change\n");
    let refused = [
        steps([SchemaStep::Drop("place".into())]),
        MetadataChange::SortOrder(vec![sort_term("place", Transform::Identity)]),
        MetadataChange::SortOrder(vec![sort_term("points.element.x", Transform::Identity)]),
        MetadataChange::SortOrder(vec![sort_term("prices.key", Transform::Identity)]),
        MetadataChange::SortOrder(vec![sort_term("id", Transform::Identity), sort_term("id", Transform::Identity)]),
    ];
    let texts: String = refused.iter().map(|change| text(&sorted, change)).collect();
    expect![[r#"
        field place.lat: the table is sorted by it; set another WRITE ORDERED BY, or WRITE UNORDERED, first
        field place: a table can't be sorted by it: it is struct<floatfloat>
        field points.element.x: a table can't be sorted by it: it is inside of a list or map, so a row has any number of them
        field prices.key: a table can't be sorted by it: it is inside of a list or map, so a row has any number of them
        field id: the order has it twice
    "#]]
    .assert_eq(&texts);
    let unsorted = changed(&sorted, &MetadataChange::SortOrder(Vec::new()));
    assert!(unsorted.metadata().default_sort_order().is_unsorted());
    // Back to the first: its id is used again.
    assert_eq!(changed(&unsorted, &change).metadata().default_sort_order_id(), 1);
}

#[test]
fn a_format_version_only_grows() {
    let t = changed(&table(FormatVersion::V1), &MetadataChange::UpgradeFormatVersion(FormatVersion::V2));
    let t = changed(&t, &MetadataChange::UpgradeFormatVersion(FormatVersion::V3));
    assert_eq!(t.metadata().next_row_id(), 0);
    expect![[r#"
        the change can't be made: the table has format version v3, and there is no way back to v2
    "#]]
    .assert_eq(&text(&t, &MetadataChange::UpgradeFormatVersion(FormatVersion::V2)));
}

fn replacement(schema: Schema, spec: UnboundPartitionSpec) -> Replacement {
    Replacement {
        schema,
        partition_spec: spec,
        sort_order: Vec::new(),
        properties: Default::default(),
        location: None,
        format_version: FormatVersion::V1,
    }
}

fn partitioned_by(fields: impl IntoIterator<Item = (i32, &'static str, Transform)>) -> UnboundPartitionSpec {
    let add = |spec: crate::spec::UnboundPartitionSpecBuilder, (source, name, transform): (i32, &str, Transform)| {
        spec.add_partition_field(source, name, transform).unwrap()
    };
    fields.into_iter().fold(UnboundPartitionSpec::builder(), add).build()
}

fn replace(replacement: Replacement) -> MetadataChange {
    MetadataChange::Replace(Box::new(replacement))
}

#[test]
fn a_replaced_table_keeps_the_ids_of_fields_that_stay() {
    let partitioned = changed(
        &changed(&table(FormatVersion::V2), &spec([by("day", Transform::Day)])),
        &MetadataChange::SortOrder(vec![sort_term("id", Transform::Identity)]),
    );
    let schema = Schema::builder()
        .with_fields([
            NestedField::required(7, "id", primitive(PrimitiveType::Long)).into(),
            optional(9, "note", PrimitiveType::String),
            optional(10, "day", PrimitiveType::Date),
        ])
        .with_identifier_field_ids([7])
        .build()
        .unwrap();
    let spec = partitioned_by([(7, "id_bucket", Transform::Bucket(2)), (10, "by_day", Transform::Day)]);
    let change = replace(Replacement {
        sort_order: vec![sort_term("note", Transform::Identity)],
        properties: [("owner".to_owned(), "ann".to_owned())].into(),
        ..replacement(schema, spec)
    });
    expect![[r#"
        schema 1: id long not null, 15: note string, 2: day date
        the schema becomes the current one
        partition spec [1001: id_bucket = bucket[2](1), 1000: by_day = day(2)]
        the partition spec becomes the default
        sort order [identity(15) descending nulls last]
        the sort order becomes the default
        1 properties are set
        requires no ref main
        requires current schema id 0
        requires last assigned field id 14
        requires last assigned partition id 1000
        requires default spec id 1
        requires default sort order id 1
    "#]]
    .assert_eq(&text(&partitioned, &change));
    let replaced = changed(&partitioned, &change);
    assert_eq!(replaced.metadata().format_version(), FormatVersion::V2);
    assert_eq!(replaced.metadata().current_schema().identifier_field_ids().collect::<Vec<_>>(), [1]);
    // Once more the same: only `main` would begin anew.
    assert_eq!(plan_metadata(&replaced, &change).unwrap().updates.len(), 1);
}

#[test]
fn nested_fields_keep_their_ids_where_their_values_can_be_read_as_what_they_become() {
    let place = StructType::new(vec![
        optional(21, "lon", PrimitiveType::Double),
        optional(22, "alt", PrimitiveType::Float),
        optional(23, "lat", PrimitiveType::String),
    ]);
    let point = StructType::new(vec![optional(26, "y", PrimitiveType::Long), optional(27, "z", PrimitiveType::Int)]);
    let price = StructType::new(vec![optional(31, "net", PrimitiveType::Decimal { precision: 9, scale: 4 })]);
    let map = |key: PrimitiveType, value: Type| {
        let key = NestedField::map_key_element(29, primitive(key)).into();
        Type::Map(MapType::new(key, NestedField::map_value_element(30, value, true).into()))
    };
    let points = ListType::new(NestedField::list_element(25, Type::Struct(point), true).into());
    let with = |prices: Type| {
        Schema::builder()
            .with_fields([
                NestedField::optional(28, "prices", prices).into(),
                NestedField::optional(20, "place", Type::Struct(place.clone())).into(),
                NestedField::optional(24, "points", Type::List(points.clone())).into(),
                optional(32, "price", PrimitiveType::Float),
                optional(33, "day", PrimitiveType::Timestamp),
            ])
            .build()
            .unwrap()
    };
    let schema_of = |schema: Schema| {
        let change = replace(replacement(schema, UnboundPartitionSpec::builder().build()));
        let replaced = changed(&table(FormatVersion::V2), &change);
        outcome::schema_text(replaced.metadata().current_schema()) + "\n"
    };
    let mut texts = schema_of(with(map(PrimitiveType::String, Type::Struct(price))));
    // Other keys make another map.
    texts += &schema_of(with(map(PrimitiveType::Long, primitive(PrimitiveType::Int))));
    expect![[r#"
        6: prices map<12: key string not null, 13: value struct<17: net decimal(9, 4)> not null>, 4: place struct<8: lon double, 18: alt float, 19: lat string>, 5: points list<9: element struct<11: y long, 20: z int> not null>, 15: price float, 16: day timestamp
        15: prices map<18: key long not null, 19: value int not null>, 4: place struct<8: lon double, 20: alt float, 21: lat string>, 5: points list<9: element struct<11: y long, 22: z int> not null>, 16: price float, 17: day timestamp
    "#]].assert_eq(&texts);
}

#[test]
fn what_a_table_has_had_before_is_named_by_its_id() {
    // Catalogs on Iceberg's Java library refuse to set the last one added where adding it added nothing.
    let there_and_back = [
        (steps([rename("day", "date")]), steps([rename("date", "day")])),
        (spec([by("day", Transform::Day)]), spec([drop_spec("day_day")])),
        (MetadataChange::SortOrder(vec![sort_term("id", Transform::Identity)]), MetadataChange::SortOrder(Vec::new())),
    ];
    let mut texts = String::new();
    for (there, back) in there_and_back {
        let first = table(FormatVersion::V2);
        let second = changed(&first, &there);
        texts += &text(&second, &back);
        let again = changed(&second, &back);
        texts += &text(&again, &there);
        changed(&again, &there);
    }
    expect![[r#"
        schema 0 becomes the current one again
        requires current schema id 1
        requires last assigned field id 14
        schema 1 becomes the current one again
        requires current schema id 0
        requires last assigned field id 14
        partition spec 0 becomes the default again
        requires last assigned partition id 1000
        requires default spec id 1
        requires current schema id 0
        partition spec 1 becomes the default again
        requires last assigned partition id 1000
        requires default spec id 0
        requires current schema id 0
        sort order 0 becomes the default again
        requires default sort order id 1
        requires current schema id 0
        sort order 1 becomes the default again
        requires default sort order id 0
        requires current schema id 0
    "#]]
    .assert_eq(&texts);
}

#[test]
fn in_version_1_the_partition_fields_of_a_replaced_table_keep_their_places() {
    let columns = || {
        let fields = [optional(1, "id", PrimitiveType::Int), optional(2, "day", PrimitiveType::Date)];
        Schema::builder().with_fields(fields).build().unwrap()
    };
    let first = partitioned_by([(1, "id", Transform::Identity), (2, "day_month", Transform::Month)]);
    let t = table_of(FormatVersion::V1, columns(), first);
    let mut texts = String::new();
    let mut spec_of = |t: &Table, columns: Schema, fields: &[(i32, &'static str, Transform)]| {
        let t = changed(t, &replace(replacement(columns, partitioned_by(fields.iter().copied()))));
        let fields = t.metadata().default_partition_spec().fields().iter().cloned().map(Into::into).collect::<Vec<_>>();
        texts += &(spec::spec_text(&fields) + "\n");
        t
    };
    // One goes, one stays, one comes.
    let daily = spec_of(&t, columns(), &[(1, "id_bucket", Transform::Bucket(2)), (2, "day_month", Transform::Month)]);
    // A column can't be void twice.
    spec_of(&daily, columns(), &[]);
    // The column is gone.
    let other = Schema::builder().with_fields([optional(1, "other", PrimitiveType::Int)]).build().unwrap();
    spec_of(&t, other, &[(1, "other", Transform::Identity)]);
    expect![[r#"
        1000: id_1000 = void(1), 1001: day_month = month(2), 1002: id_bucket = bucket[2](1)

        1000: other = identity(3)
    "#]]
    .assert_eq(&texts);
}

/// A void field has no values of the column, so it can't keep the column's name.
#[test]
fn an_identity_partition_field_of_version_1_gives_its_name_up() {
    let first = partitioned_by([(2, "day", Transform::Identity), (1, "id_bucket", Transform::Bucket(2))]);
    let t = table_of(FormatVersion::V1, schema(), first);
    let dropped = spec([drop_spec("day")]);
    expect![[r#"
        partition spec [1000: day_1000 = void(2), 1001: id_bucket = bucket[2](1)]
        the partition spec becomes the default
        requires last assigned partition id 1001
        requires default spec id 0
        requires current schema id 0
    "#]]
    .assert_eq(&text(&t, &dropped));
    let t = changed(&t, &dropped);
    expect![[r#"
        partition spec [1000: day_1000 = void(2), 1001: id_bucket = bucket[2](1), 1002: day = identity(2)]
        the partition spec becomes the default
        requires last assigned partition id 1001
        requires default spec id 1
        requires current schema id 0
    "#]]
    .assert_eq(&text(&t, &spec([by("day", Transform::Identity)])));
    expect![[r#"
        the change can't be made: there is no partition field 'day'; there are id_bucket
    "#]]
    .assert_eq(&text(&t, &spec([drop_spec("day")])));
}

#[tokio::test]
async fn manifests_of_a_spec_are_written_anew_though_its_column_is_gone() {
    use crate::commit::tests::TestTable;
    use crate::spec::{DataContentType, DataFileBuilder, DataFileFormat, Struct};
    use crate::{Change, RewriteManifests, SnapshotProperties, TableFile};

    let mut t = TestTable::new(FormatVersion::V2);
    let region = add("", "region", primitive(PrimitiveType::String));
    t.commit(&[steps([SchemaStep::Add(Box::new(region))]).into()]).await;
    t.commit(&[spec([by("region", Transform::Identity)]).into()]).await;
    for region in ["north", "south"] {
        let file = DataFileBuilder::default()
            .content(DataContentType::Data)
            .file_path(region.to_owned())
            .file_format(DataFileFormat::Parquet)
            .partition(Struct::from_iter([Some(Literal::string(region))]))
            .record_count(1)
            .file_size_in_bytes(1)
            .build()
            .unwrap();
        let files = vec![TableFile { file, partition_spec_id: t.table.metadata().default_partition_spec_id() }];
        t.commit(&[Change::Append { files, properties: SnapshotProperties::new() }]).await;
    }
    t.commit(&[spec([drop_spec("region")]).into()]).await;
    t.commit(&[steps([SchemaStep::Drop("region".into())]).into()]).await;
    let rewrite = RewriteManifests { target_size_bytes: None, properties: SnapshotProperties::new() };
    t.commit(&[Change::RewriteManifests(rewrite)]).await;
    let state = t.state().await;
    let live = state.live_data_files().unwrap();
    let mut partitions: Vec<_> = live.iter().map(|file| format!("{:?}", file.file.partition().fields()[0])).collect();
    partitions.sort();
    assert_eq!(state.manifests().len(), 1);
    assert!(partitions[0].contains("north") && partitions[1].contains("south"), "{partitions:?}");
}
