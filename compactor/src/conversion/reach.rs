//! Which data files equality deletes can apply to (Iceberg spec, "Scan Planning"): older ones, of the delete's partition of its
//! own spec, or of all partitions where its spec is unpartitioned.

use std::collections::HashMap;

use frazil_table::spec::Struct;
use frazil_table::{DeleteScope, LiveFile};

/// Data files by where they lie and how old they are. Cost of a look: logarithmic in the files of a place.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    by_partition: HashMap<(i32, Struct), Ages>,
    everywhere: Ages,
}

/// Data sequence numbers, ascending, each with the bytes of the files up to it.
#[derive(Debug, Default)]
struct Ages(Vec<(i64, u64)>);

impl Reach {
    pub(crate) fn new<'a>(files: impl IntoIterator<Item = &'a LiveFile<'a>>) -> Self {
        let mut reach = Self::default();
        for live in files {
            let age = (live.data_sequence_number, live.file.file_size_in_bytes());
            let partition = (live.partition_spec_id, live.file.partition().clone());
            reach.by_partition.entry(partition).or_default().0.push(age);
            reach.everywhere.0.push(age);
        }
        reach.by_partition.values_mut().chain([&mut reach.everywhere]).for_each(Ages::sum_up);
        reach
    }

    /// The files that an equality delete of this scope and number applies to: how many, and their bytes.
    pub(crate) fn before(&self, scope: &DeleteScope, number: i64) -> (usize, u64) {
        let ages = match scope {
            DeleteScope::Table => Some(&self.everywhere),
            DeleteScope::Partition(spec_id, tuple) => self.by_partition.get(&(*spec_id, tuple.clone())),
            // No equality delete has such a scope.
            DeleteScope::File(_) => None,
        };
        ages.map_or((0, 0), |ages| ages.before(number))
    }
}

impl Ages {
    fn sum_up(&mut self) {
        self.0.sort_unstable();
        let mut sum = 0;
        for (_, bytes) in &mut self.0 {
            sum += *bytes;
            *bytes = sum;
        }
    }

    fn before(&self, number: i64) -> (usize, u64) {
        let files = self.0.partition_point(|(age, _)| *age < number);
        (files, files.checked_sub(1).map_or(0, |last| self.0[last].1))
    }
}

/// The newest equality delete of each scope: what it does not reach, no other of the scope does.
#[derive(Debug, Default)]
pub(crate) struct Deletes {
    by_partition: HashMap<(i32, Struct), i64>,
    everywhere: i64,
}

impl Deletes {
    pub(crate) fn new<'a>(deletes: impl IntoIterator<Item = (&'a DeleteScope, i64)>) -> Self {
        let mut newest = Self::default();
        for (scope, number) in deletes {
            match scope {
                DeleteScope::Table => newest.everywhere = newest.everywhere.max(number),
                DeleteScope::Partition(spec_id, tuple) => {
                    let of = newest.by_partition.entry((*spec_id, tuple.clone())).or_default();
                    *of = number.max(*of);
                }
                DeleteScope::File(_) => {}
            }
        }
        newest
    }

    /// Whether one of them applies to a data file.
    pub(crate) fn has(&self, data: &LiveFile<'_>) -> bool {
        let of = self.by_partition.get(&(data.partition_spec_id, data.file.partition().clone())).copied();
        data.data_sequence_number < of.unwrap_or(0).max(self.everywhere)
    }
}
