//! Rulesets from text, be it input for the programs or what they print.

use std::collections::BTreeMap;

use portolan_backend_iptables::rule::{Body, parse, words};

/// A rule that compares equal however it was spelled.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    comment: String,
    body: Body<'static>,
}

/// The rules of each chain by table and name, in order; chains of the kernel's only if they have any.
pub(crate) type Ruleset = BTreeMap<(String, String), Vec<Said>>;

/// Reads a ruleset.
///
/// # Panics
/// There is something in it that no ruleset of ours has.
pub(crate) fn ruleset(text: &str) -> Ruleset {
    let mut all = Ruleset::new();
    let mut table = "";
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if let Some(declared) = line.strip_prefix(':') {
            let (chain, policy) = declared.split_once(' ').unwrap();
            if policy.starts_with('-') {
                all.entry((table.into(), chain.into())).or_default();
            }
        } else if line != "COMMIT" {
            add(&mut all, table, line);
        }
    }
    all
}

fn add(all: &mut Ruleset, table: &str, line: &str) {
    // What a rule borrows stays for the little while that a test takes.
    let buffer: &'static mut Vec<String> = Box::leak(Box::default());
    // Counters of packets and bytes stand before rules that were saved.
    let counted = line.strip_prefix('[').and_then(|line| line.split_once("] "));
    let words = words(counted.map_or(line, |(_, line)| line), buffer).unwrap();
    let [command, chain, rest @ ..] = words else { panic!("{line}") };
    let rule = parse(rest).unwrap_or_else(|| panic!("{line}"));
    let said = Said { comment: rule.comment.to_string(), body: rule.body };
    let rules = all.entry((table.into(), chain.clone())).or_default();
    match command.as_str() {
        "-A" => rules.push(said),
        "-I" => rules.insert(0, said),
        _ => panic!("{line}"),
    }
}
