//! Command lines in, configurations or one-line errors out.

mod accepted;
mod refused;

use std::error::Error;

use super::*;
use crate::flags::FLAGS;

fn parse_args(args: &[&str]) -> Result<Invocation, ConfigError> {
    let args = std::iter::once("portolan").chain(args.iter().copied()).map(OsString::from);
    parse(args, || Ok("Host-1\n".into()))
}

fn config(args: &[&str]) -> Config {
    match parse_args(args).unwrap() {
        Invocation::Run(config) => *config,
        other => panic!("{args:?} gave {other:?}"),
    }
}

#[test]
fn a_value_that_is_not_utf8_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    for bytes in [&b"--master=\xff"[..], b"\xff", b"--\xff"] {
        let args = ["portolan".into(), OsString::from_vec(bytes.to_vec())];
        assert!(parse(args, || Ok("n".into())).is_err(), "{bytes:?}");
    }
}

#[test]
fn help_and_version_win_over_the_rest_and_help_over_version() {
    assert!(matches!(parse_args(&["--version", "-h", "--cluster-cidr=bad"]), Ok(Invocation::Help(_))));
    assert_eq!(parse_args(&["--cleanup", "--version"]).unwrap(), Invocation::Version);
    assert!(matches!(parse_args(&["--cleanup"]), Ok(Invocation::Cleanup(_))));
}

#[test]
fn help_names_every_flag() {
    let Ok(Invocation::Help(text)) = parse_args(&["--help"]) else { panic!() };
    for flag in &FLAGS {
        assert!(text.contains(flag.help), "{:?}", flag.names);
    }
    assert!(text.contains("--mode, --proxy-mode MODE "), "{text}");
    assert!(text.contains("-v N "), "{text}");
    assert!(text.contains("-h, --help "), "{text}");
}

#[test]
fn a_host_without_a_usable_name_is_an_error() {
    let unreadable = || Err(io::Error::other("gone"));
    let named = ["portolan", "--hostname-override=n"].map(OsString::from);
    assert!(parse(named, unreadable).is_ok(), "nobody asks the host");
    let unnamed = ["portolan"].map(OsString::from);
    assert!(matches!(parse(unnamed.clone(), unreadable), Err(ConfigError::Hostname { .. })));
    assert!(matches!(parse(unnamed, || Ok("\n".into())), Err(ConfigError::EmptyHostname)));
}
