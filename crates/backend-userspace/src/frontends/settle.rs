//! Opens, keeps and closes sockets, so that each place is as it should be.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use portolan_core::ServicePortName;
use portolan_core::backend::error_chain;
use tracing::{info, warn};

use super::Frontends;
use super::listening::Listening;
use super::stance::guard_for;
use crate::balancer::{Balancer, Via};
use crate::capture::Object;
use crate::filter::Guard;
use crate::listen::{self, ListenError, Place};
use crate::site::Site;

/// How a place should be served.
struct Wanted {
    balancer: Arc<Balancer>,
    via: Via,
    guard: Arc<Guard>,
}

/// Who is let in by which kind of address of a service port, known by its balancer's place in memory. It is the same at
/// all of its places.
type Guards = HashMap<(usize, Via), Option<Arc<Guard>>>;

impl Frontends {
    /// Makes these places as they should be, in this order, and returns how many were changed.
    pub(super) async fn settle(&mut self, places: Vec<Place>) -> usize {
        self.relay.limits.look_again();
        let failed_before = self.failed.len();
        let (mut closing, mut opening, mut operations) = (Vec::new(), Vec::new(), 0);
        let (mut seen, mut guards) = (HashSet::with_capacity(places.len()), Guards::new());
        let places: Vec<_> = places.into_iter().filter(|place| seen.insert(*place)).collect();
        for place in &places {
            let wanted = self.wanted(*place, &mut guards);
            match (wanted, self.sockets.get(place)) {
                (Some(wanted), Some(open)) if is_the_same(&wanted, &open.site) => {
                    operations += usize::from(self.follow_guard(*place, wanted));
                }
                (wanted, open) => {
                    if open.is_some() {
                        closing.extend(self.sockets.remove(place).map(|open| (*place, open)));
                        self.surroundings.set_served(*place, false);
                    }
                    match wanted {
                        Some(wanted) => opening.push((*place, wanted)),
                        None => drop(self.failed.remove(place)),
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
        for place in places {
            self.refuse_if_unserved(self.capture_at(place, Via::ExternalIp));
        }
        self.relay.limits.counters().unserved_changed(failed_before, self.failed.len());
        operations
    }

    /// Closes sockets. Connections that came by them go on.
    async fn close(&mut self, closing: Vec<(Place, Listening)>) {
        let site_of = |(place, listening): &(Place, Listening)| {
            let site = &listening.site;
            (self.capture_at(*place, site.via), Arc::downgrade(site))
        };
        let sites: Vec<_> = closing.iter().map(site_of).collect();
        Listening::close_all(closing.into_iter().map(|(_, listening)| listening).collect()).await;
        for (object, site) in sites {
            self.draining.add(object, site);
        }
        if !self.draining.is_empty() {
            self.unfinished.notify_one();
        }
    }

    /// Says what cannot be served, and who is in the way. To find that out takes its time, which the caller has not.
    fn complain(&self, errors: Vec<ListenError>) {
        if errors.is_empty() {
            return;
        }
        self.unfinished.notify_one();
        if let Some(handle) = self.relay.handle() {
            handle.spawn_blocking(move || listen::complain(errors));
        }
    }

    /// How a place should be served; nothing where nobody should listen.
    fn wanted(&self, place: Place, guards: &mut Guards) -> Option<Wanted> {
        let is_node_address = |address: std::net::SocketAddr| {
            let mut own = address;
            own.set_port(0);
            self.own.contains(&own) && self.is_accepted(address)
        };
        let (balancer, via) = self.claims.owner(place, is_node_address)?;
        let detector = self.node.as_ref().and_then(|node| node.local_detector.as_ref());
        let guard = || guard_for(balancer.known().port(), via, detector).map(Arc::new);
        let guard = guards.entry((Arc::as_ptr(balancer).addr(), via)).or_insert_with(guard).clone()?;
        Some(Wanted { balancer: Arc::clone(balancer), via, guard })
    }

    /// Puts another guard at an open socket, if it is another.
    fn follow_guard(&self, place: Place, wanted: Wanted) -> bool {
        let Some(open) = self.sockets.get(&place) else { return false };
        if open.site.guard() == wanted.guard {
            return false;
        }
        if let Err(error) = open.set_guard(Arc::clone(&wanted.guard)) {
            let name = wanted.balancer.name();
            warn!("{name} keeps an old packet filter at {place}: {}", error_chain(&error));
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
        match self.try_open(place, wanted) {
            Ok(listening) => {
                if self.failed.remove(&place) {
                    info!("{name} is served at {place} now");
                }
                self.surroundings.set_served(place, true);
                self.sockets.extend(listening.map(|listening| (place, listening)));
                Ok(())
            }
            Err(error) => Err(self.failed.insert(place).then_some(error)),
        }
    }

    fn try_open(&mut self, place: Place, wanted: Wanted) -> Result<Option<Listening>, ListenError> {
        let Wanted { balancer, via, guard } = wanted;
        if via != Via::NodePort && !self.is_ours(place, via) {
            return Err(self.why_not_ours(balancer.name().clone(), place, via));
        }
        let permit = self.relay.limits.admit_listener(balancer.share());
        let permit =
            permit.map_err(|limit| ListenError::Full { service: balancer.name().clone(), place, limit })?;
        let (surroundings, relay) = (Arc::clone(&self.surroundings), Arc::clone(&self.relay));
        let site = Site::new(place.address, via, balancer, surroundings, relay, guard);
        Listening::open(site, place.transport, permit)
    }

    /// Whether packets to a place come here: because of us, or of whatever else.
    fn is_ours(&mut self, place: Place, via: Via) -> bool {
        let object = self.capture_at(place, via);
        if self.captures.as_ref().is_some_and(|captures| captures.has(object)) {
            return true;
        }
        // Where the kernel does not know the way, it is not the way to itself.
        self.lookups.is_local(place.address.ip()).unwrap_or(false)
    }

    fn why_not_ours(&mut self, service: ServicePortName, place: Place, via: Via) -> ListenError {
        let object = self.capture_at(place, via);
        let is_whole = matches!(object, Object::Address(_)) && via != Via::ClusterIp;
        if self.captures.as_ref().is_some_and(|captures| captures.lacks_a_rule(object)) {
            ListenError::TooManyPorts { service, place }
        } else if is_whole && self.is_anothers(place) {
            ListenError::Anothers { service, place }
        } else {
            ListenError::NotLocal { service, place }
        }
    }
}

fn is_the_same(wanted: &Wanted, site: &Site) -> bool {
    Arc::ptr_eq(&wanted.balancer, &site.balancer) && wanted.via == site.via
}
