//! Every rule of the conversion, one row each.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use portolan_core::address::{IpFamily, Protocol};
use portolan_core::event::{Conditions, EndpointSlice, Node, Service, ServiceType, TrafficPolicy};
use portolan_core::name::Interner;
use serde_json::{Value, json};

use super::endpoints::MirroredEndpoints;
use super::{Converted, Converter, Origin};
use crate::decode::object_from_json;
use crate::wire;

fn converter(origin: Origin) -> Converter {
    Converter::new(origin, Arc::new(Mutex::new(Interner::default())))
}

/// Lays `patch` over `base`: objects merge, `null` removes, anything else replaces.
fn merged(base: &Value, patch: &Value) -> Value {
    match (base, patch) {
        (Value::Object(base), Value::Object(patch)) => {
            let mut result = base.clone();
            for (key, value) in patch {
                let old = result.remove(key).unwrap_or(Value::Null);
                if !value.is_null() {
                    result.insert(key.clone(), merged(&old, value));
                }
            }
            Value::Object(result)
        }
        (Value::Null, Value::Object(_)) => merged(&json!({}), patch),
        _ => patch.clone(),
    }
}

fn web(patch: &Value) -> Vec<u8> {
    let base = json!({
        "metadata": {"namespace": "shop", "name": "web"},
        "spec": {
            "type": "ClusterIP", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ipFamilies": ["IPv4"],
            "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": "http"}],
        },
    });
    serde_json::to_vec(&merged(&base, patch)).unwrap()
}

fn service_from(origin: Origin, patch: &Value) -> (Converted<Service>, Vec<String>) {
    let json = web(patch);
    let wire: wire::Service<'_> = object_from_json("Service", &json).unwrap();
    let mut turner = converter(origin);
    let converted = turner.service(&wire).unwrap();
    (converted, turner.take_problems().iter().map(ToString::to_string).collect())
}

