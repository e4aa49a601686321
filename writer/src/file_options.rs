//! What a table's properties say of its files (`write.parquet.*`, `write.target-file-size-bytes`).

use std::collections::{HashMap, HashSet};
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use frazil_table::Table;
use frazil_table::spec::{NullOrder, Schema, SortDirection, SortOrder, TableMetadata, Transform};
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::{BrotliLevel, Compression, GzipLevel, LogicalType, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterPropertiesPtr, WriterVersion,
};
use parquet::schema::types::{ColumnPath, SchemaDescriptor, Type, TypePtr};

use crate::leaf::leaves;
use crate::metrics_mode::MetricsConfig;
use crate::{Error, Result};

const TARGET_FILE_SIZE: &str = "write.target-file-size-bytes";
const FORMAT: &str = "write.format.default";
const ROW_GROUP_SIZE: &str = "write.parquet.row-group-size-bytes";
/// As PyIceberg calls it; Java has no such limit.
pub(crate) const ROW_GROUP_ROWS: &str = "write.parquet.row-group-limit";
const PAGE_SIZE: &str = "write.parquet.page-size-bytes";
const PAGE_ROWS: &str = "write.parquet.page-row-limit";
const DICT_SIZE: &str = "write.parquet.dict-size-bytes";
const CODEC: &str = "write.parquet.compression-codec";
const LEVEL: &str = "write.parquet.compression-level";
const PAGE_VERSION: &str = "write.parquet.page-version";
const STATS_ENABLED: &str = "write.parquet.stats-enabled.column.";
const BLOOM_ENABLED: &str = "write.parquet.bloom-filter-enabled.column.";
const BLOOM_FPP: &str = "write.parquet.bloom-filter-fpp.column.";
const BLOOM_MAX_BYTES: &str = "write.parquet.bloom-filter-max-bytes";

/// A row group has at most this many rows however small they are, so that a reader finds something to skip and something
/// to share out.
const ROW_GROUP_ROWS_MAX: u64 = 1 << 20;

const ENCODE_ROWS: usize = 1024;

/// Level 1 encodes a quarter faster than 3 for files that are 3 % larger, and most files here are soon rewritten.
const ZSTD_LEVEL: i32 = 1;

/// How a table's data files are made: sizes, encodings, schema, metrics. Derived from the table once, then immutable.
#[derive(Clone, Debug)]
pub struct FileOptions {
    /// A file is closed when its encoded size reaches this (`write.target-file-size-bytes`, 512 MiB).
    pub target_file_size_bytes: u64,
    /// A row group is ended when its encoded size reaches this (`write.parquet.row-group-size-bytes`, 128 MiB).
    pub row_group_size_bytes: u64,
    /// A row group is ended when it has so many rows (`write.parquet.row-group-limit`, 1,048,576).
    pub row_group_rows_max: usize,
    /// Codec, page sizes, statistics, bloom filters. Row groups are not ended by these.
    pub parquet: WriterPropertiesPtr,
    /// Which columns have which metrics.
    pub metrics: MetricsConfig,
    /// The columns of the files in Arrow's terms: the table's current schema.
    pub arrow_schema: SchemaRef,
    /// The same in Parquet's terms, with field ids and logical types as the specification has them (Iceberg spec,
    /// "Parquet").
    pub parquet_schema: SchemaDescriptor,
}

impl FileOptions {
    /// Reads a table's properties and its current schema.
    ///
    /// # Errors
    /// [`Error::BadProperty`] for a value that means nothing; [`Error::Table`] for a schema that Arrow can't hold.
    pub fn of(table: &Table) -> Result<Self> {
        Self::for_schema(table, table.metadata().current_schema())
    }

    /// As [`FileOptions::of`], for files that have other columns than the table: with those of row lineage behind its own.
    pub(crate) fn for_schema(table: &Table, schema: &Schema) -> Result<Self> {
        let metadata = table.metadata();
        let read = Reader { properties: metadata.properties() };
        read.check_format()?;
        let metrics = MetricsConfig::of(metadata)?;
        let arrow_schema = Arc::new(frazil_table::arrow::arrow_schema(schema)?);
        let parquet_schema = parquet_schema_of(schema, &arrow_schema)
            .map_err(|source| Error::Encode { location: table.ident().to_string(), source })?;
        Ok(Self {
            target_file_size_bytes: read.number(TARGET_FILE_SIZE, 512 << 20)?,
            row_group_size_bytes: read.number(ROW_GROUP_SIZE, 128 << 20)?,
            row_group_rows_max: read.size(ROW_GROUP_ROWS, ROW_GROUP_ROWS_MAX)?,
            parquet: Arc::new(parquet_properties(metadata, &read, &metrics)?),
            metrics,
            arrow_schema,
            parquet_schema,
        })
    }
}

