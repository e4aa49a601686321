use expect_test::{Expect, expect};

use super::*;

/// Rows gather up to 64 KiB; half a KiB of rows is worth a file.
fn check(parts: &[(PartitionId, usize)], open: &[(PartitionId, u64)], open_files_max: usize, expected: Expect) {
    let config = WriterConfig { memory_max_bytes: 64 << 20, open_files_max, ..WriterConfig::default() };
    let plan = plan_turn(parts, open, 10, &config);
    let mut encode: Vec<_> = plan.encode.into_iter().collect();
    encode.sort_unstable();
    expected.assert_eq(&format!("encode {encode:?}, close {:?}", plan.close));
}

#[test]
fn the_largest_parts_get_the_places_there_are() {
    let parts = [(1, 300_000), (2, 200_000), (3, 1_000_000), (4, 500)];
    check(&parts, &[], 2, expect!["encode [1, 3], close []"]);
    check(&parts, &[], 8, expect!["encode [1, 2, 3], close []"]);
}

#[test]
fn an_open_file_gets_its_rows_however_few() {
    check(&[(1, 10), (2, 900_000)], &[(1, 9)], 1, expect!["encode [1], close []"]);
}

#[test]
fn a_file_that_is_idle_makes_room_and_one_that_was_just_written_does_not() {
    check(&[(1, 900_000), (2, 800_000)], &[(7, 3), (8, 2), (9, 9)], 3, expect!["encode [1, 2], close [8, 7]"]);
    check(&[(1, 900_000)], &[(7, 9)], 1, expect!["encode [], close []"]);
}

#[test]
fn a_single_part_is_worth_it_however_small() {
    check(&[(1, 1)], &[], 1, expect!["encode [1], close []"]);
}
