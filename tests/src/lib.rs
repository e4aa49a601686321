//! Every test that crosses a crate, and the harness that they share.
//!
//! The harness starts real components: the `frazil` program, other engines that speak Iceberg's REST protocol, a Kafka
//! broker, object stores, HDFS. What it starts ends with the test process, however that ends. `./test` installs the components and says
//! where; under a plain `cargo test` the same places are looked at, and a test whose component is not there says so and
//! returns (see [`peers::skip`]).
//!
//! The tests are modules of one binary, `tests/main.rs`; a suite of `./test` is one of those modules.

use std::path::PathBuf;

pub mod data;
pub mod peers;
pub mod process;
pub mod server;
pub mod stores;
pub mod tidy;

/// This package's folder: where cargo runs the tests says so, which is more than where they were built, since checkouts
/// may share a target folder.
pub fn package_folder() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}
