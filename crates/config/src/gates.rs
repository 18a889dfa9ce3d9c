//! The feature gates of kube-proxy 1.36, and which of them have an effect.
//!
//! An unknown gate is a warning. kube-proxy rejects it, but a file may have gates of a neighbouring release, and a node
//! without a proxy is worse than a warning.

use std::collections::BTreeMap;

use crate::notes::Note;

/// The stage of a feature, as the label `stage` of `kubernetes_feature_enabled`.
const ALPHA: &str = "ALPHA";
const BETA: &str = "BETA";
/// Generally available; Kubernetes' label is empty.
const STABLE: &str = "";

/// Serves `externalIPs` of Services.
pub(crate) const EXTERNAL_IPS: &str = "AllowServiceExternalIPs";
/// Allows split log streams and log buffers.
pub(crate) const LOGGING_ALPHA: &str = "LoggingAlphaOptions";
/// Allows logs in JSON.
pub(crate) const LOGGING_BETA: &str = "LoggingBetaOptions";
/// Requests lists as a stream (KEP-3157).
pub(crate) const STREAMED_LISTS: &str = "WatchListClient";
/// Sets all alpha gates that are not set themselves.
const ALL_ALPHA: &str = "AllAlpha";
/// Sets all beta gates that are not set themselves.
const ALL_BETA: &str = "AllBeta";

struct Gate {
    name: &'static str,
    stage: &'static str,
    default: bool,
    locked: bool,
    /// Why it has no effect; `None` if it has kube-proxy's.
    ignored: Option<&'static str>,
}

const fn gate(name: &'static str, stage: &'static str, default: bool, ignored: Option<&'static str>) -> Gate {
    Gate { name, stage, default, locked: false, ignored }
}

const fn locked(name: &'static str) -> Gate {
    let ignored = Some("the feature is always enabled");
    Gate { name, stage: STABLE, default: true, locked: true, ignored }
}

const CLIENT: Option<&str> = Some("it belongs to kube-proxy's client library");

/// By name.
const GATES: [Gate; 20] = [
    gate(ALL_ALPHA, ALPHA, false, None),
    gate(ALL_BETA, BETA, false, None),
    gate(EXTERNAL_IPS, STABLE, true, None),
    gate("AtomicFIFO", BETA, true, CLIENT),
    gate("ClientsAllowCARotation", BETA, true, CLIENT),
    gate("ClientsAllowCBOR", ALPHA, false, CLIENT),
    gate("ClientsAllowTLSCacheGC", BETA, true, CLIENT),
    gate("ClientsPreferCBOR", ALPHA, false, CLIENT),
    gate("ComponentFlagz", BETA, true, None),
    gate("ComponentStatusz", BETA, true, None),
    gate("ContextualLogging", BETA, true, Some("log lines always have their context")),
    gate("InOrderInformersBatchProcess", BETA, true, CLIENT),
    gate(LOGGING_ALPHA, ALPHA, false, None),
    gate(LOGGING_BETA, BETA, true, None),
    locked("MultiCIDRServiceAllocator"),
    locked("NFTablesProxyMode"),
    gate("NativeHistograms", ALPHA, false, Some("histograms are classic ones only")),
    locked("PreferSameTrafficDistribution"),
    gate("UnlockWhileProcessingFIFO", BETA, true, CLIENT),
    gate(STREAMED_LISTS, BETA, true, None),
];

/// The settings of the feature gates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FeatureGates {
    given: BTreeMap<String, bool>,
}

impl FeatureGates {
    /// The gates that are set; see [`FeatureGates::errors`] for those with an invalid value.
    pub(crate) fn new(given: &BTreeMap<String, bool>) -> Self {
        Self { given: given.clone() }
    }

    /// Whether the gate is enabled; an unknown one is not.
    pub fn is_on(&self, name: &str) -> bool {
        GATES.iter().find(|gate| gate.name == name).is_some_and(|gate| self.enabled(gate))
    }

