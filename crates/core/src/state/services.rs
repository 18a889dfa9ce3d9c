//! Services coming, changing and going: what they claim, and which others must then be decided anew.

use std::collections::HashSet;
use std::sync::Arc;

use super::State;
use crate::address::IpFamily;
use crate::claims::claims_of;
use crate::event::{EndpointSlice, Service};
use crate::name::ObjectName;
use crate::room::Room;

/// A Service with its slices; either may be known before the other.
#[derive(Debug, Default)]
pub(super) struct ServiceEntry {
    pub(super) service: Option<Box<Service>>,
    /// Its slices, both families, sorted by name. Most Services have one, so there is no room to spare.
    pub(super) slices: Vec<Arc<EndpointSlice>>,
}

impl State {
    /// The names of all Services there are.
    pub(super) fn services_known(&self) -> Vec<ObjectName> {
        let known = self.services.iter().filter(|(_, entry)| entry.service.is_some());
        known.map(|(name, _)| name.clone()).collect()
    }

    /// Makes room for a list of Services and their ports.
    pub(super) fn make_room(&mut self, services: &[Service]) {
        self.services.make_room(services.len());
        for family in IpFamily::ALL {
            let ports = services.iter().filter(|service| service.cluster_ips[family].is_some());
            let ports = ports.map(|service| service.ports.len()).sum();
            self.families[family].make_room(ports);
        }
    }

    /// Takes in a Service as it is now, or that it is gone.
    pub(super) fn set_service(&mut self, name: &ObjectName, mut service: Option<Service>) {
        if let Some(service) = service.as_mut().filter(|_| !self.config.allow_external_ips) {
            service.external_ips.clear();
        }
        if service.is_none() && !self.services.contains_key(name) {
            return;
        }
        let entry = self.services.entry(name.clone()).or_default();
        if entry.service.as_deref() == service.as_ref() {
            return;
        }
        for (family, state) in [(IpFamily::V4, &mut self.families.v4), (IpFamily::V6, &mut self.families.v6)]
        {
            let claims = |service: Option<&Service>| {
                service.map(|service| claims_of(service, family)).unwrap_or_default()
            };
            let (old, new) = (claims(entry.service.as_deref()), claims(service.as_ref()));
            let (gone, new) = difference(old, new);
            for (frontend, claim) in gone {
                if let Some(heir) = state.claims.remove(&frontend, &claim) {
                    self.dirty.readdress(heir.service);
                }
            }
            for (frontend, claim) in new {
                let contest = state.claims.add(frontend, claim);
                if let Some(contest) = contest {
                    self.dirty.readdress(contest.loser.service.clone());
                    self.contests.push(contest);
                }
            }
        }
        if let Some(old) = &entry.service {
            let new = service.iter().flat_map(|service| &service.ports);
            let present: HashSet<_> = new.map(|port| (&port.name, port.protocol)).collect();
            let former = old.ports.iter().filter(|port| !present.contains(&(&port.name, port.protocol)));
            let mut former = former.map(|port| (port.name.clone(), port.protocol)).peekable();
            if former.peek().is_some() {
                self.former_ports.entry(name.clone()).or_default().extend(former);
            }
        }
        entry.service = service.map(Box::new);
        self.dirty.readdress(name.clone());
    }
}

/// What of `old` is not in `new`, and what of `new` is not in `old`.
fn difference<T: Ord>(mut old: Vec<T>, mut new: Vec<T>) -> (Vec<T>, Vec<T>) {
    if old == new {
        return (Vec::new(), Vec::new());
    }
    if !old.is_empty() && !new.is_empty() {
        old.sort_unstable();
        new.sort_unstable();
        let kept: Vec<bool> = old.iter().map(|item| new.binary_search(item).is_ok()).collect();
        new.retain(|item| old.binary_search(item).is_err());
        let mut kept = kept.into_iter();
        old.retain(|_| kept.next() != Some(true));
    }
    (old, new)
}
