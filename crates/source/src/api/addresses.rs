//! Where the API server is: the sockets that connections to it lead to.
//!
//! The core learns them so that no Service takes them over ([`Event::ApiServer`]). They are noted before anything connects
//! to them, and kept: connections to an address that a name had before may go on.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::Uri;
use portolan_core::Event;
use tokio::sync::{mpsc, watch};

/// More addresses than this has no name at a time; of one that changes all the time only those that it has now count.
const MOST: usize = 64;

/// All sockets by which one server is known.
#[derive(Debug, Clone)]
pub(super) struct Addresses {
    port: u16,
    found: Arc<watch::Sender<BTreeSet<SocketAddr>>>,
}

impl Addresses {
    /// Those of the server at this URL: the one that it names, or none until its name is resolved.
    pub(super) fn of(url: &Uri) -> Self {
        let usual = if url.scheme_str() == Some("http") { 80 } else { 443 };
        let addresses = Self { port: url.port_u16().unwrap_or(usual), found: Arc::default() };
        let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        addresses.note(host.parse());
        addresses
    }

    /// The server's name leads to these.
    pub(super) fn note(&self, addresses: impl IntoIterator<Item = IpAddr>) {
        let now: BTreeSet<_> = addresses.into_iter().map(|ip| SocketAddr::new(ip, self.port)).collect();
        self.found.send_if_modified(|found| {
            if now.is_subset(found) {
                return false;
            }
            if found.len() + now.len() > MOST {
                found.clear();
            }
            found.extend(now);
            true
        });
    }

    /// Tells the core of all of them, and whenever there are others, until nobody listens.
    pub(super) async fn tell(self, events: mpsc::Sender<Event>) {
        let mut found = self.found.subscribe();
        found.mark_changed();
        while found.changed().await.is_ok() {
            let sockets = found.borrow_and_update().clone();
            if !sockets.is_empty() && events.send(Event::ApiServer(sockets)).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(addresses: &Addresses) -> Vec<String> {
        addresses.found.borrow().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_address_in_the_url_is_known_at_once_and_a_names_when_it_is_resolved() {
        for (url, at_once) in [
            ("https://192.0.2.10:6443/prefix", &["192.0.2.10:6443"][..]),
            ("https://[2001:db8::10]", &["[2001:db8::10]:443"]),
            ("http://192.0.2.10", &["192.0.2.10:80"]),
            ("https://api.example:6443", &[]),
        ] {
            let addresses = Addresses::of(&url.parse().unwrap());
            assert_eq!(known(&addresses), at_once, "{url}");
        }
        let addresses = Addresses::of(&"https://api.example:6443".parse().unwrap());
        addresses.note(["192.0.2.10".parse().unwrap()]);
        addresses.note(["192.0.2.11".parse().unwrap()]);
        assert_eq!(known(&addresses), ["192.0.2.10:6443", "192.0.2.11:6443"]);
    }

    #[test]
    fn a_name_that_leads_elsewhere_all_the_time_is_not_kept_for_ever() {
        let addresses = Addresses::of(&"https://api.example".parse().unwrap());
        (0..1000_u32).for_each(|number| addresses.note([IpAddr::V4(number.into())]));
        assert!(known(&addresses).len() <= MOST);
        assert!(addresses.found.borrow().contains(&SocketAddr::new(IpAddr::V4(999.into()), 443)));
    }
}