    /// All gates by name, as `(name, stage, enabled)`. The stage is `ALPHA`, `BETA`, or empty for GA, as in kube-proxy's
    /// `kubernetes_feature_enabled`.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, bool)> + '_ {
        GATES.iter().map(|gate| (gate.name, gate.stage, self.enabled(gate)))
    }

    /// The setting of the gate itself, then `AllAlpha` or `AllBeta`, then the default.
    fn enabled(&self, gate: &Gate) -> bool {
        let bulk = match gate.stage {
            _ if gate.name == ALL_ALPHA || gate.name == ALL_BETA => None,
            ALPHA => self.given.get(ALL_ALPHA),
            BETA => self.given.get(ALL_BETA),
            _ => None,
        };
        *self.given.get(gate.name).or(bulk).unwrap_or(&gate.default)
    }

    /// The gates that are locked to another value, each as `name=value` with an error text.
    pub(crate) fn errors(&self) -> Vec<(String, String)> {
        let locked = GATES.iter().filter(|gate| gate.locked);
        let broken = locked.filter(|gate| self.given.get(gate.name).is_some_and(|on| *on != gate.default));
        broken
            .map(|gate| {
                let Gate { name, default, .. } = gate;
                let text =
                    format!("cannot set feature gate {name} to {}, feature is locked to {default}", !default);
                (format!("{name}={}", !default), text)
            })
            .collect()
    }

    /// A note for each gate that is set and has no effect.
    pub(crate) fn notes(&self) -> Vec<Note> {
        self.given.iter().filter_map(|(name, on)| note(name, *on)).collect()
    }
}

fn note(name: &str, on: bool) -> Option<Note> {
    let field = format!("featureGates.{name}");
    match GATES.iter().find(|gate| gate.name == name) {
        Some(gate) => {
            let reason = gate.ignored.filter(|_| on != gate.default)?;
            Some(Note::info(field, format!("no effect: {reason}")))
        }
        None => Some(Note::warning(field, "unknown feature gate, ignored")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gates(given: &[(&str, bool)]) -> FeatureGates {
        FeatureGates::new(&given.iter().map(|(name, on)| ((*name).to_owned(), *on)).collect())
    }

    #[test]
    fn a_gate_has_its_setting_then_that_of_its_stage_then_its_default() {
        let default = gates(&[]);
        assert!(default.is_on(EXTERNAL_IPS) && default.is_on("ComponentFlagz"));
        assert!(!default.is_on(LOGGING_ALPHA) && !default.is_on("NoSuchGate"));
        assert!(!gates(&[(EXTERNAL_IPS, false)]).is_on(EXTERNAL_IPS));
        assert!(gates(&[(ALL_ALPHA, true)]).is_on(LOGGING_ALPHA));
        assert!(!gates(&[(ALL_ALPHA, true), (LOGGING_ALPHA, false)]).is_on(LOGGING_ALPHA));
        assert!(!gates(&[(ALL_BETA, false)]).is_on("ComponentStatusz"));
        assert!(!gates(&[(ALL_ALPHA, true)]).is_on(ALL_BETA), "AllAlpha does not set AllBeta");
        assert!(gates(&[(ALL_BETA, false)]).is_on(EXTERNAL_IPS), "GA gates are not set in bulk");
    }

    #[test]
    fn every_gate_is_listed_once_with_its_stage() {
        let listed: Vec<_> = gates(&[(LOGGING_ALPHA, true)]).iter().collect();
        assert_eq!(listed.len(), GATES.len());
        assert!(listed.contains(&(LOGGING_ALPHA, "ALPHA", true)));
        assert!(listed.contains(&("WatchListClient", "BETA", true)));
        assert!(listed.contains(&(EXTERNAL_IPS, "", true)));
        let names: std::collections::BTreeSet<_> = listed.iter().map(|(name, _, _)| name).collect();
        assert_eq!(names.len(), listed.len());
    }

    #[test]
    fn a_locked_gate_cannot_be_set_to_anything_else() {
        assert!(gates(&[("NFTablesProxyMode", true)]).errors().is_empty());
        let errors = gates(&[("NFTablesProxyMode", false)]).errors();
        let text = "cannot set feature gate NFTablesProxyMode to false, feature is locked to true";
        assert_eq!(errors, [("NFTablesProxyMode=false".to_owned(), text.to_owned())]);
    }

    #[test]
    fn gates_without_effect_are_noted_unless_they_have_their_default() {
        assert_eq!(
            gates(&[("AtomicFIFO", true), (LOGGING_ALPHA, true), (STREAMED_LISTS, false)]).notes(),
            []
        );
        let notes = gates(&[("AtomicFIFO", false), ("Bogus", true)]).notes();
        let lines: Vec<String> = notes.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "featureGates.AtomicFIFO: no effect: it belongs to kube-proxy's client library",
                "featureGates.Bogus: unknown feature gate, ignored",
            ]
        );
    }
}
