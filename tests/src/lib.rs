//! Every test that crosses a crate, and the harness that they share.
