//! Plays the core in tests: folds the events of a source into what they amount to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::Duration;

use portolan_core::Event;
use portolan_core::event::{Change, EndpointSlice, Node, Object, Service, ServiceCidr};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// Longer than anything here takes on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// Objects of one kind as the events left them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Known<T: Object> {
    pub(crate) objects: BTreeMap<T::Key, T>,
    /// Sizes of the complete lists that came, in order.
    pub(crate) lists: Vec<usize>,
}

impl<T: Object> Default for Known<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), lists: Vec::new() }
    }
}

impl<T: Object + Clone> Known<T> {
    fn apply(&mut self, change: Change<T>) {
        match change {
            Change::Applied(object) => {
                assert!(!self.lists.is_empty(), "{} came before the first list", object.key());
                self.objects.insert(object.key().clone(), object);
            }
            Change::Deleted(key) => {
                assert!(!self.lists.is_empty(), "{key} went before the first list");
                self.objects.remove(&key);
            }
            Change::Replaced(objects) => {
                self.lists.push(objects.len());
                let count = objects.len();
                self.objects = objects.into_iter().map(|object| (object.key().clone(), object)).collect();
                assert_eq!(self.objects.len(), count, "a list names an object twice");
            }
        }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.objects.keys().map(ToString::to_string).collect()
    }
}

/// What a core would know.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct World {
    pub(crate) services: Known<Service>,
    pub(crate) slices: Known<EndpointSlice>,
    pub(crate) nodes: Known<Node>,
    pub(crate) service_cidrs: Known<ServiceCidr>,
    pub(crate) api_server: BTreeSet<SocketAddr>,
}

impl World {
    pub(crate) fn apply(&mut self, event: Event) {
        match event {
            Event::Service(change) => self.services.apply(change),
            Event::EndpointSlice(change) => self.slices.apply(change),
            Event::Node(change) => self.nodes.apply(change),
            Event::ServiceCidr(change) => self.service_cidrs.apply(change),
            Event::ApiServer(sockets) => self.api_server = sockets,
        }
    }

    pub(crate) fn is_listed(&self) -> bool {
        let lists = [
            self.services.lists.len(),
            self.slices.lists.len(),
            self.nodes.lists.len(),
            self.service_cidrs.lists.len(),
        ];
        lists.iter().all(|count| *count > 0)
    }

    /// The endpoints of a service port, as `address:port`, for short assertions.
    pub(crate) fn endpoints_of(&self, service: &str) -> Vec<String> {
        let slices = self.slices.objects.values().filter(|slice| slice.service_name().to_string() == service);
        slices
            .flat_map(|slice| {
                slice.endpoints.iter().flat_map(|endpoint| {
                    slice.ports.iter().map(move |port| format!("{}:{}", endpoint.address, port.port))
                })
            })
            .collect()
    }
}

/// The receiving end of a source under test.
#[derive(Debug)]
pub(crate) struct Downstream {
    events: mpsc::Receiver<Event>,
    pub(crate) world: World,
}

impl Downstream {
    pub(crate) fn new() -> (mpsc::Sender<Event>, Self) {
        // Small on purpose: a source must get along with a slow reader.
        let (sender, events) = mpsc::channel(4);
        (sender, Self { events, world: World::default() })
    }

    /// Takes events in until the world looks as wanted.
    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&World) -> bool) -> &World {
        let deadline = Instant::now() + TIME_LIMIT;
        while !wanted(&self.world) {
            match timeout_at(deadline, self.events.recv()).await {
                Ok(Some(event)) => self.world.apply(event),
                Ok(None) => panic!("the source ended before {what}: {:#?}", self.world),
                Err(late) => panic!("no {what} in {TIME_LIMIT:?} ({late}): {:#?}", self.world),
            }
        }
        &self.world
    }

    /// Takes in all that comes within `time`; the number of events about objects.
    pub(crate) async fn during(&mut self, time: Duration) -> usize {
        let deadline = Instant::now() + time;
        let mut count = 0;
        while let Ok(Some(event)) = timeout_at(deadline, self.events.recv()).await {
            count += usize::from(!matches!(event, Event::ApiServer(_)));
            self.world.apply(event);
        }
        count
    }

    pub(crate) async fn listed(&mut self) -> &World {
        self.until("first list of every kind", World::is_listed).await
    }
}
