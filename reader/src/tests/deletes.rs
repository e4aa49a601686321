//! Deletes of every kind.

use frazil_table::spec::{DataContentType, DataFileFormat, FormatVersion, Struct};
use roaring::RoaringTreemap;
use serde_json::{Value, json};

use super::world::*;
use crate::{Error, Predicate};

const SCHEMA: &str = r#"{"type":"struct","fields":[
    {"id":1,"name":"id","required":true,"type":"long"},
    {"id":2,"name":"k","required":false,"type":"int"},
    {"id":3,"name":"s","required":false,"type":{"type":"struct","fields":[
        {"id":4,"name":"x","required":false,"type":"string"}]}}]}"#;

fn row(id: i64) -> Value {
    let k = if id % 5 == 0 { Value::Null } else { json!(id % 10) };
    let s = if id % 4 == 0 { Value::Null } else { json!({"x": format!("x{}", id % 3)}) };
    json!({"id": id, "k": k, "s": s})
}

async fn two_files(version: FormatVersion) -> (World, [String; 2]) {
    let mut world = World::with(SCHEMA, None, version, &[]).await;
    let mut paths = Vec::new();
    for part in 0..2 {
        let rows: Vec<Value> = (part * 20..part * 20 + 20).map(row).collect();
        let file = world.write(&rows, 7, Struct::empty()).await;
        paths.push(file.file.file_path().to_owned());
        world.append_files(vec![file]).await;
    }
    (world, paths.try_into().unwrap())
}

