//! Opens, keeps and closes sockets, so that each place is as it should be.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use portolan_core::backend::error_chain;
use tracing::{info, warn};

use super::Frontends;
use super::listening::Listening;
use super::stance::guard_for;
use crate::balancer::{Balancer, Via};
use crate::filter::Guard;
use crate::listen::{self, ListenError, Place};
use crate::site::Site;

/// How a place should be served.
struct Wanted {
    balancer: Arc<Balancer>,
    via: Via,
    guard: Guard,
}

impl Frontends {
    /// Makes these places as they should be, and returns how many were changed.
    pub(super) async fn settle(&mut self, places: HashSet<Place>) -> usize {
        let failed_before = self.failed.len();
        let (mut closing, mut opening, mut operations) = (Vec::new(), Vec::new(), 0);
        for place in places {
            let wanted = self.wanted(place);
            match (wanted, self.sockets.get(&place)) {
                (Some(wanted), Some(open)) if is_the_same(&wanted, &open.site) => {
                    operations += usize::from(self.follow_guard(place, wanted));
                }
                (wanted, open) => {
                    if open.is_some() {
                        closing.extend(self.sockets.remove(&place));
                        self.surroundings.set_served(place, false);
                    }
                    match wanted {
                        Some(wanted) => opening.push((place, wanted)),
                        None => drop(self.failed.remove(&place)),
                    }
                }
            }
        }
        operations += closing.len();
        self.close(closing).await;
        let mut errors = Vec::new();
        for (place, wanted) in opening {
            match self.open(place, wanted) {
                Ok(()) => operations += 1,
                Err(error) => errors.extend(error),
            }
        }
        self.complain(errors);
        self.relay.limits.counters().unserved_changed(failed_before, self.failed.len());
        operations
    }

    /// Closes sockets. Connections that came by them go on.
    async fn close(&mut self, closing: Vec<Listening>) {
        let sites: Vec<_> = closing.iter().map(|listening| Arc::downgrade(&listening.site)).collect();
        Listening::close_all(closing).await;
        for site in &sites {
            self.draining.add(site);
        }
        if !self.draining.is_empty() {
            self.unfinished.notify_one();
        }
    }

    /// Says what cannot be served, and who is in the way. To find that out takes its time, which the caller has not.
    fn complain(&self, mut errors: Vec<ListenError>) {
        if errors.is_empty() {
            return;
        }
        self.unfinished.notify_one();
        let complain = move || {
            listen::identify(&mut errors);
            for error in errors {
                warn!("{}", error_chain(&error));
            }
        };
        if let Some(handle) = self.relay.handle() {
            handle.spawn_blocking(complain);
        }
    }

    /// How a place should be served; nothing where nobody should listen.
    fn wanted(&self, place: Place) -> Option<Wanted> {
        let is_node_address = |address| {
            let at = |own: &crate::rtnetlink::InterfaceAddress| own.socket(place.address.port()) == address;
            self.addresses.iter().any(at) && self.is_accepted(address)
        };
        let (balancer, via) = self.claims.owner(place, is_node_address)?;
        let detector = self.node.as_ref().and_then(|node| node.local_detector.as_ref());
        let guard = guard_for(balancer.known().port(), via, detector)?;
        Some(Wanted { balancer: Arc::clone(balancer), via, guard })
    }

    /// Puts another guard at an open socket, if it is another.
    fn follow_guard(&self, place: Place, wanted: Wanted) -> bool {
        let Some(open) = self.sockets.get(&place) else { return false };
        if open.site.guard() == wanted.guard {
            return false;
        }
        if let Err(error) = open.set_guard(wanted.guard.clone()) {
            let name = wanted.balancer.name();
            warn!("{name} keeps an old packet filter at {place}: {error}");
            // Whoever accepts asks this one all the same.
            open.site.set_guard(wanted.guard);
        }
        true
    }

    /// Opens a socket, and says when it could not be before.
    ///
    /// # Errors
    /// It cannot be; why, if that is to be told.
    fn open(&mut self, place: Place, wanted: Wanted) -> Result<(), Option<ListenError>> {
        let name = wanted.balancer.name().clone();
        let opened = if wanted.via == Via::NodePort || self.is_ours(place.address.ip()) {
            let Wanted { balancer, via, guard } = wanted;
            let (surroundings, relay) = (Arc::clone(&self.surroundings), Arc::clone(&self.relay));
            let site = Site::new(place.address, via, balancer, surroundings, relay, guard);
            Listening::open(site, place.transport)
        } else {
            Err(ListenError::NotLocal { service: name.clone(), place })
        };
        match opened {
            Ok(listening) => {
                if self.failed.remove(&place) {
                    info!("{name} is served at {place} now");
                }
                self.surroundings.set_served(place, true);
                self.sockets.extend(listening.map(|listening| (place, listening)));
                Ok(())
            }
            Err(error) => {
                let is_new = self.failed.insert(place);
                if let Some(limit) = error.limit_reached() {
                    // One word for all places that it keeps from being served.
                    self.relay.limits.no_place_for_listeners(self.failed.len(), limit);
                    return Err(None);
                }
                Err(is_new.then_some(error))
            }
        }
    }

    /// Whether packets to an address come here: because of our route, or of whatever else.
    fn is_ours(&mut self, address: IpAddr) -> bool {
        if self.routes.as_ref().is_some_and(|routes| routes.has(address)) {
            return true;
        }
        // Where the kernel does not know the way, it is not the way to itself.
        self.lookups.is_local(address).unwrap_or(false)
    }
}

fn is_the_same(wanted: &Wanted, site: &Site) -> bool {
    Arc::ptr_eq(&wanted.balancer, &site.balancer) && wanted.via == site.via
}
