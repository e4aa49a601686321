//! `MAP['key', value, …]`, of constants and columns alike.
//!
//! DataFusion 54 builds maps of two lists, and panics where all keys are constants and a value is not. So its planner is
//! given a function of keys and values in turn, for `MAP[…]`, `MAP {…}` and `make_map(…)`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, MapArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::interleave;
use arrow::compute::kernels::cmp;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{DFSchema, Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::binary::type_union_resolution;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawDictionaryExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// Makes the function out of what the parser reads.
#[derive(Debug)]
pub(super) struct MapPlanner;

impl ExprPlanner for MapPlanner {
    fn plan_make_map(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(map_of(args)))
    }

    fn plan_dictionary_literal(
        &self,
        expr: RawDictionaryExpr,
        _schema: &DFSchema,
    ) -> Result<PlannerResult<RawDictionaryExpr>> {
        let pairs = expr.keys.into_iter().zip(expr.values);
        let args = pairs.flat_map(|(key, value)| [key, value]).collect();
        Ok(PlannerResult::Planned(map_of(args)))
    }
}

fn map_of(args: Vec<Expr>) -> Expr {
    ScalarUDF::new_from_impl(MapOf::new()).call(args)
}

/// `map_of(key, value, …)`
#[derive(Debug, PartialEq, Eq, Hash)]
struct MapOf {
    signature: Signature,
}

impl MapOf {
    fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// The two fields of a map's entries.
fn entry_fields(key: DataType, value: DataType) -> Fields {
    Fields::from(vec![Field::new("key", key, false), Field::new("value", value, true)])
}

fn map_type(entry: Fields) -> DataType {
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entry), false)), false)
}

impl ScalarUDFImpl for MapOf {
    fn name(&self) -> &str {
        "map_of"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if types.is_empty() || !types.len().is_multiple_of(2) {
            return plan_err!("MAP[…] needs a key and a value, and a value after each key");
        }
        let of = |what: &str, from: usize| {
            let types: Vec<DataType> = types.iter().skip(from).step_by(2).cloned().collect();
            match type_union_resolution(&types) {
                Some(common) => Ok(common),
                None => plan_err!("the {what}s of a MAP have no common type: {types:?}"),
            }
        };
        let (key, value) = (of("key", 0)?, of("value", 1)?);
        Ok([key, value].into_iter().cycle().take(types.len()).collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [key, value, ..] => Ok(map_type(entry_fields(key.clone(), value.clone()))),
            _ => plan_err!("MAP[…] needs a key and a value"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let keys: Vec<ArrayRef> = arrays.iter().step_by(2).cloned().collect();
        let values: Vec<ArrayRef> = arrays.iter().skip(1).step_by(2).cloned().collect();
        check_keys(&keys)?;

        let fields = entry_fields(keys[0].data_type().clone(), values[0].data_type().clone());
        let columns = vec![in_turn(&keys, rows)?, in_turn(&values, rows)?];
        let entries = StructArray::try_new(fields.clone(), columns, None)?;
        let field = Arc::new(Field::new("entries", DataType::Struct(fields), false));
        let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(keys.len(), rows));
        let map: ArrayRef = Arc::new(MapArray::try_new(field, offsets, entries, None, false)?);
        match constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&map, 0)?)),
            false => Ok(ColumnarValue::Array(map)),
        }
    }
}

/// The first row of each array, then the second of each, and so on.
fn in_turn(arrays: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
    let indices: Vec<(usize, usize)> =
        (0..rows).flat_map(|row| (0..arrays.len()).map(move |array| (array, row))).collect();
    Ok(interleave(&arrays, &indices)?)
}

/// No key is NULL, and no two in a row are equal.
fn check_keys(keys: &[ArrayRef]) -> Result<()> {
    for (index, key) in keys.iter().enumerate() {
        if key.logical_null_count() > 0 {
            return exec_err!("a key of a MAP is NULL");
        }
        for other in &keys[..index] {
            if cmp::eq(key, other)?.has_true() {
                return exec_err!("a MAP has two equal keys");
            }
        }
    }
    Ok(())
}
