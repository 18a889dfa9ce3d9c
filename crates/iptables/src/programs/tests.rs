//! Shell in the place of programs.

use std::path::Path;
use std::time::Instant;

use portolan_core::backend::error_chain;

use super::*;

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

fn shell<T>(script: &str, talk: Talk<'_, T>, patience: Duration) -> Result<Ended<T>, ProgramError> {
    run(Path::new("/bin/sh"), ["-c", script].map(OsStr::new), talk, patience)
}

fn speak(script: &str, lines: usize, patience: Duration) -> Result<Ended<()>, ProgramError> {
    let talk = Talk::Speak(&mut |mut input| (0..lines).try_for_each(|line| writeln!(input, "line {line}")));
    shell(script, talk, patience)
}

#[test]
fn more_than_a_pipe_holds_goes_in_while_errors_come_out() {
    let ended = speak("cat >&2; exit 3", 50_000, LONG).unwrap();
    assert!(ended.said.is_ok());
    assert_eq!(ended.status.code(), Some(3));
    assert!(ended.errors.starts_with("line 0\nline 1\n"), "{}", &ended.errors[..100]);
    assert!(ended.errors.len() <= 1 << 16, "not all errors are kept");
}

#[test]
fn more_than_a_pipe_holds_comes_out() {
    let mut length = 0;
    let talk = Talk::Listen(&mut |mut output| {
        length = io::copy(&mut output, &mut io::sink())?;
        Ok(())
    });
    let ended = shell("head -c 1000000 /dev/zero", talk, LONG).unwrap();
    assert!(ended.status.success());
    assert_eq!(length, 1_000_000);
}

#[test]
fn a_program_that_leaves_its_input_unread_tells_why() {
    let ended = speak("echo no >&2; exit 2", 1_000_000, LONG).unwrap();
    assert_eq!(ended.said.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert_eq!((ended.status.code(), ended.errors.as_str()), (Some(2), "no\n"));
}

#[test]
fn a_program_that_does_not_end_is_killed_with_what_it_started_whether_it_listens_or_not() {
    for lines in [0, 1_000_000] {
        let started = Instant::now();
        let error = speak("sleep 60; true", lines, Duration::from_millis(100)).unwrap_err();
        assert_eq!(error.to_string(), "/bin/sh was still running after 0.1 seconds");
        assert!(started.elapsed() < LONG);
    }
}

#[test]
fn a_program_that_cannot_be_run_is_an_error() {
    let talk = Talk::Speak(&mut |_| Ok(()));
    let error = run(Path::new("/nonexistent/program"), [], talk, LONG).unwrap_err();
    assert_eq!(
        error_chain(&error),
        "cannot run /nonexistent/program: No such file or directory (os error 2)"
    );
}

#[test]
fn programs_of_both_kinds_are_found_and_say_so() {
    for variant in [Variant::Nft, Variant::Legacy] {
        for family in IpFamily::ALL {
            let programs = Programs::of_variant(family, variant).unwrap();
            assert_eq!((programs.variant(), programs.family()), (variant, family));
            assert!(programs.version() >= OLDEST);
        }
    }
    let plain = Programs::find(IpFamily::V4).unwrap();
    assert_eq!(plain.version(), Programs::of_variant(IpFamily::V4, plain.variant()).unwrap().version());
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let error = Programs::called(IpFamily::V4, "no-such-iptables").unwrap_err();
    assert_eq!(error.to_string(), "there is no program no-such-iptables in PATH");
}

#[test]
fn a_table_that_is_not_shown_is_told_from_an_empty_one() {
    let cases = [
        ("# Table `nat' is incompatible, use 'nft' tool.", Some(Table::Nat)),
        ("# Table `security' is incompatible, use 'nft' tool.", None),
        ("# Table `foo' contains a base-chain, use 'nft' tool.", None),
        ("*nat", None),
    ];
    for (line, expected) in cases {
        assert_eq!(hidden_table(line), expected, "{line}");
    }
}
