//! What a location means: scheme, authority and path, compared by whole segments.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;

use crate::{Error, Result};

/// Which kind of store a scheme means. Several schemes may mean the same: Hadoop's `s3a` names the same objects as `s3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StoreKind {
    /// `file`, and paths without a scheme.
    Local,
    /// `memory`: this process alone.
    Memory,
    /// `s3`, `s3a`, `s3n`.
    S3,
    /// `gs`, `gcs`.
    Gcs,
    /// `abfs`, `abfss`, `wasb`, `wasbs`.
    Azure,
    /// `hdfs`, `viewfs`.
    Hdfs,
}

/// Every scheme that has a store.
const SCHEMES: [(&str, StoreKind); 13] = [
    ("file", StoreKind::Local),
    ("memory", StoreKind::Memory),
    ("s3", StoreKind::S3),
    ("s3a", StoreKind::S3),
    ("s3n", StoreKind::S3),
    ("gs", StoreKind::Gcs),
    ("gcs", StoreKind::Gcs),
    ("abfs", StoreKind::Azure),
    ("abfss", StoreKind::Azure),
    ("wasb", StoreKind::Azure),
    ("wasbs", StoreKind::Azure),
    ("hdfs", StoreKind::Hdfs),
    ("viewfs", StoreKind::Hdfs),
];

/// A parsed location such as `file:///data/t/metadata/v1.json` or `s3://bucket/t`.
///
/// Bare absolute paths are local files. `..` segments are refused, since a location is compared by its segments
/// when it is decided whether it lies inside a warehouse. Locations are equal if they name the same object, however
/// their scheme is spelt: `s3a://b/k` is `s3://b/k`. Nothing is percent-decoded: a location is the object's name.
#[derive(Clone, Debug)]
pub struct Location {
    scheme: String,
    authority: String,
    /// Without a leading slash.
    path: String,
}

impl Location {
    /// Parses a location.
    ///
    /// # Errors
    /// [`Error::BadLocation`] if it is relative, empty, or has `.` or `..` segments.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |reason: &str| Error::BadLocation { location: text.to_owned(), reason: reason.to_owned() };
        let (scheme, rest) = match text.split_once(':') {
            Some((scheme, rest)) if rest.starts_with('/') && is_scheme(scheme) => (scheme, rest),
            _ if text.starts_with('/') => ("file", text),
            _ => return Err(bad("it must be an absolute path or scheme://…")),
        };
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_once('/').unwrap_or((rest, "")),
            None => ("", &rest[1..]),
        };
        if path.split('/').any(|segment| segment == "." || segment == "..") {
            return Err(bad("it must not have . or .. segments"));
        }
        if path.contains('\0') {
            return Err(bad("it must not have NUL characters"));
        }
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            authority: authority.to_owned(),
            path: path.trim_end_matches('/').to_owned(),
        })
    }

    /// `file`, `memory`, `s3`, …
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Bucket or host; empty for local files.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The store that the scheme means, if there is one.
    pub fn kind(&self) -> Option<StoreKind> {
        SCHEMES.iter().find(|(scheme, _)| *scheme == self.scheme).map(|(_, kind)| *kind)
    }

    /// Everything before the path, as it is spelt here: `s3a://bucket/`.
    pub fn root(&self) -> String {
        format!("{}://{}/", self.scheme, self.authority)
    }

    /// What two spellings of one store have in common. Azure's two services for one account show the same files.
    fn identity(&self) -> (Option<StoreKind>, &str, &str) {
        let kind = self.kind();
        let scheme = if kind.is_some() { "" } else { self.scheme.as_str() };
        let authority = match kind {
            Some(StoreKind::Azure) => self.authority.split(".dfs.").next().and_then(|a| a.split(".blob.").next()),
            _ => None,
        };
        (kind, scheme, authority.unwrap_or(&self.authority))
    }

    /// Path below the authority, without a leading slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path on this machine, for `file` locations.
    pub fn local_path(&self) -> Option<PathBuf> {
        (self.kind() == Some(StoreKind::Local)).then(|| PathBuf::from(format!("/{}", self.path)))
    }

    /// The same object with scheme and authority spelt as `other` spells them, if both are of one store.
    #[must_use]
    pub fn spelt_like(&self, other: &Self) -> Self {
        if self.identity() != other.identity() {
            return self.clone();
        }
        Self { path: self.path.clone(), ..other.clone() }
    }

    /// Whether this location is `parent` or lies below it, by whole segments: `/a/bc` is not within `/a/b`.
    pub fn is_within(&self, parent: &Self) -> bool {
        let same_root = self.identity() == parent.identity();
        let mut segments = self.path.split('/').filter(|s| !s.is_empty());
        let mut wanted = parent.path.split('/').filter(|s| !s.is_empty());
        same_root && wanted.all(|segment| segments.next() == Some(segment))
    }
}

impl PartialEq for Location {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity() && self.path == other.path
    }
}

impl Eq for Location {}

impl Hash for Location {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
        self.path.hash(state);
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/{}", self.scheme, self.authority, self.path)
    }
}

fn is_scheme(text: &str) -> bool {
    text.len() > 1 && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_every_spelling_of_a_local_file() {
        for text in ["/a/b", "file:/a/b", "file:///a/b", "FILE:///a/b/"] {
            assert_eq!(Location::parse(text).unwrap().to_string(), "file:///a/b", "{text}");
        }
        assert_eq!(Location::parse("s3://bucket/k").unwrap().authority(), "bucket");
    }

    #[test]
    fn refuses_relative_and_climbing_paths() {
        for text in ["", "a/b", "file:a", "/a/../b", "file:///a/./b", "memory://w/.."] {
            assert!(Location::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spellings_of_one_object_are_equal() {
        let at = |text: &str| Location::parse(text).unwrap();
        assert_eq!(at("s3://b/k"), at("s3a://b/k"));
        assert_eq!(at("gs://b/k"), at("gcs://b/k/"));
        assert_eq!(at("abfss://c@a.dfs.core.windows.net/k"), at("wasbs://c@a.blob.core.windows.net/k"));
        assert!(at("s3a://b/w/t").is_within(&at("s3://b/w")));
        for (one, other) in [
            ("s3://b/k", "gs://b/k"),
            ("s3://b/k", "s3://c/k"),
            ("s3://b/a%20b", "s3://b/a b"),
            ("abfss://c@a.dfs.core.windows.net/k", "abfss://c@b.dfs.core.windows.net/k"),
            ("gopher://b/k", "ftp://b/k"),
        ] {
            assert_ne!(at(one), at(other));
        }
        assert_eq!(at("S3A://b/k/").to_string(), "s3a://b/k", "the spelling stays");
        assert_eq!(at("s3a://b/k").spelt_like(&at("s3://b/w")).to_string(), "s3://b/k");
        assert_eq!(at("s3a://c/k").spelt_like(&at("s3://b/w")).to_string(), "s3a://c/k");
    }

    #[test]
    fn within_compares_whole_segments() {
        let within = |a: &str, b: &str| Location::parse(a).unwrap().is_within(&Location::parse(b).unwrap());
        assert!(within("file:///w/t", "/w"));
        assert!(within("/w", "file:///w/"));
        assert!(within("file:///w//t", "/w"));
        assert!(!within("file:///warehouse2/t", "/warehouse"));
        assert!(!within("memory://a/w", "memory://b/w"));
        assert!(!within("/w", "/w/t"));
    }
}
