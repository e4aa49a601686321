//! Which of a partition's small files are merged, so that there are never many of them and no row is rewritten often.
//!
//! The small files of a partition, oldest first, are a stack. A compaction takes files from its newest end only, so what
//! lies together in a file is what came at one time, and bounds of time-like columns stay narrow. Three wishes:
//! few files after each compaction (`slots`), few rewrites of each row, and no knowledge but the files themselves, since
//! a coordinator must come to the same decision after a restart and about a table that others write.
//!
//! Merging whenever sizes are within a factor T of each other leaves (T − 1) · log_T n files after n batches: for ten
//! files at most and n in the thousands T must be near 2, which rewrites each row about log₂ n = 10 times. The
//! *k-binomial transform* (Bentley and Saxe, "Decomposable Searching Problems", 1980) does better with the same number
//! of files. Its file in place i, counted from the newest place 1, has grown d times and holds C(i + d − 1, i) batches; it
//! is merged again once the newer files hold i/d times as much as it does. With D rewrites of a row at most, a stack of k
//! places holds C(k + D, k) batches: with k = 10, 3,003 of them take 5.
//!
//! The steps of [`merge_from`]:
//! 1. the files of the last commits are one batch, which is always merged: that is the first level, one rewrite;
//! 2. a file's d follows from its size in batches, since C(i + d − 1, i) grows with d;
//! 3. the oldest file that the newer ones have outgrown is found, and everything from it on is merged;
//! 4. a file beyond the last place is merged in any case: the bound on the number of files is hard, and it is what makes
//!    odd sizes cost rewrites rather than files.
//!
//! A file that reaches three quarters of the target size leaves the stack for good. So a large file is not rewritten
//! with every batch of tiny ones: at place i it waits for i/d of its own size. Rewrites are counted over thousands of
//! commits in this module's tests.

/// The first of the files that are to be merged into one, up to the newest; `sizes.len()` if none are.
///
/// `sizes` are oldest first; those from `fresh_from` on came with the last commits. At most `slots` files are left after
/// the merge. Cost: linear.
pub fn merge_from(sizes: &[u64], fresh_from: usize, slots: usize) -> usize {
    let none = sizes.len();
    let slots = slots.max(1);
    let fresh_from = match fresh_from < none {
        true => fresh_from,
        false if none > slots => none - 1,
        false => return none,
    };
    let batch = sizes[fresh_from..].iter().sum::<u64>().max(1);
    let mut newer = batch;
    let mut from = fresh_from;
    for (index, &size) in sizes[..fresh_from].iter().enumerate().rev() {
        if slots.saturating_sub(index) == 0 || has_been_outgrown(size, newer, batch, slots - index) {
            from = index;
        }
        newer += size;
    }
    if none - from < 2 { none } else { from }
}

/// Whether the newer files hold i/d times the file's own size.
fn has_been_outgrown(size: u64, newer: u64, batch: u64, place: usize) -> bool {
    let depth = depth(size as f64 / batch as f64, place);
    newer as f64 * depth >= size as f64 * place as f64
}

/// The least d ≥ 1 with C(place + d − 1, place) ≥ `batches`.
fn depth(batches: f64, place: usize) -> f64 {
    let place = place as f64;
    if place == 1.0 {
        return batches.ceil().max(1.0);
    }
    let (mut depth, mut holds) = (1.0, 1.0);
    while holds < batches {
        holds *= (place + depth) / depth;
        depth += 1.0;
    }
    depth
}

/// Cuts files, oldest first, into runs that make an output each: of three quarters of the target at least, except the
/// last, and at most of one and a half. A file is smaller than three quarters of the target itself.
pub fn pack(sizes: &[u64], target_bytes: u64, files_max: usize) -> Vec<std::ops::Range<usize>> {
    let mut runs = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, &size) in sizes.iter().enumerate() {
        let full = index > start && bytes >= target_bytes / 4 * 3 && bytes + size > target_bytes;
        if full || index - start >= files_max.max(2) {
            runs.push(start..index);
            (start, bytes) = (index, 0);
        }
        bytes += size;
    }
    if start < sizes.len() {
        runs.push(start..sizes.len());
    }
    runs
}

#[cfg(test)]
mod tests;
