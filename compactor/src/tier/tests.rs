use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::Config;

const MIB: u64 = 1 << 20;
const TARGET: u64 = 128 * MIB;

/// One partition under a steady stream: what the policy leaves and what it rewrites.
struct Simulation {
    delta_commits: usize,
    writers: usize,
    /// Small files, oldest first, with the number of times their oldest row was written.
    files: Vec<(u64, u32)>,
    bytes_in: u64,
    bytes_written: u64,
    files_max_after: usize,
    files_max: usize,
    writes_max: u32,
}

impl Simulation {
    fn run(delta_commits: usize, writers: usize, commits: usize, mut size: impl FnMut(usize) -> u64) -> Self {
        let mut sim = Self {
            delta_commits,
            writers,
            files: Vec::new(),
            bytes_in: 0,
            bytes_written: 0,
            files_max_after: 0,
            files_max: 0,
            writes_max: 1,
        };
        let mut fresh_from = 0;
        // What a compaction under way reads, and what it leaves of that.
        let mut under_way: Option<(Vec<(u64, u32)>, usize)> = None;
        for commit in 1..=commits {
            for _ in 0..writers {
                let bytes = size(commit);
                if bytes > 0 {
                    sim.bytes_in += bytes;
                    sim.bytes_written += bytes;
                    sim.files.push((bytes, 1));
                }
            }
            sim.files.retain(|(bytes, _)| *bytes < TARGET / 4 * 3);
            sim.files_max = sim.files_max.max(sim.files.len());
            if commit % delta_commits == 0 {
                let seen = sim.files.len();
                under_way = Some((sim.compact(fresh_from.min(seen)), seen));
            }
            // It lands as late as it may.
            let is_due = commit % delta_commits == sim.config().commits_ahead_max();
            if let Some((left, seen)) = under_way.take_if(|_| is_due) {
                let came = sim.files.split_off(seen);
                fresh_from = left.len();
                sim.files = left;
                sim.files.extend(came);
                sim.files_max_after = sim.files_max_after.max(sim.files.len());
            }
        }
        sim
    }

    fn config(&self) -> Config {
        Config { delta_commits: self.delta_commits, writers: self.writers, ..Config::default() }
    }

    /// What the files become.
    fn compact(&mut self, fresh_from: usize) -> Vec<(u64, u32)> {
        let sizes: Vec<u64> = self.files.iter().map(|(bytes, _)| *bytes).collect();
        let from = merge_from(&sizes, fresh_from, self.config().slots());
        let mut left = self.files.clone();
        let merged = left.split_off(from);
        for run in pack(&sizes[from..], TARGET, 1_000) {
            let run = &merged[run];
            let bytes: u64 = run.iter().map(|(bytes, _)| bytes).sum();
            if run.len() == 1 {
                left.push(run[0]);
                continue;
            }
            let writes = 1 + run.iter().map(|(_, writes)| *writes).max().unwrap();
            self.bytes_written += bytes;
            self.writes_max = self.writes_max.max(writes);
            if bytes < TARGET / 4 * 3 {
                left.push((bytes, writes));
            }
        }
        left
    }

    fn amplification(&self) -> f64 {
        self.bytes_written as f64 / self.bytes_in as f64
    }

    #[track_caller]
    fn check(&self, amplification_max: f64) {
        let slots = self.config().small_files_max();
        assert!(self.files_max_after <= slots, "{} files after a compaction", self.files_max_after);
        assert!(self.files_max <= 2 * slots, "{} files between compactions", self.files_max);
        let amplification = self.amplification();
        assert!(amplification <= amplification_max, "{amplification:.2} > {amplification_max:.2}");
    }
}

/// 1 + ⌈log_N(target ÷ first file)⌉: what a stack without a bound on its files would take.
fn logarithmic(delta_commits: usize, first_bytes: u64) -> f64 {
    1.0 + (TARGET as f64 / first_bytes as f64).log(delta_commits as f64).ceil()
}

