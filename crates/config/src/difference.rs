//! Compares two configurations, and knows which fields a running process can apply.

use std::collections::{BTreeMap, BTreeSet};

use portolan_core::address::parse_ip;
use serde_json::Value;

use crate::kube_proxy::KubeProxyConfiguration;
use crate::kube_proxy::section::Section;
use crate::notes::WITHOUT_EFFECT;

/// A field that differs between two configurations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its path as in the file, such as `conntrack.min`.
    pub field: String,
    /// When the new value takes effect.
    pub takes_effect: TakesEffect,
}

/// When a changed field takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakesEffect {
    /// Immediately, in the running process.
    Live,
    /// After a restart.
    Restart,
}

/// Fields and sections that a running process always applies.
const LIVE: [&str; 3] = ["conntrack", "logging.verbosity", "oomScoreAdj"];

/// Fields of plans: a running process applies them unless [`plans_wait`]. The periods of each mode belong to them.
const OF_PLANS: [&str; 9] = [
    "bindAddress",
    "clusterCIDR",
    "detectLocal",
    "detectLocalMode",
    "iptables.masqueradeAll",
    "iptables.masqueradeBit",
    "nftables.masqueradeAll",
    "nftables.masqueradeBit",
    "nodePortAddresses",
];

/// The fields in which the effective configurations differ, sorted.
pub(crate) fn between(old: &KubeProxyConfiguration, new: &KubeProxyConfiguration) -> Vec<Difference> {
    let (before, after) = (leaves(old), leaves(new));
    let fields: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let changed = fields.into_iter().filter(|field| before.get(*field) != after.get(*field));
    let used = changed.filter(|field| is_used(field, old.section()) || is_used(field, new.section()));
    let waits = plans_wait(old, new);
    let mut differences = Vec::new();
    for field in used {
        let Some(takes_effect) = takes_effect(field) else { continue };
        let takes_effect = if waits && is_of_plans(field) { TakesEffect::Restart } else { takes_effect };
        differences.push(Difference { field: field.clone(), takes_effect });
    }
    differences
}

/// Whether the fields of plans must wait for a restart. Another mode reads another section, whose values mean nothing for
/// the rules of this mode; the servers' default addresses and the primary IP family depend on the family of
/// `bindAddress`.
pub(crate) fn plans_wait(old: &KubeProxyConfiguration, new: &KubeProxyConfiguration) -> bool {
    old.section() != new.section() || is_ipv4(old) != is_ipv4(new)
}

/// When a new value of this field takes effect; `None` if it has none.
pub(crate) fn takes_effect(field: &str) -> Option<TakesEffect> {
    if WITHOUT_EFFECT.iter().any(|(without, ..)| *without == field) {
        None
    } else if is_of_plans(field) || is_among(&LIVE, field) {
        Some(TakesEffect::Live)
    } else {
        Some(TakesEffect::Restart)
    }
}

fn is_of_plans(field: &str) -> bool {
    let is_period = ["iptables", "ipvs", "nftables"].iter().any(|section| {
        let name = field.strip_prefix(section).and_then(|rest| rest.strip_prefix('.'));
        matches!(name, Some("syncPeriod" | "minSyncPeriod"))
    });
    is_period || is_among(&OF_PLANS, field)
}

/// Whether a field is used while `section` is in effect.
fn is_used(field: &str, section: Section) -> bool {
    match field.split_once('.') {
        Some(("iptables", "localhostNodePorts")) => section == Section::Iptables,
        Some(("iptables", _)) => section != Section::Nftables,
        Some(("ipvs", _)) => section == Section::Ipvs,
        Some(("nftables", _)) => section == Section::Nftables,
        _ => true,
    }
}

fn is_among(list: &[&str], field: &str) -> bool {
    let is_inside = |listed: &str| field.strip_prefix(listed).is_some_and(|rest| rest.starts_with('.'));
    list.iter().any(|listed| *listed == field || is_inside(listed))
}

fn is_ipv4(config: &KubeProxyConfiguration) -> bool {
    parse_ip(&config.bind_address).is_ok_and(|ip| ip.is_ipv4())
}

/// The values of the effective configuration by their paths. A list is one value.
fn leaves(config: &KubeProxyConfiguration) -> BTreeMap<String, Value> {
    let mut leaves = BTreeMap::new();
    collect(String::new(), config.effective().to_json(), &mut leaves);
    leaves
}

fn collect(path: String, value: Value, leaves: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                collect(path, value, leaves);
            }
        }
        leaf => {
            leaves.insert(path, leaf);
        }
    }
}

#[cfg(test)]
mod tests;
