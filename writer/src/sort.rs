//! The order of rows as keys of bytes: a table's sort order (Iceberg spec, "Sorting"), or a curve through several columns.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::SortOptions;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows as Keys, SortField as KeyField};
use frazil_table::arrow::transform_array;
use frazil_table::spec::{NullOrder, Schema, SortDirection, SortOrder, Transform, Type};

use crate::curve::{Curve, CurveKind};
use crate::nested::{position, values_at};
use crate::{Error, Result};

/// Turns rows into keys whose bytes are ordered as a sort order says: by its transforms, directions and null orders;
/// floats with -0.0 before 0.0 and NaN last.
#[derive(Debug)]
pub(crate) struct SortKeys {
    by: By,
    converter: RowConverter,
    /// 0 for a curve, which has none.
    pub order_id: i32,
}

#[derive(Debug)]
enum By {
    Fields(Vec<SourceField>),
    Curve(Curve),
}

#[derive(Debug)]
struct SourceField {
    source: Vec<usize>,
    transform: Transform,
}

impl SortKeys {
    /// `None` for a table that is not sorted.
    ///
    /// # Errors
    /// [`Error::Table`] for an order that can't be followed: by a column in a list or map, by a transform that is unknown
    /// or does not exist for its column's type.
    pub fn of(order: &SortOrder, schema: &Schema) -> Result<Option<Self>> {
        if order.is_unsorted() {
            return Ok(None);
        }
        let bad = |reason: String| {
            let reason = format!("sort order {} can't be followed: {reason}", order.order_id);
            Error::Table(frazil_table::Error::InvalidChange(reason))
        };
        let (mut fields, mut keys) = (Vec::new(), Vec::new());
        for field in &order.fields {
            let id = field.source_id;
            let source = position(schema.as_struct().fields(), id)
                .ok_or_else(|| bad(format!("no column outside of lists and maps has id {id}")))?;
            let r#type = schema.field_by_id(id).map(|field| field.field_type.as_ref().clone());
            let r#type = r#type.filter(Type::is_primitive).ok_or_else(|| bad(format!("column {id} is nested")))?;
            let result = field.transform.result_type(&r#type).map_err(|error| bad(error.to_string()))?;
            let options = SortOptions {
                descending: field.direction == SortDirection::Descending,
                nulls_first: field.null_order == NullOrder::First,
            };
            keys.push(KeyField::new_with_options(frazil_table::arrow::arrow_type(&result)?, options));
            fields.push(SourceField { source, transform: field.transform });
        }
        let converter = RowConverter::new(keys).map_err(Error::arrow("sorting"))?;
        let order_id = i32::try_from(order.order_id).map_err(|_| bad("its id has more than 32 bits".to_owned()))?;
        Ok(Some(Self { by: By::Fields(fields), converter, order_id }))
    }

    /// Along a curve through these columns.
    ///
    /// # Errors
    /// As [`Curve::new`].
    pub fn along(schema: &Schema, field_ids: &[i32], kind: CurveKind) -> Result<Self> {
        let curve = Curve::new(schema, field_ids, kind)?;
        let places = KeyField::new(DataType::FixedSizeBinary(curve.key_bytes()));
        let converter = RowConverter::new(vec![places]).map_err(Error::arrow("sorting"))?;
        Ok(Self { by: By::Curve(curve), converter, order_id: 0 })
    }

    /// The keys of a batch's rows.
    pub fn keys(&self, batch: &RecordBatch) -> Result<Keys> {
        let value = |field: &SourceField| -> Result<ArrayRef> {
            let array = values_at(batch, &field.source).map_err(Error::arrow("sorting"))?;
            Ok(transform_array(&field.transform, &array)?)
        };
        let values = match &self.by {
            By::Fields(fields) => fields.iter().map(value).collect::<Result<Vec<_>>>()?,
            By::Curve(curve) => vec![curve.places(batch)?],
        };
        self.converter.convert_columns(&values).map_err(Error::arrow("sorting"))
    }
}
