//! From names and values to field ids and values of the column's type.

use super::*;

pub(super) fn bind(predicate: &Predicate, schema: &Schema, negated: bool) -> Result<BoundPredicate> {
    let each = |parts: &[Predicate]| -> Result<Vec<BoundPredicate>> {
        parts.iter().map(|part| bind(part, schema, negated)).collect()
    };
    Ok(match predicate {
        Predicate::True if negated => BoundPredicate::False,
        Predicate::False if !negated => BoundPredicate::False,
        Predicate::True | Predicate::False => BoundPredicate::True,
        Predicate::Not(inner) => bind(inner, schema, !negated)?,
        // Not (a and b) is not a or not b, in three-valued logic as well.
        Predicate::And(parts) if negated => any(each(parts)?),
        Predicate::Or(parts) if negated => all(each(parts)?),
        Predicate::And(parts) => all(each(parts)?),
        Predicate::Or(parts) => any(each(parts)?),
        Predicate::Compare { path, comparison, value } => {
            let column = column(schema, path)?;
            let comparison = if negated { comparison.negated() } else { *comparison };
            let value = coerce(value, &column)?;
            compare(column, comparison, value)
        }
        Predicate::In { path, values } => {
            let column = column(schema, path)?;
            let mut literals = Vec::with_capacity(values.len());
            for value in values {
                let value = coerce(value, &column)?;
                if !matches!(value, PrimitiveLiteral::AboveMax | PrimitiveLiteral::BelowMin) {
                    literals.push(value);
                }
            }
            match (literals.is_empty(), negated) {
                (true, false) => BoundPredicate::False,
                (true, true) => BoundPredicate::Test(column, Test::NotNull),
                (false, false) => BoundPredicate::Test(column, Test::In(literals)),
                (false, true) => BoundPredicate::Test(column, Test::NotIn(literals)),
            }
        }
        Predicate::IsNull(path) => {
            BoundPredicate::Test(column(schema, path)?, if negated { Test::NotNull } else { Test::IsNull })
        }
        Predicate::IsNan(path) => {
            let column = column(schema, path)?;
            if !matches!(column.primitive, PrimitiveType::Float | PrimitiveType::Double) {
                return Err(Error::invalid_predicate(path, "only float and double columns have NaN"));
            }
            BoundPredicate::Test(column, if negated { Test::NotNan } else { Test::IsNan })
        }
        Predicate::StartsWith { path, prefix } => {
            let column = column(schema, path)?;
            if column.primitive != PrimitiveType::String {
                return Err(Error::invalid_predicate(path, "starts_with needs a string column"));
            }
            let prefix = prefix.clone();
            let test = if negated { Test::NotStartsWith(prefix) } else { Test::StartsWith(prefix) };
            BoundPredicate::Test(column, test)
        }
    })
}

fn all(parts: Vec<BoundPredicate>) -> BoundPredicate {
    let mut kept: Vec<_> = parts.into_iter().filter(|part| *part != BoundPredicate::True).collect();
    match kept.len() {
        _ if kept.contains(&BoundPredicate::False) => BoundPredicate::False,
        0 => BoundPredicate::True,
        1 => kept.remove(0),
        _ => BoundPredicate::And(kept),
    }
}

fn any(parts: Vec<BoundPredicate>) -> BoundPredicate {
    let mut kept: Vec<_> = parts.into_iter().filter(|part| *part != BoundPredicate::False).collect();
    match kept.len() {
        _ if kept.contains(&BoundPredicate::True) => BoundPredicate::True,
        0 => BoundPredicate::False,
        1 => kept.remove(0),
        _ => BoundPredicate::Or(kept),
    }
}

/// A value beyond the column's range makes the answer the same for every value.
fn compare(column: Arc<BoundColumn>, comparison: Comparison, value: PrimitiveLiteral) -> BoundPredicate {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    let always = match (&value, comparison) {
        (PrimitiveLiteral::AboveMax, Less | LessOrEqual | NotEqual) => Some(true),
        (PrimitiveLiteral::BelowMin, Greater | GreaterOrEqual | NotEqual) => Some(true),
        (PrimitiveLiteral::AboveMax, Equal | Greater | GreaterOrEqual) => Some(false),
        (PrimitiveLiteral::BelowMin, Equal | Less | LessOrEqual) => Some(false),
        _ => None,
    };
    match always {
        Some(true) => BoundPredicate::Test(column, Test::NotNull),
        Some(false) => BoundPredicate::False,
        None => BoundPredicate::Test(column, Test::Compare(comparison, value)),
    }
}

