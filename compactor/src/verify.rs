//! Walks everything that a table references and checks it. Nothing is changed.
//!
//! 1. every metadata file of the log is there, can be read and is of the same table;
//! 2. refs name snapshots that are retained, and the snapshots' numbers, parents and schemas fit together;
//! 3. every manifest list and manifest is there, of the size that is written, and counts what it holds;
//! 4. in each snapshot a file is live once, no file is newer than the snapshot, and the summary's totals are right;
//! 5. every live file of every retained snapshot is there, of its size, and a Parquet file's footer can be read and has as
//!    many rows as the table says.
//!
//! What is wrong is listed, not an error: the walk goes on, so that all of it comes out at once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use frazil_catalog::CommitQueue;
use frazil_reader::{ReadContext, load_parquet};
use frazil_table::spec::{
    DataContentType, DataFile, DataFileFormat, FormatVersion, ManifestEntry, ManifestFile, ManifestStatus, Snapshot,
};
use frazil_table::{Table, io};
use futures::StreamExt;

use crate::Result;

/// Files that are looked at the same time.
const LOOKS_AT_ONCE: usize = 16;

/// Findings that are kept; the others are only counted.
const FINDINGS_MAX: usize = 1_000;

/// Walks before what is found wrong counts: files may go by an expiry while the walk is on its way to them.
const WALKS_MAX: usize = 3;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, or `snapshot 42`, or the name of a ref.
    pub place: String,
    /// What is wrong there.
    pub what: String,
}

/// What a walk has looked at and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// The table's full name.
    pub table: String,
    /// The metadata file that was walked from.
    pub metadata_location: String,
    /// Metadata files: the current one and those of the log.
    pub metadata_files: usize,
    /// Retained snapshots.
    pub snapshots: usize,
    /// Branches and tags.
    pub refs: usize,
    /// Manifest lists.
    pub manifest_lists: usize,
    /// Manifests, each once however many snapshots list it.
    pub manifests: usize,
    /// Data files that are live in a retained snapshot.
    pub data_files: usize,
    /// Delete files and deletion vectors that are.
    pub delete_files: usize,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Rows of the data files at the head of `main`, before deletes.
    pub rows: u64,
    /// What is wrong, in order of place.
    pub findings: Vec<Finding>,
    /// Findings beyond the first 1,000.
    pub findings_left_out: usize,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Checks all that a table references. See the [module documentation](self).
///
/// Cost: one request for each file, two for Parquet files. Memory: the paths of all live files.
///
/// # Errors
/// [`crate::Error::Catalog`] if the table can't be loaded. What is wrong with the table is in the report.
pub async fn run_verify(queue: &CommitQueue) -> Result<VerifyReport> {
    let mut walks = 0;
    loop {
        let table = queue.load().await?;
        let report = Walk::new(queue, &table).run().await;
        walks += 1;
        let has_moved =
            || async { Ok::<_, crate::Error>(queue.load().await?.metadata_location() != table.metadata_location()) };
        if report.is_sound() || walks == WALKS_MAX || !has_moved().await? {
            return Ok(report);
        }
    }
}

/// What identifies a live file: deletion vectors share files.
type FileKey = (String, Option<i64>);

struct Walk<'a> {
    queue: &'a CommitQueue,
    table: &'a Table,
    context: ReadContext,
    report: VerifyReport,
    findings: BTreeSet<Finding>,
    /// By path, as the first manifest list has it.
    manifests: HashMap<String, ManifestFile>,
    files: BTreeMap<FileKey, DataFile>,
}

impl<'a> Walk<'a> {
    fn new(queue: &'a CommitQueue, table: &'a Table) -> Self {
        let report = VerifyReport {
            table: table.ident().to_string(),
            metadata_location: table.metadata_location().to_owned(),
            ..VerifyReport::default()
        };
        Self {
            queue,
            table,
            context: ReadContext::new(queue.env()),
            report,
            findings: BTreeSet::new(),
            manifests: HashMap::new(),
            files: BTreeMap::new(),
        }
    }

    async fn run(mut self) -> VerifyReport {
        self.check_metadata_files().await;
        self.check_snapshots();
        let mut snapshots: Vec<_> = self.table.metadata().snapshots().cloned().collect();
        snapshots.sort_by_key(|snapshot| (snapshot.sequence_number(), snapshot.timestamp_ms()));
        for snapshot in &snapshots {
            self.check_manifest_list(snapshot).await;
        }
        self.check_manifest_sizes().await;
        self.check_files().await;
        self.check_statistics().await;
        self.report.manifests = self.manifests.len();
        self.report.findings = self.findings.into_iter().collect();
        self.report.findings_left_out = self.report.findings.len().saturating_sub(FINDINGS_MAX);
        self.report.findings.truncate(FINDINGS_MAX);
        self.report
    }

