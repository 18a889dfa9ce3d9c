//! Changes on a loaded node. Their cost follows the change and never the cluster.

use portolan_core::event::Event;

use crate::cluster::{applied_service, applied_slice, deleted_service, lists, nth_service, slice_of};
use crate::cost::Cost;
use crate::node::Node;

/// Services in the small cluster and in the large one.
pub(crate) const SIZES: [u32; 2] = [100, 2_000];
/// A pod number that no list uses.
const FRESH: u32 = 1_000_000;

/// What a change may cost: exactly so many operations in so many messages, and of bytes and allocations about a
/// quarter more than was measured (x86-64, a debug build).
struct Bound {
    allocations: u64,
    allocated_bytes: u64,
    operations: usize,
    messages: usize,
    message_bytes: usize,
}

/// Makes the same changes in clusters of both sizes, with two endpoints for each Service.
fn measured<E: IntoIterator<Item = Event>>(prepare: fn(&mut Node), change: fn(u32) -> E) -> [Cost; 2] {
    SIZES.map(|services| {
        let mut node = Node::loaded(services, 2);
        prepare(&mut node);
        node.repeat(change)
    })
}

fn check([small, large]: [Cost; 2], bound: &Bound) {
    // To set bounds by, with `--nocapture`.
    println!("{large:?}");
    assert_eq!(large.growth_since(&small), None);
    assert!(large.allocations <= bound.allocations, "{large:?}");
    assert!(large.allocated_bytes <= bound.allocated_bytes, "{large:?}");
    assert_eq!((large.operations, large.messages), (bound.operations, bound.messages), "{large:?}");
    assert!(large.message_bytes <= bound.message_bytes, "{large:?}");
    assert_eq!(large.transactions, usize::from(bound.operations > 0), "{large:?}");
}

/// Service `round * 10` gets a fresh pod instead of the first of its two.
pub(crate) fn endpoint_replaced(round: u32) -> [Event; 1] {
    let service = round * 10;
    [applied_slice(slice_of(service, 0, [FRESH + round, service * 2 + 1]))]
}

#[test]
fn a_replaced_endpoint_costs_the_same_in_any_cluster() {
    check(
        measured(|_| {}, endpoint_replaced),
        // Measured: 41 allocations of 5,129 bytes, 224 bytes sent.
        &Bound { allocations: 52, allocated_bytes: 6_500, operations: 2, messages: 2, message_bytes: 256 },
    );
}

#[test]
fn a_slice_that_is_as_before_costs_next_to_nothing_and_sends_nothing() {
    check(
        measured(|_| {}, |round| [applied_slice(slice_of(round * 10, 0, [round * 20, round * 20 + 1]))]),
        // Measured: nothing at all.
        &Bound { allocations: 2, allocated_bytes: 128, operations: 0, messages: 0, message_bytes: 0 },
    );
}

#[test]
fn an_added_service_costs_the_same_in_any_cluster() {
    let added = |round| {
        let number = 5_000 + round;
        [
            applied_slice(slice_of(number, 0, [FRESH + 2 * round, FRESH + 2 * round + 1])),
            applied_service(nth_service(number)),
        ]
    };
    check(
        measured(|_| {}, added),
        // Measured: 55 allocations of 8,129 bytes, 368 bytes sent.
        &Bound { allocations: 69, allocated_bytes: 10_500, operations: 4, messages: 3, message_bytes: 424 },
    );
}

#[test]
fn a_removed_service_costs_the_same_in_any_cluster() {
    check(
        measured(|_| {}, |round| [deleted_service(round * 10)]),
        // Measured: 35 allocations of 6,543 bytes, 304 bytes sent.
        &Bound { allocations: 44, allocated_bytes: 8_300, operations: 4, messages: 3, message_bytes: 352 },
    );
}

#[test]
fn one_endpoint_of_a_hundred_is_all_that_is_sent_of_its_slice() {
    let large_service = |node: &mut Node| {
        node.apply([
            applied_slice(slice_of(9_000, 0, FRESH..FRESH + 100)),
            applied_service(nth_service(9_000)),
        ]);
    };
    let one_replaced =
        |round| [applied_slice(slice_of(9_000, 0, (FRESH + round + 1)..(FRESH + round + 101)))];
    check(
        measured(large_service, one_replaced),
        // Measured: 53 allocations of 21,195 bytes, 224 bytes sent; a slot is found by its place in the old list.
        &Bound { allocations: 57, allocated_bytes: 26_500, operations: 2, messages: 2, message_bytes: 256 },
    );
}

#[test]
fn a_step_of_a_rolling_update_sends_what_that_step_changed() {
    // A thousand pods in ten slices, replaced one by one in the third.
    let deployment = |node: &mut Node| {
        let part =
            |part: u32| applied_slice(slice_of(9_000, part, FRESH + part * 100..FRESH + part * 100 + 100));
        node.apply((0..10).map(part).chain([applied_service(nth_service(9_000))]));
    };
    let replaced = |round: u32| {
        let (first, next) = (FRESH + 300, FRESH + 2_000);
        [applied_slice(slice_of(9_000, 3, (first + round + 1..first + 100).chain(next..=next + round)))]
    };
    check(
        measured(deployment, replaced),
        // Measured: 66 allocations of 197,567 bytes, 224 bytes sent; the Service is decided anew with all its endpoints.
        &Bound { allocations: 73, allocated_bytes: 247_000, operations: 2, messages: 2, message_bytes: 256 },
    );
}

#[test]
fn lists_that_bring_nothing_new_send_nothing() {
    let mut node = Node::loaded(SIZES[0], 2);
    let cost = node.apply(lists(SIZES[0], 2));
    assert_eq!((cost.operations, cost.messages, cost.transactions), (0, 0, 0), "{cost:?}");
}
