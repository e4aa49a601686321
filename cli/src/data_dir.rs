//! The folder of the embedded catalog.
//!
//! ```text
//! frazil-data/
//!   VERSION       the layout's version
//!   WAREHOUSE     where the tables are, unless they are in warehouse/
//!   catalog.db    names and metadata pointers (SQLite)
//!   warehouse/    tables
//!   server.lock   held by the server that runs on the folder; says where it listens
//! ```

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use frazil_storage::Location;
use fs4::fs_std::FileExt;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The layout that this program writes and reads.
const VERSION: &str = "1";

/// What the names of files begin with that are not whole yet.
const BEGUN: &str = ".begun-";

/// A data folder of this program's version.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
}

/// Who serves a data folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunningServer {
    /// Its process.
    pub(crate) pid: u32,
    /// Where it listens.
    pub(crate) url: String,
}

/// The right to serve a folder. Given back when it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct ServerLock {
    file: File,
}

impl DataDir {
    /// Opens a folder, or makes it if there is none or an empty one.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let name = path.display();
        fs::create_dir_all(path).map_err(|e| Error::failed(format!("making the data folder {name}"), e))?;
        let path = path.canonicalize().map_err(|e| Error::failed(format!("finding the data folder {name}"), e))?;
        let version_file = path.join("VERSION");
        match fs::read_to_string(&version_file) {
            Ok(version) if version.trim() == VERSION => {}
            Ok(version) => {
                return Err(Error::BadInput(format!(
                    "the data folder {name} has layout version {:?}, and this frazil knows version {VERSION}: use the frazil \
                     that made it or a newer one, or name another folder with --data-dir",
                    version.trim()
                )));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Self::make(&path, &version_file)?,
            Err(error) => return Err(Error::failed(format!("reading {}", version_file.display()), error)),
        }
        let warehouse = path.join("warehouse");
        fs::create_dir_all(&warehouse)
            .map_err(|e| Error::failed(format!("making the folder {}", warehouse.display()), e))?;
        Ok(Self { path })
    }