fn ids(rows: &[Value]) -> Vec<i64> {
    let mut ids: Vec<i64> = rows.iter().map(|row| row["id"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    ids
}

fn without(gone: impl Fn(i64) -> bool) -> Vec<i64> {
    (0..40).filter(|id| !gone(*id)).collect()
}

#[tokio::test]
async fn position_deletes_apply_to_the_files_they_name() {
    let (mut world, [a, b]) = two_files(FormatVersion::V2).await;
    let both = world.position_deletes(&[(&a, 0), (&a, 7), (&a, 19), (&b, 3)], None).await;
    let only = world.position_deletes(&[(&b, 4)], Some(&b)).await;
    world.row_delta(vec![], vec![both, only]).await;
    let expected = without(|id| [0, 7, 19, 23, 24].contains(&id));
    assert_eq!(ids(&world.rows(&all()).await), expected);
    let one = crate::ScanRequest { predicate: Some(Predicate::IsNull("k".to_owned())), ..columns(&["id", "_pos"]) };
    let rows = world.rows(&one).await;
    assert_eq!(ids(&rows), expected.iter().copied().filter(|id| id % 5 == 0).collect::<Vec<_>>());
    assert!(rows.iter().all(|row| row["_pos"].as_i64().unwrap() == row["id"].as_i64().unwrap() % 20));
    let (_, stats) = world.cost(&columns(&["id"])).await;
    assert_eq!((stats.rows_deleted, stats.rows_returned), (5, 35));
    assert!(stats.delete_bytes > 0);
}

#[tokio::test]
async fn position_deletes_are_older_than_files_that_come_later() {
    let (mut world, [a, _]) = two_files(FormatVersion::V2).await;
    let deletes = world.position_deletes(&[(&a, 1)], None).await;
    let late = world.write(&[row(100)], 10, Struct::empty()).await;
    let future = late.file.file_path().to_owned();
    let ahead = world.position_deletes(&[(&future, 0)], None).await;
    world.row_delta(vec![], vec![deletes, ahead]).await;
    world.append_files(vec![late]).await;
    let mut expected = without(|id| id == 1);
    expected.push(100);
    assert_eq!(ids(&world.rows(&all()).await), expected);
}

/// Museum: `iceberg` 0.10.1 drops rows whose key is null when any key is deleted.
#[tokio::test]
async fn equality_deletes_leave_null_keys_alone_unless_null_is_deleted() {
    let (mut world, _) = two_files(FormatVersion::V2).await;
    let two = world.equality_deletes(&["k"], &[json!({"k": 2})]).await;
    world.row_delta(vec![], vec![two]).await;
    assert_eq!(ids(&world.rows(&all()).await), without(|id| id % 10 == 2));
    let null = world.equality_deletes(&["k"], &[json!({"k": null})]).await;
    world.row_delta(vec![], vec![null]).await;
    assert_eq!(ids(&world.rows(&columns(&["id"])).await), without(|id| id % 10 == 2 || id % 5 == 0));
}

#[tokio::test]
async fn equality_deletes_do_not_apply_to_rows_of_their_own_commit_or_later_ones() {
    let (mut world, _) = two_files(FormatVersion::V2).await;
    let upserted = world.write(&[json!({"id": 3, "k": 77, "s": null})], 10, Struct::empty()).await;
    let deletes = world.equality_deletes(&["id"], &[json!({"id": 3}), json!({"id": 50})]).await;
    world.row_delta(vec![upserted], vec![deletes]).await;
    world.append(&[row(50)]).await;
    let rows = world.rows(&all()).await;
    let mut expected = without(|_| false);
    expected.push(50);
    assert_eq!(ids(&rows), expected);
    let three = rows.iter().find(|row| row["id"] == 3).unwrap();
    assert_eq!(three["k"], 77);
}

#[tokio::test]
async fn equality_deletes_of_several_and_nested_columns() {
    let (mut world, _) = two_files(FormatVersion::V2).await;
    let nested = world
        .equality_deletes(&["k", "s.x"], &[json!({"k": 1, "s": {"x": "x1"}}), json!({"k": 4, "s": {"x": null}})])
        .await;
    let flat = world.equality_deletes(&["id"], &[json!({"id": 0}), json!({"id": 39})]).await;
    world.row_delta(vec![], vec![nested, flat]).await;
    let gone = |id: i64| {
        let row = row(id);
        let x = row["s"].get("x").cloned().unwrap_or(Value::Null);
        (row["k"] == 1 && x == "x1") || (row["k"] == 4 && x.is_null()) || id == 0 || id == 39
    };
    assert!((0..40).filter(|id| gone(*id)).count() > 4);
    assert_eq!(ids(&world.rows(&columns(&["id"])).await), without(gone));
}

#[tokio::test]
async fn equality_deletes_of_a_column_that_was_widened_and_dropped_still_apply() {
    let (mut world, _) = two_files(FormatVersion::V2).await;
    let deletes = world.equality_deletes(&["k"], &[json!({"k": 2})]).await;
    world.row_delta(vec![], vec![deletes]).await;
    world
        .evolve(
            &SCHEMA.replace(
                r#""name":"k","required":false,"type":"int""#,
                r#""name":"kk","required":false,"type":"long""#,
            ),
        )
        .await;
    assert_eq!(ids(&world.rows(&all()).await), without(|id| id % 10 == 2));
    world.evolve(r#"{"type":"struct","fields":[{"id":1,"name":"id","required":true,"type":"long"}]}"#).await;
    assert_eq!(ids(&world.rows(&all()).await), without(|id| id % 10 == 2));
}

pub(super) fn vector(positions: &[u64]) -> Vec<u8> {
    frazil_table::encode_deletion_vector(&RoaringTreemap::from_iter(positions.iter().copied())).unwrap()
}

/// A file with blobs in it; where each begins and how long it is.
pub(super) async fn vectors(world: &mut World, blobs: &[(&str, Vec<u8>, usize)]) -> Vec<frazil_table::TableFile> {
    let mut bytes = b"PFA1".to_vec();
    let mut places = Vec::new();
    for (_, blob, _) in blobs {
        places.push((bytes.len() as i64, blob.len() as i64));
        bytes.extend_from_slice(blob);
    }
    let mut files = Vec::new();
    for ((data_file, _, rows), (offset, size)) in blobs.iter().zip(places) {
        let file = world
            .store_delete(bytes.clone(), *rows, |builder| {
                builder
                    .content(DataContentType::PositionDeletes)
                    .file_format(DataFileFormat::Puffin)
                    .referenced_data_file(Some((*data_file).to_owned()))
                    .content_offset(Some(offset))
                    .content_size_in_bytes(Some(size));
            })
            .await;
        files.push(file);
    }
    files
}

/// Museum: `iceberg` 0.10.1 opens deletion vectors as Parquet files.
#[tokio::test]
async fn deletion_vectors_apply_and_replace_position_deletes() {
    let (mut world, [a, b]) = two_files(FormatVersion::V3).await;
    let blobs = [(a.as_str(), vector(&[0, 2, 19]), 3), (b.as_str(), vector(&[1, 1 << 40]), 2)];
    let files = vectors(&mut world, &blobs).await;
    world.row_delta(vec![], files).await;
    assert_eq!(ids(&world.rows(&all()).await), without(|id| [0, 2, 19, 21].contains(&id)));
}

#[tokio::test]
async fn a_damaged_deletion_vector_is_an_error_and_no_row_comes_out() {
    let flip = |at: usize| {
        let mut blob = vector(&[0, 2]);
        blob[at] ^= 1;
        blob
    };
    let last = vector(&[0, 2]).len() - 1;
    for (blob, rows, reason) in [
        (flip(0), 2, "it claims"),
        (flip(5), 2, "its magic is wrong"),
        (flip(14), 2, "its checksum is wrong"),
        (flip(last), 2, "its checksum is wrong"),
        (vector(&[0, 2]), 3, "holds 2 positions, the table says 3"),
        (vec![1, 2, 3], 2, "3 bytes are too few"),
    ] {
        let (mut world, [a, _]) = two_files(FormatVersion::V3).await;
        let files = vectors(&mut world, &[(&a, blob, rows)]).await;
        world.row_delta(vec![], files).await;
        let error = world.try_rows(&all()).await.unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test]
async fn a_delete_file_that_cannot_be_read_is_an_error_that_names_it() {
    let (mut world, [a, _]) = two_files(FormatVersion::V2).await;
    let file = world
        .store_delete(b"Obj1".to_vec(), 1, |builder| {
            builder.content(DataContentType::PositionDeletes).file_format(DataFileFormat::Avro);
        })
        .await;
    let path = file.file.file_path().to_owned();
    world.row_delta(vec![], vec![file]).await;
    let error = world.try_rows(&all()).await.unwrap_err().to_string();
    assert!(error.starts_with(&path), "{error} {a}");
}
