//! Log lines about settings that are accepted and have no effect.
//!
//! Defaults cause no line, even if they are written down: a file of `--write-config-to` has them all. Only a flag shows
//! whether a user typed it.

use std::fmt;

use crate::flags::{Bound, table};
use crate::gates::FeatureGates;
use crate::kube_proxy::KubeProxyConfiguration;
use crate::kube_proxy::section::Section;

const JSON_ONLY: &str = "objects are requested as JSON";
const UNBUFFERED: &str = "log lines are not buffered";
const WINDOWS: &str = "Windows only";
const CONTENT_TYPE: &str = "kube-api-content-type";
const LOCALHOST: &str = "iptables-localhost-nodeports";

/// Fields that are accepted and have no effect, with their flag and the reason.
pub(crate) const WITHOUT_EFFECT: [(&str, Option<&str>, &str); 15] = [
    ("clientConnection.contentType", Some(CONTENT_TYPE), JSON_ONLY),
    ("clientConnection.acceptContentTypes", None, JSON_ONLY),
    ("logging.vmodule", Some("vmodule"), "verbosity cannot differ by file"),
    ("logging.flushFrequency", Some("log-flush-frequency"), UNBUFFERED),
    ("logging.options.text.infoBufferSize", Some("log-text-info-buffer-size"), UNBUFFERED),
    ("logging.options.json.infoBufferSize", Some("log-json-info-buffer-size"), UNBUFFERED),
    (
        "configSyncPeriod",
        Some("config-sync-period"),
        "objects are watched and never listed again periodically",
    ),
    ("showHiddenMetricsForVersion", Some("show-hidden-metrics-for-version"), "no metrics are hidden"),
    ("portRange", Some("proxy-port-range"), "unused, as in kube-proxy"),
    ("windowsRunAsService", None, WINDOWS),
    ("winkernel.networkName", None, WINDOWS),
    ("winkernel.sourceVip", None, WINDOWS),
    ("winkernel.enableDSR", None, WINDOWS),
    ("winkernel.rootHnsEndpointName", None, WINDOWS),
    ("winkernel.forwardHealthCheckVip", None, WINDOWS),
];

/// The notes about `config`.
pub(crate) fn of(config: &KubeProxyConfiguration, gates: &FeatureGates, bound: &Bound) -> Vec<Note> {
    let has_file = !bound.file.is_empty();
    let mut notes = flags(config, bound);
    notes.extend(gates.notes());
    let (given, defaults) = (config.to_json(), KubeProxyConfiguration::with_defaults().to_json());
    for (field, flag, reason) in WITHOUT_EFFECT {
        let pointer = format!("/{}", field.replace('.', "/"));
        let value = given.pointer(&pointer);
        // The default content type is one that is not requested.
        let is_typed = !has_file && flag == Some(CONTENT_TYPE) && bound.is_given(CONTENT_TYPE);
        let is_set = value != defaults.pointer(&pointer) || is_typed;
        let is_requested = reason == JSON_ONLY && value.is_some_and(|value| value == "application/json");
        if is_set && !is_requested {
            let flag = flag.filter(|_| !has_file).map(|flag| format!("--{flag}"));
            notes.push(Note::info(flag.unwrap_or_else(|| field.to_owned()), reason));
        }
    }
    notes
}

/// Notes about flags that were typed.
fn flags(config: &KubeProxyConfiguration, bound: &Bound) -> Vec<Note> {
    let mut notes = Vec::new();
    for flag in table::FLAGS.iter().filter(|flag| bound.is_given(flag.name)) {
        if let Some(instead) = flag.deprecated {
            let text = format!("this flag is deprecated and will be removed in a future release, {instead}");
            notes.push(Note::warning(format!("--{}", flag.name), text));
        }
    }
    for flag in ["boot-id-file", "machine-id-file"] {
        if bound.is_given(flag) {
            notes.push(Note::info(format!("--{flag}"), "the file is not read"));
        }
    }
    let has_localhost = bound.file.is_empty()
        && bound.is_given(LOCALHOST)
        && config.iptables.localhost_node_ports == Some(true)
        && config.section() != Section::Iptables;
    if has_localhost {
        let text = "only mode iptables accepts connections to node ports on 127.0.0.0/8";
        notes.push(Note::info(format!("--{LOCALHOST}"), text));
    }
    notes
}

/// A log line about a setting at start: it has no effect, or another one than expected. Defaults never cause one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// How the line is logged.
    pub level: NoteLevel,
    /// The setting: its path in the file, or the flag with its dashes.
    pub field: String,
    /// The text.
    pub message: String,
}

/// How important a [`Note`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteLevel {
    /// Nothing works worse because of it.
    Info,
    /// The setting may not mean what its author expects.
    Warning,
    /// Something does not work; kube-proxy logs an error and continues, too.
    Error,
}

impl Note {
    pub(crate) fn info(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { level: NoteLevel::Info, field: field.into(), message: message.into() }
    }

    pub(crate) fn warning(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { level: NoteLevel::Warning, field: field.into(), message: message.into() }
    }

    pub(crate) fn error(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { level: NoteLevel::Error, field: field.into(), message: message.into() }
    }
}

/// `field: message`.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}
