//! Record batches become data files, data files become commits.
