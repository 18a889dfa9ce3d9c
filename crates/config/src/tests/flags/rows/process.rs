//! What the process does and logs.

use portolan_core::GIT_VERSION;

use super::*;

pub(super) const ROWS: [Row; 16] = [
    row(
        "config",
        "",
        &["--config=testdata/kubeadm.yaml"],
        Sets(|c| c.file == Some("testdata/kubeadm.yaml".into())),
        (
            &["--config=/no/such/file"],
            "failed complete: open /no/such/file: No such file or directory (os error 2)",
        ),
    ),
    row(
        "write-config-to",
        "",
        &["--write-config-to=/tmp/x.yaml"],
        Asks(|asked| matches!(asked, Invocation::WriteConfig { path, .. } if path.ends_with("x.yaml"))),
        ANYTHING,
    ),
    row(
        "cleanup",
        "false",
        &["--cleanup"],
        Asks(|asked| matches!(asked, Invocation::Cleanup(_))),
        (&["--cleanup="], "invalid value \"\" for --cleanup: not one of true, false, 1, 0, t, f"),
    ),
    row(
        "init-only",
        "false",
        &["--init-only=T"],
        Asks(|asked| matches!(asked, Invocation::InitOnly(_))),
        (&["--init-only=2"], "invalid value \"2\" for --init-only: not one of true, false, 1, 0, t, f"),
    ),
    row(
        "version",
        "false",
        &["--version"],
        Asks(|asked| *asked == Invocation::Version(format!("Kubernetes {GIT_VERSION}\n"))),
        (
            &["--version=v1.35.0"],
            "invalid value \"v1.35.0\" for --version: not a version of the release v1.36.2",
        ),
    ),
    row(
        "help",
        "false",
        &["--help"],
        Asks(|asked| matches!(asked, Invocation::Help(_))),
        (&["-h=x"], "invalid value \"x\" for -h: not one of true, false, 1, 0, t, f"),
    ),
    row(
        "v",
        "0",
        &["--v=2"],
        Sets(|c| c.logging.verbosity == 2),
        (&["-v=2147483648"], "invalid value \"2147483648\" for -v: not an integer from 0 to 2147483647"),
    ),
    row(
        "vmodule",
        "",
        &["--vmodule=proxier=4"],
        Notes("--vmodule: verbosity cannot differ by file"),
        (&["--vmodule=x"], "invalid value \"x\" for --vmodule: not a list such as file=1,other*=2"),
    ),
    row(
        "logging-format",
        "text",
        &["--logging-format=json"],
        Sets(|c| c.logging.format == LogFormat::Json),
        (
            &["--logging-format=xml"],
            "KubeProxyConfiguration.logging.format: Invalid value: \"xml\": Unsupported log format",
        ),
    ),
    row(
        "log-flush-frequency",
        "5s",
        &["--log-flush-frequency=1s"],
        Notes("--log-flush-frequency: log lines are not buffered"),
        (
            &["--log-flush-frequency=0"],
            "KubeProxyConfiguration.logging.flushFrequency: Invalid value: 0s: must be greater than 0",
        ),
    ),
    row(
        "log-text-split-stream",
        "false",
        &["--log-text-split-stream", "--feature-gates=LoggingAlphaOptions=true"],
        Sets(|c| c.logging.split_stream),
        (
            &["--log-text-split-stream"],
            "KubeProxyConfiguration.logging.options.text.splitStream: Forbidden: Feature LoggingAlphaOptions is disabled",
        ),
    ),
    row(
        "log-json-split-stream",
        "false",
        &["--log-json-split-stream", "--logging-format=json", "--feature-gates=AllAlpha=true"],
        Sets(|c| c.logging.split_stream),
        (
            &["--log-json-split-stream"],
            "KubeProxyConfiguration.logging.options.json.splitStream: Forbidden: Feature LoggingAlphaOptions is disabled",
        ),
    ),
    row(
        "log-text-info-buffer-size",
        "0",
        &["--log-text-info-buffer-size=1Ki", "--feature-gates=LoggingAlphaOptions=true"],
        Notes("--log-text-info-buffer-size: log lines are not buffered"),
        (
            &["--log-text-info-buffer-size=many"],
            "invalid value \"many\" for --log-text-info-buffer-size: not a quantity such as 512, 1Ki or 3M",
        ),
    ),
    row(
        "log-json-info-buffer-size",
        "0",
        &["--log-json-info-buffer-size=512", "--feature-gates=LoggingAlphaOptions=true"],
        Notes("--log-json-info-buffer-size: log lines are not buffered"),
        (
            &["--log-json-info-buffer-size=1Ki"],
            "KubeProxyConfiguration.logging.options.json.infoBufferSize: Forbidden: Feature LoggingAlphaOptions is disabled",
        ),
    ),
    row(
        "boot-id-file",
        "/proc/sys/kernel/random/boot_id",
        &["--boot-id-file=/x"],
        Notes("--boot-id-file: the file is not read"),
        ANYTHING,
    ),
    row(
        "machine-id-file",
        "/etc/machine-id,/var/lib/dbus/machine-id",
        &["--machine-id-file=/x"],
        Notes("--machine-id-file: the file is not read"),
        ANYTHING,
    ),
];
