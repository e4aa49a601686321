//! The frazil program.
fn main() {}
