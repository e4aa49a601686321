//! A newer version of the format.

use super::MetadataPlan;
use crate::spec::{FormatVersion, TableMetadata, TableUpdate};
use crate::{Error, Result};

/// No file is written anew: readers of the newer format take the older format's manifests (Iceberg spec, "Appendix E:
/// Format version changes").
pub(super) fn plan(metadata: &TableMetadata, format_version: FormatVersion) -> Result<MetadataPlan> {
    let current = metadata.format_version();
    match format_version.cmp(&current) {
        std::cmp::Ordering::Less => Err(Error::InvalidChange(format!(
            "the table has format version {current}, and there is no way back to {format_version}"
        ))),
        std::cmp::Ordering::Equal => Ok(MetadataPlan::default()),
        std::cmp::Ordering::Greater => Ok(super::one(TableUpdate::UpgradeFormatVersion { format_version })),
    }
}
