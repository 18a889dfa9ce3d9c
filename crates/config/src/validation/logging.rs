//! The `logging` section.

use super::errors::FieldErrors;
use crate::config::{LogFormat, Logging};
use crate::flags::value::HIGHEST_VERBOSITY;
use crate::gates::{FeatureGates, LOGGING_ALPHA, LOGGING_BETA};
use crate::kube_proxy as given;

pub(crate) fn logging(logging: &given::Logging, gates: &FeatureGates, errors: &mut FieldErrors) -> Logging {
    let format = format(&logging.format, gates, errors);
    errors.positive("logging.flushFrequency", logging.flush_frequency);
    let most = format!("Must be <= {HIGHEST_VERBOSITY}");
    if logging.verbosity > HIGHEST_VERBOSITY {
        errors.number("logging.verbosity", logging.verbosity, &most);
    }
    files(logging, format, &most, errors);
    for (name, options) in [("text", &logging.options.text), ("json", &logging.options.json)] {
        let path = |field| format!("logging.options.{name}.{field}");
        if gates.is_on(LOGGING_ALPHA) {
            continue;
        }
        let why = format!("Feature {LOGGING_ALPHA} is disabled");
        if options.split_stream {
            errors.forbidden(&path("splitStream"), &why);
        }
        if !options.info_buffer_size.is_zero() {
            errors.forbidden(&path("infoBufferSize"), &why);
        }
    }
    let options = match format {
        LogFormat::Text => &logging.options.text,
        LogFormat::Json => &logging.options.json,
    };
    Logging { verbosity: logging.verbosity, format, split_stream: options.split_stream }
}

fn format(format: &str, gates: &FeatureGates, errors: &mut FieldErrors) -> LogFormat {
    match format {
        "" | "text" => LogFormat::Text,
        "json" => {
            if !gates.is_on(LOGGING_BETA) {
                let why = format!("Log format json is disabled, see {LOGGING_BETA} feature");
                errors.forbidden("logging.format", why);
            }
            LogFormat::Json
        }
        _ => {
            errors.text("logging.format", format, "Unsupported log format");
            LogFormat::Text
        }
    }
}

fn files(logging: &given::Logging, format: LogFormat, most: &str, errors: &mut FieldErrors) {
    let items = &logging.vmodule;
    if format == LogFormat::Json && !items.is_empty() {
        errors.forbidden("logging.vmodule", "Only supported for text log format");
    }
    for (index, item) in items.iter().enumerate() {
        let path = format!("logging.vmodule[{index}]");
        if item.file_pattern.is_empty() {
            errors.required(&path, "File pattern must not be empty");
        }
        if item.file_pattern.contains(['=', ',']) {
            errors.text(&path, &item.file_pattern, "File pattern must not contain equal sign or comma");
        }
        if item.verbosity > HIGHEST_VERBOSITY {
            errors.number(&path, item.verbosity, most);
        }
    }
}
