use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

fn slots(random: &mut StdRng, count: usize) -> Vec<Slot> {
    (0..count).map(|_| Slot::from_bytes(&random.random::<[u8; SLOT_BYTES]>())).collect()
}

/// Random extents come and go; what is there reads as it was written, whatever was written beside it.
#[test]
fn extents_keep_what_they_have_and_give_their_room_back() {
    let mut random = StdRng::seed_from_u64(1);
    let mut spill = SpillFile::new(None);
    let mut kept: Vec<(Range<u64>, Vec<Slot>)> = Vec::new();
    let mut written_bytes = 0;
    for _ in 0..400 {
        if kept.len() > 12 || (!kept.is_empty() && random.random_range(0..3) == 0) {
            let (extent, slots) = kept.swap_remove(random.random_range(0..kept.len()));
            assert_eq!(spill.read(extent.clone()).unwrap(), slots);
            spill.free(extent);
            continue;
        }
        // Of no slot, of some, of exactly a page, and of several pages.
        let count = [0, 1, 700, SLOTS_AT_ONCE, SLOTS_AT_ONCE + 1, 3 * SLOTS_AT_ONCE - 5][random.random_range(0..6)];
        let slots = slots(&mut random, count);
        let extent = spill.write(&slots).unwrap();
        assert_eq!(extent.end - extent.start, (count * SLOT_BYTES) as u64);
        written_bytes += extent.end - extent.start;
        kept.push((extent, slots));
    }
    for (extent, slots) in kept {
        assert_eq!(spill.read(extent).unwrap(), slots);
    }
    assert!(spill.size_bytes() < written_bytes / 3, "{} bytes for {written_bytes}", spill.size_bytes());
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let folder = std::env::temp_dir().join("frazil-no-such-folder").join("spill");
    let mut random = StdRng::seed_from_u64(1);
    let refused = SpillFile::new(Some(folder.clone())).write(&slots(&mut random, 3)).unwrap_err().to_string();
    assert!(refused.contains(&folder.display().to_string()), "{refused}");
}
