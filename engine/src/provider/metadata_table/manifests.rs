//! The manifests of a snapshot.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use frazil_table::Table;
use frazil_table::spec::{Datum, Literal, ManifestContentType, ManifestFile, Transform, Type};

use super::{batch, element, made, optional, required};
use crate::Result;

pub(super) fn manifests(table: &Table, all: &[ManifestFile]) -> Result<RecordBatch> {
    let longs = |of: fn(&ManifestFile) -> i64| -> ArrayRef {
        Arc::new(all.iter().map(|manifest| Some(of(manifest))).collect::<Int64Array>())
    };
    let ints = |of: fn(&ManifestFile) -> i32| -> ArrayRef {
        Arc::new(all.iter().map(|manifest| Some(of(manifest))).collect::<Int32Array>())
    };
    // Counts of the other content are 0, as in Iceberg.
    let counts = |content: ManifestContentType, of: fn(&ManifestFile) -> Option<u32>| -> ArrayRef {
        let count = |manifest: &ManifestFile| match manifest.content == content {
            true => i32::try_from(of(manifest).unwrap_or(0)).unwrap_or(i32::MAX),
            false => 0,
        };
        Arc::new(all.iter().map(|manifest| Some(count(manifest))).collect::<Int32Array>())
    };
    let (data, deletes) = (ManifestContentType::Data, ManifestContentType::Deletes);
    batch(vec![
        required("content", ints(|manifest| manifest.content as i32)),
        required("path", Arc::new(StringArray::from_iter_values(all.iter().map(|m| &m.manifest_path)))),
        required("length", longs(|manifest| manifest.manifest_length)),
        optional("partition_spec_id", ints(|manifest| manifest.partition_spec_id)),
        optional("added_snapshot_id", longs(|manifest| manifest.added_snapshot_id)),
        required("added_data_files_count", counts(data, |manifest| manifest.added_files_count)),
        required("existing_data_files_count", counts(data, |manifest| manifest.existing_files_count)),
        required("deleted_data_files_count", counts(data, |manifest| manifest.deleted_files_count)),
        required("added_delete_files_count", counts(deletes, |manifest| manifest.added_files_count)),
        required("existing_delete_files_count", counts(deletes, |manifest| manifest.existing_files_count)),
        required("deleted_delete_files_count", counts(deletes, |manifest| manifest.deleted_files_count)),
        required("partition_summaries", summaries(table, all)?),
    ])
}

/// Of each partition field, in words: its bounds and whether null or NaN is among its values.
fn summaries(table: &Table, manifests: &[ManifestFile]) -> Result<ArrayRef> {
    let metadata = table.metadata();
    let (mut nulls, mut nans, mut lowers, mut uppers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut lengths = Vec::with_capacity(manifests.len());
    for manifest in manifests {
        let spec = metadata.partition_spec_by_id(manifest.partition_spec_id);
        let types = spec.and_then(|spec| spec.partition_type(metadata.current_schema()).ok());
        let summaries = manifest.partitions.as_deref().unwrap_or_default();
        lengths.push(summaries.len());
        for (index, summary) in summaries.iter().enumerate() {
            let shown = |bound: Option<&[u8]>| -> Option<String> {
                let field_type = types.as_ref()?.fields().get(index)?.field_type.as_ref();
                let Type::Primitive(primitive) = field_type else { return None };
                let value = Datum::try_from_bytes(bound?, primitive.clone()).ok()?.literal().clone();
                let transform = spec.map_or(Transform::Identity, |spec| spec.fields()[index].transform);
                Some(human(transform, field_type, &Literal::Primitive(value)))
            };
            nulls.push(summary.contains_null);
            nans.push(summary.contains_nan);
            lowers.push(shown(summary.lower_bound.as_ref().map(|bytes| bytes.as_slice())));
            uppers.push(shown(summary.upper_bound.as_ref().map(|bytes| bytes.as_slice())));
        }
    }
    let fields = Fields::from(vec![
        Field::new("contains_null", DataType::Boolean, false),
        Field::new("contains_nan", DataType::Boolean, true),
        Field::new("lower_bound", DataType::Utf8, true),
        Field::new("upper_bound", DataType::Utf8, true),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BooleanArray::from(nulls)),
        Arc::new(BooleanArray::from(nans)),
        Arc::new(StringArray::from(lowers)),
        Arc::new(StringArray::from(uppers)),
    ];
    let values = made(StructArray::try_new(fields.clone(), columns, None))?;
    let item = element(DataType::Struct(fields), false);
    let lists = ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), Arc::new(values), None);
    Ok(Arc::new(made(lists)?))
}

/// A value of a partition as Iceberg writes it in paths: 2024-03 rather than 650 months since 1970.
fn human(transform: Transform, field_type: &Type, value: &Literal) -> String {
    const EPOCH_YEAR: i32 = 1970;
    let ordinal = match value {
        Literal::Primitive(frazil_table::spec::PrimitiveLiteral::Int(ordinal)) => *ordinal,
        _ => return transform.to_human_string(field_type, Some(value)),
    };
    match transform {
        Transform::Year => format!("{:04}", EPOCH_YEAR + ordinal),
        Transform::Month => format!("{:04}-{:02}", EPOCH_YEAR + ordinal.div_euclid(12), ordinal.rem_euclid(12) + 1),
        Transform::Hour => match chrono::DateTime::from_timestamp(i64::from(ordinal) * 3_600, 0) {
            Some(hour) => hour.format("%Y-%m-%d-%H").to_string(),
            None => ordinal.to_string(),
        },
        _ => transform.to_human_string(field_type, Some(value)),
    }
}
