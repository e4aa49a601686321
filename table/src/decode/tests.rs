use std::io::Write;

use super::*;

const SCHEMA: &str = r#"{"type":"struct","schema-id":0,"fields":[{"id":1,"name":"id","required":true,"type":"long"}]}"#;

fn metadata_with(schema: &str) -> String {
    format!(
        r#"{{"format-version":2,"table-uuid":"9c12d441-03fe-4693-9a96-a0705ddf69c1","location":"memory://w/t",
        "last-sequence-number":0,"last-updated-ms":1,"last-column-id":1,"current-schema-id":0,"schemas":[{schema}],
        "partition-specs":[{{"spec-id":0,"fields":[]}}],"default-spec-id":0,"last-partition-id":999,
        "default-sort-order-id":0,"sort-orders":[{{"order-id":0,"fields":[]}}]}}"#
    )
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn nested(levels: usize) -> String {
    let mut list = "\"int\"".to_owned();
    for id in 2..levels + 2 {
        list = format!(r#"{{"type":"list","element-id":{id},"element-required":false,"element":{list}}}"#);
    }
    format!(r#"{{"type":"struct","schema-id":0,"fields":[{{"id":1,"name":"id","required":true,"type":{list}}}]}}"#)
}

#[track_caller]
fn refuse(bytes: &[u8], reason: &str) {
    let error = metadata(bytes).unwrap_err();
    assert!(error.contains(reason), "{error}");
}

#[test]
fn metadata_is_read_compressed_or_not() {
    let json = metadata_with(SCHEMA);
    assert_eq!(metadata(json.as_bytes()).unwrap(), metadata(&gzip(json.as_bytes())).unwrap());
}

#[test]
fn a_bomb_is_refused() {
    let zeros = gzip(&vec![b' '; 64 << 20]);
    assert!(zeros.len() < 100 << 10);
    refuse(&zeros, "inflates to more than 100 times its size");
    let ones = format!("{{\"x\":[{}1]}}", "1,".repeat(5_000_000));
    refuse(&gzip(ones.as_bytes()), "more parts than a file of this size holds");
}

/// As deep as it is let through, on the stack that a worker thread has.
#[test]
fn nesting_ends_before_the_stack_does() {
    let check = |levels: usize| {
        let json = metadata_with(&nested(levels));
        let run = move || metadata(json.as_bytes()).map(drop);
        std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap()
    };
    check(59).unwrap();
    let error = check(61).unwrap_err();
    assert!(error.contains("nests more than 64 deep"), "{error}");
    let text = metadata_with(&SCHEMA.replace("id\"", &format!("{}\"", "[".repeat(100))));
    metadata(text.as_bytes()).unwrap_err();
}
