//! The `logging` section.

use super::faults::Faults;
use crate::config::{LogFormat, Logging};
use crate::duration::GoDuration;
use crate::flags::value::HIGHEST_VERBOSITY;
use crate::gates::{FeatureGates, LOGGING_ALPHA, LOGGING_BETA};
use crate::kube_proxy::logging as given;

pub(super) fn check(logging: &given::Logging, gates: &FeatureGates, faults: &mut Faults) -> Logging {
    let format = format(&logging.format, gates, faults);
    if logging.flush_frequency <= GoDuration::ZERO {
        faults.number("logging.flushFrequency", logging.flush_frequency, "must be greater than 0");
    }
    let most = format!("Must be <= {HIGHEST_VERBOSITY}");
    if logging.verbosity > HIGHEST_VERBOSITY {
        faults.number("logging.verbosity", logging.verbosity, &most);
    }
    files(logging, format, &most, faults);
    for (name, options) in [("text", &logging.options.text), ("json", &logging.options.json)] {
        let path = |field| format!("logging.options.{name}.{field}");
        if gates.is_on(LOGGING_ALPHA) {
            continue;
        }
        let why = format!("Feature {LOGGING_ALPHA} is disabled");
        if options.split_stream {
            faults.forbidden(&path("splitStream"), &why);
        }
        if !options.info_buffer_size.is_zero() {
            faults.forbidden(&path("infoBufferSize"), &why);
        }
    }
    let options = match format {
        LogFormat::Text => &logging.options.text,
        LogFormat::Json => &logging.options.json,
    };
    Logging { verbosity: logging.verbosity, format, split_stream: options.split_stream }
}

fn format(format: &str, gates: &FeatureGates, faults: &mut Faults) -> LogFormat {
    match format {
        "" | "text" => LogFormat::Text,
        "json" => {
            if !gates.is_on(LOGGING_BETA) {
                let why = format!("Log format json is disabled, see {LOGGING_BETA} feature");
                faults.forbidden("logging.format", why);
            }
            LogFormat::Json
        }
        _ => {
            faults.text("logging.format", format, "Unsupported log format");
            LogFormat::Text
        }
    }
}

fn files(logging: &given::Logging, format: LogFormat, most: &str, faults: &mut Faults) {
    let items = &logging.vmodule.0;
    if format == LogFormat::Json && !items.is_empty() {
        faults.forbidden("logging.vmodule", "Only supported for text log format");
    }
    for (index, item) in items.iter().enumerate() {
        let path = format!("logging.vmodule[{index}]");
        if item.file_pattern.is_empty() {
            faults.required(&path, "File pattern must not be empty");
        }
        if item.file_pattern.contains(['=', ',']) {
            faults.text(&path, &item.file_pattern, "File pattern must not contain equal sign or comma");
        }
        if item.verbosity > HIGHEST_VERBOSITY {
            faults.number(&path, item.verbosity, most);
        }
    }
}
