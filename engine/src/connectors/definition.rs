//! A table as its `CREATE TABLE` declares it to a connector.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};

use crate::options::Options;
use crate::sql::{ColumnKind, CreateTable};

/// A table that a connector reads: its columns and options, without computed columns and watermark.
#[derive(Debug, Clone)]
pub struct TableDefinition {
    /// How errors and logs call it.
    pub name: String,
    /// The columns that the connector gives, in their order.
    pub columns: Vec<SourceColumn>,
    /// `WITH (…)`, with those of a hint over them.
    pub options: Options,
    /// The columns of `PRIMARY KEY (…) NOT ENFORCED`.
    pub primary_key: Vec<String>,
}

/// A column that a connector gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceColumn {
    /// Name, Arrow type and whether NULL is a value.
    pub field: FieldRef,
    /// For a `METADATA` column the connector's name of it; none for a column of the data.
    pub metadata_key: Option<String>,
}

impl TableDefinition {
    /// What a connector has to know of a statement. Columns of the key are NOT NULL; computed columns are left out.
    pub fn from_statement(table: &CreateTable) -> Self {
        let columns = table.columns.iter().filter_map(|column| {
            let (data_type, metadata_key) = match &column.kind {
                ColumnKind::Physical(data_type) => (data_type, None),
                ColumnKind::Metadata { data_type, key, .. } => {
                    (data_type, Some(key.clone().unwrap_or_else(|| column.name.clone())))
                }
                ColumnKind::Computed(_) => return None,
            };
            let mut field = data_type.to_field(&column.name);
            if table.primary_key.contains(&column.name) {
                field.set_nullable(false);
            }
            Some(SourceColumn { field: Arc::new(field), metadata_key })
        });
        let (options, primary_key) = (table.options.clone(), table.primary_key.clone());
        Self { name: table.name.to_string(), columns: columns.collect(), options, primary_key }
    }

    /// A table of data columns only, with options that do not come from a script.
    pub fn new<K: Into<String>, V: Into<String>>(
        name: impl Into<String>,
        schema: &Schema,
        options: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let columns = schema.fields().iter().map(|field| SourceColumn { field: field.clone(), metadata_key: None });
        let (columns, options) = (columns.collect(), Options::from_pairs(options));
        Self { name: name.into(), columns, options, primary_key: Vec::new() }
    }

    /// All columns.
    pub fn schema(&self) -> SchemaRef {
        self.schema_of(|_| true)
    }

    /// The columns of the data, without metadata.
    pub(super) fn data_schema(&self) -> SchemaRef {
        self.schema_of(|column| column.metadata_key.is_none())
    }

    fn schema_of(&self, wanted: impl Fn(&SourceColumn) -> bool) -> SchemaRef {
        let columns = self.columns.iter().filter(|column| wanted(column));
        let fields: Vec<FieldRef> = columns.map(|column| column.field.clone()).collect();
        Arc::new(Schema::new(fields))
    }
}
