use std::collections::{BTreeSet, HashMap};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

/// What an index without a key takes.
const EMPTY_BYTES: u64 = 250_000;

fn at(file: u32, row: u32) -> RowRef {
    RowRef { file, row }
}

fn insert(index: &mut KeyIndex, keys: &[(u64, RowRef)]) {
    let hashes: Vec<u64> = keys.iter().map(|(hash, _)| *hash).collect();
    index.visit(&hashes, |i, tag, part| part.insert(tag, keys[i].1)).unwrap();
}

fn candidates(index: &mut KeyIndex, hashes: &[u64]) -> Vec<BTreeSet<RowRef>> {
    let mut found = vec![BTreeSet::new(); hashes.len()];
    index
        .visit(hashes, |i, tag, part| {
            found[i].extend(part.find(tag));
            Ok(())
        })
        .unwrap();
    found
}

/// Random work, with hashes that often agree, on an index and on a map; the index spills at every size.
#[test]
fn it_holds_what_a_map_holds() {
    for (seed, memory_max_bytes) in [(1, usize::MAX), (2, 250_000), (3, 0)] {
        let mut random = StdRng::seed_from_u64(seed);
        let mut index = KeyIndex::new(memory_max_bytes, None);
        let mut model: HashMap<u64, BTreeSet<RowRef>> = HashMap::new();
        let span = [5_u64, 200, 4_000][seed as usize % 3];
        // Few tags, in few parts: slots push each other about, over the ends of the parts too, and some are at home.
        let hash = |random: &mut StdRng| {
            let (part, tag) = (random.random_range(0..3_u64), random.random_range(0..span));
            let tag = match tag % 3 {
                0 => u64::from(u32::MAX) - tag,
                1 => tag * (u64::from(u32::MAX) / span),
                _ => tag,
            };
            part << 54 | tag << 22
        };
        for step in 0..6_000_u32 {
            let hash = hash(&mut random);
            let known = model.entry(hash).or_default();
            let old = known.iter().nth(random.random_range(0..3)).copied();
            match (random.random_range(0..10), old) {
                (0..=5, _) => {
                    known.insert(at(step % 7, step));
                    insert(&mut index, &[(hash, at(step % 7, step))]);
                }
                (6 | 7, Some(old)) => {
                    known.remove(&old);
                    known.insert(at(9, step));
                    index
                        .visit(&[hash], |_, tag, part| {
                            part.replace(tag, old, at(9, step));
                            Ok(())
                        })
                        .unwrap();
                }
                (_, Some(old)) => {
                    known.remove(&old);
                    index
                        .visit(&[hash], |_, tag, part| {
                            part.remove(tag, old);
                            part.remove(tag, at(100, 0));
                            Ok(())
                        })
                        .unwrap();
                }
                _ => {}
            }
            if step == 3_000 {
                index.retain(|at| at.file != 3).unwrap();
                model.values_mut().for_each(|known| known.retain(|at| at.file != 3));
            }
        }
        let hashes: Vec<u64> = model.keys().copied().collect();
        let found = candidates(&mut index, &hashes);
        for (hash, found) in hashes.iter().zip(found) {
            assert_eq!(found, model[hash], "seed {seed}, hash {hash:x}");
        }
        assert_eq!(index.len(), model.values().map(|known| known.len() as u64).sum::<u64>());
        assert_eq!(index.spilled_bytes() > 0, memory_max_bytes < usize::MAX, "seed {seed}");
    }
}

#[test]
fn a_key_takes_at_most_sixteen_bytes() {
    let mut random = StdRng::seed_from_u64(5);
    let mut index = KeyIndex::new(usize::MAX, None);
    for round in 0..11_u32 {
        let keys: Vec<_> = (0..100_000).map(|row| (random.random(), at(round, row))).collect();
        insert(&mut index, &keys);
        if index.len() >= 1_000_000 {
            assert!(index.memory_bytes() as u64 <= 16 * index.len(), "{} for {}", index.memory_bytes(), index.len());
        }
    }
    // Nor does one of those that are left.
    for file in 0..9 {
        index.retain(|at| at.file != file).unwrap();
    }
    let keys: Vec<_> = (0..100_000).map(|row| (random.random(), at(20, row))).collect();
    insert(&mut index, &keys);
    let before = index.len();
    let hashes: Vec<u64> = keys.iter().map(|(hash, _)| *hash).collect();
    index
        .visit(&hashes[..90_000], |i, tag, part| {
            part.remove(tag, keys[i].1);
            Ok(())
        })
        .unwrap();
    assert_eq!(index.len(), before - 90_000);
    assert!(
        index.memory_bytes() as u64 <= 16 * index.len() + EMPTY_BYTES,
        "{} for {}",
        index.memory_bytes(),
        index.len()
    );
    let hashes: Vec<u64> = (0..100_000).map(|_| random.random()).collect();
    let wrong = candidates(&mut index, &hashes).iter().filter(|found| !found.is_empty()).count();
    assert!(wrong <= 1, "{wrong} strangers of 100,000 had candidates among 1,100,000");
}

