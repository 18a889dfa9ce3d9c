//! How a command ended in a guest.

use std::time::Duration;

/// What the guest's first process writes before the exit code, as the last line of all.
const ENDED: &str = "\n@ended ";

/// What a command came to in a guest that lived to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The command's exit code. One above 128 is that of a shell whose command a signal ended.
    pub code: i32,
    /// What it printed, errors included, as text.
    pub output: String,
    /// What the kernel had to say.
    pub console: String,
    /// From the start of qemu to its end.
    pub took: Duration,
}

/// The exit code at the end of all output, and the output before it.
pub(crate) fn ending(output: &str) -> Option<(i32, &str)> {
    let (before, code) = output.trim_end().rsplit_once(ENDED)?;
    Some((code.parse().ok()?, before))
}

/// The last lines of a text, for messages. What a kernel says as it panics are some sixty.
pub(crate) fn tail(text: &str) -> String {
    const LINES: usize = 100;
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_in_the_last_line_and_nowhere_else() {
        assert_eq!(ending("hello\n\n@ended 0\n"), Some((0, "hello\n")));
        assert_eq!(ending("\n@ended 101\n"), Some((101, "")));
        assert_eq!(ending("\n@ended 0\nand more\n\n@ended 3\n"), Some((3, "\n@ended 0\nand more\n")));
    }

    #[test]
    fn output_that_breaks_off_has_no_code() {
        assert_eq!(ending(""), None);
        assert_eq!(ending("hello\n"), None);
        assert_eq!(ending("\n@ended 0\nand more\n"), None);
        assert_eq!(ending("\n@ended "), None);
    }

    #[test]
    fn a_tail_is_the_last_lines() {
        let text = (0..200).map(|line| line.to_string()).collect::<Vec<_>>().join("\n");
        let tail = tail(&text);
        assert!(tail.starts_with("100\n101") && tail.ends_with("\n199"), "{tail}");
        assert_eq!(super::tail("one"), "one");
    }
}
