//! Feature gates: those that kube-proxy 1.36 knows, and which of them mean something here.
//!
//! A gate that we do not know is a warning and not an error. kube-proxy refuses it, but a
//! file may carry gates of a neighbouring release, and a node without a proxy is worse
//! than one that says what it did not understand.

use std::collections::BTreeMap;

use crate::note::Note;

/// How far a feature has come; the value of the label `stage` in `kubernetes_feature_enabled`.
const ALPHA: &str = "ALPHA";
const BETA: &str = "BETA";
/// Generally available; Kubernetes' label for that is empty.
const STABLE: &str = "";

/// The gate that serves `externalIPs` of Services.
pub(crate) const EXTERNAL_IPS: &str = "AllowServiceExternalIPs";
/// The gate of split log streams and log buffers.
pub(crate) const LOGGING_ALPHA: &str = "LoggingAlphaOptions";
/// The gate of logs in JSON.
pub(crate) const LOGGING_BETA: &str = "LoggingBetaOptions";
/// The gate of lists that the API server streams (KEP-3157).
pub(crate) const STREAMED_LISTS: &str = "WatchListClient";
/// Switches all alpha gates that are not set themselves.
const ALL_ALPHA: &str = "AllAlpha";
/// Switches all beta gates that are not set themselves.
const ALL_BETA: &str = "AllBeta";

/// What a gate can do here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Here {
    /// It is followed.
    Followed,
    /// Accepted; what it switches is not there to be switched, for this reason.
    NotApplicable(&'static str),
}

struct Gate {
    name: &'static str,
    stage: &'static str,
    default: bool,
    locked: bool,
    here: Here,
}

const fn gate(name: &'static str, stage: &'static str, default: bool, here: Here) -> Gate {
    Gate { name, stage, default, locked: false, here }
}

const fn locked(name: &'static str, here: Here) -> Gate {
    Gate { name, stage: STABLE, default: true, locked: true, here }
}

const CLIENT: Here = Here::NotApplicable("it belongs to kube-proxy's client library");
const BUILT_IN: Here = Here::NotApplicable("what it stands for is always on");

/// By name.
const GATES: [Gate; 20] = [
    gate(ALL_ALPHA, ALPHA, false, Here::Followed),
    gate(ALL_BETA, BETA, false, Here::Followed),
    gate(EXTERNAL_IPS, STABLE, true, Here::Followed),
    gate("AtomicFIFO", BETA, true, CLIENT),
    gate("ClientsAllowCARotation", BETA, true, CLIENT),
    gate("ClientsAllowCBOR", ALPHA, false, CLIENT),
    gate("ClientsAllowTLSCacheGC", BETA, true, CLIENT),
    gate("ClientsPreferCBOR", ALPHA, false, CLIENT),
    gate("ComponentFlagz", BETA, true, Here::Followed),
    gate("ComponentStatusz", BETA, true, Here::Followed),
    gate("ContextualLogging", BETA, true, Here::NotApplicable("log lines always carry their context")),
    gate("InOrderInformersBatchProcess", BETA, true, CLIENT),
    gate(LOGGING_ALPHA, ALPHA, false, Here::Followed),
    gate(LOGGING_BETA, BETA, true, Here::Followed),
    locked("MultiCIDRServiceAllocator", BUILT_IN),
    locked("NFTablesProxyMode", BUILT_IN),
    gate("NativeHistograms", ALPHA, false, Here::NotApplicable("metrics are classic histograms only")),
    locked("PreferSameTrafficDistribution", BUILT_IN),
    gate("UnlockWhileProcessingFIFO", BETA, true, CLIENT),
    gate(STREAMED_LISTS, BETA, true, Here::Followed),
];

/// The feature gates as they are set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FeatureGates {
    given: BTreeMap<String, bool>,
}

impl FeatureGates {
    /// Takes gates as they were given; see [`FeatureGates::faults`] for those that cannot be followed.
    pub(crate) fn new(given: &BTreeMap<String, bool>) -> Self {
        Self { given: given.clone() }
    }

