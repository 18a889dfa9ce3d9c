//! Addresses that nobody wants any more while connections that came by them go on.
//!
//! An established connection needs its address as much as a new one does: without a route the next packet would be sent
//! out into the world. So the route stays until the last connection has ended, while nobody listens there, and who
//! comes anew is refused.

use std::collections::HashMap;
use std::sync::Weak;

use crate::capture::Object;
use crate::site::Site;

/// What sites that are closed need; a connection holds the site that it came by.
#[derive(Debug, Default)]
pub(super) struct Draining(HashMap<Object, Vec<Weak<Site>>>);

impl Draining {
    /// A place is closed that this brought packets to; what is left of it are its connections.
    pub(super) fn add(&mut self, object: Object, site: Weak<Site>) {
        if site.strong_count() > 0 {
            self.0.entry(object).or_default().push(site);
        }
    }

    /// Whether something is in use, or was until a moment ago.
    pub(super) fn contains(&self, object: Object) -> bool {
        match object {
            Object::Rule(rule) => {
                self.0.keys().any(|used| matches!(used, Object::Port(_, port) if *port == rule))
            }
            object => self.0.contains_key(&object),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes out what no connection goes on by.
    pub(super) fn take_finished(&mut self) -> Vec<Object> {
        let mut finished = Vec::new();
        self.0.retain(|object, sites| {
            sites.retain(|site| site.strong_count() > 0);
            if sites.is_empty() {
                finished.push(*object);
            }
            !sites.is_empty()
        });
        finished
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
