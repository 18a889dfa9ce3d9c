//! About the process as the kernel sees it: `process_…`, with the names that Prometheus'
//! client libraries share.
//!
//! Read from `/proc` whenever the page is made. The collector that comes with the library
//! counts CPU time in whole seconds, from which Prometheus' `rate()` makes a staircase.
//!
//! Always holds: what cannot be read is absent, and never shown as zero.

mod reading;

use std::collections::HashMap;
use std::path::PathBuf;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Opts};

use crate::definition::{Definitions, Described, MetricsError};
use reading::Reading;

/// One number about the process.
struct Shown {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: fn(&Reading) -> Option<f64>,
}

const SHOWN: [Shown; 10] = [
    Shown {
        name: "process_cpu_seconds_total",
        kind: "counter",
        help: "CPU time that the process used, in user space and in the kernel, to 10 ms",
        value: |reading| reading.cpu_seconds,
    },
    Shown {
        name: "process_resident_memory_bytes",
        kind: "gauge",
        help: "Memory of the process that is in RAM",
        value: |reading| reading.resident_memory,
    },
    Shown {
        name: "process_virtual_memory_bytes",
        kind: "gauge",
        help: "Address space that the process has reserved",
        value: |reading| reading.virtual_memory,
    },
    Shown {
        name: "process_virtual_memory_max_bytes",
        kind: "gauge",
        help: "Address space that the process may reserve; 2^64 if nothing limits it",
        value: |reading| reading.max_virtual_memory,
    },
    Shown {
        name: "process_open_fds",
        kind: "gauge",
        help: "Files and sockets that the process holds open",
        value: |reading| reading.open_files,
    },
    Shown {
        name: "process_max_fds",
        kind: "gauge",
        help: "Files and sockets that the process may hold open",
        value: |reading| reading.max_open_files,
    },
    Shown {
        name: "process_threads",
        kind: "gauge",
        help: "Threads of the process",
        value: |reading| reading.threads,
    },
    Shown {
        name: "process_start_time_seconds",
        kind: "gauge",
        help: "When the process started, as Unix time",
        value: |reading| reading.start_time,
    },
    Shown {
        name: "process_network_receive_bytes_total",
        kind: "counter",
        help: "IPv4 bytes that came in, in the network namespace of the process: on the host network, the node's",
        value: |reading| reading.received,
    },
    Shown {
        name: "process_network_transmit_bytes_total",
        kind: "counter",
        help: "IPv4 bytes that went out, in the network namespace of the process: on the host network, the node's",
        value: |reading| reading.transmitted,
    },
];

/// Has every rendering read the process's CPU time, memory, descriptors and threads.
pub(crate) fn define(definitions: &Definitions) -> Result<(), MetricsError> {
    let invalid = |source| MetricsError::Define { name: "process_*".into(), source };
    let descs = SHOWN.iter().map(|Shown { name, help, .. }| {
        Desc::new((*name).into(), (*help).into(), Vec::new(), HashMap::new())
    });
    let descs = descs.collect::<Result<_, _>>().map_err(invalid)?;
    let described = SHOWN.iter().map(|Shown { name, kind, help, .. }| Described {
        name: (*name).into(),
        kind,
        labels: Vec::new(),
        help: (*help).into(),
        bounds: Vec::new(),
    });
    let process = Process { proc: "/proc".into(), descs };
    definitions.publish(Box::new(process), described).map_err(invalid)
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
        SHOWN.iter().filter_map(|shown| shown.family((shown.value)(&reading)?)).flatten().collect()
    }
}

impl Shown {
    /// The metric with this value. Made anew each time, so that two scrapes at once cannot
    /// add the same progress twice.
    fn family(&self, value: f64) -> Option<Vec<MetricFamily>> {
        let opts = Opts::new(self.name, self.help);
        if self.kind == "counter" {
            let counter = Counter::with_opts(opts).ok()?;
            counter.inc_by(value);
            return Some(counter.collect());
        }
        let gauge = Gauge::with_opts(opts).ok()?;
        gauge.set(value);
        Some(gauge.collect())
    }
}
