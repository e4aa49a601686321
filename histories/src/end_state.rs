//! Tables for other engines to read, with what they have to find.

use std::sync::Arc;

use frazil_catalog::CommitEnd;
use frazil_table::arrow::arrow_schema;
use frazil_table::spec::{
    FormatVersion, MAIN_BRANCH, NestedField, NestedFieldRef, PrimitiveType, Schema, Struct, TableCreation, Type,
};
use frazil_table::{Change, RowDelta};

use crate::STEPS;
use crate::history::{Broken, History, Log, Setting, Types};
use crate::value::Val;
use crate::world::{KEY, World};

/// What a history ended in, for other engines to read.
#[derive(Debug)]
pub struct EndState {
    /// Of the table.
    pub metadata_location: String,
    /// Of `main`, in the form in which peers answer, sorted.
    pub rows: Vec<String>,
    /// At the end.
    pub version: FormatVersion,
    /// Whether a column is a list or a struct.
    pub is_nested: bool,
    /// Whether `main` has any.
    pub has_equality_deletes: bool,
    /// Those of the rows that have null in a column that an equality delete of `main` is by.
    pub null_in_deletes: Vec<String>,
    /// How it came there.
    pub log: String,
}

impl EndState {
    async fn of(history: &History, log: String) -> Self {
        let metadata = history.world.table.metadata();
        let head = history.head(MAIN_BRANCH);
        let state = history.world.state(MAIN_BRANCH, head).await;
        let deletes = state.live_delete_files().unwrap();
        let by: Vec<i32> = deletes.iter().filter_map(|live| live.file.equality_ids()).flatten().collect();
        let fields = metadata.current_schema().as_struct();
        let (mut rows, mut null_in_deletes) = (Vec::new(), Vec::new());
        for row in history.model.rows(head).values() {
            let text = row.values.plain(fields).to_string();
            if by.iter().any(|id| matches!(row.values.field(*id), None | Some(Val::Null))) {
                null_in_deletes.push(text.clone());
            }
            rows.push(text);
        }
        rows.sort_unstable();
        Self {
            metadata_location: history.world.table.metadata_location().to_owned(),
            rows,
            version: metadata.format_version(),
            is_nested: fields.fields().iter().any(|field| !field.field_type.is_primitive()),
            has_equality_deletes: !by.is_empty(),
            null_in_deletes,
            log,
        }
    }
}

/// A history of types that all engines have, in a warehouse of the caller's.
///
/// # Errors
/// The promise that was broken, and the steps that led there.
pub async fn end_state(seed: u64, warehouse: &str, version: FormatVersion) -> Result<EndState, Broken> {
    let log = Log::default();
    let setting = Setting { warehouse, version: Some(version), types: Types::Common };
    let mut history = History::new(seed, setting, log.clone()).await;
    let end = history.run(STEPS).await;
    let log = format!("\nafter:\n  {}", log.text());
    end.map_err(|broken| format!("{broken}{log}"))?;
    Ok(EndState::of(&history, log).await)
}

/// A table of `key` and `v`, of which some `v` were deleted by equality after its rows had come. Its metadata's location.
pub async fn with_equality_deletes(
    warehouse: &str,
    version: FormatVersion,
    rows: &[(i64, Option<i64>)],
    deleted: &[Option<i64>],
) -> String {
    const V: i32 = 2;
    let long = Type::Primitive(PrimitiveType::Long);
    let v = NestedFieldRef::from(NestedField::optional(V, "v", long.clone()));
    let fields = vec![NestedField::required(KEY, "key", long).into(), v.clone()];
    let schema = Schema::builder().with_fields(fields).build().unwrap();
    let creation = TableCreation::builder().name("t".to_owned()).schema(schema).format_version(version).build();
    let mut world = World::new(0, warehouse, creation).await;

    let v_of = |value: Option<i64>| (V, value.map_or(Val::Null, |value| Val::Int(value.into())));
    let row = |(key, value): &(i64, Option<i64>)| Val::Struct([(KEY, Val::Int((*key).into())), v_of(*value)].into());
    let (files, _) = world.write(&rows.iter().map(row).collect::<Vec<_>>()).await;
    let append = Change::Append { files, properties: Default::default() };
    let tuples: Vec<Val> = deleted.iter().map(|value| Val::Struct([v_of(*value)].into())).collect();
    let of_v = Arc::new(arrow_schema(&Schema::builder().with_fields([v]).build().unwrap()).unwrap());
    let deletes = world.equality_deletes(&of_v, vec![V], &tuples, &(0, Struct::empty())).await;
    let delta = RowDelta { delete_files: vec![deletes], ..RowDelta::default() };
    for change in [append, Change::RowDelta(delta)] {
        let end = world.commit(MAIN_BRANCH, &[change]).await.unwrap();
        assert!(matches!(end, CommitEnd::Committed(_)), "{end:?}");
    }
    world.refresh().await;
    world.table.metadata_location().to_owned()
}
