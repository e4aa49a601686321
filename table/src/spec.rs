//! The types of the Iceberg specification, from the `iceberg` crate.
//!
//! Other crates of the workspace name them through this module, so that one place decides which implementation of the
//! specification is used.

pub use iceberg::spec::*;
pub use iceberg::{NamespaceIdent, TableCreation, TableIdent, TableRequirement, TableUpdate};
