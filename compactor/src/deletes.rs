//! Which deletes may apply to which files, and how many rows they take away at most.
//!
//! Two questions with different answers where they are not sure:
//! 1. *What is to be applied* when a file is rewritten ([`DeleteIndex::of_file`]): everything that the specification lets
//!    apply, since a delete that is left out brings rows back;
//! 2. *what a file has lost* ([`PartitionDeletes::rows_deleted`]), by which files are chosen. Deletion vectors and position
//!    deletes of one data file are counted. Other deletes are taken to hit the rows in their reach evenly: a key that deletes
//!    nothing counts like one that does, since readers compare it with every row all the same.

use std::collections::HashMap;

use frazil_table::spec::{DataContentType, Struct};
use frazil_table::{DeleteScope, applies_by_number, is_vector};

use crate::InputFile;
use crate::listing::PartitionKey;

/// A live delete file and its reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeleteFile {
    pub(crate) input: InputFile,
    pub(crate) scope: DeleteScope,
}

impl DeleteFile {
    fn content(&self) -> DataContentType {
        self.input.file.content_type()
    }

    fn number(&self) -> i64 {
        self.input.data_sequence_number
    }

    fn rows(&self) -> u64 {
        self.input.file.record_count()
    }

    fn may_apply_to(&self, data: &InputFile) -> bool {
        applies_by_number(self.content(), self.number(), data.data_sequence_number)
    }

    /// The least number of a delete that has taken rows of a data file, if it is of this kind. Position deletes name files
    /// that were there: those of before a file came are about others, whatever data sequence number a rewrite gave it.
    fn first_number(is_equality: bool, data: &InputFile) -> i64 {
        if is_equality { data.data_sequence_number + 1 } else { data.file_sequence_number }
    }
}

/// The live deletes of a table by their reach. Cost: linear in them.
#[derive(Debug, Default)]
pub(crate) struct DeleteIndex<'a> {
    by_file: HashMap<&'a str, Vec<&'a DeleteFile>>,
    /// By partition spec.
    by_partition: HashMap<i32, HashMap<&'a Struct, Vec<&'a DeleteFile>>>,
    everywhere: Vec<&'a DeleteFile>,
}

impl<'a> DeleteIndex<'a> {
    pub(crate) fn new(deletes: &'a [DeleteFile]) -> Self {
        let mut index = Self::default();
        for delete in deletes {
            match &delete.scope {
                DeleteScope::File(path) => index.by_file.entry(path).or_default().push(delete),
                DeleteScope::Partition(spec_id, tuple) => {
                    index.by_partition.entry(*spec_id).or_default().entry(tuple).or_default().push(delete);
                }
                DeleteScope::Table => index.everywhere.push(delete),
            }
        }
        index
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_file.is_empty() && self.by_partition.is_empty() && self.everywhere.is_empty()
    }

    /// The deletes that may apply to a data file of a partition.
    fn of_file(&self, partition: &PartitionKey, data: &InputFile) -> impl Iterator<Item = &'a DeleteFile> {
        let own = self.by_file.get(data.file.file_path()).into_iter().flatten();
        let all = own.chain(self.in_partition(partition)).chain(&self.everywhere).copied();
        all.filter(|delete| delete.may_apply_to(data))
    }

    fn in_partition(&self, (spec_id, tuple): &PartitionKey) -> &[&'a DeleteFile] {
        self.by_partition.get(spec_id).and_then(|tuples| tuples.get(tuple)).map_or(&[], Vec::as_slice)
    }

    /// The deletes that may apply to any of some data files of a partition, oldest first, each once.
    pub(crate) fn of_files(&self, partition: &PartitionKey, data: &[InputFile]) -> Vec<InputFile> {
        let mut deletes: Vec<&DeleteFile> = data.iter().flat_map(|data| self.of_file(partition, data)).collect();
        deletes.sort_by(|a, b| a.input.by_age(&b.input));
        deletes.dedup_by(|a, b| a.input.key() == b.input.key());
        deletes.into_iter().map(|delete| delete.input.clone()).collect()
    }
}