impl FileOptions {
    /// The same for files whose rows follow a sort order: as far as it goes by columns as they are, the files say so.
    pub(crate) fn sorted_by(mut self, order: &SortOrder) -> Self {
        let ids: Vec<_> = self
            .parquet_schema
            .columns()
            .iter()
            .map(|column| {
                let info = column.self_type().get_basic_info();
                info.has_id().then(|| info.id())
            })
            .collect();
        let sorting = order.fields.iter().map_while(|field| {
            let column = ids.iter().position(|id| *id == Some(field.source_id))?;
            (field.transform == Transform::Identity).then_some(SortingColumn {
                column_idx: i32::try_from(column).ok()?,
                descending: field.direction == SortDirection::Descending,
                nulls_first: field.null_order == NullOrder::First,
            })
        });
        let sorting: Vec<_> = sorting.collect();
        if !sorting.is_empty() {
            let properties = WriterPropertiesBuilder::from(WriterProperties::clone(&self.parquet));
            self.parquet = Arc::new(properties.set_sorting_columns(Some(sorting)).build());
        }
        self
    }
}

const UUID: frazil_table::spec::PrimitiveType = frazil_table::spec::PrimitiveType::Uuid;

fn parquet_properties(
    metadata: &TableMetadata,
    read: &Reader<'_>,
    metrics: &MetricsConfig,
) -> Result<WriterProperties> {
    let page_rows_max = read.size(PAGE_ROWS, 20_000)?;
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("frazil version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_writer_version(read.page_version()?)
        .set_compression(read.compression()?)
        .set_max_row_group_row_count(None)
        .set_data_page_size_limit(read.size(PAGE_SIZE, 1 << 20)?)
        .set_data_page_row_count_limit(page_rows_max)
        // The encoder looks at its limits after so many rows.
        .set_write_batch_size(page_rows_max.min(ENCODE_ROWS))
        .set_dictionary_page_size_limit(read.size(DICT_SIZE, 2 << 20)?)
        .set_statistics_truncate_length(metrics.statistics_bytes());
    let bloom_max_bytes = read.number(BLOOM_MAX_BYTES, 1 << 20)?;
    for leaf in leaves(metadata.current_schema()) {
        let path = ColumnPath::new(leaf.parquet_path);
        if !read.flag(&format!("{STATS_ENABLED}{}", leaf.name), true)? {
            builder = builder.set_column_statistics_enabled(path.clone(), EnabledStatistics::None);
        }
        if !read.flag(&format!("{BLOOM_ENABLED}{}", leaf.name), false)? {
            continue;
        }
        let fpp = read.fraction(&format!("{BLOOM_FPP}{}", leaf.name), 0.01)?;
        builder = builder
            .set_column_bloom_filter_enabled(path.clone(), true)
            .set_column_bloom_filter_fpp(path.clone(), fpp)
            .set_column_bloom_filter_ndv(path, distinct_values(bloom_max_bytes, fpp));
    }
    Ok(builder.build())
}

/// How many distinct values a split-block bloom filter of `bytes` holds at a rate `fpp` of false positives: 8 bits are
/// set for each value. A filter with fewer values is folded to the size they need when its row group ends.
fn distinct_values(bytes: u64, fpp: f64) -> u64 {
    let bits = bytes.max(32) as f64 * 8.0;
    // Filters have a power of two of bits: rounding up must not exceed the bytes.
    let values = -bits / 8.0 * (1.0 - fpp.powf(1.0 / 8.0)).ln();
    (values as u64).max(1)
}

/// A schema in Parquet's terms, with field ids and logical types as the specification has them.
pub(crate) fn parquet_schema_of(schema: &Schema, arrow: &SchemaRef) -> parquet::errors::Result<SchemaDescriptor> {
    let uuids = leaves(schema).into_iter().filter(|leaf| leaf.r#type == UUID).map(|leaf| leaf.id).collect();
    parquet_schema(arrow, &uuids)
}

/// Arrow does not tell a UUID from 16 bytes; other readers want Parquet to (Iceberg spec, "Parquet").
fn parquet_schema(schema: &SchemaRef, uuids: &HashSet<i32>) -> parquet::errors::Result<SchemaDescriptor> {
    let plain = ArrowSchemaConverter::new().schema_root("table").convert(schema)?;
    if uuids.is_empty() {
        return Ok(plain);
    }
    Ok(SchemaDescriptor::new(with_uuids(&plain.root_schema_ptr(), uuids)?))
}

fn with_uuids(r#type: &TypePtr, uuids: &HashSet<i32>) -> parquet::errors::Result<TypePtr> {
    let info = r#type.get_basic_info();
    let id = info.has_id().then(|| info.id());
    match r#type.as_ref() {
        Type::PrimitiveType { physical_type, type_length, .. } if id.is_some_and(|id| uuids.contains(&id)) => {
            let uuid = Type::primitive_type_builder(info.name(), *physical_type)
                .with_repetition(info.repetition())
                .with_length(*type_length)
                .with_logical_type(Some(LogicalType::Uuid))
                .with_id(id);
            Ok(Arc::new(uuid.build()?))
        }
        Type::PrimitiveType { .. } => Ok(r#type.clone()),
        Type::GroupType { fields, .. } => {
            let fields = fields.iter().map(|field| with_uuids(field, uuids)).collect::<parquet::errors::Result<_>>()?;
            let mut group = Type::group_type_builder(info.name())
                .with_converted_type(info.converted_type())
                .with_logical_type(info.logical_type_ref().cloned())
                .with_fields(fields)
                .with_id(id);
            if info.has_repetition() {
                group = group.with_repetition(info.repetition());
            }
            Ok(Arc::new(group.build()?))
        }
    }
}

struct Reader<'a> {
    properties: &'a HashMap<String, String>,
}

impl Reader<'_> {
    fn parse<T: FromStr>(&self, key: &str, default: T, wanted: &str, valid: impl Fn(&T) -> bool) -> Result<T> {
        let Some(text) = self.properties.get(key) else { return Ok(default) };
        text.trim().parse().ok().filter(valid).ok_or_else(|| bad(key, text, wanted))
    }

    fn number(&self, key: &str, default: u64) -> Result<u64> {
        self.parse(key, default, "a positive number", |n| *n > 0)
    }

    fn fraction(&self, key: &str, default: f64) -> Result<f64> {
        self.parse(key, default, "more than 0 and less than 1", |n| *n > 0.0 && *n < 1.0)
    }

    fn size(&self, key: &str, default: u64) -> Result<usize> {
        Ok(usize::try_from(self.number(key, default)?).unwrap_or(usize::MAX))
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool> {
        self.parse(key, default, "true or false", |_| true)
    }

    fn page_version(&self) -> Result<WriterVersion> {
        match self.properties.get(PAGE_VERSION).map(|text| text.trim()) {
            None | Some("v1" | "V1") => Ok(WriterVersion::PARQUET_1_0),
            Some("v2" | "V2") => Ok(WriterVersion::PARQUET_2_0),
            Some(text) => Err(bad(PAGE_VERSION, text, "v1 or v2")),
        }
    }

    fn check_format(&self) -> Result<()> {
        match self.properties.get(FORMAT) {
            Some(format) if !format.trim().eq_ignore_ascii_case("parquet") => Err(bad(FORMAT, format, "parquet")),
            _ => Ok(()),
        }
    }

    fn compression(&self) -> Result<Compression> {
        let codec = self.properties.get(CODEC).map_or("zstd", String::as_str);
        let level = match self.properties.get(LEVEL).map(|text| text.trim()) {
            None | Some("" | "null") => None,
            Some(text) => Some(text.parse::<i32>().map_err(|_| bad(LEVEL, text, "a number"))?),
        };
        let bad_level = |range: &str| bad(LEVEL, &level.unwrap_or_default().to_string(), range);
        let small = level.map(|level| u32::try_from(level).unwrap_or(u32::MAX));
        Ok(match codec.trim().to_ascii_lowercase().as_str() {
            "zstd" => {
                let level = ZstdLevel::try_new(level.unwrap_or(ZSTD_LEVEL)).map_err(|_| bad_level("1 to 22"))?;
                Compression::ZSTD(level)
            }
            "gzip" => Compression::GZIP(match small {
                Some(level) => GzipLevel::try_new(level).map_err(|_| bad_level("0 to 10"))?,
                None => GzipLevel::default(),
            }),
            "brotli" => Compression::BROTLI(match small {
                Some(level) => BrotliLevel::try_new(level).map_err(|_| bad_level("0 to 11"))?,
                None => BrotliLevel::default(),
            }),
            "snappy" => Compression::SNAPPY,
            "lz4" | "lz4_raw" => Compression::LZ4_RAW,
            "uncompressed" | "none" => Compression::UNCOMPRESSED,
            _ => return Err(bad(CODEC, codec, "zstd, gzip, snappy, lz4, brotli or uncompressed")),
        })
    }
}

fn bad(property: &str, value: &str, wanted: &str) -> Error {
    Error::BadProperty { property: property.to_owned(), value: value.to_owned(), wanted: wanted.to_owned() }
}

#[cfg(test)]
mod tests;
