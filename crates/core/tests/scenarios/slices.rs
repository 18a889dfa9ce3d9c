//! Which ports the slices of a Service change, and whether flows are checked because of it.

use super::*;

/// A UDP slice of the Service `a` or `b`: `a-1 p11:11,p12:12 1@n1 2`, where `-` is the unnamed port.
fn udp(text: &str) -> Event {
    let mut words = text.splitn(3, ' ');
    let (name, ports) = (words.next().unwrap(), words.next().unwrap());
    let (owner, _) = name.split_once('-').unwrap();
    let bare = ports.split(',').fold(slice(&format!("ns/{name}"), owner), |slice, port| {
        let (name, number) = port.split_once(':').unwrap();
        slice.port(name.trim_matches('-'), Udp, number.parse().unwrap())
    });
    with_endpoints(bare, words.next().unwrap_or_default()).applied()
}

fn gone(name: &str) -> Event {
    deleted_slice(&format!("ns/{name}"))
}

/// Two Services with every port that the slices of these tests name.
fn udp_services() -> Vec<Event> {
    let ports = |name: &str, ip: &str| {
        let bare = service(&format!("ns/{name}"), ip).port("", Udp, 1);
        (11..15).fold(bare, |service, port| service.port(&format!("p{port}"), Udp, port)).applied()
    };
    vec![ports("a", "10.96.0.1"), ports("b", "10.96.0.2")]
}

/// Whether flows to an address may be left that no new one would follow.
#[derive(Debug, PartialEq, Eq)]
enum Flows {
    Checked,
    Left,
}

use Flows::{Checked, Left};

/// The rule, what is programmed, what happens then, which ports change, and whether flows are checked.
type Row = (&'static str, Vec<Event>, Vec<Event>, Vec<&'static str>, Flows);

fn assert_rows(rows: Vec<Row>) {
    for (rule, before, then, expected, flows) in rows {
        let mut state = state_of(udp_services().into_iter().chain(before));
        commit(&mut state);
        happen(&mut state, then);
        assert_eq!(changed(&state, V4), expected, "{rule}");
        let check = portolan_core::FlowCheck::after(state.plan(V4), state.changes(V4));
        assert_eq!(if check.is_empty() { Left } else { Checked }, flows, "{rule}");
    }
}

#[test]
fn slice_changes_affect_only_ports_of_their_service() {
    assert_rows(vec![
        ("nothing", vec![], vec![], vec![], Left),
        ("the same, unnamed port", vec![udp("a-1 -:11 1")], vec![udp("a-1 -:11 1")], vec![], Left),
        (
            "the same, several slices and ports",
            vec![udp("a-1 p11:11 1@n1"), udp("a-2 p12:12,p13:13 2@n1")],
            vec![udp("a-2 p12:12,p13:13 2@n1"), udp("a-1 p11:11 1@n1")],
            vec![],
            Left,
        ),
        ("a first slice, unnamed port", vec![], vec![udp("a-1 -:11 1")], vec!["ns/a udp"], Checked),
        ("a last slice goes", vec![udp("a-1 -:11 1")], vec![gone("a-1")], vec!["ns/a udp"], Checked),
        (
            "an address and a port more",
            vec![udp("a-1 p11:11 1")],
            vec![udp("a-1 p11:11,p12:12 1 2")],
            vec!["ns/a:p11 udp", "ns/a:p12 udp"],
            Checked,
        ),
        (
            "an address more, of a port that has one",
            vec![udp("a-1 p11:11 1")],
            vec![udp("a-1 p11:11 1 2")],
            vec!["ns/a:p11 udp"],
            Left,
        ),
        (
            "an address and a port less",
            vec![udp("a-1 p11:11,p12:12 1 2")],
            vec![udp("a-1 p11:11 1")],
            vec!["ns/a:p11 udp", "ns/a:p12 udp"],
            Checked,
        ),
        (
            "a second slice with another port",
            vec![udp("a-1 p11:11 1")],
            vec![udp("a-2 p12:12 2")],
            vec!["ns/a:p12 udp"],
            Checked,
        ),
        (
            "the second goes again",
            vec![udp("a-1 p11:11 1"), udp("a-2 p12:12 2")],
            vec![gone("a-2")],
            vec!["ns/a:p12 udp"],
            Checked,
        ),
        (
            "a port is renamed",
            vec![udp("a-1 p11:11 1")],
            vec![udp("a-1 p12:11 1")],
            vec!["ns/a:p11 udp", "ns/a:p12 udp"],
            Checked,
        ),
        (
            "a port is renumbered",
            vec![udp("a-1 p11:11 1")],
            vec![udp("a-1 p11:22 1")],
            vec!["ns/a:p11 udp"],
            Checked,
        ),
        (
            "much at once",
            vec![udp("a-1 p11:11 1@n1 2"), udp("b-1 p12:12 3@n1"), udp("b-2 p13:13 4@n1")],
            vec![udp("a-1 p11:11 1@n1"), gone("b-1"), udp("b-2 p13:13,p14:14 4@n1"), udp("a-2 p12:12 5")],
            vec!["ns/a:p11 udp", "ns/a:p12 udp", "ns/b:p12 udp", "ns/b:p14 udp"],
            Checked,
        ),
    ]);
}