#[test]
fn even_commits_are_rewritten_a_logarithmic_number_of_times() {
    for (delta_commits, writers) in [(10, 1), (10, 2), (10, 4), (20, 1)] {
        for first_bytes in [10 << 10, 100 << 10] {
            let sim = Simulation::run(delta_commits, writers, 20_000, |_| first_bytes);
            // The places that are kept for commits that come meanwhile cost one row in a hundred another rewrite.
            sim.check(logarithmic(delta_commits, first_bytes) + 0.05);
        }
    }
}

#[test]
fn uneven_commits_cost_at_most_two_rewrites_more() {
    for seed in 0..8 {
        for (delta_commits, writers) in [(10, 1), (10, 2), (20, 1)] {
            for first_bytes in [10 << 10, 100 << 10] {
                let mut rng = StdRng::seed_from_u64(seed);
                // Log-uniform over two decades, around the mean.
                let size = |_| (first_bytes as f64 * 10f64.powf(rng.random_range(-1.0..1.0))) as u64;
                let sim = Simulation::run(delta_commits, writers, 10_000, size);
                sim.check(logarithmic(delta_commits, first_bytes) + 2.0);
            }
        }
    }
}

/// However small N is: only the number of rewrites grows.
#[test]
fn both_bounds_hold_for_every_number_of_commits_and_writers() {
    for delta_commits in 1..=12 {
        for writers in 1..=3 {
            let mut rng = StdRng::seed_from_u64(delta_commits as u64);
            let size = |_| rng.random_range(1..2 * MIB);
            let sim = Simulation::run(delta_commits, writers, 2_000, size);
            sim.check(f64::INFINITY);
        }
    }
    // Each row once with every commit until its file is large: that is what N = 1 asks for.
    let each = Simulation::run(1, 1, 1_000, |_| MIB);
    each.check(60.0);
    let every_second = Simulation::run(2, 1, 1_000, |_| MIB);
    every_second.check(20.0);
}

#[test]
fn bursts_and_silence_keep_both_bounds() {
    for seed in 0..8 {
        let mut rng = StdRng::seed_from_u64(seed);
        let size = |commit: usize| match rng.random_bool(0.3) {
            false => 0,
            true if commit / 300 % 2 == 1 => rng.random_range(1..3 * MIB),
            true => rng.random_range(1..100 << 10),
        };
        let sim = Simulation::run(10, 2, 20_000, size);
        sim.check(logarithmic(10, 10 << 10));
    }
}

#[test]
fn the_first_level_writes_every_row_twice() {
    // Too little data for a second level: 10 places of 10 commits each.
    let sim = Simulation::run(10, 1, 50, |_| 10 << 10);
    assert_eq!((sim.amplification(), sim.writes_max), (2.0, 2));
}

#[test]
fn a_nearly_full_file_waits_for_its_turn() {
    // Ten places; the large file has the oldest one, d = 2: it waits for five times what it holds.
    let mut sizes = vec![90 * MIB, MIB, MIB];
    assert_eq!(merge_from(&sizes, 1, 10), 1);
    // Even beyond the last place of the newest files only these are merged.
    sizes.extend([MIB; 20]);
    assert_eq!(merge_from(&sizes, 21, 10), 1);
}

#[test]
fn a_lone_file_is_left_alone() {
    assert_eq!(merge_from(&[], 0, 10), 0);
    assert_eq!(merge_from(&[5], 0, 10), 1);
    assert_eq!(merge_from(&[50, 5], 1, 10), 2);
    assert_eq!(merge_from(&[5, 5], 0, 10), 0);
}

#[test]
fn nothing_is_merged_without_news_while_there_is_room() {
    assert_eq!(merge_from(&[8, 4, 2, 1], 4, 4), 4);
    assert_eq!(merge_from(&[8, 4, 2, 1, 1], 5, 4), 2);
}

#[test]
fn runs_are_near_the_target() {
    let sizes = [40, 40, 40, 70, 70, 10, 5];
    let runs = pack(&sizes, 100, 1_000);
    assert_eq!(runs, [0..2, 2..4, 4..7]);
    assert_eq!(pack(&[1; 7], 100, 3), [0..3, 3..6, 6..7]);
    assert!(pack(&[], 100, 3).is_empty());
}
