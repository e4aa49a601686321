use super::*;

fn check(transform: Transform, r#type: PrimitiveType, value: Option<Literal>, expected: &str) {
    assert_eq!(segment("f", &transform, &r#type, value.as_ref()), format!("f={expected}"));
}

#[test]
fn names_are_those_of_java() {
    use PrimitiveType as P;
    use Transform as T;
    check(T::Year, P::Int, Some(Literal::int(47)), "2017");
    check(T::Year, P::Int, Some(Literal::int(-1)), "1969");
    check(T::Month, P::Int, Some(Literal::int(574)), "2017-11");
    check(T::Month, P::Int, Some(Literal::int(-1)), "1969-12");
    check(T::Day, P::Date, Some(Literal::date(17_501)), "2017-12-01");
    check(T::Hour, P::Int, Some(Literal::int(420_034)), "2017-12-01-10");
    check(T::Hour, P::Int, Some(Literal::int(-1)), "1969-12-31-23");
    check(T::Bucket(16), P::Int, Some(Literal::int(3)), "3");
    check(T::Void, P::String, None, "null");
    check(T::Identity, P::String, Some(Literal::string("a/b=c d*é%")), "a%2Fb%3Dc+d*%C3%A9%25");
    check(T::Identity, P::String, Some(Literal::string("..")), "..");
    check(T::Identity, P::Boolean, Some(Literal::bool(true)), "true");
    check(T::Identity, P::Date, Some(Literal::date(-1)), "1969-12-31");
    check(T::Identity, P::Time, Some(Literal::time(36_775_038_194)), "10%3A12%3A55.038194");
    check(T::Identity, P::Timestamp, Some(Literal::timestamp(1_512_123_175_038_194)), "2017-12-01T10%3A12%3A55.038194");
    check(T::Identity, P::Timestamptz, Some(Literal::timestamptz(1_512_123_120_000_000)), "2017-12-01T10%3A12Z");
    check(
        T::Identity,
        P::TimestampNs,
        Some(Literal::timestamp(1_512_123_175_038_194_001)),
        "2017-12-01T10%3A12%3A55.038194001",
    );
    check(T::Identity, P::Decimal { precision: 9, scale: 2 }, Some(Literal::decimal(-5)), "-0.05");
    check(T::Identity, P::Decimal { precision: 9, scale: 0 }, Some(Literal::decimal(1234)), "1234");
    check(T::Identity, P::Double, Some(Literal::double(1.0)), "1.0");
    check(T::Identity, P::Binary, Some(Literal::binary(b"iceb".to_vec())), "aWNlYg%3D%3D");
    check(T::Identity, P::Fixed(3), Some(Literal::fixed(b"ice".to_vec())), "aWNl");
    let uuid: uuid::Uuid = "f79c3e09-677c-4bbd-a479-3f349cb785e7".parse().unwrap();
    check(T::Identity, P::Uuid, Some(Literal::uuid(uuid)), "f79c3e09-677c-4bbd-a479-3f349cb785e7");
}

#[test]
fn field_names_are_encoded_too() {
    assert_eq!(segment("a b", &Transform::Void, &PrimitiveType::Int, None), "a+b=null");
}

#[test]
fn long_values_are_cut_between_escapes() {
    for ascii in 0..3 {
        let text = "a".repeat(ascii) + &"é".repeat(500);
        let segment = segment("f", &Transform::Identity, &PrimitiveType::String, Some(&Literal::string(text)));
        assert!((198..=200).contains(&segment.len()), "{}", segment.len());
        let escapes = segment.trim_start_matches("f=").trim_start_matches('a');
        assert!(escapes.len().is_multiple_of(3), "{segment}");
    }
}
