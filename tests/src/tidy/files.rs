//! What the files of the repository may hold.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Lines of a Rust file without its tests.
const FILE_LINES_MAX: usize = 500;

/// Files that git tracks or would track, as paths from the root.
///
/// # Panics
/// If git cannot be run.
pub fn tracked_files() -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(super::root())
        .output()
        .expect("git can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).expect("the repository's paths are UTF-8");
    let paths = names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from);
    // A deleted file is listed until the deletion is committed.
    paths.filter(|path| super::root().join(path).is_file()).collect()
}

/// Rust files longer than 500 lines without tests, and `mod.rs` files.
pub fn check_file_lengths(files: &[PathBuf]) -> Vec<String> {
    let mut findings = Vec::new();
    for path in files.iter().filter(|path| path.extension().is_some_and(|e| e == "rs")) {
        if path.ends_with("mod.rs") {
            findings.push(format!("{}: use foo.rs beside foo/", path.display()));
        }
        let is_test = path.components().any(|part| part.as_os_str() == "tests") && !path.starts_with("tests/src")
            || path.ends_with("tests.rs");
        if is_test {
            continue;
        }
        let text = read(path);
        let lines = text.lines().position(|line| line == "#[cfg(test)]");
        let lines = lines.unwrap_or_else(|| text.lines().count());
        if lines > FILE_LINES_MAX {
            findings.push(format!("{}: {lines} lines, at most {FILE_LINES_MAX}", path.display()));
        }
    }
    findings
}

/// Text that ties the repository to a machine or a place: home folders, hosts of package registries, private keys.
pub fn check_paths_and_hosts(files: &[PathBuf]) -> Vec<String> {
    let mut findings = Vec::new();
    // Cargo writes its registry's name there; licences name their publishers.
    let exempt = |path: &Path| path.ends_with("Cargo.lock") || path.ends_with("LICENSE");
    for path in files.iter().filter(|path| !exempt(path)) {
        let text = read(path);
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(found) = FORBIDDEN.iter().find(|f| line.contains(&f.concat())) {
                findings.push(format!("{}:{number}: {}", path.display(), found.concat()));
            }
        }
    }
    findings
}

/// Each in two parts, so that this file is not a finding.
const FORBIDDEN: [[&str; 2]; 11] = [
    ["/ro", "ot/"],
    ["/ho", "me/"],
    ["/wo", "rk/"],
    ["/Us", "ers/"],
    ["crates", ".io/"],
    ["pypi", ".org"],
    ["pythonhosted", ".org"],
    ["maven", ".org/maven2"],
    ["registry.npm", "js.org"],
    ["deb.debian", ".org"],
    ["PRIVATE", " KEY-----"],
];

/// The folder of a package as it was when it was built: checkouts that share a target folder would look for their files
/// in each other. [`crate::package_folder`] knows better.
pub fn check_built_in_folders(files: &[PathBuf]) -> Vec<String> {
    let is_one = |line: &str| line.contains(&["env!(\"CARGO", "_MANIFEST_DIR\")"].concat());
    let is_code =
        |path: &&PathBuf| path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests/src/lib.rs");
    let mut findings = Vec::new();
    for path in files.iter().filter(is_code) {
        let text = read(path);
        let lines = (1..).zip(text.lines()).filter(|(_, line)| is_one(line));
        findings.extend(lines.map(|(number, _)| format!("{}:{number}: ask package_folder()", path.display())));
    }
    findings
}

fn read(path: &Path) -> String {
    let bytes = std::fs::read(super::root().join(path)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
