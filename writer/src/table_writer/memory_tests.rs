//! What the process really takes, in a process of its own.

use std::process::Command;
use std::sync::Arc;

use arrow::array::{Decimal128Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use frazil_storage::Env;
use frazil_table::spec::Transform;

use crate::fixture::{batch, table};
use crate::{TableWriter, WriterConfig};

const PARTITIONS: i32 = 10_000;
const ROWS: i64 = 1_500_000;
const BATCH_ROWS: i64 = 8192;
const RSS_MAX_MIB: u64 = 256;

const CHILD: &str = "FRAZIL_MEMORY_TEST_FOLDER";

/// 1.5 million rows that go to 10,000 partitions in no order take 256 MiB at most, with all that a process has beside
/// them, and become one file for each partition.
#[test]
fn ten_thousand_partitions_take_a_quarter_of_a_gibibyte() {
    if let Ok(folder) = std::env::var(CHILD) {
        return write_into(&folder);
    }
    let folder = tempfile::tempdir().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "table_writer::memory_tests::ten_thousand_partitions_take_a_quarter_of_a_gibibyte"])
        .args(["--nocapture", "--test-threads=1"])
        .env(CHILD, folder.path())
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{output}\n{}", String::from_utf8_lossy(&child.stderr));
    let peak_kib = output.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_mib = peak_kib.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10;
    assert!(peak_mib <= RSS_MAX_MIB, "{peak_mib} MiB: {output}");
}

#[expect(clippy::print_stdout, reason = "the parent reads it")]
fn write_into(folder: &str) {
    let fields = r#"{"id":1,"name":"p","required":true,"type":"int"},{"id":2,"name":"n","required":true,"type":"long"},
        {"id":3,"name":"price","required":true,"type":"decimal(15, 2)"},{"id":4,"name":"at","required":true,"type":"timestamp"},
        {"id":5,"name":"text","required":true,"type":"string"}"#;
    let location = format!("file://{folder}/data");
    let table = table(fields, &[("p", Transform::Identity)], &[("write.data.path", &location)]);
    let config = WriterConfig { memory_max_bytes: 160 << 20, ..WriterConfig::default() };
    let mut writer = TableWriter::new(Env::system(), &table, config).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        for start in (0..ROWS).step_by(BATCH_ROWS as usize) {
            let rows = start..(start + BATCH_ROWS).min(ROWS);
            let p = rows.clone().map(|i| (i.wrapping_mul(7919) % i64::from(PARTITIONS)) as i32);
            let price = Decimal128Array::from_iter_values(rows.clone().map(|i| i128::from(i * 31)));
            let text = rows.clone().map(|i| format!("the text of row {i}, which is longer than most of the others"));
            writer
                .write(batch(
                    &table,
                    vec![
                        Arc::new(Int32Array::from_iter_values(p)),
                        Arc::new(Int64Array::from_iter_values(rows.clone())),
                        Arc::new(price.with_precision_and_scale(15, 2).unwrap()),
                        Arc::new(TimestampMicrosecondArray::from_iter_values(rows)),
                        Arc::new(StringArray::from_iter_values(text)),
                    ],
                ))
                .await
                .unwrap();
        }
        let files = writer.flush().await.unwrap();
        assert_eq!(files.len(), PARTITIONS as usize);
        assert_eq!(files.iter().map(|file| file.file.record_count()).sum::<u64>(), ROWS as u64);
    });
    println!("{:?}", writer.counters());
    println!("{}", std::fs::read_to_string("/proc/self/status").unwrap());
}
