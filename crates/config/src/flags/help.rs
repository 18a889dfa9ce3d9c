//! The text of `--help`.

use std::fmt::Write;

use super::{Bound, Flag, WithFile, table};

/// One line per flag that is not deprecated. A star says that a file has a field for it.
pub(crate) fn text() -> String {
    let mut bound = Bound::default();
    let shown: Vec<_> = table::all().filter(|flag| flag.deprecated.is_none()).collect();
    let heads: Vec<String> = shown.iter().map(|flag| head(flag, &mut bound)).collect();
    let width = heads.iter().map(String::len).max().unwrap_or_default();
    let mut text = String::from(
        "Forwards packets from Kubernetes Services to their endpoints on this node.\n\nUsage: portolan [FLAGS]\n\n",
    );
    for (flag, head) in shown.into_iter().zip(heads) {
        let value = (flag.value)(&mut bound).text();
        let says_nothing = matches!(value.as_str(), "" | "false" | "[]" | "0" | "0s");
        let default = if says_nothing { String::new() } else { format!(" (default: {value})") };
        let star = if flag.with_file == WithFile::Ignored { '*' } else { ' ' };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{star} {head:width$}  {}{default}", flag.help);
    }
    text.push_str("\n* ignored with --config: the file says it\n");
    text
}

fn head(flag: &Flag, bound: &mut Bound) -> String {
    let short = flag.short.map(|letter| format!("-{letter}"));
    // `-v` has no longer name of its own.
    let long = flag.alias.into_iter().chain([flag.name]).filter(|name| name.len() > 1);
    let names = short.into_iter().chain(long.map(|name| format!("--{name}")));
    let names = names.collect::<Vec<_>>().join(", ");
    let value = (flag.value)(bound);
    if value.bare().is_some() { names } else { format!("{names} {}", value.kind()) }
}
