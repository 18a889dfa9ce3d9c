//! Resolves the API server's name, and keeps the addresses that connections to it lead to.
//!
//! The core receives the addresses so that no Service captures them ([`Event::ApiServer`]). They are noted before
//! anything connects to them, and kept: connections to an earlier address of a name may still be open.
//!
//! A resolver whose servers do not answer gives up after 10 s or more. Until then no request fails, so a slow answer is
//! logged here.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::dns::Name;
use portolan_core::{Event, LogLimiter};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt as _, service_fn};
use tracing::warn;

/// The most addresses kept. No name has more at a time; of one that keeps changing only the present ones are kept.
const MAX_ADDRESSES: usize = 64;

/// All known sockets of one server.
#[derive(Debug, Clone)]
pub(super) struct Addresses {
    port: u16,
    found: Arc<watch::Sender<BTreeSet<SocketAddr>>>,
}

impl Addresses {
    /// Those of the server at this URL: its address, or none until its name is resolved.
    pub(super) fn of(url: &Uri) -> Self {
        let usual = if url.scheme_str() == Some("http") { 80 } else { 443 };
        let addresses = Self { port: url.port_u16().unwrap_or(usual), found: Arc::default() };
        let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        addresses.note(host.parse());
        addresses
    }

    /// Adds addresses of the server's name.
    pub(super) fn note(&self, addresses: impl IntoIterator<Item = IpAddr>) {
        let now: BTreeSet<_> = addresses.into_iter().map(|ip| SocketAddr::new(ip, self.port)).collect();
        self.found.send_if_modified(|found| {
            if now.is_subset(found) {
                return false;
            }
            if found.len() + now.len() > MAX_ADDRESSES {
                found.clear();
            }
            found.extend(now);
            true
        });
    }

    /// Sends all of them, and again whenever there are new ones, until the receiver of events is closed.
    pub(super) async fn send_changes(self, events: mpsc::Sender<Event>) {
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

/// Names are resolved within milliseconds; after this long the log names those that are not.
const SLOW: Duration = Duration::from_secs(1);

pub(super) type Resolver = BoxCloneSyncService<Name, std::vec::IntoIter<SocketAddr>, io::Error>;

/// The system's resolver or another one. Adds answers to `addresses` before anything connects to them.
pub(super) fn resolver<R>(inner: R, addresses: Addresses) -> Resolver
where
    R: Service<Name, Response: Iterator<Item = SocketAddr> + Send, Error = io::Error, Future: Send>,
    R: Clone + Send + Sync + 'static,
{
    let log = Arc::new(Mutex::new(LogLimiter::default()));
    BoxCloneSyncService::new(service_fn(move |name: Name| {
        let (host, log, addresses) = (name.to_string(), Arc::clone(&log), addresses.clone());
        let mut answer = Box::pin(inner.clone().oneshot(name));
        async move {
            let found = tokio::select! {
                answer = &mut answer => answer,
                () = sleep(SLOW) => {
                    // All watches resolve at once; one message is enough.
                    let now = Instant::now().into_std();
                    if log.lock().unwrap_or_else(PoisonError::into_inner).fail(&host, now) {
                        warn!(host, waited = ?SLOW, "No answer from DNS yet for the name of the API server");
                    }
                    answer.await
                }
            };
            let found: Vec<_> = found?.collect();
            addresses.note(found.iter().map(SocketAddr::ip));
            Ok(found.into_iter())
        }
    }))
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::timeout;

    use super::*;
    use crate::tests::log::Log;

    type Answer = io::Result<std::vec::IntoIter<SocketAddr>>;

    fn addresses() -> Addresses {
        Addresses::of(&"https://api.example".parse().unwrap())
    }

    fn name() -> Name {
        "api.example".parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_without_an_answer_is_logged_after_a_second_and_once() {
        let (log, _guard) = Log::capture();
        let dns = resolver(service_fn(|_: Name| pending::<Answer>()), addresses());
        let ask = || timeout(Duration::from_millis(1500), dns.clone().oneshot(name()));
        let (began, (first, second)) = (Instant::now(), tokio::join!(ask(), ask()));
        assert!(first.is_err() && second.is_err());
        assert_eq!(began.elapsed().as_millis(), 1500);
        let lines = log.lines();
        assert!(
            matches!(&lines[..], [one] if one.contains("No answer from DNS") && one.contains("api.example")),
            "{lines:#?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_passed_on_without_a_log_message() {
        let (log, _guard) = Log::capture();
        let address: SocketAddr = "192.0.2.1:0".parse().unwrap();
        let dns =
            resolver(service_fn(move |_: Name| ready(Answer::Ok(vec![address].into_iter()))), addresses());
        let answer: Vec<_> = dns.oneshot(name()).await.unwrap().collect();
        assert_eq!((answer, log.lines()), (vec![address], vec![]));
    }

    fn known(addresses: &Addresses) -> Vec<String> {
        addresses.found.borrow().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_address_of_a_url_is_known_at_once_and_that_of_a_name_once_it_is_resolved() {
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
    fn addresses_of_a_name_that_keeps_changing_are_not_kept_for_ever() {
        let addresses = Addresses::of(&"https://api.example".parse().unwrap());
        (0..1000_u32).for_each(|number| addresses.note([IpAddr::V4(number.into())]));
        assert!(known(&addresses).len() <= MAX_ADDRESSES);
        assert!(addresses.found.borrow().contains(&SocketAddr::new(IpAddr::V4(999.into()), 443)));
    }
}
