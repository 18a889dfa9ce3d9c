//! What `/configz` shows while settings come and go.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};

/// Sections of the file that say the same, each for its mode.
const SECTIONS: [&str; 3] = ["iptables", "ipvs", "nftables"];

/// What `/configz` shows; clones show the same.
#[derive(Clone)]
pub(crate) struct Configz(Arc<Mutex<String>>);

impl Configz {
    /// Shows `text`.
    pub(crate) fn new(text: String) -> Self {
        Self(Arc::new(Mutex::new(text)))
    }

    /// What it shows now.
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes over from `new`, of the same shape, the settings of these paths.
    pub(super) fn take_over(&self, new: &str, fields: &[String]) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(merged) = merge(&shown, new, fields) {
            *shown = merged;
        }
    }
}

/// `old` with these fields as `new` has them; nothing if either is no JSON.
fn merge(old: &str, new: &str, fields: &[String]) -> Option<String> {
    let (mut old, new): (Value, Value) = (serde_json::from_str(old).ok()?, serde_json::from_str(new).ok()?);
    // One key, the API group, with the configuration under it.
    let (Some((_, old_config)), Some((_, new_config))) =
        (old.as_object_mut()?.iter_mut().next(), new.as_object()?.iter().next())
    else {
        return None;
    };
    for field in fields {
        for path in shown_as(field) {
            take(old_config, new_config, &path);
        }
    }
    Some(old.to_string())
}

/// Where a setting is shown. One of a mode's section counts for whatever mode runs, and is shown in that one's.
fn shown_as(field: &str) -> Vec<Vec<&str>> {
    match field.split_once('.') {
        Some((section, name)) if SECTIONS.contains(&section) => {
            SECTIONS.map(|section| vec![section, name]).into()
        }
        _ => vec![field.split('.').collect()],
    }
}

/// Makes what `old` has at `path` the same as in `new`, where it may be left out.
fn take(old: &mut Value, new: &Value, path: &[&str]) {
    let (Some(old), Some((name, rest))) = (old.as_object_mut(), path.split_first()) else { return };
    match (new.get(name), rest) {
        (Some(value), []) => {
            old.insert((*name).to_owned(), value.clone());
        }
        (Some(value), rest) => take(old.entry(*name).or_insert_with(|| Map::new().into()), value, rest),
        (None, _) => {
            old.remove(*name);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is shown of `old` once these fields are taken over from `new`.
    fn shown(old: &Value, new: &Value, fields: &[&str]) -> Value {
        let text = |config: &Value| json!({"kubeproxy.config.k8s.io": config}).to_string();
        let fields: Vec<_> = fields.iter().map(|field| (*field).to_owned()).collect();
        let configz = Configz::new(text(old));
        configz.take_over(&text(new), &fields);
        serde_json::from_str::<Value>(&configz.text()).unwrap()["kubeproxy.config.k8s.io"].take()
    }

    #[test]
    fn what_holds_is_taken_over_and_nothing_else() {
        let old = json!({"mode": "nftables", "conntrack": {"min": 1, "maxPerCore": 2}});
        let new = json!({"mode": "ipvs", "conntrack": {"min": 3, "maxPerCore": 4}});
        let expected = json!({"mode": "nftables", "conntrack": {"min": 3, "maxPerCore": 2}});
        assert_eq!(shown(&old, &new, &["conntrack.min", "no.such"]), expected);
    }

    #[test]
    fn a_setting_of_the_mode_asked_for_is_shown_in_the_section_of_the_one_that_runs() {
        let old = json!({"iptables": {"syncPeriod": "0s"}, "nftables": {"syncPeriod": "30s"}});
        let new = json!({"iptables": {"syncPeriod": "0s"}, "nftables": {"syncPeriod": "7s"}});
        assert_eq!(shown(&old, &new, &["iptables.syncPeriod"]), new);
    }

    #[test]
    fn gates_come_and_go_with_the_section_that_is_left_out_when_empty() {
        let (without, with) = (json!({"mode": "x"}), json!({"featureGates": {"A": false}, "mode": "x"}));
        assert_eq!(shown(&without, &with, &["featureGates.A"]), with);
        assert_eq!(shown(&with, &without, &["featureGates.A"]), without);
    }

    #[test]
    fn what_is_no_json_changes_nothing() {
        let configz = Configz::new(r#"{"a":{"b":1}}"#.into());
        configz.take_over("no JSON", &["b".into()]);
        assert_eq!(configz.text(), r#"{"a":{"b":1}}"#);
    }
}
