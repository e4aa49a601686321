//! Tables and batches for the tests of this crate.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use frazil_storage::Env;
use frazil_table::Table;
use frazil_table::spec::{
    FormatVersion, NamespaceIdent, NullOrder, Schema, SortDirection, SortField, SortOrder, TableIdent,
    TableMetadataBuilder, Transform, UnboundPartitionField, UnboundPartitionSpec,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::ParquetMetaData;

use crate::conform::conform_batch;

/// A table at `memory://w/t`. `fields` is the JSON of the schema's fields; partition fields are named
/// `<source>_<transform>`.
pub(crate) fn table(fields: &str, partition: &[(&str, Transform)], properties: &[(&str, &str)]) -> Table {
    let json = format!(r#"{{"type":"struct","schema-id":0,"fields":[{fields}]}}"#);
    let schema: Schema = serde_json::from_str(&json).unwrap();
    let spec = partition.iter().map(|(source, transform)| UnboundPartitionField {
        source_id: schema.field_by_name(source).unwrap().id,
        field_id: None,
        name: format!("{source}_{}", transform.to_string().split('[').next().unwrap()),
        transform: *transform,
    });
    let spec = UnboundPartitionSpec::builder().add_partition_fields(spec).unwrap().build();
    let properties = properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let metadata = TableMetadataBuilder::new(
        schema,
        spec,
        SortOrder::unsorted_order(),
        "memory://w/t".to_owned(),
        FormatVersion::V2,
        properties.collect::<HashMap<_, _>>(),
    );
    let metadata = metadata.unwrap().build().unwrap().metadata;
    let ident = TableIdent::new(NamespaceIdent::new("n".to_owned()), "t".to_owned());
    Table::new(ident, Arc::new(metadata), "memory://w/t/metadata/00000-0.metadata.json")
}

/// The table with a sort order by columns, each ascending and nulls first, or with `-` before its name descending and
/// nulls last.
pub(crate) fn sorted_by(table: Table, columns: &[&str]) -> Table {
    let field = |column: &&str| {
        let name = column.trim_start_matches('-');
        let is_descending = name.len() < column.len();
        SortField::builder()
            .source_id(id(&table, name))
            .transform(Transform::Identity)
            .direction(if is_descending { SortDirection::Descending } else { SortDirection::Ascending })
            .null_order(if is_descending { NullOrder::Last } else { NullOrder::First })
            .build()
    };
    if columns.is_empty() {
        return table;
    }
    let order = SortOrder { order_id: 1, fields: columns.iter().map(field).collect() };
    let metadata = table.metadata().as_ref().clone().into_builder(None);
    let metadata = metadata.add_sort_order(order).unwrap().set_default_sort_order(1).unwrap().build().unwrap().metadata;
    Table::new(table.ident().clone(), Arc::new(metadata), table.metadata_location())
}

/// The id of a field.
pub(crate) fn id(table: &Table, name: &str) -> i32 {
    table.metadata().current_schema().field_by_name(name).unwrap().id
}

/// A batch of the table's Arrow schema.
pub(crate) fn batch(table: &Table, columns: Vec<ArrayRef>) -> RecordBatch {
    let schema = Arc::new(frazil_table::arrow::arrow_schema(table.metadata().current_schema()).unwrap());
    RecordBatch::try_new(schema, columns).unwrap()
}

/// What a file has, under the table's schema, as the parquet crate reads it.
pub(crate) async fn read(env: &Env, table: &Table, location: &str) -> (RecordBatch, Arc<ParquetMetaData>) {
    let bytes = env.store.read(location).await.unwrap();
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let metadata = builder.metadata().clone();
    let schema = builder.schema().clone();
    let batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
    let batch = concat_batches(&schema, &batches).unwrap();
    let wanted = Arc::new(frazil_table::arrow::arrow_schema(table.metadata().current_schema()).unwrap());
    (conform_batch(&batch, &wanted).unwrap(), metadata)
}
