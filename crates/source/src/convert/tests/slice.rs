//! EndpointSlices.

use std::time::{Duration, SystemTime};

use portolan_core::address::{IpFamily, Protocol};
use portolan_core::event::Conditions;

use super::*;

#[test]
fn slices_without_a_service_or_a_family_are_ignored() {
    let cases = [
        ("no label", json!({"metadata": {"labels": null}})),
        ("empty label", json!({"metadata": {"labels": {"kubernetes.io/service-name": ""}}})),
        ("headless", json!({"metadata": {"labels": {"service.kubernetes.io/headless": ""}}})),
        ("FQDN", json!({"addressType": "FQDN", "endpoints": [{"addresses": ["web.example"]}]})),
        ("no address type", json!({"addressType": null})),
    ];
    for (rule, patch) in cases {
        let (converted, _) = slice_from(Origin::Api, &patch);
        assert!(
            matches!(converted, Converted::NotProxied(key) if key.to_string() == "shop/web-abc"),
            "{rule}"
        );
    }
}

#[test]
fn null_lists_of_a_slice_are_empty() {
    let json =
        br#"{"metadata":{"namespace":"shop","name":"web-abc","labels":{"kubernetes.io/service-name":"web"}},
        "addressType":"IPv6","endpoints":null,"ports":null}"#;
    let wire: wire::EndpointSlice<'_> = object_from_json("EndpointSlice", json).unwrap();
    let Converted::Proxied(slice) = EndpointSlice::convert(&mut converter(Origin::Api), &wire).unwrap()
    else {
        panic!()
    };
    assert_eq!((slice.family, slice.ports.len(), slice.endpoints.len()), (IpFamily::V6, 0, 0));
    assert_eq!(slice.service_name().to_string(), "shop/web");
}

#[test]
fn slice_ports_need_a_number_and_from_the_api_a_name() {
    let patch = json!({"ports": [
        {"port": 1},
        {"name": "", "port": 2},
        {"name": "dns", "protocol": "UDP", "port": 53},
        {"name": "nil"},
        {"name": "zero", "port": 0},
        {"name": "odd", "protocol": "GRE", "port": 5},
    ]});
    let names = |slice: &EndpointSlice| -> Vec<_> {
        slice.ports.iter().map(|port| (port.name.to_string(), port.protocol, port.port)).collect()
    };
    let (slice, problems) = proxied_slice(&patch);
    let expected = [(String::new(), Protocol::Tcp, 2), ("dns".to_owned(), Protocol::Udp, 53)];
    assert_eq!(names(&slice), expected);
    assert_eq!(problems.len(), 4, "{problems:?}");
    assert_eq!(problems[0], "EndpointSlice shop/web-abc: ports[0].name: is missing");
    let (Converted::Proxied(slice), problems) = slice_from(Origin::Manifest, &patch) else { panic!() };
    assert_eq!(names(&slice)[0], (String::new(), Protocol::Tcp, 1));
    assert_eq!((slice.ports.len(), problems.len()), (3, 4), "the first two are one port now: {problems:?}");
}

#[test]
fn a_port_listed_twice_in_a_slice_is_used_twice_and_reported() {
    let (slice, problems) = proxied_slice(&json!({"ports": [
        {"name": "http", "port": 8080},
        {"name": "http", "port": 8081},
        {"name": "http", "port": 8080, "protocol": "UDP"},
        {"name": "http", "port": 8080},
    ]}));
    assert_eq!(slice.ports.len(), 4);
    let before = "an earlier tcp port is named \"http\"";
    assert_eq!(
        problems,
        [
            format!(
                "EndpointSlice shop/web-abc: ports[1]: {before}, so that connections go to both 8080 and 8081"
            ),
            format!("EndpointSlice shop/web-abc: ports[3]: {before}, which changes nothing"),
        ]
    );
}

#[test]
fn absent_conditions_mean_ready_and_serving() {
    let case = |ready, serving, terminating| Conditions { ready, serving, terminating };
    let cases = [
        (json!(null), case(true, true, false)),
        (json!({}), case(true, true, false)),
        (json!({"ready": null, "serving": null, "terminating": null}), case(true, true, false)),
        (json!({"ready": false}), case(false, true, false)),
        (json!({"ready": true, "serving": false}), case(true, false, false)),
        (json!({"ready": false, "serving": true, "terminating": true}), case(false, true, true)),
        (json!({"ready": true, "terminating": true}), case(true, true, true)),
    ];
    for (conditions, expected) in cases {
        let patch = json!({"endpoints": [{"addresses": ["10.244.1.5"], "conditions": conditions}]});
        let (slice, _) = proxied_slice(&patch);
        assert_eq!(slice.endpoints[0].conditions, expected, "{patch}");
    }
}

#[test]
fn only_the_first_address_of_an_endpoint_counts() {
    let (slice, problems) = proxied_slice(&json!({"endpoints": [
        {"addresses": ["10.244.1.5", "10.244.1.6"], "nodeName": "n1"},
        {"addresses": []},
        {"addresses": null},
        {"addresses": ["fd00::5"]},
        {"addresses": ["pod"]},
        {"addresses": ["010.244.1.7"], "nodeName": ""},
        {"addresses": ["::ffff:10.244.1.8"], "nodeName": null},
        {"addresses": ["10.244.1.5"], "nodeName": "n1"},
    ]}));
    let endpoints: Vec<_> = slice
        .endpoints
        .iter()
        .map(|endpoint| (endpoint.address.to_string(), endpoint.node.as_deref()))
        .collect();
    let expected = [
        ("10.244.1.5".to_owned(), Some("n1")),
        ("10.244.1.7".to_owned(), None),
        ("10.244.1.8".to_owned(), None),
        ("10.244.1.5".to_owned(), Some("n1")),
    ];
    assert_eq!(endpoints, expected);
    assert_eq!(
        problems,
        [
            "EndpointSlice shop/web-abc: endpoints[1].addresses: is empty",
            "EndpointSlice shop/web-abc: endpoints[2].addresses: is empty",
            "EndpointSlice shop/web-abc: endpoints[3].addresses: fd00::5 is no IPv4 address",
            "EndpointSlice shop/web-abc: endpoints[4].addresses: \"pod\" is not an IP address",
        ]
    );
}

