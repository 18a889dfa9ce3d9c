//! What is said outside the log.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use portolan_config::ConfigError;
use portolan_core::backend::error_chain;

/// Writes to standard output; fails if nobody takes it.
pub(crate) fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_nobody_listens) => ExitCode::FAILURE,
    }
}

/// Writes a file, or to standard output for `-`; reports a failure on standard error.
pub(crate) fn write(path: &Path, text: &str) -> ExitCode {
    if path == Path::new("-") {
        return print(text);
    }
    match std::fs::write(path, text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            // If standard error is gone, the exit code is all that can be said.
            let _ = writeln!(std::io::stderr(), "portolan: cannot write {}: {problem}", path.display());
            ExitCode::FAILURE
        }
    }
}

/// Says in one line on standard error why the program will not run, after a line for each note about the
/// configuration.
pub(crate) fn refuse(problem: &ConfigError) -> ExitCode {
    if let ConfigError::Invalid { notes, .. } = problem {
        for note in notes {
            let _ = writeln!(std::io::stderr(), "portolan: {note}");
        }
    }
    // If standard error is gone, the exit code is all that can be said.
    let _ = writeln!(std::io::stderr(), "portolan: {}", error_chain(problem));
    ExitCode::FAILURE
}
