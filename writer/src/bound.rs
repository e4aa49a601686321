//! Column bounds: values in the order of the specification, cut to length, in their single-value form.

use std::cmp::Ordering;

use frazil_table::spec::{Datum, PrimitiveType};
use parquet::data_type::AsBytes;
use parquet::file::statistics::Statistics;

/// A value of a column, ordered as the specification orders it: numbers as numbers, with -0.0 before 0.0; text, binary,
/// UUIDs by unsigned bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    Int(i64),
    Decimal(i128),
    Float(f64),
    Bytes(Vec<u8>),
}

impl Value {
    /// Values of one column are of one kind.
    pub fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Decimal(a), Self::Decimal(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            _ => unreachable!("both are read from the same column type by `of_statistics`"),
        }
    }

    /// Least and greatest value of a column chunk: bounds that hold for all of its values, if not the tightest.
    /// `None` if the statistics don't say, or can't be trusted for the type.
    pub fn of_statistics(r#type: &PrimitiveType, statistics: &Statistics) -> Option<(Self, Self)> {
        use PrimitiveType as P;
        use Statistics as S;
        let pair = match (r#type, statistics) {
            (P::Boolean, S::Boolean(s)) => (Self::Bool(*s.min_opt()?), Self::Bool(*s.max_opt()?)),
            (P::Int | P::Long | P::Date, S::Int32(s)) => {
                (Self::Int((*s.min_opt()?).into()), Self::Int((*s.max_opt()?).into()))
            }
            (P::Long | P::Time | P::Timestamp | P::Timestamptz | P::TimestampNs | P::TimestamptzNs, S::Int64(s)) => {
                (Self::Int(*s.min_opt()?), Self::Int(*s.max_opt()?))
            }
            (P::Decimal { .. }, S::Int32(s)) => {
                (Self::Decimal((*s.min_opt()?).into()), Self::Decimal((*s.max_opt()?).into()))
            }
            (P::Decimal { .. }, S::Int64(s)) => {
                (Self::Decimal((*s.min_opt()?).into()), Self::Decimal((*s.max_opt()?).into()))
            }
            (P::Float | P::Double, S::Float(s)) => {
                (Self::Float((*s.min_opt()?).into()), Self::Float((*s.max_opt()?).into()))
            }
            (P::Double, S::Double(s)) => (Self::Float(*s.min_opt()?), Self::Float(*s.max_opt()?)),
            // Statistics in the old fields may have been made by comparing bytes as signed.
            (_, statistics) if statistics.is_min_max_deprecated() => return None,
            (P::Decimal { .. }, S::FixedLenByteArray(_) | S::ByteArray(_)) => (
                Self::Decimal(from_big_endian(statistics.min_bytes_opt()?)?),
                Self::Decimal(from_big_endian(statistics.max_bytes_opt()?)?),
            ),
            (P::String | P::Binary, S::ByteArray(s)) => {
                (Self::Bytes(s.min_opt()?.as_bytes().to_vec()), Self::Bytes(s.max_opt()?.as_bytes().to_vec()))
            }
            (P::Uuid | P::Fixed(_), S::FixedLenByteArray(s)) => {
                (Self::Bytes(s.min_opt()?.as_bytes().to_vec()), Self::Bytes(s.max_opt()?.as_bytes().to_vec()))
            }
            _ => return None,
        };
        let (lower, upper) = match pair {
            (Self::Float(lower), Self::Float(upper)) if lower.is_nan() || upper.is_nan() => return None,
            (Self::Float(lower), Self::Float(upper)) => widen_zeros(lower, upper),
            pair => pair,
        };
        (lower.cmp(&upper) != Ordering::Greater).then_some((lower, upper))
    }

    /// The form of the specification ("Appendix D: Single-value serialization"), as a datum.
    pub fn to_datum(&self, r#type: &PrimitiveType) -> Option<Datum> {
        let bytes = match (self, r#type) {
            (Self::Bool(v), _) => vec![u8::from(*v)],
            (Self::Int(v), PrimitiveType::Int | PrimitiveType::Date) => i32::try_from(*v).ok()?.to_le_bytes().to_vec(),
            (Self::Int(v), _) => v.to_le_bytes().to_vec(),
            (Self::Decimal(v), _) => v.to_be_bytes().to_vec(),
            (Self::Float(v), PrimitiveType::Float) => (*v as f32).to_le_bytes().to_vec(),
            (Self::Float(v), _) => v.to_le_bytes().to_vec(),
            (Self::Bytes(v), _) => v.clone(),
        };
        Datum::try_from_bytes(&bytes, r#type.clone()).ok()
    }
}

/// A zero's sign must not hide the other zero: -0.0 precedes 0.0 (Iceberg spec, "Manifests"), but statistics need not
/// tell them apart.
fn widen_zeros(lower: f64, upper: f64) -> (Value, Value) {
    let lower = if lower == 0.0 { -0.0 } else { lower };
    let upper = if upper == 0.0 { 0.0 } else { upper };
    (Value::Float(lower), Value::Float(upper))
}

fn from_big_endian(bytes: &[u8]) -> Option<i128> {
    let fill = if bytes.first()? & 0x80 == 0 { 0x00 } else { 0xff };
    let mut wide = [fill; 16];
    wide.get_mut(16usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    Some(i128::from_be_bytes(wide))
}

/// A lower bound of at most `length` characters (text) or bytes (binary, fixed). A prefix is never greater.
pub(crate) fn truncate_lower(value: Value, r#type: &PrimitiveType, length: usize) -> Option<Value> {
    let Value::Bytes(bytes) = value else { return Some(value) };
    let end = match r#type {
        PrimitiveType::String => characters_end(std::str::from_utf8(&bytes).ok()?, length),
        PrimitiveType::Binary | PrimitiveType::Fixed(_) => bytes.len().min(length),
        _ => bytes.len(),
    };
    Some(Value::Bytes(bytes[..end].to_vec()))
}

/// An upper bound of at most `length` characters or bytes: the prefix with its last character or byte one higher, so
/// that it is greater than all that begin with it. `None` if nothing of that length is.
pub(crate) fn truncate_upper(value: Value, r#type: &PrimitiveType, length: usize) -> Option<Value> {
    let Value::Bytes(bytes) = value else { return Some(value) };
    match r#type {
        PrimitiveType::String => {
            let text = std::str::from_utf8(&bytes).ok()?;
            let end = characters_end(text, length);
            if end == text.len() {
                return Some(Value::Bytes(bytes));
            }
            next_text(&text[..end]).map(|text| Value::Bytes(text.into_bytes()))
        }
        PrimitiveType::Binary | PrimitiveType::Fixed(_) if bytes.len() > length => {
            let mut prefix = bytes[..length].to_vec();
            while prefix.pop_if(|byte| *byte == u8::MAX).is_some() {}
            *prefix.last_mut()? += 1;
            Some(Value::Bytes(prefix))
        }
        _ => Some(Value::Bytes(bytes)),
    }
}

fn characters_end(text: &str, length: usize) -> usize {
    text.char_indices().nth(length).map_or(text.len(), |(end, _)| end)
}

/// The least text that is greater than all that begin with `prefix`.
pub(crate) fn next_text(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        // A range of characters steps over the surrogates.
        if let Some(next) = (last..=char::MAX).nth(1) {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests;