    /// Begins with the version: a folder with anything else has one, whoever else opens it meanwhile and whenever the
    /// program is killed.
    fn make(path: &Path, version_file: &Path) -> Result<()> {
        let name = path.display();
        let failed = |e| Error::failed(format!("writing into the data folder {name}"), e);
        for entry in fs::read_dir(path).map_err(failed)? {
            let is_own = entry.map_err(failed)?.file_name().to_string_lossy().starts_with(BEGUN);
            // Another program may have made the folder since this one looked for the version.
            if !is_own && !version_file.exists() {
                return Err(Error::BadInput(format!(
                    "{name} is no data folder of frazil and not empty: name an empty or new folder with --data-dir"
                )));
            }
        }
        write_whole(version_file, &format!("{VERSION}\n")).map_err(failed)
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The catalog's database.
    pub(crate) fn catalog_file(&self) -> PathBuf {
        self.path.join("catalog.db")
    }

    /// The location of all tables. The first use of the folder decides it: tables of two warehouses in one catalog would
    /// be out of each other's reach.
    pub(crate) fn warehouse(&self, asked: Option<&str>) -> Result<String> {
        let file = self.path.join("WAREHOUSE");
        let known = match fs::read_to_string(&file) {
            Ok(text) => Some(text.trim().to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(Error::failed(format!("reading {}", file.display()), error)),
        };
        let own = format!("file://{}", self.path.join("warehouse").display());
        let Some(asked) = asked else { return Ok(known.unwrap_or(own)) };
        let parse =
            |text: &str| Location::parse(text).map_err(|error| Error::BadInput(format!("--warehouse: {error}")));
        let wanted = parse(&absolute(asked)?)?;
        let is_used = known.is_some() || self.catalog_file().exists();
        let current = parse(&known.unwrap_or(own))?;
        if wanted == current {
            return Ok(current.to_string());
        }
        if is_used {
            return Err(Error::BadInput(format!(
                "the tables of the data folder {} are in {current}: leave --warehouse out, or name another data folder with \
                 --data-dir",
                self.path.display()
            )));
        }
        let text = wanted.to_string();
        write_whole(&file, &format!("{text}\n"))
            .map_err(|e| Error::failed(format!("writing {}", file.display()), e))?;
        Ok(text)
    }

    /// The server that runs on the folder, if one does.
    pub(crate) fn running_server(&self) -> Option<RunningServer> {
        let mut file = File::options().read(true).write(true).open(self.lock_file()).ok()?;
        // Whoever can take the lock learns that nobody holds it.
        if file.try_lock_exclusive().ok()? {
            return None;
        }
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Takes the right to serve the folder.
    pub(crate) fn lock(&self) -> Result<ServerLock> {
        let path = self.lock_file();
        let failed = |e| Error::failed(format!("locking {}", path.display()), e);
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(failed)?;
        if file.try_lock_exclusive().map_err(failed)? {
            return Ok(ServerLock { file });
        }
        let by = self
            .running_server()
            .map_or_else(|| "another process".to_owned(), |server| format!("process {} at {}", server.pid, server.url));
        Err(Error::BadInput(format!(
            "the data folder {} is served already, by {by}: use that server, stop it, or name another folder with --data-dir",
            self.path.display()
        )))
    }

    fn lock_file(&self) -> PathBuf {
        self.path.join("server.lock")
    }
}

/// Writes a file that is there with all of its text or not at all.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().expect("a file is in a folder");
    let begun = folder.join(format!("{BEGUN}{}", uuid::Uuid::new_v4()));
    let mut file = File::create_new(&begun)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&begun, path)?;
    File::open(folder)?.sync_all()
}

/// A path is taken from where the program was started.
fn absolute(location: &str) -> Result<String> {
    if location.contains("://") || location.starts_with("file:") {
        return Ok(location.to_owned());
    }
    let path = std::path::absolute(location).map_err(|e| Error::failed(format!("finding the folder {location}"), e))?;
    path.to_str().map(str::to_owned).ok_or_else(|| Error::BadInput(format!("--warehouse: {location:?} is no text")))
}

impl ServerLock {
    /// Says where the server listens, for other programs on the same folder.
    pub(crate) fn announce(&mut self, url: &str) -> Result<()> {
        let server = RunningServer { pid: std::process::id(), url: url.to_owned() };
        let json = serde_json::to_string(&server).expect("a server has a JSON form");
        let written = self.file.set_len(0).and_then(|()| self.file.rewind());
        let written = written.and_then(|()| self.file.write_all(json.as_bytes()));
        written.map_err(|e| Error::failed("writing where the server listens", e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_opens_again_and_a_foreign_one_does_not() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data");
        DataDir::open(&path).unwrap();
        DataDir::open(&path).unwrap();
        fs::write(path.join("VERSION"), "2\n").unwrap();
        let error = DataDir::open(&path).unwrap_err();
        assert!(error.to_string().contains("layout version \"2\""), "{error}");
        fs::write(root.path().join("letter.txt"), "dear").unwrap();
        let error = DataDir::open(root.path()).unwrap_err();
        assert!(error.to_string().contains("not empty"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn a_folder_opens_whenever_the_program_that_made_it_was_killed() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data");
        fs::create_dir(&path).unwrap();
        fs::write(path.join(format!("{BEGUN}1")), "").unwrap();
        DataDir::open(&path).unwrap();
        // Another program has made it since this one looked.
        DataDir::make(&path, &path.join("VERSION")).unwrap();
        fs::remove_dir(path.join("warehouse")).unwrap();
        DataDir::open(&path).unwrap();
        assert!(path.join("warehouse").is_dir());
    }

    #[test]
    fn a_new_folder_is_opened_by_many_at_once() {
        for _ in 0..100 {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().join("data");
            let start = std::sync::Barrier::new(4);
            let open = || {
                start.wait();
                DataDir::open(&path).map(drop)
            };
            std::thread::scope(|scope| {
                let opened = [0; 4].map(|_| scope.spawn(open));
                opened.into_iter().for_each(|opened| opened.join().unwrap().unwrap());
            });
        }
    }

    #[test]
    fn the_first_use_decides_where_tables_are() {
        let root = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(&root.path().join("data")).unwrap();
        assert!(data_dir.warehouse(None).unwrap().ends_with("/data/warehouse"));
        assert_eq!(data_dir.warehouse(Some("s3://b/w/")).unwrap(), "s3://b/w");
        assert_eq!(data_dir.warehouse(None).unwrap(), "s3://b/w");
        assert_eq!(data_dir.warehouse(Some("s3a://b/w")).unwrap(), "s3://b/w");
        let error = data_dir.warehouse(Some("s3://b/other")).unwrap_err();
        assert!(error.to_string().contains("s3://b/w") && error.exit_code() == 2, "{error}");

        let used = DataDir::open(&root.path().join("used")).unwrap();
        fs::write(used.catalog_file(), "").unwrap();
        assert!(used.warehouse(Some("s3://b/w")).is_err(), "its tables are in its own folder");
        let own = root.path().join("used/warehouse").canonicalize().unwrap();
        assert!(used.warehouse(Some(own.to_str().unwrap())).is_ok());
    }

    #[test]
    fn one_server_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(&root.path().join("data")).unwrap();
        assert!(data_dir.running_server().is_none());
        let mut lock = data_dir.lock().unwrap();
        lock.announce("http://127.0.0.1:1").unwrap();
        assert_eq!(data_dir.running_server().unwrap().url, "http://127.0.0.1:1");
        let error = data_dir.lock().unwrap_err().to_string();
        assert!(error.contains("http://127.0.0.1:1") && error.contains("--data-dir"), "{error}");
        drop(lock);
        assert!(data_dir.running_server().is_none());
        data_dir.lock().unwrap();
    }
}
