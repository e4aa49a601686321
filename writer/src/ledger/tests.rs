use expect_test::expect;

use super::*;

#[test]
fn a_summary_entry_names_job_run_and_checkpoint() {
    let sink = SinkId { job_id: "flights".to_owned(), sink_uid: "frazil.default.flights".to_owned() };
    let entry = LedgerEntry {
        snapshot_id: 7,
        fencing_epoch: FencingEpoch(2),
        checkpoint_id: CheckpointId(41),
        positions: StoredPositions::Inline([("flights/0".to_owned(), "1200".to_owned())].into()),
        watermark_ms: Some(1_357_016_400_000),
        committable: None,
        counts: RowCounts::default(),
        definition: Some("b2f7".to_owned()),
    };
    expect![[r#"
        {
            "frazil.checkpoint-id": "41",
            "frazil.definition": "b2f7",
            "frazil.fencing-epoch": "2",
            "frazil.job-id": "flights",
            "frazil.sink-uid": "frazil.default.flights",
            "frazil.source-positions": "{\"flights/0\":\"1200\"}",
            "frazil.watermark-ms": "1357016400000",
        }
    "#]]
    .assert_debug_eq(&entry.to_summary(&sink));
    let properties = entry.to_properties(&sink);
    let mirror = &properties["frazil.sink.flights.frazil.default.flights"];
    assert_eq!(serde_json::from_str::<LedgerEntry>(mirror).unwrap(), entry);
}
