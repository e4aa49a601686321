use std::sync::Arc;

use arrow::array::{
    BinaryArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array, LargeBinaryArray,
    RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::concat;
use arrow::datatypes::{Field, Schema};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::page::Page;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::file::writer::SerializedFileWriter;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

/// A file of one column by the encoder of this module.
fn encode(field: &Field, arrays: &[ArrayRef], properties: &WriterPropertiesPtr) -> Bytes {
    let schema = Schema::new(vec![field.clone()]);
    let parquet_schema = ArrowSchemaConverter::new().convert(&schema).unwrap();
    let descr = parquet_schema.column(0);
    let mut column = FlatColumn::of(field.data_type(), &descr, properties).unwrap();
    for array in arrays {
        column.encode(array).unwrap();
    }
    let (bytes, close) = column.close().unwrap();
    let mut writer =
        SerializedFileWriter::new(Vec::new(), parquet_schema.root_schema_ptr(), properties.clone()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    group.append_column(&bytes, close).unwrap();
    group.close().unwrap();
    writer.into_inner().unwrap().into()
}

/// The same by the crate's.
fn encode_by_crate(field: &Field, arrays: &[ArrayRef], properties: &WriterPropertiesPtr) -> Bytes {
    let schema = Arc::new(Schema::new(vec![field.clone()]));
    let mut writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties.as_ref().clone())).unwrap();
    for array in arrays {
        writer.write(&RecordBatch::try_new(schema.clone(), vec![array.clone()]).unwrap()).unwrap();
    }
    writer.into_inner().unwrap().into()
}

fn metadata_of(file: &Bytes) -> ArrowReaderMetadata {
    let options =
        ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required).with_skip_arrow_metadata(true);
    ArrowReaderMetadata::load(file, options).unwrap()
}

/// The rows of a file.
fn decode(file: &Bytes, r#type: &DataType) -> ArrayRef {
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), metadata_of(file)).build().unwrap();
    let arrays: Vec<ArrayRef> = reader.map(|batch| batch.unwrap().column(0).clone()).collect();
    let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
    arrow::compute::cast(&concat(&arrays).unwrap(), r#type).unwrap()
}

/// For each page its first row, and what the column index says of it.
fn pages(metadata: &ParquetMetaData) -> Vec<(i64, String)> {
    let offsets = metadata.offset_index().unwrap()[0][0].page_locations();
    let told = |page: usize| match &metadata.column_index().unwrap()[0][0] {
        // Where a page has nothing but NaN.
        ColumnIndexMetaData::NONE => String::new(),
        index @ ColumnIndexMetaData::INT32(i) => bounds(index, page, i.min_value(page), i.max_value(page)),
        index @ ColumnIndexMetaData::INT64(i) => bounds(index, page, i.min_value(page), i.max_value(page)),
        index @ ColumnIndexMetaData::FLOAT(i) => bounds(index, page, i.min_value(page), i.max_value(page)),
        index @ ColumnIndexMetaData::DOUBLE(i) => bounds(index, page, i.min_value(page), i.max_value(page)),
        index @ ColumnIndexMetaData::BYTE_ARRAY(i) => bounds(index, page, i.min_value(page), i.max_value(page)),
        other => panic!("{other:?}"),
    };
    offsets.iter().enumerate().map(|(page, place)| (place.first_row_index, told(page))).collect()
}

fn bounds<T: std::fmt::Debug>(index: &ColumnIndexMetaData, page: usize, min: T, max: T) -> String {
    let levels = index.definition_level_histogram(page).map(<[i64]>::to_vec);
    format!("{:?} nulls, {min:?} to {max:?}, levels {levels:?}", index.null_count(page))
}

/// For each page the first row, by the headers of the pages before it.
fn first_rows(file: &Bytes, metadata: &ParquetMetaData) -> Vec<i64> {
    let chunk = metadata.row_group(0).column(0);
    let rows = metadata.row_group(0).num_rows() as usize;
    let pages = SerializedPageReader::new(Arc::new(file.clone()), chunk, rows, None).unwrap();
    let rows = pages.map(|page| page.unwrap()).filter(Page::is_data_page).map(|page| i64::from(page.num_values()));
    let ends = rows.scan(0, |end, rows| {
        *end += rows;
        Some(*end - rows)
    });
    ends.collect()
}

