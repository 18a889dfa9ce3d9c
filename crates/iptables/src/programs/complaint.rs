//! What programs of iptables say when they fail, and what it means.

use std::path::Path;

use super::ProgramError;
use super::run::Ended;

/// `RESOURCE_PROBLEM` of iptables' `enum xtables_exittype`. iptables-nft ends so, too, when the kernel turns
/// a line down; it then names the line.
const RESOURCE_PROBLEM: i32 = 4;

/// Why a program failed, from how it ended.
pub(super) fn judge<T>(program: &Path, ended: &Ended<T>) -> ProgramError {
    let complaint =
        if ended.errors.is_empty() { ended.status.to_string() } else { without_advice(&ended.errors) };
    let (program, line) = (program.to_owned(), line(&complaint));
    match ended.status.code() {
        Some(RESOURCE_PROBLEM) if line.is_none() && complaint.contains("lock") => {
            ProgramError::Locked { complaint }
        }
        // By a signal, as when memory is short.
        None => ProgramError::Resource { program, status: ended.status, complaint },
        Some(RESOURCE_PROBLEM) if line.is_none() => {
            ProgramError::Resource { program, status: ended.status, complaint }
        }
        Some(_) => ProgramError::Failed { program, line, complaint },
    }
}

/// All in one line, without the advice to read the manual.
fn without_advice(errors: &str) -> String {
    let lines = errors.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("Try `"));
    lines.collect::<Vec<_>>().join("; ")
}

/// The number in `line 7 failed`, `line 7: RULE_APPEND failed` and `Error occurred at line: 7`.
fn line(complaint: &str) -> Option<u64> {
    complaint.match_indices("line").find_map(|(at, word)| {
        let digits = complaint[at + word.len()..].trim_start_matches([' ', ':']);
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use portolan_core::backend::error_chain;

    use super::*;

    /// Of a program that ended with this wait status (wait(2)) and these errors.
    fn judged(status: i32, errors: &str) -> ProgramError {
        let ended = Ended {
            process: 1,
            status: ExitStatus::from_raw(status),
            errors: errors.to_owned(),
            said: Ok(()),
        };
        judge(Path::new("/sbin/iptables-restore"), &ended)
    }

    #[test]
    fn the_line_that_was_turned_down_is_found_in_what_both_kinds_say() {
        let cases = [
            ("iptables-restore: line 7 failed\n", 1, Some(7)),
            (
                "iptables-nft-restore: line 3 failed: Bad rule (does a matching rule exist in that chain?).",
                1,
                Some(3),
            ),
            (
                "iptables-nft-restore v1.8.9 (nf_tables): \nline 12: RULE_APPEND failed (Invalid argument): rule in chain X",
                4,
                Some(12),
            ),
            (
                "iptables-restore v1.8.9 (legacy): Couldn't load match `nosuch':No such file or directory\n\n\
                 Error occurred at line: 3\nTry `iptables-restore -h' or 'iptables-restore --help' for more information.",
                2,
                Some(3),
            ),
            ("iptables-restore v1.8.9: no command specified", 2, None),
            ("line", 1, None),
            ("line 99999999999999999999 failed", 1, None),
            ("", 1, None),
        ];
        for (errors, code, expected) in cases {
            let error = judged(code << 8, errors);
            assert!(error.is_of_input(), "{error:?}");
            assert_eq!(error.line(), expected, "{errors}");
        }
    }

    #[test]
    fn advice_is_left_out_and_the_rest_is_one_line() {
        let errors =
            "iptables-restore: bad\n\nError occurred at line: 3\nTry `iptables-restore -h' for more.\n";
        let expected = "/sbin/iptables-restore failed: iptables-restore: bad; Error occurred at line: 3";
        assert_eq!(judged(2 << 8, errors).to_string(), expected);
        let silent = judged(1 << 8, "").to_string();
        assert_eq!(silent, "/sbin/iptables-restore failed: exit status: 1");
    }

    #[test]
    fn who_could_not_go_on_did_not_turn_the_input_down() {
        let locked = judged(
            4 << 8,
            "Another app is currently holding the xtables lock; still 1s 0us time ahead to have a chance to grab the lock...",
        );
        assert!(matches!(locked, ProgramError::Locked { .. }), "{locked:?}");
        let refused = judged(4 << 8, "iptables: Could not fetch rule set generation id: Permission denied");
        assert!(matches!(refused, ProgramError::Resource { .. }), "{refused:?}");
        let killed = judged(9, "");
        assert!(matches!(killed, ProgramError::Resource { .. }), "{killed:?}");
        assert!(!killed.is_of_input());
        assert!(error_chain(&killed).contains("signal: 9"), "{killed}");
    }
}
