//! Rules of the repository that a machine can check, beyond rustfmt, clippy and rustdoc.
//!
//! Each check answers with findings, one line each; an empty list is a pass. What is let through is on lists in
//! `tests/tidy/`, with reasons; an entry that lets nothing through is a finding as well.

mod crates;
mod files;
mod licence;

pub use crates::{check_dependency_direction, check_duplicates, check_licences, load_metadata};
pub use files::{check_built_in_folders, check_file_lengths, check_paths_and_hosts, tracked_files};

/// The repository's root folder.
pub fn root() -> std::path::PathBuf {
    let package = crate::package_folder();
    package.parent().expect("the tests' package lies in the repository's root").to_owned()
}
