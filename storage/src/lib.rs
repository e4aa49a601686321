//! Where bytes, time and ids come from.
//!
//! Everything above this crate reaches the world through one [`Env`]: a [`Store`] for bytes, a [`Clock`] for time,
//! [`Ids`] for names nobody has used yet, and [`Steps`], the named points at which a test may stop the process.
//! Swap the parts and the same code runs in a world of its own.
//!
//! What this crate decides: how a file becomes durable (written beside its place, synced, moved in, directory synced)
//! and what a location means. What it does not know: tables, formats, catalogs.
//!
//! ```
//! # tokio_test(async {
//! use frazil_storage::Env;
//! let env = Env::in_memory(7);
//! env.store.put_new("memory://w/a.txt", "ice".into()).await?;
//! assert_eq!(env.store.read("memory://w/a.txt").await?, "ice");
//! assert!(env.store.put_new("memory://w/a.txt", "water".into()).await.is_err());
//! # Ok::<(), frazil_storage::Error>(())
//! # });
//! # fn tokio_test<F: Future<Output = Result<(), frazil_storage::Error>>>(f: F) {
//! #     tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(f).unwrap()
//! # }
//! ```

mod backend;
mod clock;
mod config;
mod connect;
mod counters;
mod disk;
mod env;
mod error;
mod faults;
mod file_writer;
mod hdfs;
mod http;
mod ids;
mod kept;
mod local;
mod location;
mod object;
mod owner;
mod power;
mod retry;
mod step;
mod store;
mod stores;
mod upload;

pub use backend::Capabilities;
pub use clock::{Clock, ManualClock, SystemClock};
pub use config::StoreConfig;
pub use counters::{Counters, CountersSnapshot};
pub use env::Env;
pub use error::{Error, Result};
pub use faults::{FaultRates, Faults};
pub use file_writer::FileWriter;
pub use ids::{Ids, RandomIds, SeededIds};
pub use kept::KeptLimits;
pub use location::{Location, StoreKind};
pub use owner::Owner;
pub use power::PowerDisk;
pub use retry::RetryPolicy;
pub use step::{Step, StepAction, Steps};
pub use store::{ObjectMeta, Store, WriteWitness};
