//! About the process as the kernel sees it: `process_…`, as every Prometheus client has them.

use prometheus::Registry;
use prometheus::process_collector::ProcessCollector;

use crate::definition::MetricsError;

/// Has every rendering read the process's CPU time, memory, descriptors and threads.
pub(crate) fn define(registry: &Registry) -> Result<(), MetricsError> {
    registry
        .register(Box::new(ProcessCollector::for_self()))
        .map_err(|source| MetricsError::Define { name: "process_*".into(), source })
}
