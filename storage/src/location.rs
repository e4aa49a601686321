//! What a location means: scheme, authority and path, compared by whole segments.

use std::fmt;
use std::path::PathBuf;

use crate::{Error, Result};

/// A parsed location such as `file:///data/t/metadata/v1.json` or `memory://w/t`.
///
/// Bare absolute paths are local files. `..` segments are refused, since a location is compared by its segments
/// when it is decided whether it lies inside a warehouse.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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

    /// Path below the authority, without a leading slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path on this machine, for `file` locations.
    pub fn local_path(&self) -> Option<PathBuf> {
        (self.scheme == "file").then(|| PathBuf::from(format!("/{}", self.path)))
    }

    /// Whether this location is `parent` or lies below it, by whole segments: `/a/bc` is not within `/a/b`.
    pub fn is_within(&self, parent: &Self) -> bool {
        let same_root = self.scheme == parent.scheme && self.authority == parent.authority;
        let mut segments = self.path.split('/').filter(|s| !s.is_empty());
        let mut wanted = parent.path.split('/').filter(|s| !s.is_empty());
        same_root && wanted.all(|segment| segments.next() == Some(segment))
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
