//! Whether the iptables programs work here.

use std::path::PathBuf;
use std::time::Duration;

use portolan_core::IpFamily;
use portolan_core::backend::error_chain;

use crate::{Missing, programs};

/// Lists one chain of the table that the proxy's rules go into. `-w 5` waits up to five seconds for others
/// that hold the lock (iptables 1.4.20 and later).
const LIST: [&str; 6] = ["-w", "5", "-t", "nat", "-S", "POSTROUTING"];

/// Twice what the program waits for the lock.
const PATIENCE: Duration = Duration::from_secs(10);

/// The program of a family.
pub fn program(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "iptables",
        IpFamily::V6 => "ip6tables",
    }
}

/// Finds out whether rules of a family could be written with iptables, as kube-proxy does: whether the
/// chain `POSTROUTING` of the table `nat` can be listed.
///
/// # Errors
/// The program that is missing, or what it answered.
pub fn probe(family: IpFamily) -> Result<(), Missing> {
    probe_with(family, programs::find(program(family)), PATIENCE)
}

fn probe_with(family: IpFamily, found: Option<PathBuf>, patience: Duration) -> Result<(), Missing> {
    let name = program(family);
    let Some(path) = found else {
        return Err(Missing::new(format!("the program {name}, which is not in PATH")));
    };
    let answer = match programs::run(&path, LIST, "", patience) {
        Ok(ended) if ended.status.success() => return Ok(()),
        Ok(ended) if !ended.errors.is_empty() => ended.errors,
        Ok(ended) => match ended.status.code() {
            Some(code) => format!("it ended with code {code} and said nothing"),
            None => "it was killed".to_owned(),
        },
        Err(error) => error_chain(&error),
    };
    Err(Missing::new(format!("a working {}: {answer}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::tests::script;

    /// What is said of an iptables that is this shell script.
    fn said_of(body: &str) -> Result<(), String> {
        let (_folder, path) = script(body);
        let place = path.display().to_string();
        probe_with(IpFamily::V4, Some(path), Duration::from_millis(500))
            .map_err(|missing| missing.to_string().replace(&place, "iptables"))
    }

    #[test]
    fn what_lists_the_chain_is_fit() {
        let script = "[ \"$*\" = '-w 5 -t nat -S POSTROUTING' ] && echo '-P POSTROUTING ACCEPT'";
        assert_eq!(said_of(script), Ok(()));
    }

    #[test]
    fn a_program_that_fails_is_quoted() {
        let error = said_of("echo 'iptables v1.8.9: no table nat' >&2; echo 'do you need root?' >&2; exit 3");
        let expected = "a working iptables: iptables v1.8.9: no table nat; do you need root?";
        assert_eq!(error.unwrap_err(), expected);
        let error = said_of("exit 4").unwrap_err();
        assert_eq!(error, "a working iptables: it ended with code 4 and said nothing");
    }

    #[test]
    fn a_program_that_hangs_is_not_waited_for() {
        let error = said_of("exec sleep 60").unwrap_err();
        assert_eq!(error, "a working iptables: it was still running after 0.5 seconds");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = probe_with(IpFamily::V6, None, PATIENCE).unwrap_err().to_string();
        assert_eq!(error, "the program ip6tables, which is not in PATH");
    }
}
