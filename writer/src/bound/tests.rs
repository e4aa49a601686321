use super::*;

fn text(truncate: fn(Value, &PrimitiveType, usize) -> Option<Value>, value: &str, length: usize) -> Option<String> {
    match truncate(Value::Bytes(value.as_bytes().to_vec()), &PrimitiveType::String, length)? {
        Value::Bytes(bytes) => Some(String::from_utf8(bytes).unwrap()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn text_is_cut_by_characters_and_the_upper_bound_raised() {
    assert_eq!(text(truncate_lower, "éèêë", 2).unwrap(), "éè");
    assert_eq!(text(truncate_upper, "abc", 3).unwrap(), "abc");
    assert_eq!(text(truncate_upper, "abcd", 3).unwrap(), "abd");
    assert_eq!(text(truncate_upper, "ab\u{10ffff}d", 3).unwrap(), "ac");
    assert_eq!(text(truncate_upper, "a\u{d7ff}z", 2).unwrap(), "a\u{e000}");
    assert_eq!(text(truncate_upper, "\u{10ffff}\u{10ffff}\u{10ffff}", 2), None);
}

#[test]
fn binary_is_cut_by_bytes_and_the_upper_bound_raised() {
    let upper = |bytes: &[u8]| truncate_upper(Value::Bytes(bytes.to_vec()), &PrimitiveType::Binary, 2);
    assert_eq!(upper(&[1, 2]), Some(Value::Bytes(vec![1, 2])));
    assert_eq!(upper(&[1, 2, 3]), Some(Value::Bytes(vec![1, 3])));
    assert_eq!(upper(&[1, 255, 3]), Some(Value::Bytes(vec![2])));
    assert_eq!(upper(&[255, 255, 3]), None);
}

#[test]
fn big_endian_numbers_keep_their_sign() {
    assert_eq!(from_big_endian(&[0xff]), Some(-1));
    assert_eq!(from_big_endian(&[0x00, 0xff]), Some(255));
    assert_eq!(from_big_endian(&[]), None);
    assert_eq!(from_big_endian(&[0; 17]), None);
}

#[test]
fn zeros_widen_and_nans_are_no_bounds() {
    let floats = |min: f64, max: f64| {
        let statistics = Statistics::double(Some(min), Some(max), None, Some(0), false);
        Value::of_statistics(&PrimitiveType::Double, &statistics)
    };
    assert!(floats(f64::NAN, 1.0).is_none());
    assert!(floats(1.0, f64::NAN).is_none());
    assert!(floats(2.0, 1.0).is_none());
    for (min, max) in [(0.0, 0.0), (-0.0, -0.0), (0.0, -0.0)] {
        let Some((Value::Float(lower), Value::Float(upper))) = floats(min, max) else { panic!("{min} {max}") };
        assert!(lower.is_sign_negative() && upper.is_sign_positive(), "{min} {max}");
    }
}
