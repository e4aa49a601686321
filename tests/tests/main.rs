//! Every test that crosses a crate: one binary, a module per suite of `./test`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod catalog;
mod compactor;
mod engine;
mod interop;
mod tidy;
