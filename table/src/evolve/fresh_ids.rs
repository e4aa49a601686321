//! Field ids that no schema of the table has had, and those that fields keep.

use std::sync::Arc;

use super::promotion::check_promotion;
use crate::spec::{FormatVersion, ListType, MapType, NestedField, NestedFieldRef, StructType, Type};
use crate::{Error, Result};

/// Gives out field ids above the last one that the table assigned.
#[derive(Debug)]
pub(super) struct FreshIds {
    last: i32,
}

impl FreshIds {
    pub(super) fn after(last_column_id: i32) -> Self {
        Self { last: last_column_id }
    }

    pub(super) fn next(&mut self) -> Result<i32> {
        let exhausted = || Error::InvalidChange("the table has used up all field ids".to_owned());
        self.last = self.last.checked_add(1).ok_or_else(exhausted)?;
        Ok(self.last)
    }

    /// The type with new ids in it, in Iceberg's order: the fields of one struct first, then what is inside of them.
    pub(super) fn assign(&mut self, field_type: &Type) -> Result<Type> {
        self.assign_type(field_type, None)
    }

    /// The fields with the ids of those among `known` that have their names and can be read as their types, at any depth,
    /// and new ids for the others; in the order of [`Self::assign`].
    ///
    /// Iceberg's Java library keeps an id whatever the types are. A branch from before is read by the columns of now, and an
    /// int that is taken for a string can't be read.
    pub(super) fn assign_fields(
        &mut self,
        fields: &[NestedFieldRef],
        known: &[NestedFieldRef],
    ) -> Result<Vec<NestedFieldRef>> {
        let same = |field: &NestedFieldRef| {
            let named = known.iter().find(|old| old.name == field.name);
            named.filter(|old| reads_as(&old.field_type, &field.field_type))
        };
        let known: Vec<_> = fields.iter().map(same).collect();
        let ids = known.iter().map(|known| self.id_of(*known)).collect::<Result<Vec<_>>>()?;
        let parts = fields.iter().zip(known).zip(ids);
        parts.map(|((field, known), id)| self.with_id(field, known, id)).collect()
    }

    fn assign_type(&mut self, field_type: &Type, known: Option<&Type>) -> Result<Type> {
        Ok(match (field_type, known) {
            (Type::Primitive(_), _) => field_type.clone(),
            (Type::Struct(fields), known) => {
                let known = match known {
                    Some(Type::Struct(known)) => known.fields(),
                    _ => &[],
                };
                Type::Struct(StructType::new(self.assign_fields(fields.fields(), known)?))
            }
            (Type::List(list), known) => {
                let known = match known {
                    Some(Type::List(known)) => Some(&known.element_field),
                    _ => None,
                };
                let id = self.id_of(known)?;
                Type::List(ListType::new(self.with_id(&list.element_field, known, id)?))
            }
            (Type::Map(map), known) => {
                let (known_key, known_value) = match known {
                    Some(Type::Map(known)) => (Some(&known.key_field), Some(&known.value_field)),
                    _ => (None, None),
                };
                let (key_id, value_id) = (self.id_of(known_key)?, self.id_of(known_value)?);
                let key = self.with_id(&map.key_field, known_key, key_id)?;
                Type::Map(MapType::new(key, self.with_id(&map.value_field, known_value, value_id)?))
            }
        })
    }

    fn id_of(&mut self, known: Option<&NestedFieldRef>) -> Result<i32> {
        known.map_or_else(|| self.next(), |known| Ok(known.id))
    }

    fn with_id(&mut self, field: &NestedFieldRef, known: Option<&NestedFieldRef>, id: i32) -> Result<NestedFieldRef> {
        let known = known.map(|known| known.field_type.as_ref());
        let field_type = Box::new(self.assign_type(&field.field_type, known)?);
        Ok(Arc::new(NestedField { id, field_type, ..field.as_ref().clone() }))
    }
}

/// Whether values of the one type can be read as the other; what is inside of structs is matched by itself.
fn reads_as(old: &Type, new: &Type) -> bool {
    match (old, new) {
        (Type::Primitive(_), Type::Primitive(_)) => check_promotion(old, new, FormatVersion::V2).is_ok(),
        (Type::Struct(_), Type::Struct(_)) => true,
        (Type::List(old), Type::List(new)) => reads_as(&old.element_field.field_type, &new.element_field.field_type),
        (Type::Map(old), Type::Map(new)) => {
            old.key_field.field_type == new.key_field.field_type
                && reads_as(&old.value_field.field_type, &new.value_field.field_type)
        }
        _ => false,
    }
}
