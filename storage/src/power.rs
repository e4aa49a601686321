//! A disk that loses power.
//!
//! `kill -9` leaves the page cache alone, so it never shows a missing `fsync`. This model keeps apart what programs see
//! and what is on the platter: a file's bytes get there by syncing the file, a name by syncing its folder. At a cut
//! everything else is kept or lost as a seed says, in any order, in part or whole, which is what POSIX leaves open and
//! some file systems make use of.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::backend::Mode;
use crate::disk::{Disk, DiskFile, DiskMeta, FolderEntries};

type Inode = u64;
const ROOT: Inode = 0;

/// A disk in memory whose power can be cut. See [`Store::on_disk`](crate::Store::on_disk).
#[derive(Debug)]
pub struct PowerDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    nodes: HashMap<Inode, Node>,
    next: Inode,
    /// Calls until the power goes off by itself.
    calls_left: u64,
    calls: u64,
    /// Whether files can be without a name.
    has_unnamed: bool,
}

#[derive(Debug)]
enum Node {
    File { seen: Vec<u8>, durable: Vec<u8> },
    Folder { seen: Names, durable: Names, pending: Vec<Change> },
}

type Names = BTreeMap<OsString, Inode>;

/// A change of a folder's names that is not synced. Each is lost or kept whole.
#[derive(Clone, Debug)]
enum Change {
    Add(OsString, Inode),
    Remove(OsString),
    Move(OsString, OsString, Inode),
}

impl Change {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Add(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
            Self::Move(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }
}

impl Default for PowerDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl PowerDisk {
    /// An empty disk.
    pub fn new() -> Self {
        let root = Node::Folder { seen: Names::new(), durable: Names::new(), pending: Vec::new() };
        let nodes = HashMap::from([(ROOT, root)]);
        Self(Arc::new(Mutex::new(State { nodes, next: 1, calls_left: u64::MAX, calls: 0, has_unnamed: true })))
    }

    /// The same disk, on which every file has a name.
    #[must_use]
    pub fn without_unnamed(self) -> Self {
        self.state().has_unnamed = false;
        self
    }

    /// Calls that the disk has carried out.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// The power goes off after so many calls: every later one fails until [`PowerDisk::cut`].
    pub fn cut_after(&self, calls: u64) {
        self.state().calls_left = calls;
    }

    /// Cuts the power and brings the disk up again. Without a seed, whatever was not synced is lost; with one, it is
    /// lost, kept or mangled as the seed says.
    pub fn cut(&self, seed: Option<u64>) {
        let mut random = seed.map(StdRng::seed_from_u64);
        let mut state = self.state();
        state.calls_left = u64::MAX;
        let mut inodes: Vec<_> = state.nodes.keys().copied().collect();
        inodes.sort_unstable();
        for inode in inodes {
            match state.nodes.get_mut(&inode).expect("the key was just read") {
                Node::File { seen, durable } => {
                    if let Some(random) = &mut random {
                        *durable = mangled(seen, durable, random);
                    }
                    seen.clone_from(durable);
                }
                Node::Folder { seen, durable, pending } => {
                    for change in pending.drain(..) {
                        if random.as_mut().is_some_and(|random| random.random()) {
                            change.apply(durable);
                        }
                    }
                    seen.clone_from(durable);
                }
            }
        }
    }

    /// A file's content as a program sees it.
    ///
    /// # Errors
    /// If it is not there.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.state().file(path).map(<[u8]>::to_vec)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no code panics while it holds this lock")
    }
}

/// What a cut makes of bytes that were not synced: nothing, a part, zeros where data was to be, or all.
fn mangled(seen: &[u8], durable: &[u8], random: &mut StdRng) -> Vec<u8> {
    if seen == durable {
        return durable.to_vec();
    }
    match random.random_range(0..4) {
        0 => durable.to_vec(),
        1 => seen[..random.random_range(0..=seen.len())].to_vec(),
        2 => vec![0; seen.len()],
        _ => seen.to_vec(),
    }
}

impl State {
    /// Counts a call, unless the power is off.
    fn call(&mut self) -> io::Result<()> {
        if self.calls_left == 0 {
            return Err(io::Error::other("the power is off"));
        }
        self.calls_left -= 1;
        self.calls += 1;
        Ok(())
    }

