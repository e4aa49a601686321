//! Other engines on our catalog.
