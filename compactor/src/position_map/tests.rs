use std::collections::HashSet;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

fn set(rows: impl IntoIterator<Item = u64>) -> RoaringTreemap {
    rows.into_iter().collect()
}

fn deleted(of: &[(&str, &[u64])]) -> HashMap<String, Arc<RoaringTreemap>> {
    of.iter().map(|(path, rows)| ((*path).to_owned(), Arc::new(set(rows.iter().copied())))).collect()
}

fn lists(sets: Vec<RoaringTreemap>) -> Vec<Vec<u64>> {
    sets.iter().map(|set| set.iter().collect()).collect()
}

fn map(inputs: &[(&str, u64, &[u64])]) -> PositionMap {
    let mut map = PositionMap::default();
    for (path, rows, gone) in inputs {
        map.push(path, *rows, set(gone.iter().copied()));
    }
    map
}

#[tokio::test]
async fn rows_keep_their_places_where_one_file_is_copied() {
    let map = map(&[("a", 5, &[])]);
    assert_eq!(lists(map.rebase(&deleted(&[("a", &[0, 3, 4])]), [5]).await.unwrap()), [[0, 3, 4]]);
    assert_eq!(map.rows_gone(), 0);
}

#[tokio::test]
async fn rows_of_a_later_input_lie_behind_what_is_left_of_those_before() {
    let map = map(&[("a", 5, &[0, 2]), ("b", 2, &[]), ("c", 3, &[0, 1, 2]), ("d", 4, &[3])]);
    assert_eq!(map.rows_gone(), 6);
    let of = deleted(&[("a", &[1, 4]), ("b", &[0, 1]), ("d", &[0, 2])]);
    // a: rows 1, 3, 4 are 0, 1, 2; b: 3, 4; d: 5, 6, 7.
    assert_eq!(lists(map.rebase(&of, [8]).await.unwrap()), [[0, 2, 3, 4, 5, 7]]);
}

#[tokio::test]
async fn deletes_are_shared_out_to_the_outputs_that_hold_the_rows() {
    let map = map(&[("a", 4, &[1]), ("b", 3, &[])]);
    let of = deleted(&[("a", &[0, 3]), ("b", &[0, 2])]);
    // The second output begins in the middle of a, the third in the middle of b, and one is empty.
    assert_eq!(lists(map.rebase(&of, [2, 2, 0, 2]).await.unwrap()), [vec![0], vec![0, 1], vec![], vec![1]]);
}

#[tokio::test]
async fn what_names_no_row_of_an_output_deletes_nothing() {
    let map = map(&[("a", 3, &[1]), ("b", 1, &[])]);
    // A row that the rewrite left out already, places behind the end, another file.
    let of = deleted(&[("a", &[1, 3, 4, u64::MAX]), ("other", &[0])]);
    assert_eq!(lists(map.rebase(&of, [3]).await.unwrap()), [[0_u64; 0]]);
    assert_eq!(lists(map.rebase(&deleted(&[]), [3]).await.unwrap()), [[0_u64; 0]]);
    // Of an input that is gone whole there is no output.
    let nothing = self::map(&[("a", 2, &[0, 1])]);
    assert!(nothing.rebase(&deleted(&[("a", &[0])]), []).await.unwrap().is_empty());
}

#[tokio::test]
async fn positions_beyond_32_bits_are_moved_too() {
    let far = 1 << 33;
    let mut map = PositionMap::default();
    let mut gone = RoaringTreemap::new();
    gone.insert_range(10..far);
    map.push("a", far + 3, gone);
    map.push("b", 1, RoaringTreemap::new());
    assert_eq!(map.rows_gone(), far - 10);
    let mut of = deleted(&[("b", &[0])]);
    of.insert("a".to_owned(), Arc::new(set([9, far, far + 2])));
    // 10 rows and 3 rows are left of a. Nothing but runs is kept, and what is deleted lies behind them.
    assert_eq!(lists(map.rebase(&of, [14]).await.unwrap()), [[9, 10, 12, 13]]);
}

/// Against a list of all rows, which is too simple to be wrong.
#[tokio::test]
async fn a_rebase_is_what_counting_every_row_gives() {
    let mut random = StdRng::seed_from_u64(42);
    for _ in 0..500 {
        let mut map = PositionMap::default();
        let mut left = Vec::new();
        let mut deletes = HashMap::new();
        for input in 0..random.random_range(1..5) {
            // Over the borders of blocks, now and then.
            let rows_max = if random.random_bool(0.02) { 200_000 } else { 200 };
            let (path, rows) = (format!("f{input}"), random.random_range(0..rows_max));
            let share = [0.0, 0.1, 0.9, 1.0][random.random_range(0..4)];
            let gone: RoaringTreemap = (0..rows).filter(|_| random.random_bool(share)).collect();
            left.extend((0..rows).filter(|row| !gone.contains(*row)).map(|row| (path.clone(), row)));
            map.push(&path, rows, gone);
            if random.random_bool(0.8) {
                let share = [0.02, 0.5, 1.0][random.random_range(0..3)];
                let deleted: RoaringTreemap = (0..rows + 3).filter(|_| random.random_bool(share)).collect();
                deletes.insert(path, Arc::new(deleted));
            }
        }
        let mut sizes = Vec::new();
        let mut rest = left.len() as u64;
        while rest > 0 {
            sizes.push(random.random_range(1..=rest));
            rest -= sizes[sizes.len() - 1];
        }
        let rebased = map.rebase(&deletes, sizes.iter().copied()).await.unwrap();
        let mut rows = left.iter();
        for (output, size) in rebased.iter().zip(sizes) {
            let is_deleted = |(path, row): &&(String, u64)| deletes.get(path).is_some_and(|rows| rows.contains(*row));
            let here = rows.by_ref().take(size as usize).enumerate();
            let expected: HashSet<u64> = here.filter(|(_, row)| is_deleted(row)).map(|(at, _)| at as u64).collect();
            assert_eq!(output.iter().collect::<HashSet<u64>>(), expected);
        }
        assert!(rows.next().is_none());
    }
}