#[test]
fn conditions_change_a_port_only_if_the_selection_changes() {
    assert_rows(vec![
        ("an empty slice fills", vec![udp("a-1 -:11")], vec![udp("a-1 -:11 1")], vec!["ns/a udp"], Checked),
        (
            "one of two starts to terminate",
            vec![udp("a-1 -:11 1 2")],
            vec![udp("a-1 -:11 1/serving 2")],
            vec!["ns/a udp"],
            Left,
        ),
        (
            "the only one starts to terminate and goes on being used",
            vec![udp("a-1 -:11 1")],
            vec![udp("a-1 -:11 1/serving")],
            vec![],
            Left,
        ),
        (
            "one stops serving",
            vec![udp("a-1 -:11 1/serving")],
            vec![udp("a-1 -:11 1/gone")],
            vec!["ns/a udp"],
            Checked,
        ),
        (
            "a terminating one that was not used goes",
            vec![udp("a-1 -:11 1/gone 2")],
            vec![udp("a-1 -:11 2")],
            vec![],
            Left,
        ),
        (
            "all become unready",
            vec![udp("a-1 -:11 1 2")],
            vec![udp("a-1 -:11 1/unready 2/unready")],
            vec!["ns/a udp"],
            Checked,
        ),
        (
            "all become ready",
            vec![udp("a-1 -:11 1/unready")],
            vec![udp("a-1 -:11 1")],
            vec!["ns/a udp"],
            Checked,
        ),
        (
            "some become ready",
            vec![udp("a-1 -:11 1 2/unready")],
            vec![udp("a-1 -:11 1 2")],
            vec!["ns/a udp"],
            Left,
        ),
    ]);
}

#[test]
fn unchanged_slices_change_nothing() {
    assert_rows(vec![
        ("an unknown slice goes", vec![udp("a-1 -:11 1")], vec![gone("a-9")], vec![], Left),
        (
            "a slice comes with the content of another",
            vec![udp("a-1 p11:11,p12:12 1")],
            vec![udp("a-2 p11:11 1")],
            vec![],
            Left,
        ),
        (
            "one of two that say the same goes",
            vec![udp("a-1 p11:11 1"), udp("a-2 p11:11,p12:12 1")],
            vec![gone("a-1")],
            vec![],
            Left,
        ),
        ("endpoints in another order", vec![udp("a-1 -:11 1 2")], vec![udp("a-1 -:11 2 1")], vec![], Left),
        (
            "ports in another order",
            vec![udp("a-1 p11:11,p12:12 1")],
            vec![udp("a-1 p12:12,p11:11 1")],
            vec![],
            Left,
        ),
        (
            "it comes and goes before anything is applied",
            vec![],
            vec![udp("a-1 -:11 1"), gone("a-1")],
            vec![],
            Left,
        ),
    ]);
}

#[test]
fn port_removed_from_a_slice_is_in_the_change_set_as_last_applied() {
    let mut state = state_of(udp_services().into_iter().chain([udp("a-1 p11:11,p12:12 1")]));
    commit(&mut state);
    happen(&mut state, [udp("a-1 p11:11 1")]);
    let (name, old) = state.changes(V4).service_ports().next().unwrap();
    assert_eq!((&*name.port, old.unwrap().cluster_endpoints.len()), ("p12", 1));
    assert_eq!(lists(planned_l4(&state, V4, "ns/a", "p12", Udp)).0, "");
}
