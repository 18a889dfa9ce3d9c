//! Shell scripts in the place of programs.

use std::fs;

use portolan_core::backend::error_chain;

use super::*;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A shell script, and the folder that it lives as long as.
///
/// Its executable file is another process's work: a test beside this one that starts a program would
/// inherit the file while it is open for writing, and then it could not be executed (ETXTBSY).
pub(crate) fn script(body: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (text, path) = (folder.path().join("text"), folder.path().join("program"));
    fs::write(&text, format!("#!/bin/sh\n{body}\n")).unwrap();
    let words = ["-m755", text.to_str().unwrap(), path.to_str().unwrap()];
    let made = run(&find("install").unwrap(), words, "", PATIENCE).unwrap();
    assert!(made.status.success(), "{made:?}");
    (folder, path)
}

fn shell(script: &str, input: &str, patience: Duration) -> Result<Ended, RunError> {
    run(Path::new("/bin/sh"), ["-c", script], input, patience)
}

#[test]
fn the_first_folder_that_has_an_executable_file_counts() {
    let (with, program) = script("");
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("program"), "not executable").unwrap();
    fs::create_dir(other.path().join("folder")).unwrap();
    let path = env::join_paths([other.path(), with.path()]).unwrap();
    assert_eq!(find_in(&path, "program"), Some(program));
    assert_eq!(find_in(&path, "folder"), None);
    assert_eq!(find_in(&path, "nothing"), None);
    assert_eq!(find_in(OsStr::new(""), "program"), None);
}

#[test]
fn the_shell_is_found() {
    assert!(find("sh").unwrap().is_absolute());
}

#[test]
fn more_than_a_pipe_holds_goes_in_and_out() {
    let text = "0123456789abcde\n".repeat(20_000);
    let ended = shell("cat", &text, PATIENCE).unwrap();
    assert!(ended.status.success() && ended.output == text);
}

#[test]
fn an_end_has_the_code_and_the_errors_in_one_line() {
    let ended = shell("echo out; echo 'one ' >&2; echo >&2; echo two >&2; exit 3", "", PATIENCE).unwrap();
    assert_eq!((ended.status.code(), ended.output.as_str()), (Some(3), "out\n"));
    assert_eq!(ended.errors, "one; two");
}

#[test]
fn a_program_that_leaves_its_input_unread_is_waited_for_all_the_same() {
    let ended = shell("exit 3", &"unread\n".repeat(100_000), PATIENCE).unwrap();
    assert_eq!((ended.status.code(), ended.errors.as_str()), (Some(3), ""));
}

#[test]
fn a_program_that_does_not_end_is_ended_with_what_it_started() {
    let started = Instant::now();
    let error = shell("sleep 60; true", "", Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.to_string(), "it was still running after 0.05 seconds");
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_program_that_cannot_be_run_is_an_error() {
    let error = run(Path::new("/nonexistent/program"), [], "", PATIENCE).unwrap_err();
    assert_eq!(error_chain(&error), "it could not be run: No such file or directory (os error 2)");
}
