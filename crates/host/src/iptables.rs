//! Checks whether the iptables programs work.

use std::path::PathBuf;
use std::time::Duration;

use portolan_core::IpFamily;
use portolan_core::backend::error_chain;

use crate::{Missing, programs};

/// Lists a chain of the `nat` table. `-w 5` waits up to five seconds for the lock (iptables 1.4.20 and later).
const LIST: [&str; 6] = ["-w", "5", "-t", "nat", "-S", "POSTROUTING"];

/// Twice the wait for the lock.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The program of an IP family.
pub fn program(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "iptables",
        IpFamily::V6 => "ip6tables",
    }
}

/// Checks that iptables works for an IP family, as kube-proxy does: the chain `POSTROUTING` of the table `nat` can be
/// listed.
///
/// # Errors
/// The missing program, or its error output.
pub fn probe(family: IpFamily) -> Result<(), Missing> {
    probe_with(family, programs::find(program(family)), TIMEOUT)
}

fn probe_with(family: IpFamily, found: Option<PathBuf>, timeout: Duration) -> Result<(), Missing> {
    let name = program(family);
    let Some(path) = found else {
        return Err(Missing::new(format!("the program {name}, which is not in PATH")));
    };
    let answer = match programs::run(&path, LIST, "", timeout) {
        Ok(ended) if ended.status.success() => return Ok(()),
        Ok(ended) if !ended.errors.is_empty() => ended.errors,
        Ok(ended) => match ended.status.code() {
            Some(code) => format!("exit code {code} without output"),
            None => "killed by a signal".to_owned(),
        },
        Err(error) => error_chain(&error),
    };
    Err(Missing::new(format!("a working {}: {answer}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::tests::script;

    /// The result for an iptables that is this shell script.
    fn said_of(body: &str) -> Result<(), String> {
        let (_folder, path) = script(body);
        let place = path.display().to_string();
        probe_with(IpFamily::V4, Some(path), Duration::from_millis(500))
            .map_err(|missing| missing.to_string().replace(&place, "iptables"))
    }

    #[test]
    fn a_program_that_lists_the_chain_works() {
        let script = "[ \"$*\" = '-w 5 -t nat -S POSTROUTING' ] && echo '-P POSTROUTING ACCEPT'";
        assert_eq!(said_of(script), Ok(()));
    }

    #[test]
    fn the_output_of_a_failed_program_is_reported() {
        let error = said_of("echo 'iptables v1.8.9: no table nat' >&2; echo 'do you need root?' >&2; exit 3");
        let expected = "a working iptables: iptables v1.8.9: no table nat; do you need root?";
        assert_eq!(error.unwrap_err(), expected);
        let error = said_of("exit 4").unwrap_err();
        assert_eq!(error, "a working iptables: exit code 4 without output");
    }

    #[test]
    fn a_program_that_hangs_is_killed_after_the_timeout() {
        let error = said_of("exec sleep 60").unwrap_err();
        assert_eq!(error, "a working iptables: it was still running after 0.5 seconds");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = probe_with(IpFamily::V6, None, TIMEOUT).unwrap_err().to_string();
        assert_eq!(error, "the program ip6tables, which is not in PATH");
    }
}