fn proxied(patch: &Value) -> (Service, Vec<String>) {
    match service_from(Origin::Api, patch) {
        (Converted::Proxied(service), problems) => (service, problems),
        (Converted::NotProxied(_), problems) => panic!("{patch} is not proxied: {problems:?}"),
    }
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

#[test]
fn services_that_are_not_ours_to_proxy_yield_only_their_name() {
    let cases = [
        (
            "service-proxy-name",
            json!({"metadata": {"labels": {"service.kubernetes.io/service-proxy-name": "other"}}}),
        ),
        (
            "empty service-proxy-name",
            json!({"metadata": {"labels": {"service.kubernetes.io/service-proxy-name": ""}}}),
        ),
        ("headless", json!({"spec": {"clusterIP": "None", "clusterIPs": ["None"]}})),
        ("no cluster IP yet", json!({"spec": {"clusterIP": "", "clusterIPs": null}})),
        ("no cluster IP field", json!({"spec": {"clusterIP": null, "clusterIPs": null}})),
        ("ExternalName", json!({"spec": {"type": "ExternalName", "clusterIP": null, "clusterIPs": null}})),
        ("ExternalName that kept its cluster IP", json!({"spec": {"type": "ExternalName"}})),
        ("unreadable cluster IP", json!({"spec": {"clusterIP": "web", "clusterIPs": ["web"]}})),
    ];
    for (rule, patch) in cases {
        match service_from(Origin::Api, &patch).0 {
            Converted::NotProxied(key) => assert_eq!(key.to_string(), "shop/web", "{rule}"),
            Converted::Proxied(service) => panic!("{rule}: {service:?}"),
        }
    }
}

#[test]
fn a_family_takes_the_cluster_ip_that_ip_families_gives_it() {
    let spec = |ip: &str, ips: Value, families: Value| json!({"spec": {"clusterIP": ip, "clusterIPs": ips, "ipFamilies": families}});
    let both = json!(["10.96.0.1", "fd00::1"]);
    let cases = [
        ("no families, IPv4", spec("10.96.0.1", json!(["10.96.0.1"]), json!(null)), Some("10.96.0.1"), None),
        ("no families, IPv6", spec("fd00::1", json!(["fd00::1"]), json!(null)), None, Some("fd00::1")),
        (
            "no families, second address does not count",
            spec("10.96.0.1", both.clone(), json!([])),
            Some("10.96.0.1"),
            None,
        ),
        (
            "dual-stack",
            spec("10.96.0.1", both.clone(), json!(["IPv4", "IPv6"])),
            Some("10.96.0.1"),
            Some("fd00::1"),
        ),
        (
            "dual-stack, IPv6 first",
            spec("fd00::1", json!(["fd00::1", "10.96.0.1"]), json!(["IPv6", "IPv4"])),
            Some("10.96.0.1"),
            Some("fd00::1"),
        ),
        (
            "family without an entry",
            spec("10.96.0.1", json!(["10.96.0.1"]), json!(["IPv4", "IPv6"])),
            Some("10.96.0.1"),
            None,
        ),
        ("entry without a family", spec("10.96.0.1", both, json!(["IPv4"])), Some("10.96.0.1"), None),
        (
            "zeros in front",
            spec("172.30.0.041", json!(["172.30.0.041"]), json!(["IPv4"])),
            Some("172.30.0.41"),
            None,
        ),
        ("only clusterIP", spec("10.96.0.1", json!(null), json!(["IPv4"])), Some("10.96.0.1"), None),
    ];
    for (rule, patch, v4, v6) in cases {
        let (service, problems) = proxied(&patch);
        let ip = |family| service.cluster_ips[family].map(|ip| ip.to_string());
        assert_eq!(ip(IpFamily::V4).as_deref(), v4, "{rule}");
        assert_eq!(ip(IpFamily::V6).as_deref(), v6, "{rule}");
        assert_eq!(problems, Vec::<String>::new(), "{rule}");
    }
}

#[test]
fn a_cluster_ip_of_the_wrong_family_is_left_out() {
    let patch = json!({"spec": {"clusterIPs": ["10.96.0.1", "10.96.0.2"], "ipFamilies": ["IPv4", "IPv6"]}});
    let (service, problems) = proxied(&patch);
    assert_eq!(service.cluster_ips.v6, None);
    assert_eq!(problems, ["Service shop/web: spec.clusterIPs[1]: 10.96.0.2 is no IPv6 address"]);
}

#[test]
fn a_file_without_a_cluster_ip_is_told_that_nobody_will_assign_one() {
    let patch = json!({"spec": {"clusterIP": null, "clusterIPs": null}});
    let (converted, problems) = service_from(Origin::Manifest, &patch);
    assert!(matches!(converted, Converted::NotProxied(_)));
    assert_eq!(problems.len(), 1);
    assert!(problems[0].starts_with("Service shop/web: spec.clusterIP: none is given"), "{problems:?}");
    assert_eq!(service_from(Origin::Api, &patch).1, Vec::<String>::new());
}

#[test]
fn a_file_without_a_namespace_means_default() {
    let patch = json!({"metadata": {"namespace": null}});
    match service_from(Origin::Manifest, &patch).0 {
        Converted::Proxied(service) => assert_eq!(service.name.to_string(), "default/web"),
        Converted::NotProxied(key) => panic!("{key}"),
    }
    let json = web(&patch);
    let wire: wire::Service<'_> = object_from_json("Service", &json).unwrap();
    let error = converter(Origin::Api).service(&wire).unwrap_err();
    assert_eq!((error.field.as_str(), error.name.to_string().as_str()), ("metadata.namespace", "web"));
}

#[test]
fn ports_keep_name_protocol_and_numbers() {
    let (service, problems) = proxied(&json!({"spec": {"ports": [
        {"port": 80},
        {"name": "dns", "protocol": "UDP", "port": 53, "nodePort": 30053},
        {"name": "sip", "protocol": "SCTP", "port": 5060, "nodePort": 0},
        {"name": "odd", "protocol": "ICMP", "port": 1},
        {"name": "none", "port": 0},
    ]}}));
    let ports: Vec<_> =
        service.ports.iter().map(|port| (&*port.name, port.protocol, port.port, port.node_port)).collect();
    assert_eq!(
        ports,
        [
            ("", Protocol::Tcp, 80, None),
            ("dns", Protocol::Udp, 53, Some(30053)),
            ("sip", Protocol::Sctp, 5060, None),
        ]
    );
    assert_eq!(
        problems,
        [
            "Service shop/web: spec.ports[3].protocol: \"ICMP\" is no protocol that can be proxied",
            "Service shop/web: spec.ports[4].port: 0 is no port",
        ]
    );
}

#[test]
fn external_ips_skip_blanks_in_silence_and_nonsense_with_a_word() {
    let (service, problems) = proxied(
        &json!({"spec": {"externalIPs": ["198.51.100.7", "", "203.0.113.009", "fd00::7", "lb.example"]}}),
    );
    assert_eq!(texts(&service.external_ips), ["198.51.100.7", "203.0.113.9", "fd00::7"]);
    assert_eq!(problems, ["Service shop/web: spec.externalIPs[4]: \"lb.example\" is no IP address"]);
}

#[test]
fn load_balancer_addresses_count_when_they_are_vips() {
    let (service, problems) = proxied(&json!({"status": {"loadBalancer": {"ingress": [
        {"ip": "192.0.2.1"},
        {"ip": "192.0.2.2", "ipMode": "VIP"},
        {"ip": "192.0.2.3", "ipMode": "Proxy"},
        {"ip": "192.0.2.4", "ipMode": null},
        {"ip": ""},
        {"hostname": "lb.example"},
        {"ip": "2001:db8::5"},
        {"ip": "nowhere"},
    ]}}}));
    assert_eq!(texts(&service.load_balancer_ips), ["192.0.2.1", "192.0.2.2", "192.0.2.4", "2001:db8::5"]);
    assert_eq!(problems, ["Service shop/web: status.loadBalancer.ingress[7]: \"nowhere\" is no IP address"]);
}

#[test]
fn source_ranges_are_trimmed_masked_and_lifted_by_a_zero_prefix() {
    let cases: [(&str, Value, &[&str]); 6] = [
        ("none", json!(null), &[]),
        ("blanks around", json!([" 203.0.113.0/24 ", "\tfd00::/8"]), &["203.0.113.0/24", "fd00::/8"]),
        ("blank entries", json!(["", "  ", "10.0.0.0/8"]), &["10.0.0.0/8"]),
        ("zeros and host bits", json!(["203.0.113.007/025"]), &["203.0.113.0/25"]),
        (
            "one open range opens its family only",
            json!(["10.0.0.0/8", "0.0.0.0/0", "fd00::/8"]),
            &["fd00::/8"],
        ),
        ("open IPv6", json!(["10.0.0.0/8", "::/0"]), &["10.0.0.0/8"]),
    ];
    for (rule, ranges, expected) in cases {
        let (service, problems) = proxied(&json!({"spec": {"loadBalancerSourceRanges": ranges}}));
        assert_eq!(texts(&service.load_balancer_source_ranges), expected, "{rule}");
        assert_eq!(problems, Vec::<String>::new(), "{rule}");
    }
    let (service, problems) =
        proxied(&json!({"spec": {"loadBalancerSourceRanges": ["10.0.0.0", "10.0.0.0/8"]}}));
    assert_eq!(texts(&service.load_balancer_source_ranges), ["10.0.0.0/8"]);
    assert_eq!(problems, ["Service shop/web: spec.loadBalancerSourceRanges[0]: \"10.0.0.0\" is no IP CIDR"]);
}

#[test]
fn policies_type_and_health_port_default_to_the_plain_ones() {
    let (plain, _) = proxied(&json!({"spec": {"type": null}}));
    assert_eq!(plain.service_type, ServiceType::ClusterIp);
    assert_eq!(plain.internal_traffic_policy, TrafficPolicy::Cluster);
    assert_eq!(plain.external_traffic_policy, TrafficPolicy::Cluster);
    assert_eq!((plain.health_check_node_port, plain.created), (None, None));
    let (local, problems) = proxied(&json!({
        "metadata": {"creationTimestamp": "2026-11-21T02:30:21Z"},
        "spec": {"type": "LoadBalancer", "internalTrafficPolicy": "Local", "externalTrafficPolicy": "Local", "healthCheckNodePort": 32635},
    }));
    assert_eq!(local.service_type, ServiceType::LoadBalancer);
    assert_eq!(local.internal_traffic_policy, TrafficPolicy::Local);
    assert_eq!(local.external_traffic_policy, TrafficPolicy::Local);
    assert_eq!(local.health_check_node_port, Some(32635));
    assert_eq!(local.created, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_228_221)));
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn session_affinity_has_three_hours_unless_told_otherwise() {
    let config = |seconds: i32| json!({"clientIP": {"timeoutSeconds": seconds}});
    let cases = [
        ("absent", json!({"spec": {}}), None, 0),
        ("None", json!({"spec": {"sessionAffinity": "None", "sessionAffinityConfig": config(5)}}), None, 0),
        ("default", json!({"spec": {"sessionAffinity": "ClientIP"}}), Some(10_800), 0),
        (
            "null config",
            json!({"spec": {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {}}}}),
            Some(10_800),
            0,
        ),
        (
            "given",
            json!({"spec": {"sessionAffinity": "ClientIP", "sessionAffinityConfig": config(30)}}),
            Some(30),
            0,
        ),
        (
            "nonsense",
            json!({"spec": {"sessionAffinity": "ClientIP", "sessionAffinityConfig": config(-1)}}),
            Some(10_800),
            1,
        ),
    ];
    for (rule, patch, seconds, problems) in cases {
        let (service, reported) = proxied(&patch);
        assert_eq!(service.session_affinity, seconds.map(Duration::from_secs), "{rule}");
        assert_eq!(reported.len(), problems, "{rule}: {reported:?}");
    }
}

