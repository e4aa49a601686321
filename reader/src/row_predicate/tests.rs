//! Files with bounds, and files in partitions.

use frazil_table::spec::{
    DataContentType, DataFileBuilder, DataFileFormat, Datum, FormatVersion, Literal, Struct, Transform,
    UnboundPartitionSpec,
};

use super::*;
use crate::Comparison;
use crate::tests::world::World;

const SCHEMA: &str = r#"{"type":"struct","fields":[
    {"id":1,"name":"id","required":false,"type":"long"},
    {"id":2,"name":"p","required":false,"type":"int"}]}"#;

/// A file of ten rows with ids in a range, `nulls` of them null.
fn file(ids: std::ops::RangeInclusive<i64>, nulls: u64, p: Option<i32>) -> DataFile {
    DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path("f".to_owned())
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::from_iter([p.map(Literal::int)]))
        .record_count(10)
        .file_size_in_bytes(100)
        .value_counts([(1, 10)].into())
        .null_value_counts([(1, nulls)].into())
        .lower_bounds([(1, Datum::long(*ids.start()))].into())
        .upper_bounds([(1, Datum::long(*ids.end()))].into())
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_file_matches_not_at_all_in_part_or_as_a_whole() {
    let spec = UnboundPartitionSpec::builder().add_partition_field(2, "p", Transform::Identity).unwrap().build();
    let world = World::with(SCHEMA, Some(spec), FormatVersion::V2, &[]).await;
    let id = |comparison, value| Predicate::compare("id", comparison, Datum::long(value));
    let p = |value| Predicate::equal("p", Datum::int(value));
    let (no, part, whole) = ((false, false), (true, false), (true, true));
    let cases = [
        (id(Comparison::Less, 5), file(5..=9, 0, Some(1)), no),
        (id(Comparison::Less, 6), file(5..=9, 0, Some(1)), part),
        (id(Comparison::Less, 10), file(5..=9, 0, Some(1)), whole),
        // A comparison with null is not true.
        (id(Comparison::Less, 10), file(5..=9, 1, Some(1)), part),
        (id(Comparison::Less, 10).negate(), file(5..=9, 1, Some(1)), no),
        (id(Comparison::Less, 5).negate(), file(5..=9, 1, Some(1)), part),
        (p(1), file(5..=9, 0, Some(1)), whole),
        (p(2), file(5..=9, 0, Some(1)), no),
        (p(1), file(5..=9, 0, None), no),
        (p(1).negate(), file(5..=9, 0, None), no),
        (Predicate::IsNull("p".to_owned()), file(5..=9, 0, None), whole),
        // One by the partition, the other by the bounds.
        (p(1).and(id(Comparison::Less, 10)), file(5..=9, 0, Some(1)), whole),
        (p(1).and(id(Comparison::Less, 9)), file(5..=9, 0, Some(1)), part),
        (Predicate::Or(vec![p(2), id(Comparison::Greater, 4)]), file(5..=9, 0, Some(1)), whole),
        (Predicate::Or(vec![id(Comparison::Less, 7), id(Comparison::Greater, 5)]), file(5..=9, 0, Some(1)), part),
        (Predicate::True, file(5..=9, 3, None), whole),
    ];
    for (predicate, file, expected) in cases {
        let filter = RowPredicate::new(&world.table, &predicate).unwrap();
        let found = (filter.may_match(&file, 0), filter.all_match(&file, 0));
        assert_eq!(found, expected, "{filter} of {:?} in {:?}", file.lower_bounds(), file.partition());
        // Of a spec that came later nothing is known but the bounds.
        let elsewhere = filter.all_match(&file, 7);
        assert!(!elsewhere || found.1, "{filter}");
    }
}
