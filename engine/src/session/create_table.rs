//! `CREATE TABLE`: a real table in a catalog, or an entry of the session.

use std::collections::HashMap;
use std::sync::Arc;

use frazil_storage::Env;
use frazil_table::evolve::{MetadataChange, Replacement, preview_metadata};
use frazil_table::spec::{
    FormatVersion, ListType, MapType, NestedField, NestedFieldRef, PrimitiveType, Schema, StructType, TableCreation,
    Transform, Type, UnboundPartitionSpec,
};
use frazil_table::{Change, Table};

use super::change::at_place;
use super::external::ExternalTable;
use super::iceberg_options::{iceberg_schema_of_options, is_property};
use super::resolve::Local;
use super::text::refuse;
use super::{IcebergTable, Session, TablePath};
use crate::Result;
use crate::connectors::{CONNECTORS, create_source};
use crate::options::{Checked, Kind, Options, Schema as OptionSchema, Spec};
use crate::sql::{
    Column, ColumnKind, CreateTable, DataType, PartitionField, Replace, SqlError, Transform as SqlTransform, TypeKind,
};

/// Properties of every table that is made here unless the statement says otherwise: a table with a commit each second
/// would else keep a hundred metadata files, and leave all older ones behind.
pub(crate) const DEFAULT_PROPERTIES: [(&str, &str); 2] =
    [("write.metadata.delete-after-commit.enabled", "true"), ("write.metadata.previous-versions-max", "20")];

/// The property that holds a table's comment, as Spark and Trino have it.
pub(super) const COMMENT: &str = "comment";

/// A table and what it is to be replaced by.
pub(crate) struct TableReplacement {
    /// The table of now.
    pub(crate) base: IcebergTable,
    /// The table to be, which files are written for.
    pub(crate) table: Table,
    /// What makes the one of the other.
    pub(crate) change: Change,
}

impl TableReplacement {
    /// Whether a table would still become what files were written for: its fields may have other ids by now.
    pub(crate) fn holds_for(&self, now: &Table) -> bool {
        let Change::Metadata(change) = &self.change else { return false };
        let becomes = preview_metadata(now, change);
        becomes.is_ok_and(|now| {
            let (now, written) = (now.metadata(), self.table.metadata());
            (now.uuid(), now.format_version()) == (written.uuid(), written.format_version())
                && now.current_schema() == written.current_schema()
                && now.default_partition_spec() == written.default_partition_spec()
        })
    }
}

impl Session {
    /// Makes a table; what `AS SELECT` fills it with is not looked at.
    pub(crate) async fn create_table(&mut self, create: &CreateTable, script: &str) -> Result<String> {
        let name = &create.name;
        let path = self.path_of(name);
        self.catalog_or_refuse(&path.catalog, name, script)?;
        if let Some(like) = &create.like {
            return refuse("LIKE is not supported yet", Some("write the columns out".to_owned()), like, script);
        }
        let taken = match create.temporary {
            true => self.locals.contains_key(&path),
            false => self.exists(&path).await?,
        };
        match (taken, create.replace) {
            (true, Replace::No) if create.if_not_exists => {
                return Ok(format!("table {name} is there already, and stays as it is"));
            }
            (true, Replace::No) => {
                let help = "CREATE TABLE IF NOT EXISTS takes it as it is, CREATE OR REPLACE TABLE makes it anew";
                let message = format!("there is a table '{}' already", path.table);
                return refuse(message, Some(help.to_owned()), name, script);
            }
            (true, Replace::Any | Replace::Existing) => return self.replace_table(create, &path, script).await,
            // Nothing to replace: the name's own error says what there is.
            (false, Replace::Existing) => return self.resolve(name, script).await.map(|_| String::new()),
            (false, _) => {}
        }
        match create.options.get("connector") {
            None | Some("iceberg") => self.create_iceberg_table(create, &path, script).await,
            Some(connector) => self.create_external_table(create, path, connector, script),
        }
    }

    fn create_external_table(
        &mut self,
        create: &CreateTable,
        path: TablePath,
        connector: &str,
        script: &str,
    ) -> Result<String> {
        let table = ExternalTable::new(path.clone(), create.clone(), connector.to_owned(), script);
        check_external(&table, &self.env)?;
        self.locals.insert(path, Local::Table(Arc::new(table)));
        Ok(format!("table {} reads {connector}; the definition lives as long as the session", create.name))
    }

