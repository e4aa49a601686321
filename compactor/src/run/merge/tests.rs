use super::*;

/// Column 1 of a file: values, nulls, NaNs if counted, bounds if given.
fn file(values: u64, nulls: u64, nans: Option<u64>, bounds: Option<(Datum, Datum)>) -> DataFile {
    let one = |value| HashMap::from([(1, value)]);
    let (lower, upper) = bounds.unzip();
    DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path("memory://w/a".to_owned())
        .file_format(DataFileFormat::Parquet)
        .record_count(values)
        .file_size_in_bytes(1)
        .value_counts(one(values))
        .null_value_counts(one(nulls))
        .nan_value_counts(nans.map(|nans| HashMap::from([(1, nans)])).unwrap_or_default())
        .lower_bounds(lower.map(|bound| HashMap::from([(1, bound)])).unwrap_or_default())
        .upper_bounds(upper.map(|bound| HashMap::from([(1, bound)])).unwrap_or_default())
        .build()
        .unwrap()
}

fn longs(lower: i64, upper: i64) -> Option<(Datum, Datum)> {
    Some((Datum::long(lower), Datum::long(upper)))
}

fn merged(files: &[DataFile]) -> Metrics {
    Metrics::merge(&files.iter().collect::<Vec<_>>())
}

#[test]
fn counts_add_up_and_bounds_are_the_widest() {
    let metrics =
        merged(&[file(10, 1, None, longs(-5, 7)), file(20, 2, None, longs(-3, 90)), file(5, 0, None, longs(0, 1))]);
    assert_eq!((metrics.values[&1], metrics.nulls[&1], metrics.nans.get(&1)), (35, 3, None));
    assert_eq!((&metrics.lower[&1], &metrics.upper[&1]), (&Datum::long(-5), &Datum::long(90)));
}

#[test]
fn a_file_of_nulls_takes_no_bound_with_it() {
    let metrics = merged(&[file(10, 10, None, None), file(20, 2, None, longs(1, 2))]);
    assert_eq!((&metrics.lower[&1], &metrics.upper[&1]), (&Datum::long(1), &Datum::long(2)));
}

#[test]
fn a_file_of_nulls_and_nans_takes_no_bound_with_it() {
    let doubles = Some((Datum::double(1.0), Datum::double(2.0)));
    let metrics = merged(&[file(10, 4, Some(6), None), file(20, 2, Some(0), doubles)]);
    assert_eq!((metrics.nans[&1], &metrics.upper[&1]), (6, &Datum::double(2.0)));
}

#[test]
fn a_file_with_values_and_without_bounds_takes_them_all() {
    let metrics = merged(&[file(10, 9, None, None), file(20, 2, None, longs(1, 2))]);
    assert!(metrics.lower.is_empty() && metrics.upper.is_empty());
    assert_eq!(metrics.values[&1], 30);
}

#[test]
fn bounds_of_different_types_are_no_bounds() {
    let ints = Some((Datum::int(1), Datum::int(2)));
    let metrics = merged(&[file(10, 0, None, ints), file(20, 0, None, longs(1, 2))]);
    assert!(metrics.lower.is_empty());
}

#[test]
fn an_empty_file_says_nothing() {
    let metrics = merged(&[file(0, 0, None, None), file(20, 0, None, longs(1, 2))]);
    assert_eq!((metrics.values[&1], &metrics.lower[&1]), (20, &Datum::long(1)));
    assert_eq!(merged(&[]), Metrics::default());
}
