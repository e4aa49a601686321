//! Every test that crosses a crate: one binary, a module per suite of `./test`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(clippy::print_stdout, reason = "what a test measured is for whoever reads its output")]

mod catalog;
mod cli;
mod compactor;
mod e2e;
mod engine;
mod interop;
mod reader;
mod storage;
mod table;
mod tidy;
