//! What a local disk is asked to do, one system call at a time.
//!
//! The order of these calls is what makes a file survive a power cut ([`crate::local`]). They are behind a trait so that
//! a model of a disk that loses power ([`crate::PowerDisk`]) can stand in for the real one.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, IoSlice, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use rustix::fs::{AtFlags, CWD, Mode as Permissions, OFlags, RenameFlags};

use crate::backend::Mode;

/// The most that Linux takes in one call (`IOV_MAX`).
const PIECES_AT_ONCE: usize = 1_024;

/// What a file may be used for before the process's mask, as [`File::create`] has it.
const RW_FOR_ALL: Permissions = Permissions::from_raw_mode(0o666);

/// A disk. Calls block.
pub(crate) trait Disk: Debug + Send + Sync {
    /// Makes an empty file under a name that must be new.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Makes an empty file without a name, which is gone with the program unless it gets one ([`DiskFile::link`]). `None`
    /// where the file system has no such thing.
    fn create_unnamed(&self, folder: &Path) -> io::Result<Option<Box<dyn DiskFile>>>;

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Moves a file to another name of the same folder in one step.
    fn rename(&self, from: &Path, to: &Path, mode: Mode) -> io::Result<()>;

    fn remove(&self, path: &Path) -> io::Result<()>;

    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    fn metadata(&self, path: &Path) -> io::Result<DiskMeta>;

    /// Of the name itself: a link is no folder, wherever it leads.
    fn link_metadata(&self, path: &Path) -> io::Result<DiskMeta>;

    fn read_folder(&self, path: &Path) -> io::Result<FolderEntries>;
}

/// The paths in a folder, in no order.
pub(crate) type FolderEntries = Box<dyn Iterator<Item = io::Result<PathBuf>> + Send>;

/// An open file.
pub(crate) trait DiskFile: Debug + Send + Sync {
    /// Appends.
    fn write_all(&self, bytes: &[u8]) -> io::Result<()>;

    /// Appends one after the other.
    fn write_pieces(&self, pieces: &[Bytes]) -> io::Result<()> {
        pieces.iter().try_for_each(|piece| self.write_all(piece))
    }

    /// Makes what was written durable; not the file's name.
    fn sync(&self) -> io::Result<()>;

    /// Gives a file without a name one that must be new.
    fn link(&self, path: &Path) -> io::Result<()>;

    fn size_bytes(&self) -> io::Result<u64>;

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

/// What a disk knows of a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DiskMeta {
    pub(crate) is_folder: bool,
    pub(crate) size_bytes: u64,
    pub(crate) modified_ms: i64,
}

/// The machine's own file system.
#[derive(Debug)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::create_new(path)?))
    }

    /// `O_TMPFILE`, of which the name is given by way of `/proc` (open(2)).
    fn create_unnamed(&self, folder: &Path) -> io::Result<Option<Box<dyn DiskFile>>> {
        use rustix::io::Errno;
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        match rustix::fs::openat(CWD, folder, flags, RW_FOR_ALL) {
            Ok(file) if Path::new("/proc/self/fd").exists() => Ok(Some(Box::new(File::from(file)))),
            Ok(_) | Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::open(path)?))
    }

    /// A file system without `RENAME_NOREPLACE` gets a hard link instead.
    fn rename(&self, from: &Path, to: &Path, mode: Mode) -> io::Result<()> {
        if mode == Mode::Replace {
            return fs::rename(from, to);
        }
        match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
                fs::hard_link(from, to)?;
                fs::remove_file(from)
            }
            result => Ok(result?),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn metadata(&self, path: &Path) -> io::Result<DiskMeta> {
        fs::metadata(path).map(disk_meta)
    }

    fn link_metadata(&self, path: &Path) -> io::Result<DiskMeta> {
        fs::symlink_metadata(path).map(disk_meta)
    }

    fn read_folder(&self, path: &Path) -> io::Result<FolderEntries> {
        Ok(Box::new(fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path()))))
    }
}

fn disk_meta(metadata: fs::Metadata) -> DiskMeta {
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    DiskMeta {
        is_folder: metadata.is_dir(),
        size_bytes: metadata.len(),
        modified_ms: modified.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
    }
}

impl DiskFile for File {
    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self;
        Write::write_all(&mut file, bytes)
    }

    /// With few calls: what is written at a time the system keeps in large pages, which it has sooner.
    fn write_pieces(&self, pieces: &[Bytes]) -> io::Result<()> {
        let mut file = self;
        for some in pieces.chunks(PIECES_AT_ONCE) {
            let mut slices: Vec<IoSlice<'_>> = some.iter().map(|piece| IoSlice::new(piece)).collect();
            let mut left = slices.as_mut_slice();
            IoSlice::advance_slices(&mut left, 0);
            while !left.is_empty() {
                match file.write_vectored(left) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => IoSlice::advance_slices(&mut left, written),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }

    fn link(&self, path: &Path) -> io::Result<()> {
        let own = format!("/proc/self/fd/{}", self.as_raw_fd());
        Ok(rustix::fs::linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
    }

    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }
}
