//! Constants in statements: `DEFAULT 5`, `older_than => TIMESTAMP '2024-01-31 12:00:00'`.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::sql::sqlparser::ast::{Expr, ExprWithAlias};
use frazil_table::spec::{Literal, PrimitiveLiteral, PrimitiveType, Type};

use super::Session;
use crate::Result;
use crate::sql::{Span, SqlError, planner};

impl Session {
    /// The value of an expression without columns.
    ///
    /// # Errors
    /// What DataFusion says of the expression, with its place.
    pub(crate) fn constant(&self, expr: &Expr, script: &str) -> Result<ScalarValue> {
        let state = self.bare_state()?;
        let schema = DFSchema::empty();
        let written = ExprWithAlias { expr: expr.clone(), alias: None };
        let placed = |error| planner::planning_error(error, script);
        let planned = state.create_logical_expr_from_sql_expr(written, &schema).map_err(placed)?;
        let physical = state.create_physical_expr(planned, &schema).map_err(placed)?;
        let one_row = RecordBatchOptions::new().with_row_count(Some(1));
        let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &one_row)
            .map_err(|error| placed(error.into()))?;
        let value = physical.evaluate(&row).map_err(placed)?.into_array(1).map_err(placed)?;
        ScalarValue::try_from_array(&value, 0).map_err(placed)
    }

    /// A constant as a value of a column; `None` for NULL.
    pub(super) fn default_value(
        &self,
        expr: &Expr,
        column_type: &Type,
        span: Span,
        script: &str,
    ) -> Result<Option<Literal>> {
        let refuse = |message: String| Err(SqlError::new(message, span, script).into());
        let Type::Primitive(primitive) = column_type else {
            return refuse(format!("a column of type {column_type} can have no DEFAULT"));
        };
        let value = self.constant(expr, script)?;
        if value.is_null() {
            return Ok(None);
        }
        let arrow = frazil_table::arrow::arrow_type(column_type)?;
        let Ok(cast) = value.cast_to(&arrow) else {
            return refuse(format!("the DEFAULT {expr} is no {primitive}"));
        };
        // A cast makes null of what does not fit.
        match literal(&cast, primitive) {
            Some(literal) => Ok(Some(Literal::Primitive(literal))),
            None => refuse(format!("the DEFAULT {expr} is no {primitive}")),
        }
    }
}

fn literal(value: &ScalarValue, primitive: &PrimitiveType) -> Option<PrimitiveLiteral> {
    Some(match value {
        ScalarValue::Boolean(value) => PrimitiveLiteral::Boolean((*value)?),
        ScalarValue::Int32(value) | ScalarValue::Date32(value) => PrimitiveLiteral::Int((*value)?),
        ScalarValue::Int64(value)
        | ScalarValue::Time64Microsecond(value)
        | ScalarValue::TimestampMicrosecond(value, _)
        | ScalarValue::TimestampNanosecond(value, _) => PrimitiveLiteral::Long((*value)?),
        ScalarValue::Float32(value) => PrimitiveLiteral::Float((*value)?.into()),
        ScalarValue::Float64(value) => PrimitiveLiteral::Double((*value)?.into()),
        ScalarValue::Decimal128(value, ..) => PrimitiveLiteral::Int128((*value)?),
        ScalarValue::Utf8(value) => PrimitiveLiteral::String(value.clone()?),
        ScalarValue::Binary(value) => PrimitiveLiteral::Binary(value.clone()?),
        ScalarValue::FixedSizeBinary(_, value) => match primitive {
            PrimitiveType::Uuid => PrimitiveLiteral::UInt128(u128::from_be_bytes(value.clone()?.try_into().ok()?)),
            _ => PrimitiveLiteral::Binary(value.clone()?),
        },
        _ => return None,
    })
}