    /// `CREATE OR REPLACE TABLE` where there is one.
    async fn replace_table(&mut self, create: &CreateTable, path: &TablePath, script: &str) -> Result<String> {
        let connector = create.options.get("connector").filter(|connector| *connector != "iceberg");
        match (self.locals.get(path), connector) {
            (Some(Local::Table(_)), Some(connector)) => {
                return self.create_external_table(create, path.clone(), connector, script);
            }
            (None, None) => {}
            _ => {
                let message = format!("'{}' is of another kind, so it can't be replaced by this one", path.table);
                return refuse(message, Some("drop it first".to_owned()), &create.name, script);
            }
        }
        let replacement = self.replacement_of(create, script).await?;
        self.commit_changes(&replacement.base, &[replacement.change]).await?;
        Ok(format!("table {} is replaced; what was in it stays in its history", create.name))
    }

    /// What a table that is there becomes by `CREATE OR REPLACE TABLE`.
    pub(crate) async fn replacement_of(&self, create: &CreateTable, script: &str) -> Result<TableReplacement> {
        let base = self.iceberg_or_refuse(&create.name, script).await?;
        let creation = table_creation(create, &base.path, script)?;
        let change = MetadataChange::Replace(Box::new(Replacement {
            schema: creation.schema,
            partition_spec: creation.partition_spec.unwrap_or_default(),
            sort_order: Vec::new(),
            properties: creation.properties.into_iter().collect(),
            location: creation.location,
            format_version: match create.options.get("format-version") {
                Some(_) => creation.format_version,
                None => base.table.metadata().format_version(),
            },
        }));
        let place = |error: frazil_table::Error| at_place(error.into(), |_| create.name.span(), script);
        let table = preview_metadata(&base.table, &change).map_err(place)?;
        Ok(TableReplacement { base, table, change: Change::Metadata(change) })
    }