fn slice_json(patch: &Value) -> Vec<u8> {
    let base = json!({
        "metadata": {"namespace": "shop", "name": "web-abc", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
        "endpoints": [{"addresses": ["10.244.1.5"]}],
    });
    serde_json::to_vec(&merged(&base, patch)).unwrap()
}

fn slice_from(origin: Origin, patch: &Value) -> (Converted<EndpointSlice>, Vec<String>) {
    let json = slice_json(patch);
    let wire: wire::EndpointSlice<'_> = object_from_json("EndpointSlice", &json).unwrap();
    let mut turner = converter(origin);
    let converted = turner.endpoint_slice(&wire).unwrap();
    (converted, turner.take_problems().iter().map(ToString::to_string).collect())
}

fn proxied_slice(patch: &Value) -> (EndpointSlice, Vec<String>) {
    match slice_from(Origin::Api, patch) {
        (Converted::Proxied(slice), problems) => (slice, problems),
        (Converted::NotProxied(_), problems) => panic!("{patch} is not proxied: {problems:?}"),
    }
}

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
    let Converted::Proxied(slice) = converter(Origin::Api).endpoint_slice(&wire).unwrap() else { panic!() };
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
    assert_eq!((slice.ports.len(), problems.len()), (3, 3));
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
    ]}));
    let endpoints: Vec<_> = slice
        .endpoints
        .iter()
        .map(|endpoint| (endpoint.address.to_string(), endpoint.node.as_deref()))
        .collect();
    assert_eq!(endpoints, [("10.244.1.5".to_owned(), Some("n1")), ("10.244.1.7".to_owned(), None)]);
    assert_eq!(
        problems,
        [
            "EndpointSlice shop/web-abc: endpoints[1].addresses: is empty",
            "EndpointSlice shop/web-abc: endpoints[2].addresses: is empty",
            "EndpointSlice shop/web-abc: endpoints[3].addresses: fd00::5 is no IPv4 address",
            "EndpointSlice shop/web-abc: endpoints[4].addresses: \"pod\" is no IP address",
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
fn hints_nobody_holds_are_forgotten() {
    let mut turner = converter(Origin::Api);
    for zone in 0..10 * super::SMALLEST_HINTS_SWEEP {
        let json = slice_json(&json!({"endpoints": [
            {"addresses": ["10.0.0.1"], "hints": {"forZones": [{"name": format!("z{zone}")}]}},
        ]}));
        let wire: wire::EndpointSlice<'_> = object_from_json("EndpointSlice", &json).unwrap();
        turner.endpoint_slice(&wire).unwrap();
    }
    assert!(turner.hints.len() <= super::SMALLEST_HINTS_SWEEP, "{}", turner.hints.len());
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

fn mirrored(endpoints: &Value) -> (MirroredEndpoints, Vec<String>) {
    let json = serde_json::to_vec(endpoints).unwrap();
    let wire: wire::Endpoints<'_> = object_from_json("Endpoints", &json).unwrap();
    let mut turner = converter(Origin::Manifest);
    let converted = turner.endpoints(&wire).unwrap();
    (converted, turner.take_problems().iter().map(ToString::to_string).collect())
}

#[test]
fn endpoints_become_one_slice_per_subset_and_family() {
    let (converted, problems) = mirrored(&json!({
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
    let names: Vec<_> = converted.slices.iter().map(|slice| slice.name.to_string()).collect();
    assert_eq!(names, ["shop/db/0/IPv4", "shop/db/0/IPv6", "shop/db/1/IPv4"]);
    assert!(converted.slices.iter().all(|slice| slice.service_name() == converted.name));
    let first = &converted.slices[0];
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
    assert_eq!(
        (&*converted.slices[2].ports[0].name, converted.slices[2].ports[0].protocol),
        ("", Protocol::Udp)
    );
    assert_eq!(problems, ["Endpoints shop/db: subsets[1].addresses[1].ip: \"db2\" is no IP address"]);
}

#[test]
fn headless_endpoints_become_no_slices() {
    let (converted, _) = mirrored(&json!({
        "metadata": {"name": "db", "labels": {"service.kubernetes.io/headless": ""}},
        "subsets": [{"addresses": [{"ip": "203.0.113.20"}], "ports": [{"port": 5432}]}],
    }));
    assert_eq!((converted.name.to_string().as_str(), converted.slices.len()), ("default/db", 0));
}

fn node(object: &Value) -> (Node, Vec<String>) {
    let json = serde_json::to_vec(object).unwrap();
    let wire: wire::Node<'_> = object_from_json("Node", &json).unwrap();
    let mut turner = converter(Origin::Api);
    let Converted::Proxied(node) = turner.node(&wire).unwrap() else { panic!("a Node is always taken") };
    (node, turner.take_problems().iter().map(ToString::to_string).collect())
}

#[test]
fn a_node_lists_internal_addresses_before_external_ones() {
    let (node, problems) = node(&json!({
        "metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "zone1"}},
        "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:1::/64"]},
        "status": {"addresses": [
            {"type": "ExternalIP", "address": "198.51.100.1"},
            {"type": "InternalIP", "address": "10.0.0.1"},
            {"type": "Hostname", "address": "n1"},
            {"type": "InternalIP", "address": "fd00::1"},
            {"type": "InternalIP", "address": "n1.local"},
        ]},
    }));
    assert_eq!(texts(&node.addresses), ["10.0.0.1", "fd00::1", "198.51.100.1"]);
    assert_eq!(texts(&node.pod_cidrs), ["10.244.1.0/24", "fd00:1::/64"]);
    assert_eq!((node.zone.as_deref(), node.leaving), (Some("zone1"), false));
    assert_eq!(problems, ["Node n1: status.addresses[4]: \"n1.local\" is no IP address"]);
}

#[test]
fn a_node_with_only_the_old_pod_cidr_field_has_that_one() {
    let (node, _) = node(&json!({"metadata": {"name": "n1"}, "spec": {"podCIDR": "10.244.1.0/24"}}));
    assert_eq!(texts(&node.pod_cidrs), ["10.244.1.0/24"]);
    assert_eq!(node.zone, None);
}

#[test]
fn a_node_is_leaving_when_deleted_or_tainted_by_the_autoscaler() {
    let cases = [
        (json!({"metadata": {"name": "n1"}}), false),
        (json!({"metadata": {"name": "n1", "deletionTimestamp": "2026-11-21T02:30:21Z"}}), true),
        (
            json!({"metadata": {"name": "n1"}, "spec": {"taints": [{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]}}),
            true,
        ),
        (
            json!({"metadata": {"name": "n1"}, "spec": {"taints": [{"key": "node.kubernetes.io/not-ready"}]}}),
            false,
        ),
    ];
    for (object, leaving) in cases {
        assert_eq!(node(&object).0.leaving, leaving, "{object}");
    }
}

#[test]
fn a_service_cidr_keeps_the_ranges_that_can_be_read() {
    let json = br#"{"metadata":{"name":"kubernetes"},"spec":{"cidrs":["10.96.0.0/16","fd00::/112","all"]}}"#;
    let wire: wire::ServiceCidr<'_> = object_from_json("ServiceCIDR", json).unwrap();
    let mut turner = converter(Origin::Api);
    let Converted::Proxied(cidr) = turner.service_cidr(&wire).unwrap() else { panic!() };
    assert_eq!(
        (&*cidr.name, texts(&cidr.cidrs)),
        ("kubernetes", vec!["10.96.0.0/16".into(), "fd00::/112".into()])
    );
    assert_eq!(turner.take_problems().len(), 1);
}

#[test]
fn names_are_shared_between_converters_of_one_interner() {
    let interner = Arc::new(Mutex::new(Interner::default()));
    let [mut services, mut slices] = [(); 2].map(|()| Converter::new(Origin::Api, Arc::clone(&interner)));
    let (service_json, slice_json) = (web(&json!({})), slice_json(&json!({})));
    let Converted::Proxied(service) =
        services.service(&object_from_json("Service", &service_json).unwrap()).unwrap()
    else {
        panic!()
    };
    let wire = object_from_json("EndpointSlice", &slice_json).unwrap();
    let Converted::Proxied(slice) = slices.endpoint_slice(&wire).unwrap() else { panic!() };
    assert!(Arc::ptr_eq(&service.name.namespace, &slice.name.namespace));
    assert!(Arc::ptr_eq(&service.name.name, &slice.service));
}
