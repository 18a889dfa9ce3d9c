//! Log lines about settings that are accepted and have no effect.
//!
//! Defaults cause no line, even if they are written down: a file of `--write-config-to` has them all. Only a flag shows
//! whether a user typed it.

use std::fmt;

use crate::flags::{Bound, table};
use crate::gates::FeatureGates;
use crate::kube_proxy::section::Section;
use crate::kube_proxy::{KubeProxyConfiguration, defaults};

/// The content type of requests to the API server.
const JSON: &str = "application/json";

const UNBUFFERED: &str = "log lines are not buffered";
const WINDOWS: &str = "Windows only";
const CONTENT_TYPE: &str = "kube-api-content-type";
const LOCALHOST: &str = "iptables-localhost-nodeports";

/// The notes about `config`.
pub(crate) fn of(config: &KubeProxyConfiguration, gates: &FeatureGates, bound: &Bound) -> Vec<Note> {
    let has_file = !bound.file.is_empty();
    let mut notes = flags(config, bound);
    notes.extend(gates.notes());
    let KubeProxyConfiguration { client_connection: client, logging, winkernel, .. } = config;
    let is_typed = !has_file && bound.is_given(CONTENT_TYPE);
    let content = client.content_type != JSON && (is_typed || client.content_type != defaults::CONTENT_TYPE);
    let accept = !client.accept_content_types.is_empty() && client.accept_content_types != JSON;
    let as_json = "objects are requested as JSON";
    let (text, json) = (&logging.options.text, &logging.options.json);
    let settings = [
        (content, "clientConnection.contentType", CONTENT_TYPE, as_json),
        (accept, "clientConnection.acceptContentTypes", "", as_json),
        (!logging.vmodule.0.is_empty(), "logging.vmodule", "vmodule", "verbosity cannot differ by file"),
        (
            logging.flush_frequency != defaults::FLUSH_FREQUENCY,
            "logging.flushFrequency",
            "log-flush-frequency",
            UNBUFFERED,
        ),
        (
            !text.info_buffer_size.is_zero(),
            "logging.options.text.infoBufferSize",
            "log-text-info-buffer-size",
            UNBUFFERED,
        ),
        (
            !json.info_buffer_size.is_zero(),
            "logging.options.json.infoBufferSize",
            "log-json-info-buffer-size",
            UNBUFFERED,
        ),
        (
            config.config_sync_period != defaults::CONFIG_SYNC_PERIOD,
            "configSyncPeriod",
            "config-sync-period",
            "objects are watched and never listed again periodically",
        ),
        (
            !config.show_hidden_metrics_for_version.is_empty(),
            "showHiddenMetricsForVersion",
            "show-hidden-metrics-for-version",
            "no metrics are hidden",
        ),
        (!config.port_range.is_empty(), "portRange", "proxy-port-range", "unused, as in kube-proxy"),
        (config.windows_run_as_service, "windowsRunAsService", "", WINDOWS),
        (!winkernel.network_name.is_empty(), "winkernel.networkName", "", WINDOWS),
        (!winkernel.source_vip.is_empty(), "winkernel.sourceVip", "", WINDOWS),
        (winkernel.enable_dsr, "winkernel.enableDSR", "", WINDOWS),
        (!winkernel.root_hns_endpoint_name.is_empty(), "winkernel.rootHnsEndpointName", "", WINDOWS),
        (winkernel.forward_health_check_vip, "winkernel.forwardHealthCheckVip", "", WINDOWS),
    ];
    for (is_set, field, flag, reason) in settings {
        if is_set {
            let is_flag = !has_file && !flag.is_empty();
            notes.push(Note::info(if is_flag { format!("--{flag}") } else { field.to_owned() }, reason));
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