#[test]
fn equal_hints_are_one_allocation_and_no_hints_are_none() {
    let zones =
        json!({"forZones": [{"name": "b"}, {"name": "a"}, {"name": "a"}], "forNodes": [{"name": "n1"}]});
    let same = json!({"forZones": [{"name": "a"}, {"name": "b"}], "forNodes": [{"name": "n1"}]});
    let endpoint = |hints: &Value| json!({"addresses": ["10.244.1.5"], "hints": hints});
    let (slice, _) = proxied_slice(&json!({"endpoints": [
        endpoint(&zones), endpoint(&same), endpoint(&json!({})), endpoint(&json!(null)), endpoint(&json!({"forZones": [{"name": ""}]})),
    ]}));
    let hints: Vec<_> = slice.endpoints.iter().map(|endpoint| endpoint.hints.as_ref()).collect();
    assert_eq!(hints[0].unwrap().zones.iter().map(|zone| &**zone).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(hints[0].unwrap().nodes.len(), 1);
    assert!(Arc::ptr_eq(hints[0].unwrap(), hints[1].unwrap()));
    assert_eq!(hints[2..], [None, None, None]);
}

#[test]
fn unused_hints_are_removed() {
    let mut converter = converter(Origin::Api);
    for zone in 0..10 * crate::convert::MIN_HINTS {
        let json = slice_json(&json!({"endpoints": [
            {"addresses": ["10.0.0.1"], "hints": {"forZones": [{"name": format!("z{zone}")}]}},
        ]}));
        let wire: wire::EndpointSlice<'_> = object_from_json("EndpointSlice", &json).unwrap();
        EndpointSlice::convert(&mut converter, &wire).unwrap();
    }
    assert!(converter.hints.len() <= crate::convert::MIN_HINTS, "{}", converter.hints.len());
}

#[test]
fn trigger_time_is_read_to_the_nanosecond_and_nonsense_is_none() {
    let with = |time: &str| {
        proxied_slice(
            &json!({"metadata": {"annotations": {"endpoints.kubernetes.io/last-change-trigger-time": time}}}),
        )
    };
    let (slice, _) = with("2026-11-21T02:30:00.123456789Z");
    assert_eq!(slice.trigger_time, Some(SystemTime::UNIX_EPOCH + Duration::new(1_795_228_200, 123_456_789)));
    let (slice, problems) = with("yesterday");
    assert_eq!((slice.trigger_time, problems.len()), (None, 0));
}

#[test]
fn endpoints_of_a_slice_are_bounded_by_its_ports() {
    let endpoints: Vec<Value> =
        (0..1000).map(|i| json!({"addresses": [format!("10.244.{}.{}", i / 250, i % 250)]})).collect();
    for (ports, served, named) in [(131, 1000, 0), (1024, 128, 1), (20_000, 6, 1)] {
        let ports: Vec<Value> =
            (0..ports).map(|i| json!({"name": format!("p{i}"), "port": i % 60_000 + 1})).collect();
        let (slice, problems) = proxied_slice(&json!({"ports": ports, "endpoints": endpoints}));
        assert_eq!((slice.ports.len(), slice.endpoints.len()), (ports.len(), served));
        assert_eq!(problems.len(), named, "{problems:?}");
    }
}

#[test]
fn an_unusable_slice_of_a_manifest_is_reported() {
    let label = "metadata.labels[kubernetes.io/service-name]: is missing, so the slice belongs to no Service";
    let cases = [
        (json!({"metadata": {"labels": null}}), label, false),
        (
            json!({"addressType": "FQDN"}),
            "addressType: names are not proxied, so the slice is ignored",
            false,
        ),
        (json!({"ports": [{"name": "all"}]}), "ports[0].port: is missing", false),
        (json!({"addressType": "IPV4"}), "addressType: unsupported value \"IPV4\" (want IPv4 or IPv6)", true),
        (json!({"addressType": null}), "addressType: is missing", true),
        (json!({"ports": [{"port": 0}]}), "ports[0].port: 0 is no port", true),
    ];
    for (patch, expected, is_invalid) in cases {
        let json = slice_json(&patch);
        let wire: wire::EndpointSlice<'_> = object_from_json("EndpointSlice", &json).unwrap();
        let mut converter = converter(Origin::Manifest);
        EndpointSlice::convert(&mut converter, &wire).unwrap();
        let [problem] = &converter.take_problems()[..] else { panic!("{patch}") };
        assert_eq!(problem.to_string(), format!("EndpointSlice shop/web-abc: {expected}"));
        assert_eq!(problem.is_invalid, is_invalid, "{patch}");
    }
    let headless = json!({"metadata": {"labels": {"service.kubernetes.io/headless": ""}}});
    assert_eq!(slice_from(Origin::Manifest, &headless).1, Vec::<String>::new());
    assert_eq!(slice_from(Origin::Api, &json!({"metadata": {"labels": null}})).1, Vec::<String>::new());
}