/// What deletes have taken of the files of one partition.
#[derive(Debug)]
pub(crate) struct PartitionDeletes<'a> {
    index: &'a DeleteIndex<'a>,
    everywhere: &'a Spread,
    equality: Spread,
    positions: Spread,
}

impl<'a> PartitionDeletes<'a> {
    pub(crate) fn new(
        index: &'a DeleteIndex<'a>,
        everywhere: &'a Spread,
        partition: &PartitionKey,
        files: &[InputFile],
    ) -> Self {
        let deletes = index.in_partition(partition);
        let of_kind = |is_equality: bool| {
            let is_it =
                move |delete: &&&DeleteFile| (delete.content() == DataContentType::EqualityDeletes) == is_equality;
            Spread::new(is_equality, files, deletes.iter().filter(is_it).copied())
        };
        Self { index, everywhere, equality: of_kind(true), positions: of_kind(false) }
    }

    /// How many rows of a file are deleted, at most and as an estimate.
    pub(crate) fn rows_deleted(&self, data: &InputFile) -> f64 {
        let rows = data.file.record_count() as f64;
        let own = self.index.by_file.get(data.file.file_path()).into_iter().flatten();
        let own = own.filter(|delete| delete.may_apply_to(data));
        let vector = own.clone().find(|delete| is_vector(&delete.input.file));
        let named: u64 = match vector {
            // It holds what position deletes said before it.
            Some(vector) => vector.rows(),
            None => own.map(|delete| delete.rows()).sum(),
        };
        let share = |spread: &Spread, is_equality| spread.share_from(DeleteFile::first_number(is_equality, data));
        let spread = share(self.everywhere, true) + share(&self.equality, true) + share(&self.positions, false);
        (named as f64 + spread * rows).min(rows)
    }
}

/// Deletes that name no data file, evenly over the rows in their reach.
#[derive(Debug, Default)]
pub(crate) struct Spread {
    /// Ascending, with the shares of the rows that this delete and all later ones take.
    shares: Vec<(i64, f64)>,
}

impl Spread {
    /// The equality deletes that reach every partition.
    pub(crate) fn everywhere<'a>(index: &DeleteIndex<'_>, files: impl IntoIterator<Item = &'a InputFile>) -> Self {
        match index.everywhere.is_empty() {
            true => Self::default(),
            false => Self::new(true, files, index.everywhere.iter().copied()),
        }
    }

    fn new<'a, 'd>(
        is_equality: bool,
        files: impl IntoIterator<Item = &'a InputFile>,
        deletes: impl Iterator<Item = &'d DeleteFile>,
    ) -> Self {
        let mut deletes: Vec<(i64, u64)> = deletes.map(|delete| (delete.number(), delete.rows())).collect();
        if deletes.is_empty() {
            return Self::default();
        }
        deletes.sort_unstable();
        let reached = |file: &InputFile| (DeleteFile::first_number(is_equality, file), file.file.record_count());
        let mut files: Vec<(i64, u64)> = files.into_iter().map(reached).collect();
        files.sort_unstable();
        let mut files = files.into_iter().peekable();
        let mut rows = 0;
        let mut shares: Vec<(i64, f64)> = Vec::with_capacity(deletes.len());
        for (number, deleted) in deletes {
            while let Some((_, more)) = files.next_if(|(first, _)| *first <= number) {
                rows += more;
            }
            shares.push((number, if rows == 0 { 0.0 } else { deleted as f64 / rows as f64 }));
        }
        let mut sum = 0.0;
        for (_, share) in shares.iter_mut().rev() {
            sum += *share;
            *share = sum;
        }
        Self { shares }
    }

    /// The share of a file's rows that is gone, if the deletes from a number on apply to it.
    fn share_from(&self, number: i64) -> f64 {
        let first = self.shares.partition_point(|(delete, _)| *delete < number);
        self.shares.get(first).map_or(0.0, |(_, share)| *share)
    }
}
