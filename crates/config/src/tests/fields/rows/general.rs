//! The cluster, logging and the servers.

use super::*;

pub(super) const ROWS: [Row; 21] = [
    row(
        "featureGates",
        "",
        "featureGates: {AllowServiceExternalIPs: false, WatchListClient: false}",
        Sets(|c| !c.node().allow_external_ips && !api(c).streamed_lists),
        (
            "featureGates: {NFTablesProxyMode: false}",
            "featureGates: Invalid value: \"NFTablesProxyMode=false\": cannot set feature gate NFTablesProxyMode to false, feature is locked to true",
        ),
    ),
    row(
        "clientConnection.kubeconfig",
        "\"\"",
        "clientConnection: {kubeconfig: /k}",
        Sets(|c| api(c).kubeconfig == Some("/k".into())),
        (
            "clientConnection: {kubeconfig: 5}",
            "clientConnection.kubeconfig: found integer `5`, want a string",
        ),
    ),
    row(
        "clientConnection.acceptContentTypes",
        "\"\"",
        "clientConnection: {acceptContentTypes: text/plain}",
        Notes("objects are requested as JSON"),
        (
            "clientConnection: {acceptContentTypes: 5}",
            "clientConnection.acceptContentTypes: found integer `5`, want a string",
        ),
    ),
    row(
        "clientConnection.contentType",
        "\"application/vnd.kubernetes.protobuf\"",
        "clientConnection: {contentType: application/cbor}",
        Notes("objects are requested as JSON"),
        (
            "clientConnection: {contentType: 5}",
            "clientConnection.contentType: found integer `5`, want a string",
        ),
    ),
    row(
        "clientConnection.qps",
        "5",
        "clientConnection: {qps: -1}",
        Sets(|c| api(c).qps < 0.0),
        ("clientConnection: {qps: many}", "clientConnection.qps: found string \"many\", want a number"),
    ),
    row(
        "clientConnection.burst",
        "10",
        "clientConnection: {burst: 7}",
        Sets(|c| api(c).burst == 7),
        (
            "clientConnection: {burst: -1}",
            "ClientConnection.Burst: Invalid value: -1: must be greater than or equal to 0",
        ),
    ),
    row(
        "logging.format",
        "\"text\"",
        "logging: {format: json}",
        Sets(|c| c.logging.format == LogFormat::Json),
        ("logging: {format: xml}", "logging.format: Invalid value: \"xml\": Unsupported log format"),
    ),
    row(
        "logging.flushFrequency",
        "\"5s\"",
        "logging: {flushFrequency: 1s}",
        Notes("log lines are not buffered"),
        (
            "logging: {flushFrequency: -1s}",
            "logging.flushFrequency: Invalid value: -1s: must be greater than 0",
        ),
    ),
    row(
        "logging.verbosity",
        "0",
        "logging: {verbosity: 4}",
        Sets(|c| c.logging.verbosity == 4),
        (
            "logging: {verbosity: 2147483648}",
            "logging.verbosity: Invalid value: 2147483648: Must be <= 2147483647",
        ),
    ),
    row(
        "logging.vmodule",
        "",
        "logging: {vmodule: [{filePattern: a, verbosity: 1}]}",
        Notes("verbosity cannot differ by file"),
        (
            "logging: {vmodule: [{verbosity: 1}]}",
            "logging.vmodule[0]: Required value: File pattern must not be empty",
        ),
    ),
    row(
        "logging.options.text.splitStream",
        "",
        "logging: {options: {text: {splitStream: true}}}\nfeatureGates: {LoggingAlphaOptions: true}",
        Sets(|c| c.logging.split_stream),
        (
            "logging: {options: {text: {splitStream: true}}}",
            "logging.options.text.splitStream: Forbidden: Feature LoggingAlphaOptions is disabled",
        ),
    ),
    row(
        "logging.options.text.infoBufferSize",
        "\"0\"",
        "logging: {options: {text: {infoBufferSize: 1Ki}}}\nfeatureGates: {LoggingAlphaOptions: true}",
        Notes("log lines are not buffered"),
        (
            "logging: {options: {text: {infoBufferSize: many}}}",
            "logging.options.text.infoBufferSize: \"many\" is not a quantity such as 512, 1Ki or 3M",
        ),
    ),
    row(
        "logging.options.json.splitStream",
        "",
        "logging: {options: {json: {splitStream: true}}, format: json}\nfeatureGates: {LoggingAlphaOptions: true}",
        Sets(|c| c.logging.split_stream),
        (
            "logging: {options: {json: {splitStream: true}}}",
            "logging.options.json.splitStream: Forbidden: Feature LoggingAlphaOptions is disabled",
        ),
    ),
    row(
        "logging.options.json.infoBufferSize",
        "\"0\"",
        "logging: {options: {json: {infoBufferSize: 1Ki}}}\nfeatureGates: {LoggingAlphaOptions: true}",
        Notes("log lines are not buffered"),
        (
            "logging: {options: {json: {infoBufferSize: many}}}",
            "logging.options.json.infoBufferSize: \"many\" is not a quantity such as 512, 1Ki or 3M",
        ),
    ),
    row(
        "hostnameOverride",
        "\"\"",
        "hostnameOverride: Other",
        Sets(|c| &*c.node().node_name == "other"),
        ("hostnameOverride: 5", "hostnameOverride: found integer `5`, want a string"),
    ),
    row(
        "bindAddress",
        "\"0.0.0.0\"",
        "bindAddress: 10.0.0.7",
        Sets(|c| c.node().bind_address == Some("10.0.0.7".parse().unwrap())),
        (
            "bindAddress: 10.0.0.7:80",
            "BindAddress: Invalid value: \"10.0.0.7:80\": not a valid textual representation of an IP address",
        ),
    ),
    row(
        "healthzBindAddress",
        "\"0.0.0.0:10256\"",
        "healthzBindAddress: 127.0.0.1",
        Sets(|c| c.healthz_address == Some("127.0.0.1:10256".parse().unwrap())),
        (
            "healthzBindAddress: \"0.0.0.0:0\"",
            "HealthzBindAddress: Invalid value: \"0\": must be a valid port",
        ),
    ),
    row(
        "metricsBindAddress",
        "\"127.0.0.1:10249\"",
        "metricsBindAddress: 0.0.0.0",
        Sets(|c| c.metrics_address == "0.0.0.0:10249".parse().unwrap()),
        (
            "metricsBindAddress: \"localhost:80\"",
            "MetricsBindAddress: Invalid value: \"localhost\": must be a valid IP",
        ),
    ),
    row(
        "bindAddressHardFail",
        "false",
        "bindAddressHardFail: true",
        Sets(|c| c.bind_address_hard_fail),
        ("bindAddressHardFail: 1", "bindAddressHardFail: found integer `1`, want a boolean"),
    ),
    row(
        "enableProfiling",
        "false",
        "enableProfiling: true",
        Sets(|c| c.profiling),
        ("enableProfiling: 1", "enableProfiling: found integer `1`, want a boolean"),
    ),
    row(
        "showHiddenMetricsForVersion",
        "\"\"",
        "showHiddenMetricsForVersion: \"1.35\"",
        Notes("no metrics are hidden"),
        (
            "showHiddenMetricsForVersion: \"1.36\"",
            "ShowHiddenMetricsForVersion: Invalid value: \"1.36\": must be omitted or have the value '1.35'",
        ),
    ),
];