/// What is told of a chunk, but for offsets and sizes.
fn told(metadata: &ParquetMetaData) -> String {
    let chunk = metadata.row_group(0).column(0);
    format!(
        "{:?} {:?} values, {:?}, variable {:?}, levels {:?}",
        chunk.compression(),
        chunk.num_values(),
        chunk.statistics(),
        chunk.unencoded_byte_array_data_bytes(),
        chunk.definition_level_histogram(),
    )
}

fn properties(random: &mut StdRng) -> WriterPropertiesPtr {
    let page_rows = random.random_range(1..300);
    let codec = match random.random_bool(0.5) {
        true => Compression::ZSTD(ZstdLevel::try_new(random.random_range(1..4)).unwrap()),
        false => Compression::UNCOMPRESSED,
    };
    let properties = WriterProperties::builder()
        .set_compression(codec)
        .set_data_page_row_count_limit(page_rows)
        // Of the crate: it looks at its limits after so many rows.
        .set_write_batch_size(1)
        .set_data_page_size_limit(1 << 20)
        .set_dictionary_page_size_limit(random.random_range(0..3_000))
        .set_column_index_truncate_length(Some(random.random_range(1..20)))
        .set_statistics_truncate_length(Some(random.random_range(1..20)));
    Arc::new(properties.build())
}

/// Values of one of the kinds, of a range that is narrow or wide, perhaps with nulls.
fn array(random: &mut StdRng, kind: u32, rows: usize, nullable: bool) -> ArrayRef {
    let distinct = *[1_i64, 2, 50, 100_000].get(random.random_range(0..4)).unwrap();
    let null_share = if nullable { *[0.0, 0.02, 0.5, 1.0].get(random.random_range(0..4)).unwrap() } else { 0.0 };
    let sorted = random.random_bool(0.3);
    let mut numbers: Vec<i64> = (0..rows).map(|_| random.random_range(0..distinct) - distinct / 2).collect();
    if sorted {
        numbers.sort_unstable();
    }
    let values: Vec<Option<i64>> =
        numbers.into_iter().map(|number| (!random.random_bool(null_share)).then_some(number)).collect();
    let values = values.into_iter();
    let text = |n: i64| match n.rem_euclid(7) {
        0 => String::new(),
        1 => format!("{n}"),
        2 => format!("ä{n}ö"),
        3 => format!("\u{10ffff}\u{10ffff}{n}"),
        4 => "x".repeat(n.unsigned_abs() as usize % 60),
        _ => format!("a long text that begins as others do {n}"),
    };
    let bytes = |n: i64| match n.rem_euclid(3) {
        0 => vec![0xff; n.unsigned_abs() as usize % 30],
        _ => n.to_be_bytes().to_vec(),
    };
    let float = |n: i64| match n {
        0 => -0.0,
        1 => 0.0,
        2 => f64::NAN,
        3 => f64::INFINITY,
        n => n as f64 / 3.0,
    };
    match kind {
        0 => Arc::new(values.map(|v| v.map(|v| v as i32)).collect::<Int32Array>()),
        1 => Arc::new(values.collect::<Int64Array>()),
        2 => Arc::new(values.map(|v| v.map(|v| v as i32)).collect::<Date32Array>()),
        3 => Arc::new(values.collect::<TimestampMicrosecondArray>()),
        4 => Arc::new(values.map(|v| v.map(|v| float(v) as f32)).collect::<Float32Array>()),
        5 => Arc::new(values.map(|v| v.map(float)).collect::<Float64Array>()),
        6 => {
            let array: Decimal128Array = values.map(|v| v.map(i128::from)).collect();
            Arc::new(array.with_precision_and_scale(9, 2).unwrap())
        }
        7 => {
            let array: Decimal128Array = values.map(|v| v.map(|v| i128::from(v) * 1_000_000_007)).collect();
            Arc::new(array.with_precision_and_scale(18, 2).unwrap())
        }
        8 => Arc::new(values.map(|v| v.map(bytes)).collect::<BinaryArray>()),
        9 => Arc::new(values.map(|v| v.map(bytes)).collect::<LargeBinaryArray>()),
        _ => Arc::new(values.map(|v| v.map(text)).collect::<StringArray>()),
    }
}

