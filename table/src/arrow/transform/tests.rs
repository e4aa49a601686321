use arrow::array::{
    BinaryArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Int64Array, LargeBinaryArray, StringArray,
    Time64MicrosecondArray, TimestampMicrosecondArray, TimestampNanosecondArray,
};

use super::*;

const HASH: Transform = Transform::Bucket(i32::MAX as u32);

fn int(transform: Transform, array: impl Array + 'static) -> i32 {
    transform_array(&transform, &(Arc::new(array) as ArrayRef)).unwrap().as_primitive::<Int32Type>().value(0)
}

fn day(array: impl Array + 'static) -> i32 {
    transform_array(&Transform::Day, &(Arc::new(array) as ArrayRef)).unwrap().as_primitive::<Date32Type>().value(0)
}

/// Bucket of `hash & MAX % MAX` shows the hash itself, but for its sign.
fn check_hash(array: impl Array + 'static, hash: i32) {
    assert_eq!(int(HASH, array), (hash & i32::MAX) % i32::MAX);
}

/// 2017-11-16T22:31:08 in microseconds.
const NOVEMBER: i64 = 1_510_871_468_000_000;

#[test]
fn hashes_are_those_of_the_specification() {
    check_hash(Int32Array::from(vec![34]), 2_017_239_379);
    check_hash(Int64Array::from(vec![34]), 2_017_239_379);
    check_hash(Decimal128Array::from(vec![1420]).with_precision_and_scale(9, 2).unwrap(), -500_754_589);
    check_hash(Date32Array::from(vec![17_486]), -653_330_422);
    check_hash(Time64MicrosecondArray::from(vec![81_068_000_000]), -662_762_989);
    check_hash(TimestampMicrosecondArray::from(vec![NOVEMBER]), -2_047_944_441);
    check_hash(TimestampMicrosecondArray::from(vec![NOVEMBER + 1]), -1_207_196_810);
    check_hash(TimestampNanosecondArray::from(vec![NOVEMBER * 1000]), -2_047_944_441);
    check_hash(TimestampNanosecondArray::from(vec![NOVEMBER * 1000 + 1001]), -1_207_196_810);
    check_hash(StringArray::from(vec!["iceberg"]), 1_210_000_089);
    let uuid: uuid::Uuid = "f79c3e09-677c-4bbd-a479-3f349cb785e7".parse().unwrap();
    check_hash(FixedSizeBinaryArray::try_from_iter([uuid.as_bytes()].into_iter()).unwrap(), 1_488_055_340);
    check_hash(FixedSizeBinaryArray::try_from_iter([[0u8, 1, 2, 3]].into_iter()).unwrap(), -188_683_207);
    check_hash(BinaryArray::from(vec![&[0u8, 1, 2, 3][..]]), -188_683_207);
}

#[test]
fn nanoseconds_before_1970_hash_as_the_microsecond_they_lie_in() {
    let micros = int(HASH, TimestampMicrosecondArray::from(vec![-2]));
    assert_eq!(int(HASH, TimestampNanosecondArray::from(vec![-1_001])), micros);
}

#[test]
fn negative_decimals_hash_in_as_few_bytes_as_hold_them() {
    assert_eq!(shortest_bytes(&(-1i128).to_be_bytes()), [0xff]);
    assert_eq!(shortest_bytes(&0i128.to_be_bytes()), [0]);
    assert_eq!(shortest_bytes(&(-129i128).to_be_bytes()), [0xff, 0x7f]);
    assert_eq!(shortest_bytes(&128i128.to_be_bytes()), [0, 0x80]);
}

#[test]
fn moments_before_1970_belong_to_the_day_they_lie_in() {
    const SECOND: i64 = 1_000_000;
    let days = |micros: i64| day(TimestampMicrosecondArray::from(vec![micros]));
    assert_eq!(days(-1), -1);
    assert_eq!(days(-86_400 * SECOND), -1);
    assert_eq!(days(-86_400 * SECOND - 1), -2);
    assert_eq!(days(-86_400 * SECOND - SECOND / 2), -2);
    assert_eq!(day(TimestampNanosecondArray::from(vec![-1])), -1);
    assert_eq!(int(Transform::Hour, TimestampMicrosecondArray::from(vec![-1])), -1);
    assert_eq!(int(Transform::Month, TimestampMicrosecondArray::from(vec![-1])), -1);
    assert_eq!(int(Transform::Year, Date32Array::from(vec![-1])), -1);
}

#[test]
fn transforms_of_moments_are_those_of_the_specification() {
    let moment = || TimestampMicrosecondArray::from(vec![NOVEMBER]).with_timezone("+00:00");
    assert_eq!(int(Transform::Year, moment()), 47);
    assert_eq!(int(Transform::Month, moment()), 574);
    assert_eq!(day(moment()), 17_486);
    assert_eq!(int(Transform::Hour, moment()), 419_686);
}

#[test]
fn months_agree_with_a_calendar_for_every_day_of_six_centuries() {
    let mut day = Date32Type::from_naive_date(chrono::NaiveDate::from_ymd_opt(1582, 1, 1).unwrap());
    let mut date = chrono::NaiveDate::from_ymd_opt(1582, 1, 1).unwrap();
    while chrono::Datelike::year(&date) < 2200 {
        assert_eq!(civil(day), (chrono::Datelike::year(&date), chrono::Datelike::month(&date) as i32));
        day += 1;
        date = date.succ_opt().unwrap();
    }
}

#[test]
fn truncation_rounds_down_and_counts_characters() {
    let truncate = |width: u32, array: ArrayRef| transform_array(&Transform::Truncate(width), &array).unwrap();
    let ints = truncate(10, Arc::new(Int32Array::from(vec![1, -1, 10])));
    assert_eq!(ints.as_primitive::<Int32Type>().values(), &[0, -10, 10]);
    let longs = truncate(10, Arc::new(Int64Array::from(vec![1, -1])));
    assert_eq!(longs.as_primitive::<Int64Type>().values(), &[0, -10]);
    let decimals = Decimal128Array::from(vec![1065, -1065]).with_precision_and_scale(9, 2).unwrap();
    let decimals = truncate(50, Arc::new(decimals));
    assert_eq!(decimals.data_type(), &DataType::Decimal128(9, 2));
    assert_eq!(decimals.as_primitive::<Decimal128Type>().values(), &[1050, -1100]);
    let text = truncate(3, Arc::new(StringArray::from(vec![Some("iceberg"), Some("éèêë"), None])));
    assert_eq!(text.as_string::<i32>().iter().collect::<Vec<_>>(), [Some("ice"), Some("éèê"), None]);
    let bytes = truncate(2, Arc::new(LargeBinaryArray::from(vec![&[1u8, 2, 3][..], &[1]])));
    assert_eq!(bytes.as_binary::<i64>().iter().flatten().collect::<Vec<_>>(), [&[1u8, 2][..], &[1]]);
}

#[test]
fn void_is_null_and_a_transform_of_the_wrong_type_is_an_error() {
    let array: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    assert_eq!(transform_array(&Transform::Void, &array).unwrap().null_count(), 1);
    let error = transform_array(&Transform::Day, &array).unwrap_err().to_string();
    assert!(error.contains("day of Utf8"), "{error}");
}
