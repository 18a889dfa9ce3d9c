//! The real binary, as far as it goes without touching the kernel: what it says, where, and how it exits.

use std::process::Output;

/// Runs the binary to its end.
#[expect(clippy::disallowed_methods, clippy::expect_used, reason = "this starts the program under test")]
fn portolan(args: &[&str]) -> Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_portolan")).args(args).output().expect("the binary starts")
}

/// Standard output and standard error, after this exit code.
fn said(args: &[&str], code: i32) -> (String, String) {
    let output = portolan(args);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn faults_in_the_command_line_are_one_line_on_standard_error_and_exit_1() {
    let cases: [(&[&str], &str); 6] = [
        (&["--bogus"], "portolan: unknown flag --bogus, see --help\n"),
        (&["--cluster-cidr"], "portolan: flag --cluster-cidr needs a value, see --help\n"),
        (
            &["--cluster-cidr=10.0.0.0/33"],
            "portolan: KubeProxyConfiguration.DetectLocalConfiguration.ClusterCIDRs[0]: Invalid value: \"10.0.0.0/33\": must be \
             a valid CIDR block (e.g. 10.100.0.0/16 or fde4:8dba:82e1::/48)\n",
        ),
        (&["start"], "portolan: unexpected argument \"start\", see --help\n"),
        (&["--hostname-override", " "], "portolan: empty hostname-override is invalid\n"),
        (
            &["--cleanup", "-v=many"],
            "portolan: invalid value \"many\" for -v: not an integer from 0 to 2147483647\n",
        ),
    ];
    for (args, line) in cases {
        assert_eq!(said(args, 1), (String::new(), line.to_owned()), "{args:?}");
    }
}

/// A configuration file with these fields.
fn config_file(fields: &str) -> std::io::Result<tempfile::NamedTempFile> {
    let file = tempfile::NamedTempFile::new()?;
    let head = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";
    std::fs::write(file.path(), format!("{head}{fields}\n"))?;
    Ok(file)
}

#[test]
fn a_check_of_a_file_names_unknown_fields_and_gates_and_keeps_standard_output_clean() {
    let typos = config_file(
        "mod: iptables\nClusterCIDR: 10.244.0.0/16\nfeatureGates: {Bogus: true, LoggingAlphaOptions: true}\n\
         logging: {options: {text: {splitStream: true}}}",
    )
    .unwrap();
    for to in ["-", "/dev/stdout"] {
        let (written, notes) =
            said(&["--config", typos.path().to_str().unwrap(), "--write-config-to", to], 0);
        assert!(written.starts_with("apiVersion: kubeproxy.config.k8s.io/v1alpha1\n"), "{written}");
        assert!(!written.contains("strict decoding"), "{written}");
        let levels: Vec<_> = notes.lines().map(|line| &line[..1]).collect();
        assert_eq!(levels, ["I", "W"], "{notes}");
        let words = ["strict decoding", "\\\"mod\\\"", "\\\"ClusterCIDR\\\"", "featureGates.Bogus"];
        assert!(words.iter().all(|word| notes.contains(word)), "{notes}");
    }
}

#[test]
fn rejected_file_names_its_unknown_fields() {
    let file = config_file("mod: iptables\noomScoreAdj: -2000").unwrap();
    let (_, lines) = said(&["--config", file.path().to_str().unwrap()], 1);
    let [note, fault] = lines.lines().collect::<Vec<_>>()[..] else { panic!("{lines}") };
    assert!(note.starts_with("portolan: --config: ") && note.ends_with("unknown field \"mod\""), "{lines}");
    assert!(fault.contains("OOMScoreAdj: Invalid value: -2000"), "{lines}");
}

#[test]
fn version_and_help_go_to_standard_output() {
    let version = format!("Kubernetes v1.36.2+portolan.{}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(said(&["--version"], 0), (version, String::new()));
    let (help, nothing) = said(&["--help"], 0);
    assert!(help.contains("--manifests string") && nothing.is_empty(), "{help}{nothing}");
}

#[test]
fn an_unknown_mode_is_refused_with_the_modes_there_are() {
    let (out, line) = said(&["--manifests=/nowhere", "--mode", "NFTables"], 1);
    assert_eq!(out, "");
    let names = ["KubeProxyConfiguration.Mode.ProxyMode", "\"NFTables\"", "nftables", "userspace"];
    assert!(names.iter().all(|name| line.contains(name)) && line.lines().count() == 1, "{line}");
}

#[test]
fn a_log_in_json_is_json_to_the_last_line() {
    let (_, log) = said(&["--kubeconfig=/nowhere", "--logging-format=json", "-v=1"], 1);
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(lines.iter().any(|line| line["msg"] == "FLAG: --logging-format=\"json\""), "{log}");
    let last = &lines[lines.len() - 1];
    assert_eq!(last["level"], "error");
    assert!(last["err"].as_str().is_some_and(|text| text.contains("/nowhere")), "{log}");
}
