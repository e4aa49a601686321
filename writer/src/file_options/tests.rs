use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use expect_test::expect;
use frazil_storage::Env;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::bloom_filter::Sbbf;
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::{ReadOptionsBuilder, SerializedFileReader};
use parquet::schema::printer::print_schema;

use super::*;
use crate::fixture::{batch, table};
use crate::{TableWriter, WriterConfig};

const FIELDS: &str = r#"{"id":1,"name":"id","required":true,"type":"long"},
    {"id":2,"name":"name","required":false,"type":"string"}"#;

fn error(key: &str, value: &str) -> String {
    FileOptions::of(&table(FIELDS, &[], &[(key, value)])).unwrap_err().to_string()
}

#[test]
fn a_wrong_value_names_its_property() {
    expect![[r#"table property write.parquet.compression-codec is "lzo", but it must be zstd, gzip, snappy, lz4, brotli or uncompressed"#]]
        .assert_eq(&error(CODEC, "lzo"));
    expect![[r#"table property write.format.default is "orc", but it must be parquet"#]]
        .assert_eq(&error(FORMAT, "orc"));
    expect![[r#"table property write.parquet.compression-level is "99", but it must be 1 to 22"#]]
        .assert_eq(&error(LEVEL, "99"));
    expect![[r#"table property write.target-file-size-bytes is "512MB", but it must be a positive number"#]]
        .assert_eq(&error(TARGET_FILE_SIZE, "512MB"));
    expect![[r#"table property write.parquet.bloom-filter-enabled.column.id is "yes", but it must be true or false"#]]
        .assert_eq(&error("write.parquet.bloom-filter-enabled.column.id", "yes"));
}

#[test]
fn the_parquet_schema_is_that_of_the_specification() {
    let fields = r#"{"id":1,"name":"u","required":true,"type":"uuid"},
        {"id":2,"name":"t","required":false,"type":"timestamptz"},
        {"id":3,"name":"c","required":false,"type":"time"},
        {"id":4,"name":"d","required":false,"type":"decimal(9, 2)"},
        {"id":5,"name":"e","required":false,"type":"decimal(38, 2)"},
        {"id":6,"name":"m","required":false,"type":{"type":"map","key-id":7,"key":"string","value-id":8,"value-required":false,
            "value":{"type":"list","element-id":9,"element-required":true,"element":"uuid"}}}"#;
    let options = FileOptions::of(&table(fields, &[], &[])).unwrap();
    let mut text = Vec::new();
    print_schema(&mut text, options.parquet_schema.root_schema());
    expect![[r#"
        message table {
          REQUIRED FIXED_LEN_BYTE_ARRAY (16) u [1] (UUID);
          OPTIONAL INT64 t [2] (TIMESTAMP(MICROS,true));
          OPTIONAL INT64 c [3] (TIME(MICROS,false));
          OPTIONAL INT32 d [4] (DECIMAL(9,2));
          OPTIONAL FIXED_LEN_BYTE_ARRAY (16) e [5] (DECIMAL(38,2));
          OPTIONAL group m [6] (MAP) {
            REPEATED group key_value {
              REQUIRED BYTE_ARRAY key [7] (STRING);
              OPTIONAL group value [8] (LIST) {
                REPEATED group list {
                  REQUIRED FIXED_LEN_BYTE_ARRAY (16) element [9] (UUID);
                }
              }
            }
          }
        }
    "#]]
    .assert_eq(&String::from_utf8(text).unwrap());
}

async fn written(properties: &[(&str, &str)]) -> bytes::Bytes {
    let (env, table) = (Env::in_memory(1), table(FIELDS, &[], properties));
    let mut writer = TableWriter::new(env.clone(), &table, WriterConfig::default()).unwrap();
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1000));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values((0..1000).map(|i| format!("name {i}"))));
    writer.write(batch(&table, vec![ids, names])).await.unwrap();
    let files = writer.close().await.unwrap();
    env.store.read(files[0].file.file_path()).await.unwrap()
}

#[tokio::test]
async fn codecs_are_those_of_the_properties() {
    let codecs = [
        ("zstd", Compression::ZSTD(ZstdLevel::default())),
        ("gzip", Compression::GZIP(GzipLevel::default())),
        ("SNAPPY", Compression::SNAPPY),
        ("lz4", Compression::LZ4_RAW),
        ("brotli", Compression::BROTLI(BrotliLevel::default())),
        ("uncompressed", Compression::UNCOMPRESSED),
    ];
    for (name, codec) in codecs {
        let bytes = written(&[(CODEC, name)]).await;
        let metadata = ArrowReaderMetadata::load(&bytes, Default::default()).unwrap();
        assert_eq!(metadata.metadata().row_group(0).column(0).compression(), codec, "{name}");
        assert_eq!(metadata.metadata().file_metadata().num_rows(), 1000);
    }
}

#[tokio::test]
async fn bloom_filters_are_on_the_columns_asked_for_and_as_large_as_they_need() {
    let bytes = written(&[("write.parquet.bloom-filter-enabled.column.name", "true")]).await;
    let properties = ReaderProperties::builder().set_read_bloom_filter(true).build();
    let options = ReadOptionsBuilder::new().with_reader_properties(properties).build();
    let reader = SerializedFileReader::new_with_options(bytes, options).unwrap();
    let group = reader.get_row_group(0).unwrap();
    assert!(group.get_column_bloom_filter(0).is_none());
    let filter: &Sbbf = group.get_column_bloom_filter(1).unwrap();
    assert!((0..1000).all(|i| filter.check(&format!("name {i}").as_str())));
    let wrong = (1000..11_000).filter(|i| filter.check(&format!("name {i}").as_str())).count();
    assert!(wrong < 300, "{wrong} of 10,000 false positives at a rate of 1 %");
    let size = reader.metadata().row_group(0).column(1).bloom_filter_length().unwrap();
    assert!(size < 8192, "{size} bytes for 1,000 values");
}

#[test]
fn a_bloom_filter_has_at_most_the_bytes_it_may_have() {
    for bytes in [1 << 10, 1 << 15, 1 << 20] {
        for fpp in [0.001, 0.01, 0.05] {
            let filter = Sbbf::new_with_ndv_fpp(distinct_values(bytes, fpp), fpp).unwrap();
            let mut size = Vec::new();
            filter.write(&mut size).unwrap();
            assert!(size.len() as u64 <= bytes + 64, "{} for {bytes} at {fpp}", size.len());
        }
    }
}

#[tokio::test]
async fn pages_and_statistics_are_as_the_properties_say() {
    let plain = ArrowReaderMetadata::load(&written(&[]).await, Default::default()).unwrap();
    assert!(plain.metadata().row_group(0).column(1).statistics().is_some());
    let bytes = written(&[
        (PAGE_VERSION, "v2"),
        ("write.parquet.stats-enabled.column.name", "false"),
        (PAGE_ROWS, "100"),
        (DICT_SIZE, "64"),
    ])
    .await;
    let with_index = parquet::arrow::arrow_reader::ArrowReaderOptions::new()
        .with_page_index_policy(parquet::file::metadata::PageIndexPolicy::Required);
    let read = ArrowReaderMetadata::load(&bytes, with_index).unwrap();
    let group = read.metadata().row_group(0);
    assert!(group.column(0).statistics().is_some());
    assert!(group.column(1).statistics().is_none());
    let pages = &read.metadata().offset_index().unwrap()[0][1].page_locations;
    assert!(pages.len() >= 8, "{} pages of at most about 100 of 1,000 rows", pages.len());
    let reader = SerializedFileReader::new(bytes).unwrap();
    let mut pages = reader.get_row_group(0).unwrap().get_column_page_reader(1).unwrap();
    let kinds: Vec<_> = std::iter::from_fn(|| pages.get_next_page().unwrap()).map(|page| page.page_type()).collect();
    assert!(kinds.contains(&parquet::basic::PageType::DATA_PAGE_V2), "{kinds:?}");
}
