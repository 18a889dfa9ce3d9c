//! First loads. They grow with what is loaded, and no faster.

use crate::cluster::lists;
use crate::cost::Cost;
use crate::node::Node;

/// The first load of so many Services with so many endpoints each.
struct Load {
    services: u32,
    endpoints: u32,
    cost: Cost,
}

impl Load {
    fn measure(services: u32, endpoints: u32) -> Self {
        Self { services, endpoints, cost: Node::start().apply(lists(services, endpoints)) }
    }

    fn all_endpoints(&self) -> u32 {
        self.services * self.endpoints
    }

    /// A part of the cost for each of the endpoints.
    fn each(&self, figure: fn(&Cost) -> u64) -> f64 {
        let figure = u32::try_from(figure(&self.cost)).unwrap();
        f64::from(figure) / f64::from(self.all_endpoints())
    }

    /// Operations that are no elements of Services: tables, chains, rules and sets.
    ///
    /// A Service has its verdict and its cluster IP, an endpoint its slot, and one that may be on this node, as
    /// each hundredth is here, its hairpin.
    fn structure(&self) -> usize {
        let elements = 2 * self.services + self.all_endpoints() + self.all_endpoints() / 100;
        self.cost.operations - usize::try_from(elements).unwrap()
    }
}

/// Checks a small load and one eight times as large; the bounds are for each endpoint.
fn check([small, large]: &[Load; 2], allocations: f64, allocated_bytes: f64, peak_bytes: f64) {
    for (name, figure, bound) in [
        ("allocations", (|cost| cost.allocations) as fn(&Cost) -> u64, allocations),
        ("allocated bytes", |cost| cost.allocated_bytes, allocated_bytes),
        ("peak bytes", |cost| cost.peak_bytes, peak_bytes),
    ] {
        let (before, now) = (small.each(figure), large.each(figure));
        // To set bounds by, with `--nocapture`.
        println!("{name} for each endpoint: {before:.2}, then {now:.2}");
        // Tables grow by doubling, so the larger cluster may be the one that has just done it; work that grew
        // with the square would be eight times as much.
        assert!(now <= before * 2.0, "{name} for each endpoint grew from {before:.2} to {now:.2}");
        assert!(before.max(now) <= bound, "{name} for each endpoint: {before:.2} and {now:.2}, not {bound}");
    }
}

#[test]
fn a_first_load_allocates_for_each_endpoint_what_it_did_in_a_smaller_cluster() {
    // Measured: 9.4 and 9.1 allocations, 4,263 and 4,218 bytes, 1,535 and 1,513 at the peak. A Service of two
    // endpoints is mostly the Service.
    check(&[Load::measure(500, 2), Load::measure(4_000, 2)], 12.0, 5_300.0, 1_900.0);
    // Measured: 0.76 and 0.70 allocations, 1,159 and 1,260 bytes, 453 and 227 at the peak.
    check(&[Load::measure(100, 50), Load::measure(800, 50)], 1.0, 1_600.0, 570.0);
}

#[test]
fn a_first_load_writes_each_element_once_beside_what_every_table_has() {
    let loads =
        [(100, 2), (4_000, 2), (800, 50)].map(|(services, endpoints)| Load::measure(services, endpoints));
    let structures = loads.each_ref().map(Load::structure);
    assert!(structures.iter().all(|structure| *structure == structures[0]), "{structures:?}");
    assert!(structures[0] < 100, "{structures:?}");
}

#[test]
fn a_first_load_is_cut_into_transactions_of_bounded_size() {
    let load = Load::measure(800, 50);
    // At most 16,384 elements in each, and half full on the whole.
    let (least, most) = (load.cost.operations / 16_384, 2 * load.cost.operations / 16_384 + 1);
    assert!((least..=most).contains(&load.cost.transactions), "{:?}", load.cost);
    // A message for each element would be as many as operations; they are sent by the hundred and more.
    assert!(load.cost.messages < load.cost.operations / 100, "{:?}", load.cost);
}
