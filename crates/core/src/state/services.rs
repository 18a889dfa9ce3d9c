//! Changes of Services: the addresses that they own, and which other Services must then be resolved.

use std::collections::HashSet;
use std::sync::Arc;

use super::State;
use crate::address::IpFamily;
use crate::event::{EndpointSlice, Service};
use crate::name::ObjectName;
use crate::vip_owners::owners_of;

/// A Service with its slices; either may be known before the other.
#[derive(Debug, Default)]
pub(super) struct ServiceEntry {
    pub(super) service: Option<Box<Service>>,
    /// Its slices of both families, sorted by name. Most Services have one, so the capacity is exact.
    pub(super) slices: Vec<Arc<EndpointSlice>>,
}

impl State {
    /// The names of all existing Services.
    pub(super) fn services_known(&self) -> Vec<ObjectName> {
        let known = self.services.iter().filter(|(_, entry)| entry.service.is_some());
        known.map(|(name, _)| name.clone()).collect()
    }

    /// Makes the capacity sufficient for a list of Services and their ports: a table that grows step by step leaves
    /// unused memory behind each time.
    pub(super) fn reserve(&mut self, services: &[Service]) {
        self.services.reserve(services.len().saturating_sub(self.services.len()));
        for family in IpFamily::ALL {
            let ports = services.iter().filter(|service| service.cluster_ips[family].is_some());
            let ports = ports.map(|service| service.ports.len()).sum();
            self.families[family].reserve(ports);
        }
    }

    /// Sets a Service, or removes it.
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
            let owners = |service: Option<&Service>| {
                service.map(|service| owners_of(service, family)).unwrap_or_default()
            };
            let (old, new) = (owners(entry.service.as_deref()), owners(service.as_ref()));
            let (gone, new) = difference(old, new);
            for (address, owner) in gone {
                if let Some(next_owner) = state.owners.remove(&address, &owner) {
                    self.dirty.mark(next_owner.service);
                }
            }
            for (address, owner) in new {
                if let Some(conflict) = state.owners.add(address, owner) {
                    self.dirty.mark(conflict.ignored.service.clone());
                    self.conflicts.push(conflict);
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
        self.dirty.mark(name.clone());
    }
}

/// The items of `old` that are not in `new`, and those of `new` that are not in `old`.
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
