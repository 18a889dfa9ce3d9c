//! Which feature gates are on.

use prometheus::GaugeVec;

use crate::definition::{Definition, Definitions, MetricsError};

pub(crate) fn define(definitions: &Definitions) -> Result<GaugeVec, MetricsError> {
    let help = "The feature gates that are known, with their stage; 1 if on, 0 if off";
    Definition::beta("kubernetes_feature_enabled", help).gauges(definitions, &["name", "stage"])
}