#[test]
fn what_is_spilled_stays_within_the_budget() {
    let mut random = StdRng::seed_from_u64(6);
    let budget = 4 << 20;
    let mut index = KeyIndex::new(budget, None);
    let mut first = Vec::new();
    for round in 0..20_u32 {
        let keys: Vec<_> = (0..50_000).map(|row| (random.random(), at(round, row))).collect();
        insert(&mut index, &keys);
        assert!(index.memory_bytes() <= budget, "{}", index.memory_bytes());
        first.push(keys[0]);
    }
    // 14 MiB of keys, each extent with room up to a power of two, and what was freed is used again.
    assert!(index.spilled_bytes() < 64 << 20, "{}", index.spilled_bytes());
    let hashes: Vec<u64> = first.iter().map(|(hash, _)| *hash).collect();
    for ((_, at), found) in first.iter().zip(candidates(&mut index, &hashes)) {
        assert!(found.contains(at));
    }
}

#[test]
fn an_index_whose_keys_have_gone_takes_no_room() {
    let mut random = StdRng::seed_from_u64(9);
    let mut index = KeyIndex::new(EMPTY_BYTES as usize, None);
    let keys: Vec<_> = (0..200_000).map(|row| (random.random(), at(0, row))).collect();
    insert(&mut index, &keys);
    let hashes: Vec<u64> = keys.iter().map(|(hash, _)| *hash).collect();
    index
        .visit(&hashes, |i, tag, part| {
            part.remove(tag, keys[i].1);
            Ok(())
        })
        .unwrap();
    assert_eq!(index.len(), 0);
    assert!(index.memory_bytes() as u64 <= EMPTY_BYTES, "{}", index.memory_bytes());
}

#[test]
fn a_batch_is_done_part_by_part_and_in_its_order() {
    let mut random = StdRng::seed_from_u64(10);
    let mut index = KeyIndex::new(usize::MAX, None);
    let hashes: Vec<u64> =
        (0..1_000).map(|_| random.random_range(0..5_u64) << 54 | random.random_range(0..9)).collect();
    let mut visited = Vec::new();
    index
        .visit(&hashes, |i, tag, _| {
            assert_eq!(tag, Tag::of(hashes[i]));
            visited.push((hashes[i] >> 54, i));
            Ok(())
        })
        .unwrap();
    assert!(visited.len() == 1_000 && visited.is_sorted(), "{visited:?}");
}

#[test]
fn thousands_of_rows_of_one_key_are_refused() {
    let mut index = KeyIndex::new(usize::MAX, None);
    let keys: Vec<_> = (0..5_000).map(|row| (77 << 30, at(0, row))).collect();
    let hashes: Vec<u64> = keys.iter().map(|(hash, _)| *hash).collect();
    let refused = index.visit(&hashes, |i, tag, part| part.insert(tag, keys[i].1));
    assert!(matches!(refused, Err(Error::KeyNotUnique { count: 4_096 })), "{refused:?}");
}

/// A part of more than one page on disk, with another one behind it: every row comes back.
#[test]
fn a_part_of_many_pages_comes_back_whole() {
    const ROWS: u32 = 30_000;
    let mut random = StdRng::seed_from_u64(8);
    let mut index = KeyIndex::new(0, None);
    let parts: Vec<Vec<(u64, RowRef)>> = (0..2_u64)
        .map(|part| (0..ROWS).map(|row| (part << 54 | random.random_range(0..1 << 54), at(part as u32, row))).collect())
        .collect();
    for round in 0..3 {
        for keys in &parts {
            if round == 0 {
                insert(&mut index, keys);
            }
            let hashes: Vec<u64> = keys.iter().map(|(hash, _)| *hash).collect();
            for ((_, at), found) in keys.iter().zip(candidates(&mut index, &hashes)) {
                assert!(found.contains(at), "round {round}, {at:?}: {found:?}");
            }
        }
    }
    assert_eq!(index.len(), u64::from(2 * ROWS));
    assert!(index.spilled_bytes() > u64::from(ROWS) * 12, "both parts were meant to be on disk");
}
