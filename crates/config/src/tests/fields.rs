//! One row per field of the file: its default, a value that it takes, what that does, a value that it does not take.

mod rows;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::*;
use crate::kube_proxy::{FileVerbosity, KubeProxyConfiguration};
use rows::rows;

/// What a field does when it is set.
enum Effect {
    /// This holds of the configuration, and does not without the field.
    Sets(fn(&Config) -> bool),
    /// it is accepted with this note in the log.
    Notes(&'static str),
}

/// A row of the table of fields.
struct Row {
    /// Its path.
    field: &'static str,
    /// Its value when the file does not have it, as JSON.
    default: &'static str,
    /// A file with it.
    accepted: &'static str,
    /// What that does.
    effect: Effect,
    /// A file that is rejected for it, and how.
    rejected: (&'static str, &'static str),
}

/// The paths of all fields: those of a configuration in which none is left out.
pub(super) fn all_fields() -> BTreeSet<String> {
    let mut full = KubeProxyConfiguration::with_defaults();
    full.feature_gates.insert("any".to_owned(), true);
    full.windows_run_as_service = true;
    full.userspace.max_sessions = 1;
    full.logging.vmodule.push(FileVerbosity { file_pattern: "f".to_owned(), verbosity: 1 });
    full.logging.options.text.split_stream = true;
    full.logging.options.json.split_stream = true;
    let mut fields = BTreeSet::new();
    collect("", &full.to_json(), &mut fields);
    fields
}

fn collect(path: &str, value: &Value, fields: &mut BTreeSet<String>) {
    match value {
        Value::Object(inside) if path != "featureGates" => {
            for (name, value) in inside {
                let dot = if path.is_empty() { "" } else { "." };
                collect(&format!("{path}{dot}{name}"), value, fields);
            }
        }
        _ => {
            fields.insert(path.to_owned());
        }
    }
}

#[test]
fn every_field_has_exactly_one_row() {
    let listed: Vec<String> = rows().map(|row| row.field.to_owned()).collect();
    assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), all_fields());
    assert_eq!(listed.len(), all_fields().len(), "each has one row");
}

#[test]
fn every_field_has_its_default_when_the_file_does_not_have_it() {
    let defaults = crate::file::parse(&format!(
        "kind: {}\napiVersion: {}",
        crate::kube_proxy::KIND,
        crate::kube_proxy::API_VERSION
    ))
    .unwrap()
    .config
    .to_json();
    for row in rows() {
        let pointer = format!("/{}", row.field.replace('.', "/"));
        let found = defaults.pointer(&pointer).map(ToString::to_string).unwrap_or_default();
        assert_eq!(found, row.default, "{}", row.field);
    }
}

#[test]
fn every_field_has_an_effect_or_a_note() {
    let nothing = files::load(&files::file(""), &[]).unwrap();
    for row in rows() {
        let with = files::load(&files::file(row.accepted), &[])
            .unwrap_or_else(|error| panic!("{}: {error}", row.field));
        let lines: Vec<_> = with.notes.iter().map(ToString::to_string).collect();
        assert!(!lines.iter().any(|line| line.contains("unknown field")), "{}: {lines:?}", row.field);
        match row.effect {
            Effect::Sets(holds) => {
                assert!(holds(&with), "{} gave {with:#?}", row.accepted);
                assert!(!holds(&nothing), "{} changes nothing", row.field);
            }
            Effect::Notes(why) => {
                assert!(lines.contains(&format!("{}: {why}", row.field)), "{} says {lines:?}", row.accepted);
            }
        }
    }
}

#[test]
fn every_field_rejects_invalid_values() {
    for row in rows() {
        let (body, expected) = row.rejected;
        let error = files::load(&files::file(body), &[]).expect_err(row.field);
        let error = error.strip_prefix("failed complete: failed to decode: FILE: line 3: ").unwrap_or(&error);
        assert_eq!(error.strip_prefix("KubeProxyConfiguration.").unwrap_or(error), expected, "{body}");
    }
}

#[test]
fn null_means_unset_in_every_field() {
    // A path that is deeper is covered by the section above it being nothing.
    let mut sections: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for field in all_fields() {
        let mut parts = field.split('.').map(str::to_owned);
        let section = sections.entry(parts.next().unwrap_or_default()).or_default();
        section.extend(parts.next());
    }
    let mut text = String::new();
    for (section, names) in sections {
        let nothing: Vec<_> = names.iter().map(|name| format!("{name}: null")).collect();
        let nothing =
            if names.is_empty() { "null".to_owned() } else { format!("{{{}}}", nothing.join(", ")) };
        text.extend([&section, ": ", &nothing, "\n"]);
    }
    let plain = |text: &str| {
        let mut config = files::load(&files::file(text), &[]).unwrap();
        config.file = None;
        config.flags.clear();
        config
    };
    assert_eq!(plain(&text), plain(""));
}
