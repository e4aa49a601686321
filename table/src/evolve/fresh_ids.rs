//! Field ids that no schema of the table has had.

use std::sync::Arc;

use crate::spec::{ListType, MapType, NestedField, NestedFieldRef, StructType, Type};
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
        Ok(match field_type {
            Type::Primitive(_) => field_type.clone(),
            Type::Struct(fields) => Type::Struct(StructType::new(self.assign_fields(fields.fields())?)),
            Type::List(list) => {
                let id = self.next()?;
                let element = self.with_id(&list.element_field, id)?;
                Type::List(ListType::new(element))
            }
            Type::Map(map) => {
                let (key_id, value_id) = (self.next()?, self.next()?);
                let key = self.with_id(&map.key_field, key_id)?;
                Type::Map(MapType::new(key, self.with_id(&map.value_field, value_id)?))
            }
        })
    }

    pub(super) fn assign_fields(&mut self, fields: &[NestedFieldRef]) -> Result<Vec<NestedFieldRef>> {
        let ids = fields.iter().map(|_| self.next()).collect::<Result<Vec<_>>>()?;
        fields.iter().zip(ids).map(|(field, id)| self.with_id(field, id)).collect()
    }

    fn with_id(&mut self, field: &NestedFieldRef, id: i32) -> Result<NestedFieldRef> {
        let field_type = Box::new(self.assign(&field.field_type)?);
        Ok(Arc::new(NestedField { id, field_type, ..field.as_ref().clone() }))
    }
}
