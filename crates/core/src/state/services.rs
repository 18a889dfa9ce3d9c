//! Services coming, changing and going: what they claim, and which others must then be decided anew.

use std::sync::Arc;

use super::State;
use crate::address::IpFamily;
use crate::claims::claims_of;
use crate::event::{EndpointSlice, Service, ServicePortSpec};
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
            for (frontend, claim) in old.iter().filter(|claim| !new.contains(claim)) {
                let heir = state.claims.remove(frontend, claim);
                self.dirty.extend(heir.map(|heir| heir.service));
            }
            for (frontend, claim) in new.into_iter().filter(|claim| !old.contains(claim)) {
                let contest = state.claims.add(frontend, claim);
                if let Some(contest) = contest {
                    self.dirty.insert(contest.loser.service.clone());
                    self.contests.push(contest);
                }
            }
        }
        let has = |old: &ServicePortSpec| {
            let is_it = |new: &ServicePortSpec| new.name == old.name && new.protocol == old.protocol;
            service.as_ref().is_some_and(|service| service.ports.iter().any(is_it))
        };
        let former = entry.service.iter().flat_map(|service| &service.ports).filter(|port| !has(port));
        let mut former = former.map(|port| (port.name.clone(), port.protocol)).peekable();
        if former.peek().is_some() {
            self.former_ports.entry(name.clone()).or_default().extend(former);
        }
        entry.service = service.map(Box::new);
        self.dirty.insert(name.clone());
    }
}
