//! One row per flag: its default, a value that it takes, what that value does, a value that it does not take.

mod rows;
mod syntax;

use std::collections::BTreeSet;

use super::*;
use crate::flags::table;
use rows::rows;

/// What a flag does when it is given.
enum Effect {
    /// This holds of the configuration, and does not without the flag.
    Sets(fn(&Config) -> bool),
    /// it is accepted with this note in the log.
    Notes(&'static str),
    /// It requests another action than to run the proxy.
    Asks(fn(&Invocation) -> bool),
}

/// A row of the table of flags.
struct Row {
    /// The flag, without dashes.
    flag: &'static str,
    /// Its value when it is not given.
    default: &'static str,
    /// A command line with it.
    accepted: &'static [&'static str],
    /// What that does.
    effect: Effect,
    /// A command line that is rejected for it, and how; empty if its value is any text.
    rejected: (&'static [&'static str], &'static str),
}

#[test]
fn every_flag_has_exactly_one_row() {
    let listed: Vec<&str> = rows().map(|row| row.flag).collect();
    let there_are: Vec<&str> = table::FLAGS.iter().map(|flag| flag.name).collect();
    assert_eq!(listed.iter().collect::<BTreeSet<_>>(), there_are.iter().collect::<BTreeSet<_>>());
    assert_eq!(listed.len(), there_are.len(), "each has one row");
}

#[test]
fn every_flag_has_its_default_when_it_is_not_given() {
    let values: std::collections::BTreeMap<_, _> =
        crate::flags::Bound::default().listed().into_iter().collect();
    for row in rows() {
        assert_eq!(values[row.flag], row.default, "--{}", row.flag);
    }
    assert!(config(&[]).notes.is_empty(), "defaults cause no note");
}

#[test]
fn every_flag_has_an_effect_or_a_note() {
    for row in rows() {
        let named = row.accepted.iter().any(|arg| arg.starts_with(&format!("--{}", row.flag)));
        assert!(named, "{:?} is not about --{}", row.accepted, row.flag);
        match row.effect {
            Effect::Sets(holds) => {
                let without: Vec<&str> = row
                    .accepted
                    .iter()
                    .filter(|arg| !arg.starts_with(&format!("--{}", row.flag)))
                    .copied()
                    .collect();
                let with = config(row.accepted);
                assert!(holds(&with), "{:?} gave {with:#?}", row.accepted);
                let holds_anyway = match parse_args(&without) {
                    Ok(Invocation::Run(without)) => holds(&without),
                    other => {
                        assert!(other.is_err(), "{without:?} gave {other:?}");
                        false
                    }
                };
                assert!(!holds_anyway, "--{} changes nothing", row.flag);
            }
            Effect::Notes(line) => {
                let lines: Vec<_> = config(row.accepted).notes.iter().map(ToString::to_string).collect();
                assert!(lines.iter().any(|logged| logged == line), "{:?} logs {lines:?}", row.accepted);
            }
            Effect::Asks(holds) => {
                let asked = parse_args(row.accepted).unwrap();
                assert!(holds(&asked), "{:?} gave {asked:#?}", row.accepted);
            }
        }
    }
}

#[test]
fn every_flag_rejects_invalid_values() {
    for row in rows() {
        let (args, expected) = row.rejected;
        if args.is_empty() {
            assert_eq!(kind(row.flag), "string", "--{} does not take any text", row.flag);
        } else {
            assert_eq!(error(args), expected, "{args:?}");
        }
    }
}

fn kind(name: &str) -> &'static str {
    let mut bound = crate::flags::Bound::default();
    table::FLAGS
        .iter()
        .find(|flag| flag.name == name)
        .map(|flag| (flag.value)(&mut bound).kind())
        .unwrap_or_default()
}

#[test]
fn every_flag_is_listed_with_the_value_bound_to_it() {
    let listed =
        config(&["--kube-api-qps=7.5", "--nodeport-addresses=10.0.0.0/8,::/0", "--proxy-mode=nftables"])
            .flags;
    assert_eq!(listed.len(), table::FLAGS.len());
    assert!(listed.is_sorted());
    let value = |list: &[(String, String)], name: &str| {
        list.iter().find(|(flag, _)| flag == name).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    assert_eq!(value(&listed, "kube-api-qps"), "7.5");
    let by_file = config(&["--vmodule=a=1,b*=2"]).flags;
    assert_eq!(value(&by_file, "vmodule"), "a=1,b*=2");
    assert_eq!(value(&listed, "nodeport-addresses"), "[10.0.0.0/8,::/0]");
    assert_eq!(value(&listed, "detect-local-mode"), "ClusterCIDR", "as it was settled");
    assert_eq!(value(&config(&["--mode=nftables"]).flags, "nodeport-addresses"), "[primary]");
    let file = super::files::file("clusterCIDR: 10.0.0.0/8\nmode: nftables");
    let with_file = config(&["--config", file.path().to_str().unwrap(), "--cluster-cidr=10.1.0.0/16"]).flags;
    assert_eq!(value(&with_file, "cluster-cidr"), "10.1.0.0/16", "the flag's and not the file's");
    assert_eq!(value(&with_file, "detect-local-mode"), "");
}

#[test]
fn help_names_every_flag_that_is_not_deprecated() {
    let Ok(Invocation::Help(text)) = parse_args(&["--help"]) else { panic!() };
    for flag in &table::FLAGS {
        assert_eq!(text.contains(flag.help), flag.deprecated.is_none(), "{}", flag.name);
    }
    for part in
        ["* --mode, --proxy-mode string ", "-v level ", "-h, --help ", "(default: 30s)", "  --config string "]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}
