use super::*;

/// All that is left: bytes, count, ordinal.
fn left(balance: Balance) -> Vec<(Vec<u8>, i64, i32)> {
    let mut walk = Walk::new(balance.finish().unwrap());
    let mut seen = Vec::new();
    while let Some(nets) = walk.next(3).unwrap() {
        seen.extend(nets.iter().map(|net| (net.bytes.to_vec(), net.count, net.ordinal)));
    }
    let mut again = 0;
    walk.restart();
    while let Some(nets) = walk.next(100).unwrap() {
        again += nets.len();
    }
    assert_eq!(again, seen.len(), "a second walk sees the same");
    seen.sort();
    seen
}

fn of(changes: &[(&str, i64, i32)], bytes_max: usize) -> Vec<(String, i64, i32)> {
    let mut balance = Balance::new(bytes_max);
    for (row, count, ordinal) in changes {
        balance.add(row.as_bytes(), 0, *count, *ordinal).unwrap();
    }
    left(balance).into_iter().map(|(row, count, at)| (String::from_utf8(row).unwrap(), count, at)).collect()
}

#[test]
fn what_came_and_went_is_nothing_and_what_is_left_has_the_snapshot_that_began_it() {
    // Everything in memory, and everything in files after each row.
    for bytes_max in [usize::MAX, 0] {
        let left = |changes: &[(&str, i64, i32)]| of(changes, bytes_max);
        assert_eq!(left(&[("a", 1, 0), ("a", -1, 1)]), []);
        assert_eq!(left(&[("a", 1, 0), ("a", 1, 2)]), [("a".to_owned(), 2, 0)]);
        assert_eq!(left(&[("a", -1, 0), ("a", 1, 1), ("a", 1, 2)]), [("a".to_owned(), 1, 2)]);
        assert_eq!(
            left(&[("a", 1, 0), ("a", -1, 1), ("a", -1, 1), ("b", 3, 2)])[..],
            [("a".to_owned(), -1, 1), ("b".to_owned(), 3, 2)]
        );
        // Copied by the third snapshot: it came with the second.
        assert_eq!(left(&[("a", 1, 1), ("a", -1, 2), ("a", 1, 2)]), [("a".to_owned(), 1, 1)]);
        assert_eq!(left(&[("a", 1, 1), ("a", -1, 2), ("b", 1, 2), ("a", 1, 2), ("c", 1, 3)]).len(), 3);
    }
}

#[test]
fn files_tell_the_same_as_memory() {
    use rand::{Rng, SeedableRng};
    let mut random = rand::rngs::StdRng::seed_from_u64(3);
    let changes: Vec<(String, i64, i32)> = (0..20_000)
        .map(|at| {
            let row = format!("{:03}", random.random_range(0..700));
            (row, if random.random_bool(0.5) { 1 } else { -1 }, at / 1_000)
        })
        .collect();
    let changes: Vec<(&str, i64, i32)> = changes.iter().map(|(row, count, at)| (row.as_str(), *count, *at)).collect();
    let expected = of(&changes, usize::MAX);
    assert!(expected.len() > 500);
    // Few files once, and files of files.
    for bytes_max in [40_000, 4_000] {
        assert_eq!(of(&changes, bytes_max), expected, "{bytes_max}");
    }
}

#[test]
fn rows_of_one_key_are_shown_together() {
    for bytes_max in [usize::MAX, 300] {
        let mut balance = Balance::new(bytes_max);
        for row in 0..60 {
            let bytes = format!("{:02}{row}", row % 20);
            balance.add(bytes.as_bytes(), 2, 1, 0).unwrap();
        }
        let mut walk = Walk::new(balance.finish().unwrap());
        let mut keys: Vec<Vec<u8>> = Vec::new();
        while let Some(nets) = walk.next(1).unwrap() {
            let key = nets[0].bytes[..2].to_vec();
            assert!(nets.iter().all(|net| net.bytes[..2] == key), "{nets:?}");
            assert_eq!(nets.len(), 3);
            keys.push(key);
        }
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 20);
    }
}
