//! Shell in the place of programs.

use std::fs;
use std::io::BufRead as _;

use portolan_core::backend::error_chain;

use super::*;

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);
/// Too short for programs that sleep.
const SHORT: Duration = Duration::from_millis(100);

/// A shell script, and the directory that it lives as long as.
///
/// Its executable file is written by another process: a test beside this one that starts a program would
/// inherit the file while it is open for writing, and running it would fail (ETXTBSY).
pub(crate) fn script(body: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let (text, path) = (directory.path().join("text"), directory.path().join("program"));
    fs::write(&text, format!("#!/bin/sh\n{body}\n")).unwrap();
    let words = ["-m755", text.to_str().unwrap(), path.to_str().unwrap()];
    let made = run(&find("install").unwrap(), &words, Pipe::Input(&mut |_| Ok(())), LONG).unwrap();
    assert!(made.status.success(), "{made:?}");
    (directory, path)
}

fn shell(script: &str, pipe: Pipe<'_>, limit: Duration) -> Result<Ended, ProgramError> {
    run(Path::new("/bin/sh"), &["-c", script], pipe, limit)
}

/// Runs a script that is given so many lines.
fn given(script: &str, lines: usize, limit: Duration) -> Result<Ended, ProgramError> {
    let mut write = |input: &mut dyn Write| {
        let mut input = io::BufWriter::with_capacity(1 << 16, input);
        (0..lines).try_for_each(|line| writeln!(input, "line {line}"))?;
        input.flush()
    };
    shell(script, Pipe::Input(&mut write), limit)
}

/// Runs a script and gives what it printed.
fn printed(script: &str, limit: Duration) -> (Result<Ended, ProgramError>, Vec<u8>) {
    let mut bytes = Vec::new();
    let ended = shell(script, Pipe::Output(&mut |output| output.read_to_end(&mut bytes).map(drop)), limit);
    (ended, bytes)
}

#[test]
fn the_first_executable_file_in_path_is_found() {
    let (with, program) = script("");
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("program"), "not executable").unwrap();
    fs::create_dir(other.path().join("directory")).unwrap();
    let path = env::join_paths([other.path(), with.path()]).unwrap();
    assert_eq!(find_in(&path, "program"), Some(program));
    assert_eq!(find_in(&path, "directory"), None);
    assert_eq!(find_in(&path, "nothing"), None);
    assert_eq!(find_in(OsStr::new(""), "program"), None);
    assert!(find("sh").unwrap().is_absolute());
}

#[test]
fn input_larger_than_a_pipe_is_written_while_errors_are_read() {
    let ended = given("cat >&2; exit 3", 50_000, LONG).unwrap();
    assert!(ended.pipe.is_ok());
    assert_eq!(ended.status.code(), Some(3));
    assert!(ended.errors.starts_with("line 0\nline 1\n"), "{}", &ended.errors[..100]);
    assert_eq!(ended.errors.len(), MOST_ERRORS, "errors are limited");
}

#[test]
fn output_larger_than_a_pipe_is_read_while_errors_are_read() {
    let (ended, bytes) = printed("head -c 1000000 /dev/zero >&2; head -c 1000000 /dev/zero", LONG);
    assert!(ended.unwrap().status.success());
    assert_eq!(bytes.len(), 1_000_000);
}

#[test]
fn an_ended_program_has_an_exit_code_and_errors() {
    let (ended, bytes) = printed("echo out; echo one >&2; echo two >&2; exit 3", LONG);
    let ended = ended.unwrap();
    assert_eq!((ended.status.code(), &bytes[..]), (Some(3), &b"out\n"[..]));
    assert_eq!(ended.errors, "one\ntwo\n");
}

#[test]
fn errors_of_a_program_that_leaves_its_input_unread_are_read() {
    let ended = given("echo no >&2; exit 2", 1_000_000, LONG).unwrap();
    assert_eq!(ended.pipe.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert_eq!((ended.status.code(), ended.errors.as_str()), (Some(2), "no\n"));
}

#[test]
fn a_caller_that_leaves_the_output_unread_does_not_block_the_program() {
    let mut first = String::new();
    let mut read = |output: &mut dyn Read| io::BufReader::new(output).read_line(&mut first).map(drop);
    let ended = shell("yes", Pipe::Output(&mut read), LONG).unwrap();
    assert!(!ended.status.success());
    assert_eq!(first, "y\n");
}

/// What a script left of itself that wrote its process id into `file` before it was killed.
fn assert_reaped(file: &Path) {
    let process = fs::read_to_string(file).unwrap();
    let entry = Path::new("/proc").join(process.trim());
    assert!(!entry.exists(), "process {process} is left");
}

#[test]
fn a_program_that_does_not_end_is_killed_and_reaped_whether_it_reads_its_input_or_not() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("process");
    for lines in [0, 1_000_000] {
        let started = Instant::now();
        let script = format!("trap '' HUP INT PIPE TERM; echo $$ >{}; sleep 60; true", file.display());
        let error = given(&script, lines, SHORT).unwrap_err();
        assert_eq!(error.to_string(), "/bin/sh was still running after 0.1 seconds");
        assert!(started.elapsed() < LONG);
        assert_reaped(&file);
    }
}

#[test]
fn a_program_that_moved_to_another_process_group_is_killed_and_reaped() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("process");
    let program = "setpgrp(0, getpgrp(getppid())); sleep 60";
    let script = format!("echo $$ >{}; exec perl -e '{program}'", file.display());
    given(&script, 0, SHORT).unwrap_err();
    assert_reaped(&file);
}

#[test]
fn a_descendant_that_keeps_the_pipes_open_does_not_keep_the_caller_waiting() {
    let started = Instant::now();
    let ended = given("setsid sleep 10 & echo why >&2; exit 3", 0, LONG).unwrap();
    assert_eq!((ended.status.code(), ended.errors.as_str()), (Some(3), "why\n"));
    let (ended, bytes) = printed("setsid sleep 10 & echo out", SHORT);
    assert!(matches!(ended.unwrap().pipe, Err(error) if error.kind() == io::ErrorKind::TimedOut));
    assert_eq!(bytes, b"out\n");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_program_that_cannot_be_run_is_an_error() {
    let error = run(Path::new("/nonexistent/program"), &[], Pipe::Input(&mut |_| Ok(())), LONG).unwrap_err();
    let expected = "cannot run /nonexistent/program: No such file or directory (os error 2)";
    assert_eq!(error_chain(&error), expected);
}
