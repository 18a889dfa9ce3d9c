//! What one Service has of all sessions, and each of its clients of those.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portolan_core::ObjectName;

use crate::counters::Counters;
use crate::listen::Transport;
use crate::quiet::Quiet;

/// The sessions and listeners of one Service, by all its ports.
#[derive(Debug)]
pub(crate) struct Share {
    service: ObjectName,
    tcp: Mutex<Held>,
    udp: Mutex<Held>,
    listeners: AtomicUsize,
    complaint: Quiet,
    client_complaint: Quiet,
}

/// Sessions of one protocol, and whose they are.
#[derive(Debug, Default)]
pub(super) struct Held {
    sessions: usize,
    clients: HashMap<IpAddr, usize>,
}

impl Share {
    pub(super) fn new(service: ObjectName) -> Self {
        Self {
            service,
            tcp: Mutex::default(),
            udp: Mutex::default(),
            listeners: AtomicUsize::new(0),
            complaint: Quiet::default(),
            client_complaint: Quiet::default(),
        }
    }

    pub(super) fn service(&self) -> &ObjectName {
        &self.service
    }

    pub(super) fn held(&self, transport: Transport) -> MutexGuard<'_, Held> {
        let held = match transport {
            Transport::Tcp => &self.tcp,
            Transport::Udp => &self.udp,
        };
        held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of both protocols.
    pub(super) fn sessions(&self) -> usize {
        [Transport::Tcp, Transport::Udp].map(|transport| self.held(transport).sessions).iter().sum()
    }

    pub(super) fn listeners(&self) -> usize {
        self.listeners.load(Ordering::Relaxed)
    }

    /// Whether to say again that the Service has too many.
    pub(super) fn is_complaint_due(&self) -> bool {
        self.complaint.is_due()
    }

    /// The same of its clients.
    pub(super) fn is_client_complaint_due(&self) -> bool {
        self.client_complaint.is_due()
    }
}

impl Held {
    pub(super) fn sessions(&self) -> usize {
        self.sessions
    }

    pub(super) fn sessions_of(&self, client: IpAddr) -> usize {
        self.clients.get(&client).copied().unwrap_or_default()
    }

    pub(super) fn add(&mut self, client: IpAddr) {
        self.sessions += 1;
        *self.clients.entry(client).or_default() += 1;
    }

    fn remove(&mut self, client: IpAddr) {
        self.sessions -= 1;
        if let Some(count) = self.clients.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                self.clients.remove(&client);
            }
        }
    }
}

/// One session's place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Session {
    counters: Arc<Counters>,
    share: Arc<Share>,
    transport: Transport,
    client: IpAddr,
}

impl Session {
    pub(super) fn new(
        counters: Arc<Counters>,
        share: Arc<Share>,
        transport: Transport,
        client: IpAddr,
    ) -> Self {
        Self { counters, share, transport, client }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.share.held(self.transport).remove(self.client);
        self.counters.sessions(self.transport).fetch_sub(1, Ordering::Relaxed);
    }
}

/// One listener's place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    counters: Arc<Counters>,
    share: Arc<Share>,
}

impl Listener {
    pub(super) fn new(counters: Arc<Counters>, share: Arc<Share>) -> Self {
        counters.listener_opened();
        share.listeners.fetch_add(1, Ordering::Relaxed);
        Self { counters, share }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.share.listeners.fetch_sub(1, Ordering::Relaxed);
        self.counters.listener_closed();
    }
}