    fn wrong(&mut self, place: impl Into<String>, what: impl fmt::Display) {
        self.findings.insert(Finding { place: place.into(), what: what.to_string() });
    }

    async fn check_metadata_files(&mut self) {
        let metadata = self.table.metadata().clone();
        let logged = metadata.metadata_log().iter().map(|entry| entry.metadata_file.clone());
        let locations: Vec<String> = logged.chain([self.table.metadata_location().to_owned()]).collect();
        self.report.metadata_files = locations.len();
        let store = &self.queue.env().store;
        let loads = locations.into_iter().map(|location| async move {
            let loaded = io::load_metadata(store, &location).await;
            (location, loaded)
        });
        let loads: Vec<_> = loads.collect();
        let mut loaded = futures::stream::iter(loads).buffered(LOOKS_AT_ONCE);
        while let Some((location, loaded)) = loaded.next().await {
            match loaded {
                Err(error) => self.wrong(&location, reason_of_table(&error)),
                Ok(other) if other.uuid() != metadata.uuid() => {
                    self.wrong(&location, format!("is of table {}, not of {}", other.uuid(), metadata.uuid()));
                }
                Ok(other) if location == self.table.metadata_location() && other != **self.table.metadata() => {
                    self.wrong(&location, "says something else than the catalog");
                }
                Ok(_) => {}
            }
        }
    }

    /// Iceberg spec, "Snapshots" and "Table Metadata".
    fn check_snapshots(&mut self) {
        let metadata = self.table.metadata().clone();
        self.report.snapshots = metadata.snapshots().len();
        self.report.refs = self.table.refs().len();
        for (name, reference) in self.table.refs() {
            if metadata.snapshot_by_id(reference.snapshot_id).is_none() {
                self.wrong(name, format!("names snapshot {}, which is not there", reference.snapshot_id));
            }
        }
        let has_numbers = metadata.format_version() > FormatVersion::V1;
        let mut numbers: HashMap<i64, i64> = HashMap::new();
        for snapshot in metadata.snapshots() {
            let (id, number) = (snapshot.snapshot_id(), snapshot.sequence_number());
            let place = format!("snapshot {id}");
            if has_numbers && number > metadata.last_sequence_number() {
                let last = metadata.last_sequence_number();
                self.wrong(&place, format!("has sequence number {number}, beyond the table's last, {last}"));
            }
            if has_numbers && let Some(other) = numbers.insert(number, id) {
                self.wrong(&place, format!("has sequence number {number}, which snapshot {other} has too"));
            }
            let parent = snapshot.parent_snapshot_id().and_then(|parent| metadata.snapshot_by_id(parent));
            if has_numbers && parent.is_some_and(|parent| parent.sequence_number() >= number) {
                self.wrong(&place, format!("has sequence number {number}, not beyond its parent's"));
            }
            if snapshot.schema_id().is_some_and(|schema| metadata.schema_by_id(schema).is_none()) {
                self.wrong(&place, "names a schema that is not there");
            }
        }
        let head = self.table.current_snapshot().map(|snapshot| snapshot.snapshot_id());
        if metadata.current_snapshot().map(|snapshot| snapshot.snapshot_id()) != head {
            self.wrong("main", "is not the table's current snapshot");
        }
    }

    async fn check_manifest_list(&mut self, snapshot: &Snapshot) {
        let store = self.queue.env().store.clone();
        // Its own cache: what a writer of this process remembers is not what is stored.
        let cache = self.context.manifests.clone();
        let listed = match io::load_manifest_list(&store, &cache, self.table.metadata(), snapshot).await {
            Ok(listed) => listed,
            Err(error) => return self.wrong(snapshot.manifest_list(), reason_of_table(&error)),
        };
        self.report.manifest_lists += 1;
        let mut content = Content::default();
        for manifest in listed.iter() {
            let path = &manifest.manifest_path;
            self.check_listed(snapshot, manifest);
            match io::load_manifest(&store, &cache, manifest).await {
                Err(error) => self.wrong(path, reason_of_table(&error)),
                Ok(entries) => {
                    if self.manifests.insert(path.clone(), manifest.clone()).is_none() {
                        self.check_counts(manifest, &entries);
                    }
                    self.check_entries(snapshot, manifest, &entries, &mut content);
                }
            }
        }
        for (total, counted) in content.totals() {
            let said = snapshot.summary().additional_properties.get(total).and_then(|text| text.parse::<u64>().ok());
            if let Some(said) = said.filter(|said| *said != counted) {
                let place = format!("snapshot {}", snapshot.snapshot_id());
                self.wrong(place, format!("says {total} = {said}, but its manifests have {counted}"));
            }
        }
        if self.table.current_snapshot().is_some_and(|head| head.snapshot_id() == snapshot.snapshot_id()) {
            self.report.rows = content.rows;
        }
    }