/// Rows come back, and the crate would have told the same of them: in the footer, and of each page.
#[test]
fn chunks_are_as_the_crate_would_make_them() {
    let mut random = StdRng::seed_from_u64(11);
    for case in 0..3_000 {
        let (kind, nullable) = (random.random_range(0..12), random.random_bool(0.6));
        let properties = properties(&mut random);
        let arrays: Vec<ArrayRef> = (0..random.random_range(1..5))
            .map(|_| {
                let rows = random.random_range(0..700);
                let array = array(&mut random, kind, rows, nullable);
                // A slice of an array has its own offset.
                let from = random.random_range(0..=rows / 2);
                array.slice(from, rows - from)
            })
            .collect();
        let field = Field::new("c", arrays[0].data_type().clone(), nullable);
        if arrays.iter().all(|array| array.is_empty()) {
            continue;
        }
        let whole = concat(&arrays.iter().map(AsRef::as_ref).collect::<Vec<&dyn Array>>()).unwrap();
        let (own, other) = (encode(&field, &arrays, &properties), encode_by_crate(&field, &arrays, &properties));
        let case = format!("case {case}: {field:?} {properties:?}");
        assert_eq!(&decode(&own, field.data_type()), &whole, "{case}");
        let (file, own, other) = (own.clone(), metadata_of(&own), metadata_of(&other));
        let (own, other) = (own.metadata(), other.metadata());
        assert_eq!(told(own), told(other), "{case}");
        // Pages end elsewhere where the crate's dictionary ends.
        let order = |metadata: &ParquetMetaData| metadata.column_index().unwrap()[0][0].get_boundary_order();
        let orders = (order(own), order(other));
        let (own, other) = (pages(own), pages(other));
        let starts = |pages: &[(i64, String)]| pages.iter().map(|page| page.0).collect::<Vec<_>>();
        assert_eq!(starts(&own), first_rows(&file, metadata_of(&file).metadata()), "{case}");
        if starts(&own) == starts(&other) {
            assert_eq!((own, orders.0), (other, orders.1), "{case}");
        }
    }
}

/// Of a column of numbers: what its dictionary has, plain, in bytes, and the encodings of its data pages in order.
fn dictionary_and_pages(values: impl Iterator<Item = i64>, dictionary_max: usize) -> (Option<usize>, Vec<Encoding>) {
    let properties = WriterProperties::builder().set_dictionary_page_size_limit(dictionary_max);
    let properties = Arc::new(properties.set_data_page_row_count_limit(10_000).build());
    let array: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
    let field = Field::new("c", DataType::Int64, false);
    let file = encode(&field, std::slice::from_ref(&array), &properties);
    assert_eq!(&decode(&file, &DataType::Int64), &array);
    let metadata = metadata_of(&file);
    let chunk = metadata.metadata().row_group(0).column(0);
    let pages = SerializedPageReader::new(Arc::new(file.clone()), chunk, array.len(), None).unwrap();
    let (mut dictionary, mut encodings) = (None, Vec::new());
    for page in pages {
        match page.unwrap() {
            Page::DictionaryPage { buf, .. } => dictionary = Some(buf.len()),
            page => encodings.push(page.encoding()),
        }
    }
    encodings.dedup();
    (dictionary, encodings)
}

#[test]
fn a_dictionary_is_kept_while_it_pays_and_has_room() {
    use Encoding::{PLAIN, RLE_DICTIONARY};
    let (every, limit) = (|times: i64| (0..100_000).map(move |row| row / times), 40_000);
    assert_eq!(dictionary_and_pages(every(50), limit), (Some(2_000 * 8), vec![RLE_DICTIONARY]));
    assert_eq!(dictionary_and_pages(every(1), limit), (None, vec![PLAIN]), "no value comes again");
    let (dictionary, pages) = dictionary_and_pages(every(4), limit);
    let full = limit..limit + STEP_ROWS * 8;
    assert!(dictionary.is_some_and(|bytes| full.contains(&bytes)), "{dictionary:?}");
    assert_eq!(pages, [RLE_DICTIONARY, PLAIN]);
}
