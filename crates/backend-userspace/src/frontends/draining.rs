//! Addresses that nobody wants any more while connections that came by them go on.
//!
//! An established connection needs its address as much as a new one does: without a route the next packet would be sent
//! out into the world. So the route stays until the last connection has ended, while nobody listens there, and who
//! comes anew is refused.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Weak;

use crate::site::Site;

/// Addresses in use by sites that are closed; a connection holds the site that it came by.
#[derive(Debug, Default)]
pub(super) struct Draining(HashMap<IpAddr, Vec<Weak<Site>>>);

impl Draining {
    /// A place is closed; what is left of it are its connections.
    pub(super) fn add(&mut self, site: &Weak<Site>) {
        if let Some(left) = site.upgrade() {
            self.0.entry(left.address.ip()).or_default().push(Weak::clone(site));
        }
    }

    /// Whether an address is in use, or was until a moment ago.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.0.contains_key(&address)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes out the addresses by which no connection goes on.
    pub(super) fn take_finished(&mut self) -> Vec<IpAddr> {
        let mut finished = Vec::new();
        self.0.retain(|address, sites| {
            sites.retain(|site| site.strong_count() > 0);
            if sites.is_empty() {
                finished.push(*address);
            }
            !sites.is_empty()
        });
        finished
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
