//! What the workspace depends on: licences, duplicates, and who may depend on whom.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde::Deserialize;

use super::licence;

/// What `cargo metadata` says, as far as the checks need it.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
}

#[derive(Debug, Deserialize)]
struct Entry {
    reason: String,
}

/// Runs `cargo metadata` for the platform that the tests run on.
///
/// # Panics
/// If cargo fails, as when Cargo.lock is not up to date.
pub fn load_metadata() -> Metadata {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform"])
        .arg("x86_64-unknown-linux-gnu")
        .current_dir(super::root())
        .output()
        .expect("cargo can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo writes JSON")
}

/// Packages whose licence is not met by `tests/tidy/licences.toml`.
pub fn check_licences(metadata: &Metadata) -> Vec<String> {
    let mut allowed: BTreeMap<String, bool> = list("licences.toml").into_keys().map(|name| (name, false)).collect();
    let mut findings: Vec<String> = metadata
        .used()
        .filter_map(|package| {
            let expression = package.license.as_deref().unwrap_or("none stated");
            let met = licence::is_met(expression, &mut allowed);
            (!met).then(|| format!("{} {}: licence {expression}", package.name, package.version))
        })
        .collect();
    findings.extend(
        allowed
            .into_iter()
            .filter(|(_, used)| !used)
            .map(|(name, _)| format!("licences.toml: {name} is not used by anything: remove it")),
    );
    findings
}

/// Packages of which there are several versions, against `tests/tidy/duplicates.toml`.
pub fn check_duplicates(metadata: &Metadata) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in metadata.used() {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let known = list("duplicates.toml");
    let new = versions
        .iter()
        .filter(|(name, _)| !known.contains_key(**name))
        .map(|(name, versions)| format!("{name}: several versions: {versions:?}"));
    let stale = known
        .keys()
        .filter(|name| !versions.contains_key(name.as_str()))
        .map(|name| format!("duplicates.toml: {name} has one version now: remove it"));
    new.chain(stale).collect()
}

/// Dependencies between the workspace's crates that do not point down (ARCHITECTURE.md), a crate but the table's that
/// names `iceberg`, and one but the engine's that names `datafusion`.
pub fn check_dependency_direction(metadata: &Metadata) -> Vec<String> {
    // From the ground up; a crate depends on crates of earlier rows, and the compactor reads what the writer writes.
    const ROWS: [&[&str]; 7] = [
        &["frazil-storage"],
        &["frazil-table"],
        &["frazil-catalog"],
        &["frazil-reader", "frazil-writer"],
        &["frazil-compactor"],
        &["frazil-engine"],
        &["frazil"],
    ];
    let row = |name: &str| ROWS.iter().position(|names| names.contains(&name));
    let mut findings = Vec::new();
    for package in metadata.packages.iter().filter(|p| p.source.is_none()) {
        let Some(own) = row(&package.name) else {
            continue;
        };
        for dependency in package.dependencies.iter().filter(|d| d.kind.is_none()) {
            let owner = match dependency.name.as_str() {
                "iceberg" => "frazil-table",
                "datafusion" => "frazil-engine",
                name if row(name).is_some_and(|other| other >= own) => "a crate above",
                _ => continue,
            };
            if package.name != owner {
                findings.push(format!("{} depends on {}", package.name, dependency.name));
            }
        }
    }
    findings
}

impl Metadata {
    /// The packages that are built for the platform.
    fn used(&self) -> impl Iterator<Item = &Package> {
        let used: BTreeSet<&str> = self.resolve.nodes.iter().map(|n| n.id.as_str()).collect();
        self.packages.iter().filter(move |package| used.contains(package.id.as_str()))
    }
}

fn list(name: &str) -> BTreeMap<String, String> {
    let path = super::root().join("tests/tidy").join(name);
    let text = std::fs::read_to_string(&path).expect("the lists are committed");
    let entries: BTreeMap<String, Entry> =
        toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    entries
        .into_iter()
        .map(|(name, entry)| {
            assert!(!entry.reason.trim().is_empty(), "{}: {name} has no reason", path.display());
            (name, entry.reason)
        })
        .collect()
}
