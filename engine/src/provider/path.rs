//! A column, or a field inside of structs: `origin.position.lat`.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray};
use arrow::buffer::NullBuffer;
use arrow::compute::{is_null, nullif};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::functions::core::getfield::GetFieldFunc;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

/// The names from the column down; at least one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LeafPath(Vec<String>);

/// A column of a scan's result: what it is taken from, and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Output {
    pub path: LeafPath,
    /// Name, type and nullability in the result.
    pub field: Field,
}

impl Output {
    /// A whole column of the table.
    pub fn column(field: &Field) -> Self {
        Self { path: LeafPath(vec![field.name().clone()]), field: field.clone() }
    }

    /// The column's values from a batch of the reader, which holds at least the path.
    pub fn extract(&self, batch: &RecordBatch) -> DfResult<ArrayRef> {
        let [column, fields @ ..] = self.path.0.as_slice() else {
            return Err(DataFusionError::Internal("a path without a name".to_owned()));
        };
        let absent = |name: &str| DataFusionError::Internal(format!("the reader gave no '{name}' of {}", self.path));
        let mut array = Arc::clone(batch.column_by_name(column).ok_or_else(|| absent(column))?);
        for name in fields {
            let parent = array.as_struct_opt().ok_or_else(|| absent(name))?;
            let child = parent.column_by_name(name).ok_or_else(|| absent(name))?;
            array = below(parent, child)?;
        }
        crate::coerce::coerce_column(&array, &self.field).map_err(|error| DataFusionError::External(Box::new(error)))
    }
}

/// A field's values, NULL where the struct is.
fn below(parent: &StructArray, child: &ArrayRef) -> DfResult<ArrayRef> {
    let hides_more =
        |nulls: &&NullBuffer| nulls.null_count() > 0 && !child.nulls().is_some_and(|own| own.contains(nulls));
    match parent.nulls().filter(hides_more) {
        None => Ok(Arc::clone(child)),
        Some(_) => Ok(nullif(child, &is_null(parent)?)?),
    }
}

impl LeafPath {
    /// The names from the column down.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// As the reader takes it.
    pub fn dotted(&self) -> String {
        self.0.join(".")
    }

    /// The field that the path leads to through structs, nullable where anything around it is.
    pub fn field_in(&self, schema: &Schema) -> Option<Field> {
        let [column, rest @ ..] = self.0.as_slice() else { return None };
        let mut field = schema.field_with_name(column).ok()?.clone();
        for name in rest {
            let DataType::Struct(fields) = field.data_type() else { return None };
            let nullable = field.is_nullable();
            let (_, child) = fields.find(name)?;
            field = child.as_ref().clone().with_nullable(nullable || child.is_nullable());
        }
        Some(field)
    }

    /// The path that an expression of a query takes, if it is nothing else.
    pub fn of_logical(expr: &Expr) -> Option<Self> {
        match expr {
            Expr::Column(column) => Some(Self(vec![column.name.clone()])),
            Expr::Alias(alias) => Self::of_logical(&alias.expr),
            Expr::ScalarFunction(call) if call.func.inner().is::<GetFieldFunc>() => {
                let [base, names @ ..] = call.args.as_slice() else { return None };
                let names = names.iter().map(|name| match name {
                    Expr::Literal(value, _) => text(value),
                    _ => None,
                });
                Self::of_logical(base)?.below(names)
            }
            _ => None,
        }
    }

    /// The path that an expression over a scan's result takes, if it is nothing else.
    pub fn of_physical(expr: &Arc<dyn PhysicalExpr>, outputs: &[Output]) -> Option<Self> {
        if let Some(column) = expr.downcast_ref::<Column>() {
            return outputs.get(column.index()).map(|output| output.path.clone());
        }
        let call = expr.downcast_ref::<ScalarFunctionExpr>()?;
        if !call.fun().inner().is::<GetFieldFunc>() {
            return None;
        }
        let [base, names @ ..] = call.args() else { return None };
        let names = names.iter().map(|name| text(name.downcast_ref::<Literal>()?.value()));
        Self::of_physical(base, outputs)?.below(names)
    }

    fn below(mut self, names: impl Iterator<Item = Option<String>>) -> Option<Self> {
        for name in names {
            self.0.push(name?);
        }
        Some(self)
    }
}

fn text(value: &ScalarValue) -> Option<String> {
    match value {
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => text.clone(),
        _ => None,
    }
}

impl fmt::Display for LeafPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.dotted())
    }
}
