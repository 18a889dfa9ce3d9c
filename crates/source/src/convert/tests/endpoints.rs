//! Endpoints.

use portolan_core::address::Protocol;
use portolan_core::event::Conditions;
use portolan_core::name::ObjectName;

use super::*;

fn mirrored(endpoints: &Value) -> ((ObjectName, Vec<EndpointSlice>), Vec<String>) {
    let json = serde_json::to_vec(endpoints).unwrap();
    let wire: wire::Endpoints<'_> = object_from_json("Endpoints", &json).unwrap();
    let mut converter = converter(Origin::Manifest);
    let object = converter.endpoints(&wire).unwrap();
    (object, converter.take_problems().iter().map(ToString::to_string).collect())
}

#[test]
fn endpoints_become_one_slice_per_subset_and_family() {
    let ((name, slices), problems) = mirrored(&json!({
        "metadata": {"name": "db", "namespace": "shop"},
        "subsets": [
            {
                "addresses": [{"ip": "203.0.113.20", "nodeName": "n1"}, {"ip": "fd00::20"}],
                "notReadyAddresses": [{"ip": "203.0.113.21"}],
                "ports": [{"name": "pg", "port": 5432}],
            },
            {"addresses": [{"ip": "203.0.113.22"}, {"ip": "db2"}], "ports": [{"port": 5433, "protocol": "UDP"}]},
            {"notReadyAddresses": null, "ports": null},
        ],
    }));
    let names: Vec<_> = slices.iter().map(|slice| slice.name.to_string()).collect();
    assert_eq!(names, ["shop/db/0/IPv4", "shop/db/0/IPv6", "shop/db/1/IPv4"]);
    assert!(slices.iter().all(|slice| slice.service_name() == name));
    let first = &slices[0];
    let not_ready = Conditions { ready: false, serving: false, terminating: false };
    let endpoints: Vec<_> =
        first.endpoints.iter().map(|e| (e.address.to_string(), e.conditions, e.node.as_deref())).collect();
    assert_eq!(
        endpoints,
        [
            ("203.0.113.20".to_owned(), Conditions::READY, Some("n1")),
            ("203.0.113.21".to_owned(), not_ready, None),
        ]
    );
    assert_eq!((&*slices[2].ports[0].name, slices[2].ports[0].protocol), ("", Protocol::Udp));
    assert_eq!(problems, ["Endpoints shop/db: subsets[1].addresses[1].ip: \"db2\" is not an IP address"]);
}

#[test]
fn headless_endpoints_become_no_slices() {
    let ((name, slices), _) = mirrored(&json!({
        "metadata": {"name": "db", "labels": {"service.kubernetes.io/headless": ""}},
        "subsets": [{"addresses": [{"ip": "203.0.113.20"}], "ports": [{"port": 5432}]}],
    }));
    assert_eq!((name.to_string().as_str(), slices.len()), ("default/db", 0));
}
