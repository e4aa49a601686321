use frazil_reader::BoundPredicate;
use frazil_table::spec::{FormatVersion, PartitionSpec, Schema, SortOrder, TableIdent, TableMetadataBuilder};

use super::*;

fn table() -> Table {
    let schema: Schema = serde_json::from_str(
        r#"{"type":"struct","fields":[
        {"id":1,"name":"id","required":true,"type":"long"},
        {"id":2,"name":"city","required":false,"type":{"type":"struct","fields":[
            {"id":3,"name":"name","required":false,"type":"string"}]}},
        {"id":4,"name":"Price","required":false,"type":"double"}]}"#,
    )
    .unwrap();
    let spec = PartitionSpec::unpartition_spec();
    let order = SortOrder::unsorted_order();
    let location = "memory://w/t".to_owned();
    let built =
        TableMetadataBuilder::new(schema, spec, order, location, FormatVersion::V2, Default::default()).unwrap();
    let metadata = built.build().unwrap().metadata;
    Table::new(TableIdent::from_strs(["db", "t"]).unwrap(), metadata.into(), "memory://w/t/1.metadata.json")
}

fn bound(text: &str) -> String {
    let table = table();
    let predicate = ConditionParser::default().parse(&table, text).unwrap();
    let bound = predicate.bind(table.metadata().current_schema()).unwrap();
    assert_ne!(bound, BoundPredicate::True, "{text}");
    bound.to_string()
}

fn refused(text: &str) -> String {
    ConditionParser::default().parse(&table(), text).unwrap_err().to_string()
}

#[test]
fn conditions_on_columns_and_fields_are_understood() {
    assert_eq!(bound("id > 5"), bound("5 < id"));
    assert_eq!(bound("id = 5 AND city.name = 'Oslo'"), bound("(id = 5) AND (city.name IN ('Oslo'))"));
    assert_eq!(bound("Price BETWEEN 1 AND 2"), bound("Price >= 1.0 AND Price <= 2.0"));
    assert!(bound("city.name LIKE 'Os%' OR city.name IS NULL OR id <> 3").contains("Os"));
}

#[test]
fn what_the_reader_can_not_decide_is_refused_with_what_it_can() {
    assert!(refused("id % 2 = 0").contains("BETWEEN"), "{}", refused("id % 2 = 0"));
    assert!(refused("now() > TIMESTAMP '2020-01-01 00:00:00'").contains("BETWEEN"));
    assert!(refused("id =").contains("found"), "{}", refused("id ="));
    assert!(refused("idd = 5").contains("idd"), "{}", refused("idd = 5"));
    assert!(!refused("id = 'x'").is_empty());
    assert!(!refused("id = 5; DROP TABLE t").is_empty());
}
