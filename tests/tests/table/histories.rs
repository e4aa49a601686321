//! Some thousands of random histories (the package `histories`); `./test table --long` goes on with a hundred thousand.

use std::time::{Duration, Instant};

use frazil_histories::{Pace, Progress, narrate};

/// Ends with the first of both.
const PACE: Pace = Pace { count: 4_000, time: Duration::from_secs(120), threads: 2 };

/// `FRAZIL_SEED=N` runs one history and prints what it does.
#[test]
fn every_retained_snapshot_reads_as_the_model_has_it() {
    if let Ok(seed) = std::env::var("FRAZIL_SEED") {
        let (ended, steps) = narrate(seed.parse().expect("FRAZIL_SEED is a number"));
        println!("  {steps}");
        ended.unwrap_or_else(|broken| panic!("{broken}"));
        return;
    }
    let begun = Instant::now();
    let progress = Progress::default().go_on(PACE, None, &|seed, broken| println!("FRAZIL_SEED={seed}: {broken}\n"));
    println!("seeds below {} in {:?}: {:#?}", progress.next, begun.elapsed(), progress.tally);
    assert!(progress.failed.is_empty(), "run these with FRAZIL_SEED: {:?}", progress.failed);
    assert_eq!(progress.missing(), [""; 0], "in {} histories", progress.next);
}
