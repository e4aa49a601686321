//! Single values: how they compare, and how they look as Arrow arrays.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray,
    Float32Array, Float64Array, Int32Array, Int64Array, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
    TimestampNanosecondArray, UInt32Array,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use frazil_table::spec::{PrimitiveLiteral, PrimitiveType};

/// How two values of one column compare; bounds that were written before a promotion have the narrower type.
/// `None` if they can't be compared: pruning must then keep what it looks at.
pub(crate) fn compare(a: &PrimitiveLiteral, b: &PrimitiveLiteral) -> Option<Ordering> {
    use PrimitiveLiteral::{AboveMax, BelowMin, Binary, Boolean, Double, Float, Int, Int128, Long, String, UInt128};
    match (a, b) {
        (AboveMax, AboveMax) | (BelowMin, BelowMin) => None,
        (AboveMax, _) | (_, BelowMin) => Some(Ordering::Greater),
        (BelowMin, _) | (_, AboveMax) => Some(Ordering::Less),
        (Boolean(a), Boolean(b)) => Some(a.cmp(b)),
        (Int(a), Int(b)) => Some(a.cmp(b)),
        (Long(a), Long(b)) => Some(a.cmp(b)),
        (Int(a), Long(b)) => Some(i64::from(*a).cmp(b)),
        (Long(a), Int(b)) => Some(a.cmp(&i64::from(*b))),
        (Float(a), Float(b)) => compare_floats(f64::from(a.0), f64::from(b.0)),
        (Double(a), Double(b)) => compare_floats(a.0, b.0),
        (Float(a), Double(b)) => compare_floats(f64::from(a.0), b.0),
        (Double(a), Float(b)) => compare_floats(a.0, f64::from(b.0)),
        (String(a), String(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (Binary(a), Binary(b)) => Some(a.cmp(b)),
        (Int128(a), Int128(b)) => Some(a.cmp(b)),
        (UInt128(a), UInt128(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// Zeros are equal whatever their sign; what is not a number compares with nothing.
fn compare_floats(a: f64, b: f64) -> Option<Ordering> {
    a.partial_cmp(&b)
}

/// One value as an array of length 1 in the Arrow type of `primitive`. `None` if the value is of another type.
pub fn to_array(value: &PrimitiveLiteral, primitive: &PrimitiveType) -> Option<ArrayRef> {
    use PrimitiveLiteral as L;
    use PrimitiveType as T;
    Some(match (primitive, value) {
        (T::Boolean, L::Boolean(v)) => Arc::new(BooleanArray::from(vec![*v])),
        (T::Int, L::Int(v)) => Arc::new(Int32Array::from(vec![*v])),
        // A partition value in the type of now, read by the schema of an older snapshot.
        (T::Int, L::Long(v)) => Arc::new(Int32Array::from(vec![i32::try_from(*v).ok()?])),
        (T::Long, L::Long(v)) => Arc::new(Int64Array::from(vec![*v])),
        (T::Long, L::Int(v)) => Arc::new(Int64Array::from(vec![i64::from(*v)])),
        (T::Float, L::Float(v)) => Arc::new(Float32Array::from(vec![v.0])),
        (T::Float, L::Double(v)) if v.is_nan() || f64::from(v.0 as f32) == v.0 => {
            Arc::new(Float32Array::from(vec![v.0 as f32]))
        }
        (T::Double, L::Double(v)) => Arc::new(Float64Array::from(vec![v.0])),
        (T::Double, L::Float(v)) => Arc::new(Float64Array::from(vec![f64::from(v.0)])),
        (T::Decimal { precision, scale }, L::Int128(v)) => Arc::new(
            Decimal128Array::from(vec![*v])
                .with_precision_and_scale(u8::try_from(*precision).ok()?, i8::try_from(*scale).ok()?)
                .ok()?,
        ),
        (T::Date, L::Int(v)) => Arc::new(Date32Array::from(vec![*v])),
        (T::Time, L::Long(v)) => Arc::new(Time64MicrosecondArray::from(vec![*v])),
        (T::Timestamp, L::Long(v)) => Arc::new(TimestampMicrosecondArray::from(vec![*v])),
        (T::Timestamptz, L::Long(v)) => {
            Arc::new(TimestampMicrosecondArray::from(vec![*v]).with_timezone(frazil_table::arrow::UTC))
        }
        (T::TimestampNs, L::Long(v)) => Arc::new(TimestampNanosecondArray::from(vec![*v])),
        (T::TimestamptzNs, L::Long(v)) => {
            Arc::new(TimestampNanosecondArray::from(vec![*v]).with_timezone(frazil_table::arrow::UTC))
        }
        (T::String, L::String(v)) => Arc::new(StringArray::from(vec![v.as_str()])),
        (T::Uuid, L::UInt128(v)) => fixed(&v.to_be_bytes())?,
        (T::Fixed(_), L::Binary(v)) => fixed(v)?,
        (T::Binary, L::Binary(v)) => Arc::new(BinaryArray::from(vec![v.as_slice()])),
        _ => return None,
    })
}

fn fixed(bytes: &[u8]) -> Option<ArrayRef> {
    let array = FixedSizeBinaryArray::try_from_iter(std::iter::once(bytes)).ok()?;
    Some(Arc::new(array))
}

/// The value at `index` of an array in a type of [`frazil_table::arrow`]. `None` for null and for nested types.
pub(crate) fn from_array(array: &dyn Array, index: usize) -> Option<PrimitiveLiteral> {
    use PrimitiveLiteral as L;
    if array.is_null(index) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Boolean => L::Boolean(array.as_boolean().value(index)),
        DataType::Int32 => L::Int(array.as_primitive::<Int32Type>().value(index)),
        DataType::Date32 => L::Int(array.as_primitive::<Date32Type>().value(index)),
        DataType::Int64 => L::Long(array.as_primitive::<Int64Type>().value(index)),
        DataType::Float32 => L::Float(array.as_primitive::<Float32Type>().value(index).into()),
        DataType::Float64 => L::Double(array.as_primitive::<Float64Type>().value(index).into()),
        DataType::Decimal128(_, _) => L::Int128(array.as_primitive::<Decimal128Type>().value(index)),
        DataType::Time64(TimeUnit::Microsecond) => L::Long(array.as_primitive::<Time64MicrosecondType>().value(index)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            L::Long(array.as_primitive::<TimestampMicrosecondType>().value(index))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            L::Long(array.as_primitive::<TimestampNanosecondType>().value(index))
        }
        DataType::Utf8 => L::String(array.as_string::<i32>().value(index).to_owned()),
        DataType::Binary => L::Binary(array.as_binary::<i32>().value(index).to_vec()),
        DataType::FixedSizeBinary(_) => L::Binary(array.as_fixed_size_binary().value(index).to_vec()),
        _ => return None,
    })
}

/// `count` copies of the one value in `array`.
pub(crate) fn repeat(array: &ArrayRef, count: usize) -> ArrayRef {
    let zeros = UInt32Array::from(vec![0; count]);
    arrow::compute::take(array, &zeros, None).expect("index 0 is in an array of length 1")
}