    /// Whether the gate is on; one that does not exist is off.
    pub fn is_on(&self, name: &str) -> bool {
        GATES.iter().find(|gate| gate.name == name).is_some_and(|gate| self.enabled(gate))
    }

    /// All gates that exist, by name, as `(name, stage, enabled)`. The stage is `ALPHA`, `BETA`,
    /// or empty for what is generally available, as in kube-proxy's `kubernetes_feature_enabled`.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, bool)> + '_ {
        GATES.iter().map(|gate| (gate.name, gate.stage, self.enabled(gate)))
    }

    /// What was given for a gate wins; then `AllAlpha` and `AllBeta`; then its default.
    fn enabled(&self, gate: &Gate) -> bool {
        let bulk = match gate.stage {
            _ if gate.name == ALL_ALPHA || gate.name == ALL_BETA => None,
            ALPHA => self.given.get(ALL_ALPHA),
            BETA => self.given.get(ALL_BETA),
            _ => None,
        };
        *self.given.get(gate.name).or(bulk).unwrap_or(&gate.default)
    }

    /// Why gates as they were given cannot be set, one text per gate: it is locked to another value.
    pub(crate) fn faults(&self) -> Vec<(String, String)> {
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

    /// A line for each gate that was given and changes nothing here.
    pub(crate) fn notes(&self) -> Vec<Note> {
        self.given.iter().filter_map(|(name, on)| note(name, *on)).collect()
    }
}

fn note(name: &str, on: bool) -> Option<Note> {
    let field = format!("featureGates.{name}");
    let Some(gate) = GATES.iter().find(|gate| gate.name == name) else {
        return Some(Note::warning(field, "no such feature gate is known; it is ignored"));
    };
    match gate.here {
        Here::NotApplicable(why) if on != gate.default => {
            Some(Note::info(field, format!("the gate changes nothing here: {why}")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gates(given: &[(&str, bool)]) -> FeatureGates {
        FeatureGates::new(&given.iter().map(|(name, on)| ((*name).to_owned(), *on)).collect())
    }

    #[test]
    fn a_gate_follows_what_was_given_for_it_then_for_its_stage_then_its_default() {
        let default = gates(&[]);
        assert!(default.is_on(EXTERNAL_IPS) && default.is_on("ComponentFlagz"));
        assert!(!default.is_on(LOGGING_ALPHA) && !default.is_on("NoSuchGate"));
        assert!(!gates(&[(EXTERNAL_IPS, false)]).is_on(EXTERNAL_IPS));
        assert!(gates(&[(ALL_ALPHA, true)]).is_on(LOGGING_ALPHA));
        assert!(!gates(&[(ALL_ALPHA, true), (LOGGING_ALPHA, false)]).is_on(LOGGING_ALPHA));
        assert!(!gates(&[(ALL_BETA, false)]).is_on("ComponentStatusz"));
        assert!(!gates(&[(ALL_ALPHA, true)]).is_on(ALL_BETA), "the one says nothing of the other");
        assert!(
            gates(&[(ALL_BETA, false)]).is_on(EXTERNAL_IPS),
            "stable gates are nobody's to switch in bulk"
        );
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
        assert!(gates(&[("NFTablesProxyMode", true)]).faults().is_empty());
        let faults = gates(&[("NFTablesProxyMode", false)]).faults();
        let text = "cannot set feature gate NFTablesProxyMode to false, feature is locked to true";
        assert_eq!(faults, [("NFTablesProxyMode=false".to_owned(), text.to_owned())]);
    }

    #[test]
    fn gates_that_change_nothing_are_noted_unless_they_keep_their_default() {
        assert_eq!(
            gates(&[("AtomicFIFO", true), (LOGGING_ALPHA, true), (STREAMED_LISTS, false)]).notes(),
            []
        );
        let notes = gates(&[("AtomicFIFO", false), ("Bogus", true)]).notes();
        let lines: Vec<String> = notes.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "featureGates.AtomicFIFO: the gate changes nothing here: it belongs to kube-proxy's client library",
                "featureGates.Bogus: no such feature gate is known; it is ignored",
            ]
        );
    }
}
