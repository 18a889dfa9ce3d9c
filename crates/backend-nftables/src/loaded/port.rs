//! One service port as it is loaded: what it is, and which slot leads to which of its endpoints.

use std::sync::Arc;

use portolan_core::ServicePort;

use crate::frontend::{Frontend, Item, List};
use crate::slots::{Order, Slots};

/// A service port as it is loaded. There is one of these for each, so it is kept small.
#[derive(Debug)]
pub(super) struct LoadedPort {
    pub(super) port: Arc<ServicePort>,
    /// In what order slots lead to its endpoints, those of the Cluster list and of the Local one;
    /// nothing when both are in the order of the lists, as after a load.
    orders: Option<Box<[Order; 2]>>,
}

/// The slots of both lists of a service port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SlotLists {
    pub(crate) cluster: Slots,
    pub(crate) local: Slots,
}

impl LoadedPort {
    /// Remembers the slots of a service port, which lead to its endpoints.
    pub(super) fn pack(port: &Arc<ServicePort>, slots: &SlotLists) -> Self {
        let orders = [List::Cluster, List::Local].map(|list| Order::of(slots.of(list), list.of(port)));
        let orders = orders.iter().any(|order| !order.is_sorted()).then(|| Box::new(orders));
        Self { port: Arc::clone(port), orders }
    }

    /// The service port, and its slots again.
    pub(super) fn unpack(self) -> (Arc<ServicePort>, SlotLists) {
        let [cluster, local] = self.orders.map(|orders| *orders).unwrap_or_default();
        let cluster = cluster.slots(&self.port.cluster_endpoints);
        let local = local.slots(&self.port.local_endpoints);
        (self.port, SlotLists { cluster, local })
    }
}

impl SlotLists {
    pub(crate) fn of(&self, list: List) -> &Slots {
        match list {
            List::Cluster => &self.cluster,
            List::Local => &self.local,
        }
    }

    pub(super) fn items(&self, frontend: &Frontend) -> impl Iterator<Item = Item> {
        frontend.slot_maps().flat_map(move |(map, list)| {
            self.of(list).iter().map(move |(slot, target)| frontend.slot(map, slot, target))
        })
    }

    pub(super) fn of_mut(&mut self, list: List) -> &mut Slots {
        match list {
            List::Cluster => &mut self.cluster,
            List::Local => &mut self.local,
        }
    }
}