fn column(schema: &Schema, path: &str) -> Result<Arc<BoundColumn>> {
    let (_, leaf) = resolve(schema, path)?;
    let Type::Primitive(primitive) = leaf.field_type.as_ref() else {
        return Err(Error::invalid_predicate(path, format!("it is a {}, not a leaf", leaf.field_type)));
    };
    if struct_path(schema.as_struct().fields(), leaf.id).is_none() {
        return Err(Error::invalid_predicate(path, "it lies in a list or map and has many values in a row"));
    }
    Ok(Arc::new(BoundColumn { field_id: leaf.id, path: path.to_owned(), primitive: primitive.clone() }))
}

fn coerce(value: &Datum, column: &BoundColumn) -> Result<PrimitiveLiteral> {
    use PrimitiveLiteral as L;
    use PrimitiveType as T;
    let misfit = |reason: String| Error::invalid_predicate(&column.path, reason);
    let parsed = |datum: std::result::Result<Datum, _>| match datum {
        Ok(datum) => Ok(datum.literal().clone()),
        Err(error) => Err(misfit(format!("{value} is no {}: {error}", column.primitive))),
    };
    let whole = match value.literal() {
        L::Int(v) => Some(i64::from(*v)),
        L::Long(v) => Some(*v),
        _ => None,
    };
    let is_number = matches!(value.data_type(), T::Int | T::Long);
    match (&column.primitive, value.literal()) {
        // Only whole numbers convert to floating point exactly as a person expects; beyond 2^53 neighbours merge, which
        // is what a comparison in floating point does.
        (T::Double, _) if is_number && whole.is_some() => Ok(L::Double((whole.unwrap_or_default() as f64).into())),
        (T::Float, _) if is_number && whole.is_some_and(|v| v.unsigned_abs() <= 1 << 24) => {
            Ok(L::Float((whole.unwrap_or_default() as f32).into()))
        }
        (T::Double, L::Float(v)) => Ok(L::Double(f64::from(v.0).into())),
        (T::Float, L::Double(v)) if f64::from(v.0 as f32) == v.0 || v.is_nan() => Ok(L::Float((v.0 as f32).into())),
        (T::Decimal { scale, .. }, _) if is_number && whole.is_some() => {
            let scaled = 10_i128.checked_pow(*scale).and_then(|p| p.checked_mul(whole?.into()));
            scaled.map(L::Int128).ok_or_else(|| misfit(format!("{value} is too large")))
        }
        (T::Date, L::String(text)) => parsed(Datum::date_from_str(text)),
        (T::Time, L::String(text)) => parsed(Datum::time_from_str(text)),
        (T::Uuid, L::String(text)) => parsed(Datum::uuid_from_str(text)),
        (T::TimestampNs, L::Long(v)) if *value.data_type() == T::Timestamp => {
            Ok(v.checked_mul(1_000).map_or(L::AboveMax, L::Long))
        }
        (T::TimestamptzNs, L::Long(v)) if *value.data_type() == T::Timestamptz => {
            Ok(v.checked_mul(1_000).map_or(L::AboveMax, L::Long))
        }
        // A plain number is no moment: the unit would be a guess. Between moments the zone must agree.
        (T::Timestamp | T::Timestamptz | T::TimestampNs | T::TimestamptzNs | T::Time | T::Date, literal)
            if *value.data_type() != column.primitive && !matches!(literal, L::String(_)) =>
        {
            Err(misfit(format!("{value} is a {}, the column a {}", value.data_type(), column.primitive)))
        }
        (T::Fixed(_), L::Binary(bytes)) => Ok(L::Binary(bytes.clone())),
        (T::Decimal { .. }, _) | (_, _) => parsed(value.clone().to(&Type::Primitive(column.primitive.clone()))),
    }
}