    /// Iceberg spec, "Manifest Lists".
    fn check_listed(&mut self, snapshot: &Snapshot, manifest: &ManifestFile) {
        let path = manifest.manifest_path.clone();
        let (number, snapshot_number) = (manifest.sequence_number, snapshot.sequence_number());
        if number > snapshot_number {
            self.wrong(&path, format!("has sequence number {number}, but snapshot {snapshot_number} lists it"));
        }
        if manifest.min_sequence_number > number {
            let least = manifest.min_sequence_number;
            self.wrong(&path, format!("has a least sequence number of {least}, but was written by {number}"));
        }
        if self.table.metadata().partition_spec_by_id(manifest.partition_spec_id).is_none() {
            self.wrong(&path, format!("is of partition spec {}, which is not there", manifest.partition_spec_id));
        }
        if let Some(other) = self.manifests.get(&path).filter(|other| other.manifest_length != manifest.manifest_length)
        {
            let (one, two) = (other.manifest_length, manifest.manifest_length);
            self.wrong(&path, format!("is listed with {one} bytes and with {two}"));
        }
    }

    fn check_counts(&mut self, manifest: &ManifestFile, entries: &[ManifestEntry]) {
        let of = |status| entries.iter().filter(move |entry: &&ManifestEntry| entry.status() == status);
        let counts = [
            ("added", ManifestStatus::Added, manifest.added_files_count, manifest.added_rows_count),
            ("existing", ManifestStatus::Existing, manifest.existing_files_count, manifest.existing_rows_count),
            ("deleted", ManifestStatus::Deleted, manifest.deleted_files_count, manifest.deleted_rows_count),
        ];
        for (name, status, files, rows) in counts {
            let counted = of(status).count() as u64;
            if let Some(files) = files.map(u64::from).filter(|files| *files != counted) {
                self.wrong(&manifest.manifest_path, format!("holds {counted} {name} files, {files} are listed"));
            }
            let counted = of(status).map(|entry| entry.data_file().record_count()).sum::<u64>();
            if let Some(rows) = rows.filter(|rows| *rows != counted) {
                self.wrong(&manifest.manifest_path, format!("holds {counted} {name} rows, {rows} are listed"));
            }
        }
    }

    fn check_entries(
        &mut self,
        snapshot: &Snapshot,
        manifest: &ManifestFile,
        entries: &[ManifestEntry],
        content: &mut Content,
    ) {
        for entry in entries.iter().filter(|entry| entry.is_alive()) {
            let file = entry.data_file();
            let key: FileKey = (file.file_path().to_owned(), file.content_offset());
            match entry.sequence_number() {
                None => self.wrong(file.file_path(), "has no sequence number"),
                Some(number) if number > snapshot.sequence_number() => {
                    let id = snapshot.snapshot_id();
                    self.wrong(file.file_path(), format!("has sequence number {number}, beyond snapshot {id}'s"));
                }
                Some(number) if number < manifest.min_sequence_number => {
                    let least = manifest.min_sequence_number;
                    self.wrong(file.file_path(), format!("has sequence number {number}, below its manifest's {least}"));
                }
                Some(_) => {}
            }
            if !content.add(&key, file) {
                let id = snapshot.snapshot_id();
                self.wrong(file.file_path(), format!("is live twice in snapshot {id}"));
            }
            match self.files.get(&key) {
                None => _ = self.files.insert(key, file.clone()),
                Some(known) if known.record_count() != file.record_count() => {
                    let (one, two) = (known.record_count(), file.record_count());
                    self.wrong(file.file_path(), format!("is listed with {one} rows and with {two}"));
                }
                Some(_) => {}
            }
        }
    }

    async fn check_manifest_sizes(&mut self) {
        let store = self.queue.env().store.clone();
        let manifests: Vec<_> = self
            .manifests
            .values()
            .map(|manifest| (manifest.manifest_path.clone(), manifest.manifest_length))
            .collect();
        let looks = manifests.into_iter().map(|(path, length)| {
            let store = store.clone();
            async move {
                let found = store.head(&path).await;
                (path, length, found)
            }
        });
        let looks: Vec<_> = looks.collect();
        let mut looked = futures::stream::iter(looks).buffered(LOOKS_AT_ONCE);
        while let Some((path, length, found)) = looked.next().await {
            match found {
                Err(error) => self.wrong(&path, reason(&error)),
                Ok(found) if i64::try_from(found.size_bytes) != Ok(length) => {
                    self.wrong(&path, format!("has {} bytes, {length} are listed", found.size_bytes));
                }
                Ok(_) => {}
            }
        }
    }

