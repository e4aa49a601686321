//! A snapshot becomes record batches: scans, increments, only the leaves that were asked for.
