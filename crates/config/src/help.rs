//! The text of `--help`.

use std::fmt::Write;

use crate::flags::{FLAGS, Flag, Takes};

/// One line per flag.
pub(crate) fn text() -> String {
    let heads: Vec<String> = FLAGS.iter().map(head).collect();
    let width = heads.iter().map(String::len).max().unwrap_or_default();
    let mut text = String::from(
        "Forwards packets from Kubernetes Services to their endpoints on this node.\n\nUsage: portolan [FLAGS]\n\n",
    );
    for (flag, head) in FLAGS.iter().zip(heads) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {head:width$}  {}", flag.help);
    }
    text
}

fn head(flag: &Flag) -> String {
    let short = flag.short.map(|letter| format!("-{letter}"));
    // `-v` has no longer name of its own.
    let long = flag.names.iter().filter(|name| name.len() > 1).map(|name| format!("--{name}"));
    let names = short.into_iter().chain(long).collect::<Vec<_>>().join(", ");
    match flag.takes {
        Takes::Switch(_) => names,
        Takes::Text(word, _) | Takes::List(word, _) => format!("{names} {word}"),
        Takes::Duration(_) => format!("{names} DURATION"),
        Takes::Verbosity(_) | Takes::MarkBit(_) => format!("{names} N"),
    }
}