    async fn create_iceberg_table(&self, create: &CreateTable, path: &TablePath, script: &str) -> Result<String> {
        if create.temporary {
            let help = Some("take TEMPORARY away, or name another connector".to_owned());
            return refuse("an Iceberg table lasts, so it can't be TEMPORARY", help, &create.name, script);
        }
        let creation = table_creation(create, path, script)?;
        let catalog = self.catalog_or_refuse(&path.catalog, &create.name, script)?;
        let ident = path.ident();
        match catalog.create_table(ident.namespace(), creation).await {
            Ok(table) => Ok(format!("table {} is made at {}", create.name, table.metadata().location())),
            Err(frazil_catalog::Error::TableExists(_)) if create.if_not_exists => {
                Ok(format!("table {} is there already, and stays as it is", create.name))
            }
            Err(frazil_catalog::Error::NoSuchNamespace(_)) => {
                self.refuse_unknown_database(&path.catalog, &path.database, &create.name, script).await
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// A misspelt connector or option is found when the table is made, not when the first query reads it.
fn check_external(table: &ExternalTable, env: &Env) -> Result<()> {
    let mut asked = Options::new();
    if let Some(entry) = table.options().entry("connector") {
        asked.put(entry.clone());
    }
    let known = OptionSchema::new("a table").key(Spec::new("connector", Kind::OneOf(&CONNECTORS)));
    known.check(&asked)?;
    create_source(&table.to_connector(table.options()), env)?;
    Ok(())
}

/// What a catalog is asked for. Pure.
fn table_creation(create: &CreateTable, path: &TablePath, script: &str) -> Result<TableCreation> {
    if let Some(watermark) = &create.watermark {
        let error = SqlError::new("an Iceberg table keeps no WATERMARK", watermark.span, script);
        return Err(error.help("declare it at the table that the rows come from").into());
    }
    let options = iceberg_schema_of_options().check(&create.options)?;
    let schema = iceberg_schema(create, script)?;
    let spec = partition_spec(&create.partitioned_by, &schema, script)?;
    let format_version = format_version(&options, create, script)?;
    let properties = properties(create);
    Ok(TableCreation::builder()
        .name(path.table.clone())
        .location_opt(options.text_opt("location").map(str::to_owned))
        .schema(schema)
        .partition_spec(spec)
        .properties(properties)
        .format_version(format_version)
        .build())
}

fn format_version(options: &Checked, create: &CreateTable, script: &str) -> Result<FormatVersion> {
    let written = options.passed().find(|(key, _)| *key == "format-version").map(|(_, value)| value);
    match written {
        Some("1") => Ok(FormatVersion::V1),
        None | Some("2") => Ok(FormatVersion::V2),
        Some("3") => Ok(FormatVersion::V3),
        Some(other) => {
            let entry = create.options.entry("format-version").expect("its value has just been read");
            let message = format!("option 'format-version' is '{other}', but has to be 1, 2 or 3");
            Err(SqlError::new(message, entry.value_span, script).into())
        }
    }
}

fn properties(create: &CreateTable) -> HashMap<String, String> {
    let defaults = DEFAULT_PROPERTIES.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let mut properties = HashMap::from(defaults);
    let written = create.options.iter().filter(|entry| is_property(&entry.key));
    properties.extend(written.map(|entry| (entry.key.clone(), entry.value.clone())));
    if let Some(comment) = &create.comment {
        properties.insert(COMMENT.to_owned(), comment.clone());
    }
    properties
}

/// The columns with fresh ids, and the primary key as identifier fields (Iceberg spec, "Identifier Field IDs").
fn iceberg_schema(create: &CreateTable, script: &str) -> Result<Schema> {
    let mut ids = Ids(0);
    let first: Vec<i32> = create.columns.iter().map(|_| ids.next()).collect();
    let mut fields = Vec::with_capacity(create.columns.len());
    for (id, column) in first.into_iter().zip(&create.columns) {
        fields.push(iceberg_column(id, column, &mut ids, script)?);
    }
    let mut keys = Vec::with_capacity(create.primary_key.len());
    for key in &create.primary_key {
        let place = create.columns.iter().position(|column| column.name == *key);
        let field: &NestedFieldRef = &fields[place.expect("the parser has checked that the key's columns are there")];
        let fractional = [Type::Primitive(PrimitiveType::Float), Type::Primitive(PrimitiveType::Double)];
        if !field.field_type.is_primitive() || fractional.contains(&field.field_type) {
            let column = &create.columns[place.expect("found above")];
            let message = format!("'{key}' is {}, which can't be in a key", field.field_type);
            return Err(SqlError::new(message, column.span, script).into());
        }
        keys.push(field.id);
    }
    let built = Schema::builder().with_fields(fields).with_identifier_field_ids(keys).build();
    built.map_err(|error| SqlError::new(error.to_string(), create.name.span(), script).into())
}

fn iceberg_column(id: i32, column: &Column, ids: &mut Ids, script: &str) -> Result<NestedFieldRef> {
    let ColumnKind::Physical(data_type) = &column.kind else {
        let what = match column.kind {
            ColumnKind::Metadata { .. } => "METADATA",
            _ => "computed",
        };
        let message = format!("an Iceberg table has no {what} columns, and '{}' is one", column.name);
        let error = SqlError::new(message, column.span, script);
        return Err(error.help("compute it in a query or a view").into());
    };
    Ok(iceberg_field(id, &column.name, data_type, column.comment.as_deref(), ids))
}

/// Hands out field ids in the order in which they are asked for.
struct Ids(i32);

impl Ids {
    fn next(&mut self) -> i32 {
        self.0 += 1;
        self.0
    }
}

fn iceberg_field(id: i32, name: &str, data_type: &DataType, doc: Option<&str>, ids: &mut Ids) -> NestedFieldRef {
    let mut field = NestedField::new(id, name, iceberg_type(&data_type.kind, ids), !data_type.nullable);
    field.doc = doc.map(str::to_owned);
    Arc::new(field)
}

/// A type with ids that only tell its fields apart.
pub(super) fn sql_type_to_iceberg(kind: &TypeKind) -> Type {
    iceberg_type(kind, &mut Ids(0))
}

fn iceberg_type(kind: &TypeKind, ids: &mut Ids) -> Type {
    let primitive = match kind {
        TypeKind::Array(element) => {
            let id = ids.next();
            let element = NestedField::list_element(id, iceberg_type(&element.kind, ids), !element.nullable);
            return Type::List(ListType::new(Arc::new(element)));
        }
        TypeKind::Map(key, value) => {
            let (key_id, value_id) = (ids.next(), ids.next());
            let key = NestedField::map_key_element(key_id, iceberg_type(&key.kind, ids));
            let value = NestedField::map_value_element(value_id, iceberg_type(&value.kind, ids), !value.nullable);
            return Type::Map(MapType::new(Arc::new(key), Arc::new(value)));
        }
        TypeKind::Row(fields) => {
            let first: Vec<i32> = fields.iter().map(|_| ids.next()).collect();
            let fields = first
                .into_iter()
                .zip(fields)
                .map(|(id, field)| iceberg_field(id, &field.name, &field.data_type, field.comment.as_deref(), ids));
            return Type::Struct(StructType::new(fields.collect()));
        }
        TypeKind::Boolean => PrimitiveType::Boolean,
        TypeKind::TinyInt | TypeKind::SmallInt | TypeKind::Int => PrimitiveType::Int,
        TypeKind::BigInt => PrimitiveType::Long,
        TypeKind::Float => PrimitiveType::Float,
        TypeKind::Double => PrimitiveType::Double,
        TypeKind::Decimal { precision, scale } => {
            PrimitiveType::Decimal { precision: u32::from(*precision), scale: u32::from(*scale) }
        }
        TypeKind::Char(_) | TypeKind::VarChar(_) | TypeKind::String => PrimitiveType::String,
        TypeKind::Binary(length) => PrimitiveType::Fixed(u64::from(*length)),
        TypeKind::VarBinary(_) | TypeKind::Bytes => PrimitiveType::Binary,
        TypeKind::Date => PrimitiveType::Date,
        TypeKind::Time { .. } => PrimitiveType::Time,
        TypeKind::Timestamp { .. } => PrimitiveType::Timestamp,
        TypeKind::TimestampLtz { .. } => PrimitiveType::Timestamptz,
    };
    Type::Primitive(primitive)
}

fn partition_spec(fields: &[PartitionField], schema: &Schema, script: &str) -> Result<UnboundPartitionSpec> {
    let mut spec = UnboundPartitionSpec::builder();
    for field in fields {
        let refuse = |message: String| SqlError::new(message, field.span, script);
        let path = field.column.join(".");
        let Some(source) = schema.field_by_name(&path) else {
            return Err(refuse(format!("the table has no column '{path}'")).into());
        };
        let (transform, name) = iceberg_transform(field.transform, &path);
        if let Err(_unsupported) = transform.result_type(&source.field_type) {
            return Err(refuse(format!("there is no {transform} of {}", source.field_type)).into());
        }
        spec =
            spec.add_partition_field(source.id, name, transform).map_err(|error| refuse(error.message().to_owned()))?;
    }
    Ok(spec.build())
}

/// The transform, and the partition field's name as Iceberg's other writers choose it; but with letters, digits and
/// underscores only, since the name is one of an Avro field in every manifest.
fn iceberg_transform(transform: SqlTransform, path: &str) -> (Transform, String) {
    let path = avro_name(path);
    let name = match transform {
        SqlTransform::Identity => path,
        SqlTransform::Bucket(_) => format!("{path}_bucket"),
        SqlTransform::Truncate(_) => format!("{path}_trunc"),
        other => format!("{path}_{}", transform_of(other)),
    };
    (transform_of(transform), name)
}

pub(super) fn transform_of(transform: SqlTransform) -> Transform {
    match transform {
        SqlTransform::Identity => Transform::Identity,
        SqlTransform::Year => Transform::Year,
        SqlTransform::Month => Transform::Month,
        SqlTransform::Day => Transform::Day,
        SqlTransform::Hour => Transform::Hour,
        SqlTransform::Bucket(count) => Transform::Bucket(count),
        SqlTransform::Truncate(width) => Transform::Truncate(width),
    }
}

fn avro_name(path: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    let name: String = path.chars().map(plain).collect();
    match name.starts_with(|c: char| c.is_ascii_digit()) {
        true => format!("_{name}"),
        false => name,
    }
}
