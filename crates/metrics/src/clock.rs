//! Calendar time as Prometheus keeps it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970; zero for anything before.
pub(crate) fn unix_seconds(when: SystemTime) -> f64 {
    when.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
