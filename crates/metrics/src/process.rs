//! Metrics of the process: `process_…`, by the names that Prometheus' client libraries share.
//!
//! Read from `/proc` whenever the page is made. The `process` feature of the `prometheus` crate is not used: it counts
//! CPU time in whole seconds, from which `rate()` makes a staircase, and has no network bytes. What cannot be read is
//! absent, never zero.

mod reading;

use std::collections::HashMap;
use std::path::PathBuf;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Opts, Registry};

use crate::definition::MetricsError;
use reading::Reading;

/// Name, type, help and value of a metric.
type Shown = (&'static str, &'static str, &'static str, fn(&Reading) -> Option<f64>);

const SHOWN: [Shown; 10] = [
    (
        "process_cpu_seconds_total",
        "counter",
        "CPU time of the process in user space and in the kernel, to 10 ms",
        |reading| reading.cpu_seconds,
    ),
    ("process_resident_memory_bytes", "gauge", "Resident memory of the process", |reading| {
        reading.resident_memory
    }),
    ("process_virtual_memory_bytes", "gauge", "Virtual memory of the process", |reading| {
        reading.virtual_memory
    }),
    (
        "process_virtual_memory_max_bytes",
        "gauge",
        "Limit of the virtual memory of the process; 2^64 if there is none",
        |reading| reading.max_virtual_memory,
    ),
    ("process_open_fds", "gauge", "Open file descriptors of the process", |reading| reading.open_files),
    ("process_max_fds", "gauge", "Limit of open file descriptors of the process", |reading| {
        reading.max_open_files
    }),
    ("process_threads", "gauge", "Threads of the process", |reading| reading.threads),
    ("process_start_time_seconds", "gauge", "Start of the process, as Unix time", |reading| {
        reading.start_time
    }),
    (
        "process_network_receive_bytes_total",
        "counter",
        "IPv4 bytes received in the network namespace of the process; on the host network, by the node",
        |reading| reading.received,
    ),
    (
        "process_network_transmit_bytes_total",
        "counter",
        "IPv4 bytes sent in the network namespace of the process; on the host network, by the node",
        |reading| reading.transmitted,
    ),
];

/// Defines the metrics, which are read anew for each page.
pub(crate) fn define(registry: &Registry) -> Result<(), MetricsError> {
    let desc =
        |(name, _, help, _): &Shown| Desc::new((*name).into(), (*help).into(), Vec::new(), HashMap::new());
    let descs = SHOWN.iter().map(desc).collect::<Result<_, _>>();
    descs
        .and_then(|descs| registry.register(Box::new(Process { proc: "/proc".into(), descs })))
        .map_err(|source| MetricsError::Define { name: "process_*".into(), source })
}

struct Process {
    proc: PathBuf,
    descs: Vec<Desc>,
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let reading = Reading::take(&self.proc);
        SHOWN.iter().filter_map(|shown| family(shown, shown.3(&reading)?)).flatten().collect()
    }
}

/// A metric with this value. Made anew each time, so that two scrapes at once cannot add the same progress twice.
fn family((name, kind, help, _): &Shown, value: f64) -> Option<Vec<MetricFamily>> {
    let opts = Opts::new(*name, *help);
    if *kind == "counter" {
        let counter = Counter::with_opts(opts).ok()?;
        counter.inc_by(value);
        return Some(counter.collect());
    }
    let gauge = Gauge::with_opts(opts).ok()?;
    gauge.set(value);
    Some(gauge.collect())
}
