//! What a query has read.

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;

use crate::provider::IcebergScanExec;

/// What the scans of Iceberg tables in a query have fetched so far.
#[derive(Clone, Debug)]
pub struct Cost(Option<Arc<dyn ExecutionPlan>>);

impl Cost {
    pub(super) fn of(plan: Arc<dyn ExecutionPlan>) -> Self {
        Self(Some(plan))
    }

    /// Nothing is read for it.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// All bytes that were fetched.
    pub fn bytes_fetched(&self) -> u64 {
        self.sum("bytes_fetched")
    }

    /// Bytes of the column chunks that the query asked for.
    pub fn leaf_bytes(&self) -> u64 {
        self.sum("bytes_leaf")
    }

    /// Data files, or parts of them, that were opened.
    pub fn files_read(&self) -> u64 {
        self.sum("files_read")
    }

    /// The plan as it runs, for those who look closer.
    pub fn plan(&self) -> Option<&Arc<dyn ExecutionPlan>> {
        self.0.as_ref()
    }

    fn sum(&self, metric: &str) -> u64 {
        self.0.as_ref().map_or(0, |plan| sum_below(plan, metric))
    }
}

fn sum_below(plan: &Arc<dyn ExecutionPlan>, metric: &str) -> u64 {
    let own = match plan.is::<IcebergScanExec>() {
        true => plan.metrics().and_then(|metrics| metrics.sum_by_name(metric)).map_or(0, |sum| sum.as_usize() as u64),
        false => 0,
    };
    own + plan.children().into_iter().map(|child| sum_below(child, metric)).sum::<u64>()
}