    fn find(&self, path: &Path) -> io::Result<Inode> {
        let mut inode = ROOT;
        for name in path.iter().skip(1) {
            inode = *self.names(inode)?.get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(inode)
    }

    fn names(&self, inode: Inode) -> io::Result<&Names> {
        match &self.nodes[&inode] {
            Node::Folder { seen, .. } => Ok(seen),
            Node::File { .. } => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn file(&self, path: &Path) -> io::Result<&[u8]> {
        match &self.nodes[&self.find(path)?] {
            Node::File { seen, .. } => Ok(seen),
            Node::Folder { .. } => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn change(&mut self, folder: &Path, change: Change) -> io::Result<()> {
        let inode = self.find(folder)?;
        match self.nodes.get_mut(&inode).expect("found above") {
            Node::Folder { seen, pending, .. } => {
                change.apply(seen);
                pending.push(change);
                Ok(())
            }
            Node::File { .. } => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<Inode> {
        let (folder, name) = parts(path)?;
        if self.names(self.find(folder)?)?.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = self.put(node);
        self.change(folder, Change::Add(name, inode))?;
        Ok(inode)
    }

    /// Without a name.
    fn put(&mut self, node: Node) -> Inode {
        let inode = self.next;
        self.next += 1;
        self.nodes.insert(inode, node);
        inode
    }

    /// Gives a file another name, or its first.
    fn link(&mut self, path: &Path, inode: Inode) -> io::Result<()> {
        let (folder, name) = parts(path)?;
        if self.names(self.find(folder)?)?.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.change(folder, Change::Add(name, inode))
    }

    fn meta(&self, inode: Inode) -> DiskMeta {
        match &self.nodes[&inode] {
            Node::File { seen, .. } => DiskMeta { is_folder: false, size_bytes: seen.len() as u64, modified_ms: 0 },
            Node::Folder { .. } => DiskMeta { is_folder: true, size_bytes: 0, modified_ms: 0 },
        }
    }
}

fn parts(path: &Path) -> io::Result<(&Path, OsString)> {
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => Ok((folder, name.to_owned())),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

impl Disk for PowerDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.call()?;
        let inode = state.add(path, Node::File { seen: Vec::new(), durable: Vec::new() })?;
        Ok(Box::new(PowerFile { inode, state: Arc::clone(&self.0) }))
    }

    fn create_unnamed(&self, folder: &Path) -> io::Result<Option<Box<dyn DiskFile>>> {
        let mut state = self.state();
        state.call()?;
        state.names(state.find(folder)?)?;
        if !state.has_unnamed {
            return Ok(None);
        }
        let inode = state.put(Node::File { seen: Vec::new(), durable: Vec::new() });
        Ok(Some(Box::new(PowerFile { inode, state: Arc::clone(&self.0) })))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.call()?;
        let inode = state.find(path)?;
        Ok(Box::new(PowerFile { inode, state: Arc::clone(&self.0) }))
    }

    fn rename(&self, from: &Path, to: &Path, mode: Mode) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        let inode = state.find(from)?;
        let ((folder, from), (_, to)) = (parts(from)?, parts(to)?);
        if mode == Mode::Create && state.names(state.find(folder)?)?.contains_key(&to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.change(folder, Change::Move(from, to, inode))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        state.find(path)?;
        let (folder, name) = parts(path)?;
        state.change(folder, Change::Remove(name))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        state.add(path, Node::Folder { seen: Names::new(), durable: Names::new(), pending: Vec::new() }).map(drop)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        let inode = state.find(path)?;
        if let Some(Node::Folder { seen, durable, pending }) = state.nodes.get_mut(&inode) {
            durable.clone_from(seen);
            pending.clear();
        }
        Ok(())
    }

    fn metadata(&self, path: &Path) -> io::Result<DiskMeta> {
        let mut state = self.state();
        state.call()?;
        state.find(path).map(|inode| state.meta(inode))
    }

    fn link_metadata(&self, path: &Path) -> io::Result<DiskMeta> {
        self.metadata(path)
    }

    fn read_folder(&self, path: &Path) -> io::Result<FolderEntries> {
        let mut state = self.state();
        state.call()?;
        let names = state.names(state.find(path)?)?;
        let paths: Vec<PathBuf> = names.keys().map(|name| path.join(name)).collect();
        Ok(Box::new(paths.into_iter().map(Ok)))
    }
}

#[derive(Debug)]
struct PowerFile {
    inode: Inode,
    state: Arc<Mutex<State>>,
}

impl PowerFile {
    fn with<T>(&self, work: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state.lock().expect("no code panics while it holds this lock");
        state.call()?;
        match state.nodes.get_mut(&self.inode) {
            Some(Node::File { seen, durable }) => work(seen, durable),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        }
    }
}

impl DiskFile for PowerFile {
    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        self.with(|seen, _| {
            seen.extend_from_slice(bytes);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|seen, durable| {
            durable.clone_from(seen);
            Ok(())
        })
    }

    fn link(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock().expect("no code panics while it holds this lock");
        state.call()?;
        state.link(path, self.inode)
    }

    fn size_bytes(&self) -> io::Result<u64> {
        self.with(|seen, _| Ok(seen.len() as u64))
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.with(|seen, _| {
            let start = usize::try_from(offset).map_err(io::Error::other)?;
            let part = seen.get(start..start + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(part);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;
