//! Where rows went that were ordered anew.
//!
//! Of `n` rows that come in, each has a rank, from 0; they go out in another order. What is kept is the rank of each row that
//! went out, in a temporary file without a name, eight bytes a row: written from its begin to its end, and read so, once, if
//! somebody asks. Memory does not grow with the rows.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use roaring::RoaringTreemap;

use crate::{Error, Result, WriterConfig};

/// Where rows went. Clones share one file, which goes with the last of them.
#[derive(Clone, Debug)]
pub struct RowPlaces {
    file: Arc<File>,
    folder: PathBuf,
    rows: u64,
}

impl PartialEq for RowPlaces {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
    }
}

/// Ranks that are read at a time.
const RANKS_AT_ONCE: usize = 64 << 10;

const RANK_BYTES: usize = 8;

impl RowPlaces {
    /// How many rows went out.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The places of rows by their ranks. A rank that no row has has no place.
    ///
    /// Cost: all of the file is read, in pieces of half a MiB between which other tasks have their turn.
    ///
    /// # Errors
    /// [`Error::Spill`].
    pub async fn of_ranks(&self, ranks: &RoaringTreemap) -> Result<RoaringTreemap> {
        let mut places = RoaringTreemap::new();
        let mut piece = vec![0; RANKS_AT_ONCE * RANK_BYTES];
        let mut first = 0;
        while first < self.rows && (places.len() < ranks.len()) {
            let count = (self.rows - first).min(RANKS_AT_ONCE as u64) as usize;
            let bytes = &mut piece[..count * RANK_BYTES];
            self.file.read_exact_at(bytes, first * RANK_BYTES as u64).map_err(failed(&self.folder))?;
            for (place, rank) in (first..).zip(bytes.chunks_exact(RANK_BYTES)) {
                let rank = u64::from_le_bytes(rank.try_into().expect("chunks have this size"));
                if ranks.contains(rank) {
                    places.insert(place);
                }
            }
            first += count as u64;
            tokio::task::yield_now().await;
        }
        Ok(places)
    }
}

/// The places in the making.
#[derive(Debug)]
pub(crate) struct RowPlacesWriter {
    file: BufWriter<File>,
    folder: PathBuf,
    rows: u64,
}

impl RowPlacesWriter {
    /// Blocks the thread, as everything here does.
    pub fn new(config: &WriterConfig) -> Result<Self> {
        let folder = config.spill_dir.clone().unwrap_or_else(std::env::temp_dir);
        let file = tempfile::tempfile_in(&folder).map_err(failed(&folder))?;
        Ok(Self { file: BufWriter::with_capacity(RANKS_AT_ONCE, file), folder, rows: 0 })
    }

    /// The ranks of the next rows that go out.
    pub fn push(&mut self, ranks: &[u64]) -> Result<()> {
        for rank in ranks {
            self.file.write_all(&rank.to_le_bytes()).map_err(failed(&self.folder))?;
        }
        self.rows += ranks.len() as u64;
        Ok(())
    }

    pub fn finish(self) -> Result<RowPlaces> {
        let Self { file, folder, rows } = self;
        let file = file.into_inner().map_err(|error| failed(&folder)(error.into_error()))?;
        Ok(RowPlaces { file: Arc::new(file), folder, rows })
    }
}

fn failed(folder: &std::path::Path) -> impl Fn(std::io::Error) -> Error {
    let folder = folder.to_owned();
    move |source| Error::Spill { folder: folder.clone(), source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rows_are_found_where_they_went() {
        let mut writer = RowPlacesWriter::new(&WriterConfig::default()).unwrap();
        // Turned round, in uneven pieces.
        let ranks: Vec<u64> = (0..200_000).rev().collect();
        ranks.chunks(77_777).for_each(|piece| writer.push(piece).unwrap());
        let places = writer.finish().unwrap();
        assert_eq!(places.rows(), 200_000);
        let wanted = RoaringTreemap::from_iter([0, 5, 65_536, 199_999, 200_000]);
        let found = places.of_ranks(&wanted).await.unwrap();
        assert_eq!(found, RoaringTreemap::from_iter([199_999, 199_994, 134_463, 0]));
        assert!(places.of_ranks(&RoaringTreemap::new()).await.unwrap().is_empty());
        assert_eq!(places, places.clone());
    }
}
