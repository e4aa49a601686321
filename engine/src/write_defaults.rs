//! What an insert writes into columns that it does not name (Iceberg spec, "Default values").

use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, cast, lit};
use frazil_table::spec::Schema;

use crate::{Error, Result};

/// The key under which a field's metadata holds its column's write default, as the specification writes it in JSON.
const WRITE_DEFAULT_KEY: &str = "frazil.write-default";

/// The schema that an insert's query is planned for: the table's, with the write defaults of its columns.
///
/// # Errors
/// [`Error::Unfit`] for a default that is not of its column's type.
pub(crate) fn insert_schema(schema: &Schema) -> Result<ArrowSchema> {
    let arrow = frazil_table::arrow::arrow_schema(schema)?;
    let columns = arrow.fields().iter().zip(schema.as_struct().fields());
    let fields = columns.map(|(field, column)| {
        let Some(default) = &column.write_default else { return Ok(field.as_ref().clone()) };
        let unfit = |reason: String| Error::Unfit { column: column.name.clone(), reason };
        let json = default.clone().try_into_json(&column.field_type).map_err(|error| unfit(error.to_string()))?;
        let text = json.as_str().map_or_else(|| json.to_string(), str::to_owned);
        let mut metadata = field.metadata().clone();
        metadata.insert(WRITE_DEFAULT_KEY.to_owned(), text);
        Ok(field.as_ref().clone().with_metadata(metadata))
    });
    Ok(ArrowSchema::new(fields.collect::<Result<Vec<Field>>>()?))
}

/// The value of a column that an insert does not name; `None` if it has none and can't be null.
pub(crate) fn value_of_unnamed(field: &Field) -> Option<Expr> {
    let data_type = field.data_type();
    match field.metadata().get(WRITE_DEFAULT_KEY) {
        Some(text) => Some(match data_type {
            DataType::Binary => lit(ScalarValue::Binary(Some(bytes_of(text)?))),
            DataType::FixedSizeBinary(width) => lit(ScalarValue::FixedSizeBinary(*width, Some(bytes_of(text)?))),
            _ => cast(lit(text.as_str()), data_type.clone()),
        }),
        None => field.is_nullable().then(|| cast(lit(ScalarValue::Null), data_type.clone())),
    }
}

/// Bytes in hexadecimal; a UUID has dashes between them.
fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
    let pairs = digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    pairs.collect()
}
