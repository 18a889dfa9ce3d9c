//! About the program itself.

use prometheus::Registry;

use crate::definition::{Definition, MetricsError};

/// Defines `portolan_build_info`, which is always 1 and tells the version in a label.
pub(crate) fn define(registry: &Registry, version: &str) -> Result<(), MetricsError> {
    let info =
        Definition { name: "portolan_build_info", help: "The version that runs; the value is always 1" };
    info.gauges(registry, &["version"])?.with_label_values(&[version]).set(1.0);
    Ok(())
}
