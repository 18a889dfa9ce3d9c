//! What is accepted and not followed, one line each.
//!
//! Defaults cause no line, even when they are written down: a configuration that was written with
//! `--write-config-to` has them all. Only a flag shows whether somebody typed it.

use crate::flags::{Bound, table};
use crate::gates::FeatureGates;
use crate::kube_proxy::section::Section;
use crate::kube_proxy::{KubeProxyConfiguration, Winkernel, defaults};
use crate::note::Note;

/// What we ask the API server for.
const JSON: &str = "application/json";

const UNBUFFERED: &str = "log lines are written at once, there is no buffer";
const WINDOWS: &str = "for Windows alone";
const LOCALHOST: &str = "iptables-localhost-nodeports";

/// The lines about `config`.
pub(crate) fn of(config: &KubeProxyConfiguration, gates: &FeatureGates, bound: &Bound) -> Vec<Note> {
    let mut notes = typed(config, bound);
    notes.extend(gates.notes());
    let name = |field: &str, flag: &str| {
        if bound.file.is_empty() { format!("--{flag}") } else { field.to_owned() }
    };
    let mut say = |is_said: bool, field: &str, flag: &str, why: &str| {
        if is_said {
            notes.push(Note::info(name(field, flag), why));
        }
    };
    client(config, bound, &mut say);
    logging(config, &mut say);
    say(
        config.config_sync_period != defaults::CONFIG_SYNC_PERIOD,
        "configSyncPeriod",
        "config-sync-period",
        "objects are watched, and not looked at again in between",
    );
    say(
        !config.show_hidden_metrics_for_version.is_empty(),
        "showHiddenMetricsForVersion",
        "show-hidden-metrics-for-version",
        "no metric is hidden here",
    );
    say(
        !config.port_range.is_empty(),
        "portRange",
        "proxy-port-range",
        "unused, in kube-proxy too: no ports are taken but those of Services",
    );
    notes.extend(in_files_only(config));
    notes
}

/// Says something of a field or its flag, if it is to be said.
type Say<'a> = dyn FnMut(bool, &str, &str, &str) + 'a;

fn client(config: &KubeProxyConfiguration, bound: &Bound, say: &mut Say<'_>) {
    const FLAG: &str = "kube-api-content-type";
    const AS_JSON: &str = "objects are asked for as JSON";
    let client = &config.client_connection;
    let is_typed = bound.file.is_empty() && bound.is_given(FLAG);
    let is_other = client.content_type != JSON && (is_typed || client.content_type != defaults::CONTENT_TYPE);
    say(is_other, "clientConnection.contentType", FLAG, AS_JSON);
    // There is no flag for it.
    let accepted = &client.accept_content_types;
    say(!accepted.is_empty() && accepted != JSON, "clientConnection.acceptContentTypes", FLAG, AS_JSON);
}

fn logging(config: &KubeProxyConfiguration, say: &mut Say<'_>) {
    let logging = &config.logging;
    let is_by_file = !logging.vmodule.0.is_empty();
    say(is_by_file, "logging.vmodule", "vmodule", "verbosity is one for the whole process");
    let is_other = logging.flush_frequency != defaults::FLUSH_FREQUENCY;
    say(is_other, "logging.flushFrequency", "log-flush-frequency", UNBUFFERED);
    for (format, options) in [("text", &logging.options.text), ("json", &logging.options.json)] {
        let field = format!("logging.options.{format}.infoBufferSize");
        let flag = format!("log-{format}-info-buffer-size");
        say(!options.info_buffer_size.is_zero(), &field, &flag, UNBUFFERED);
    }
}

/// Flags that say something by being there.
fn typed(config: &KubeProxyConfiguration, bound: &Bound) -> Vec<Note> {
    let mut notes = Vec::new();
    for flag in table::all().filter(|flag| bound.is_given(flag.name)) {
        if let Some(instead) = flag.deprecated {
            let text = format!("this flag is deprecated and will be removed in a future release, {instead}");
            notes.push(Note::warning(format!("--{}", flag.name), text));
        }
    }
    for (flag, what) in [("boot-id-file", "boots"), ("machine-id-file", "machines")] {
        if bound.is_given(flag) {
            notes.push(Note::info(
                format!("--{flag}"),
                format!("{what} are not told apart, no such file is read"),
            ));
        }
    }
    let asks_for_localhost = bound.file.is_empty()
        && bound.is_given(LOCALHOST)
        && config.iptables.localhost_node_ports == Some(true)
        && config.section() != Section::Iptables;
    if asks_for_localhost {
        let text = "node ports answer on 127.0.0.0/8 in mode iptables alone";
        notes.push(Note::info(format!("--{LOCALHOST}"), text));
    }
    notes
}

/// Fields that no flag stands for.
fn in_files_only(config: &KubeProxyConfiguration) -> Vec<Note> {
    let Winkernel { network_name, source_vip, enable_dsr, root_hns_endpoint_name, forward_health_check_vip } =
        &config.winkernel;
    let fields = [
        ("windowsRunAsService", config.windows_run_as_service, WINDOWS),
        ("winkernel.networkName", !network_name.is_empty(), WINDOWS),
        ("winkernel.sourceVip", !source_vip.is_empty(), WINDOWS),
        ("winkernel.enableDSR", *enable_dsr, WINDOWS),
        ("winkernel.rootHnsEndpointName", !root_hns_endpoint_name.is_empty(), WINDOWS),
        ("winkernel.forwardHealthCheckVip", *forward_health_check_vip, WINDOWS),
    ];
    fields
        .into_iter()
        .filter(|(_, is_said, _)| *is_said)
        .map(|(field, _, why)| Note::info(field, why))
        .collect()
}
