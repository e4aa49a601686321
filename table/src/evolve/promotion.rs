//! Which type may take the place of which (Iceberg spec, "Schema Evolution").

use super::outcome::type_text;
use crate::spec::{FormatVersion, PrimitiveType, Type};

/// Whether a column of type `from` may become `to`. `Err` says why not, for a person.
///
/// # Errors
/// The reason as text.
pub fn check_promotion(from: &Type, to: &Type, format_version: FormatVersion) -> Result<(), String> {
    let (Type::Primitive(old), Type::Primitive(new)) = (from, to) else {
        return match from == to {
            true => Ok(()),
            false => Err(format!(
                "{} can't become {}: change the fields inside by their own names, or drop the column and add it again",
                type_text(from),
                type_text(to)
            )),
        };
    };
    match (old, new) {
        (old, new) if old == new => Ok(()),
        (PrimitiveType::Int, PrimitiveType::Long) | (PrimitiveType::Float, PrimitiveType::Double) => Ok(()),
        (
            PrimitiveType::Decimal { precision: old_precision, scale: old_scale },
            PrimitiveType::Decimal { precision, scale },
        ) => match (scale == old_scale, precision >= old_precision) {
            (true, true) => Ok(()),
            (false, _) => Err(format!("{from} can't become {to}: the scale of a decimal is fixed")),
            (true, false) => Err(format!("{from} can't become {to}: the precision of a decimal only grows")),
        },
        // The specification has it from version 3 on. But no engine reads such a column yet, and the bounds of a date in a
        // manifest that is written anew under the new type can't be read by the ground crate.
        (PrimitiveType::Date, PrimitiveType::Timestamp | PrimitiveType::TimestampNs)
            if format_version >= FormatVersion::V3 =>
        {
            Err(format!("{from} can't become {to} yet: engines do not read it; add another column and fill it"))
        }
        _ => {
            let wider = match old {
                PrimitiveType::Int => "; int may become long",
                PrimitiveType::Float => "; float may become double",
                PrimitiveType::Decimal { .. } => "; a decimal may get more precision",
                _ => "",
            };
            Err(format!("{from} can't become {to}: old values would have no value in the new type{wider}"))
        }
    }
}