    async fn check_files(&mut self) {
        let files = std::mem::take(&mut self.files);
        let looks = files.into_values().map(|file| {
            let context = self.context.clone();
            async move {
                let found = look_at(&context, &file).await;
                (file, found)
            }
        });
        let looks: Vec<_> = looks.collect();
        let mut looked = futures::stream::iter(looks).buffered(LOOKS_AT_ONCE);
        while let Some((file, found)) = looked.next().await {
            match file.content_type() {
                DataContentType::Data => self.report.data_files += 1,
                DataContentType::PositionDeletes | DataContentType::EqualityDeletes => self.report.delete_files += 1,
            }
            self.report.bytes += file.file_size_in_bytes();
            if let Err(what) = found {
                self.wrong(file.file_path(), what);
            }
        }
    }

    async fn check_statistics(&mut self) {
        let metadata = self.table.metadata().clone();
        let whole = metadata.statistics_iter().map(|file| (file.statistics_path.clone(), file.file_size_in_bytes));
        let parts =
            metadata.partition_statistics_iter().map(|file| (file.statistics_path.clone(), file.file_size_in_bytes));
        let store = self.queue.env().store.clone();
        for (path, size) in whole.chain(parts) {
            match store.head(&path).await {
                Err(error) => self.wrong(&path, reason(&error)),
                Ok(found) if i64::try_from(found.size_bytes) != Ok(size) => {
                    self.wrong(&path, format!("has {} bytes, {size} are listed", found.size_bytes));
                }
                Ok(_) => {}
            }
        }
    }
}

/// What is live in one snapshot.
#[derive(Default)]
struct Content {
    seen: HashSet<FileKey>,
    data_files: u64,
    delete_files: u64,
    rows: u64,
}

impl Content {
    /// False if it is there already.
    fn add(&mut self, key: &FileKey, file: &DataFile) -> bool {
        match file.content_type() {
            DataContentType::Data => {
                self.data_files += 1;
                self.rows += file.record_count();
            }
            DataContentType::PositionDeletes | DataContentType::EqualityDeletes => self.delete_files += 1,
        }
        self.seen.insert(key.clone())
    }

    /// Under their names in a summary (Iceberg spec, "Snapshot Summary").
    fn totals(&self) -> [(&'static str, u64); 3] {
        [("total-data-files", self.data_files), ("total-delete-files", self.delete_files), ("total-records", self.rows)]
    }
}

/// What is wrong with a file that is named already.
fn reason(error: &frazil_storage::Error) -> String {
    if error.is_not_found() { "is not there".to_owned() } else { error.to_string() }
}

fn reason_of_table(error: &frazil_table::Error) -> String {
    match error {
        frazil_table::Error::Storage(error) => reason(error),
        other => other.to_string(),
    }
}

/// Size, and for Parquet the footer.
async fn look_at(context: &ReadContext, file: &DataFile) -> std::result::Result<(), String> {
    let (path, size) = (file.file_path(), file.file_size_in_bytes());
    let found = context.env.store.head(path).await.map_err(|error| reason(&error))?;
    if found.size_bytes != size {
        return Err(format!("has {} bytes, {size} are listed", found.size_bytes));
    }
    if let Some(offset) = file.content_offset() {
        let end = offset.checked_add(file.content_size_in_bytes().unwrap_or(0)).and_then(|end| u64::try_from(end).ok());
        if end.is_none_or(|end| end > size) {
            return Err(format!("has {size} bytes, but a deletion vector at {offset} is listed"));
        }
        return Ok(());
    }
    if file.file_format() != DataFileFormat::Parquet || file.key_metadata().is_some() {
        return Ok(());
    }
    let footer = load_parquet(context, path, size).await.map_err(|error| error.to_string())?;
    let rows = u64::try_from(footer.file_metadata().num_rows()).unwrap_or(0);
    match rows == file.record_count() {
        true => Ok(()),
        false => Err(format!("has {rows} rows, {} are listed", file.record_count())),
    }
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { place, what } in &self.findings {
            writeln!(f, "{place}: {what}")?;
        }
        if self.findings_left_out > 0 {
            writeln!(f, "and {} findings more", self.findings_left_out)?;
        }
        writeln!(
            f,
            "{}: {} rows in the data files of the head; {} metadata files, {} snapshots, {} refs, {} manifest lists, {} manifests, \
             {} data files and {} delete files of {} in all",
            self.table,
            self.rows,
            self.metadata_files,
            self.snapshots,
            self.refs,
            self.manifest_lists,
            self.manifests,
            self.data_files,
            self.delete_files,
            crate::plan::size(self.bytes)
        )?;
        match self.findings.len() + self.findings_left_out {
            0 => writeln!(f, "everything that the table references is there and as it says"),
            count => writeln!(f, "{count} things are wrong"),
        }
    }
}
