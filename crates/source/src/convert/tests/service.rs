//! Services.

use std::time::{Duration, SystemTime};

use portolan_core::address::{IpFamily, Protocol};
use portolan_core::event::{ServiceType, TrafficPolicy};

use crate::convert::Problem;

use super::*;

#[test]
fn services_that_are_not_proxied_convert_to_their_name_only() {
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
        ("one family, IPv6", spec("fd00::1", json!(["fd00::1"]), json!(["IPv6"])), None, Some("fd00::1")),
        (
            "IPv6 first, its entry alone",
            spec("fd00::1", json!(["fd00::1"]), json!(["IPv6", "IPv4"])),
            None,
            Some("fd00::1"),
        ),
        (
            "clusterIPs count, not clusterIP",
            spec("10.96.0.9", json!(["10.96.0.1"]), json!(["IPv4"])),
            Some("10.96.0.1"),
            None,
        ),
        (
            "a family named twice has the first",
            spec("10.96.0.1", json!(["10.96.0.1", "10.96.0.2"]), json!(["IPv4", "IPv4"])),
            Some("10.96.0.1"),
            None,
        ),
        ("no families, no clusterIP", spec("", json!(["10.96.0.1"]), json!(null)), Some("10.96.0.1"), None),
        (
            "IPv4 written as IPv6",
            spec("::ffff:10.96.0.1", json!(["::ffff:10.96.0.1"]), json!(["IPv4"])),
            Some("10.96.0.1"),
            None,
        ),
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
fn cluster_ips_in_the_order_of_other_families_are_left_out() {
    let patch = json!({"spec": {"clusterIPs": ["10.96.0.1", "fd00::1"], "ipFamilies": ["IPv6", "IPv4"]}});
    let (converted, problems) = service_from(Origin::Api, &patch);
    assert!(matches!(converted, Converted::NotProxied(_)), "no family has an address of its own");
    assert_eq!(
        problems,
        [
            "Service shop/web: spec.clusterIPs[0]: 10.96.0.1 is no IPv6 address",
            "Service shop/web: spec.clusterIPs[1]: fd00::1 is no IPv4 address",
        ]
    );
}

#[test]
fn a_port_listed_twice_is_used_once_and_reported() {
    let (service, problems) = proxied(&json!({"spec": {"ports": [
        {"name": "dns", "protocol": "UDP", "port": 53, "nodePort": 30053},
        {"name": "dns", "protocol": "TCP", "port": 53},
        {"name": "dns", "protocol": "UDP", "port": 54},
        {"name": "web", "port": 80},
    ]}}));
    let ports: Vec<_> = service.ports.iter().map(|port| (&*port.name, port.protocol, port.port)).collect();
    let expected = [("dns", Protocol::Udp, 53), ("dns", Protocol::Tcp, 53), ("web", Protocol::Tcp, 80)];
    assert_eq!(ports, expected);
    let fault = "Service shop/web: spec.ports[2]: an earlier udp port is named \"dns\"; that one is used";
    assert_eq!(problems, [fault]);
}

#[test]
fn a_file_without_a_cluster_ip_is_reported_because_none_is_assigned() {
    let patch = json!({"spec": {"clusterIP": null, "clusterIPs": null}});
    let (converted, problems) = service_from(Origin::Manifest, &patch);
    assert!(matches!(converted, Converted::NotProxied(_)));
    assert_eq!(problems.len(), 1);
    assert!(problems[0].starts_with("Service shop/web: spec.clusterIP: is missing"), "{problems:?}");
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
    let error = Service::convert(&mut converter(Origin::Api), &wire).unwrap_err();
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
            "Service shop/web: spec.ports[3].protocol: unsupported value \"ICMP\" (want TCP, UDP or SCTP)",
            "Service shop/web: spec.ports[4].port: 0 is no port",
        ]
    );
}

#[test]
fn external_ips_skip_blanks_silently_and_report_invalid_entries() {
    let (service, problems) = proxied(
        &json!({"spec": {"externalIPs": ["198.51.100.7", "", "203.0.113.009", "fd00::7", "lb.example", " \t", " 192.0.2.1", "::ffff:192.0.2.2"]}}),
    );
    assert_eq!(texts(&service.external_ips), ["198.51.100.7", "203.0.113.9", "fd00::7", "192.0.2.2"]);
    assert_eq!(
        problems,
        [
            "Service shop/web: spec.externalIPs[4]: \"lb.example\" is not an IP address",
            "Service shop/web: spec.externalIPs[6]: \" 192.0.2.1\" is not an IP address",
        ]
    );
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
        {"ip": "192.0.2.7", "ipMode": ""},
        {"ip": "192.0.2.8", "hostname": "lb.example"},
        {"ip": "192.0.2.009"},
    ]}}}));
    assert_eq!(
        texts(&service.load_balancer_ips),
        ["192.0.2.1", "192.0.2.2", "192.0.2.4", "2001:db8::5", "192.0.2.8", "192.0.2.9"]
    );
    assert_eq!(
        problems,
        ["Service shop/web: status.loadBalancer.ingress[7]: \"nowhere\" is not an IP address"]
    );
}

#[test]
fn source_ranges_are_trimmed_masked_and_lifted_by_a_zero_prefix() {
    let cases: [(&str, Value, &[&str]); 7] = [
        ("IPv4 written as IPv6", json!(["::ffff:203.0.113.7/121"]), &["203.0.113.0/25"]),
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
    assert_eq!(
        problems,
        ["Service shop/web: spec.loadBalancerSourceRanges[0]: \"10.0.0.0\" is not an IP CIDR"]
    );
}

#[test]
fn type_policies_and_health_port_have_the_defaults_of_the_api() {
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
fn session_affinity_lasts_three_hours_by_default() {
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
        (
            "no time at all",
            json!({"spec": {"sessionAffinity": "ClientIP", "sessionAffinityConfig": config(0)}}),
            Some(10_800),
            1,
        ),
        (
            "more than the API allows",
            json!({"spec": {"sessionAffinity": "ClientIP", "sessionAffinityConfig": config(i32::MAX)}}),
            Some(2_147_483_647),
            0,
        ),
        ("a word of tomorrow", json!({"spec": {"sessionAffinity": "Cookie"}}), None, 1),
    ];
    for (rule, patch, seconds, problems) in cases {
        let (service, reported) = proxied(&patch);
        assert_eq!(service.session_affinity, seconds.map(Duration::from_secs), "{rule}");
        assert_eq!(reported.len(), problems, "{rule}: {reported:?}");
    }
}

/// So many different addresses.
fn many(count: u32) -> Vec<String> {
    (0..count).map(|i| std::net::Ipv4Addr::from(0xcb00_0000 + i).to_string()).collect()
}

fn ports(count: u16) -> Vec<Value> {
    (1..=count).map(|port| json!({"name": format!("p{port}"), "protocol": "TCP", "port": port})).collect()
}

#[test]
fn addresses_of_a_service_are_bounded_by_its_ports_and_source_ranges() {
    let ranges: Vec<String> = (0..100).map(|i| format!("10.{i}.0.0/16")).collect();
    let cases = [
        ("50,000 addresses and five ports", 5, 50_000, 0, &[][..], (50_000, 0), 0),
        ("as many as ports leave room for", 1024, 1_000, 0, &[], (256, 0), 1),
        ("load-balancer addresses come first", 1024, 1_000, 200, &[], (56, 200), 1),
        ("source ranges count for load-balancer addresses", 1024, 100, 200, &ranges, (100, 2), 1),
    ];
    for (rule, port_count, external, balanced, ranges, served, named) in cases {
        let ingress: Vec<Value> = many(balanced).iter().map(|ip| json!({"ip": ip})).collect();
        let (service, problems) = proxied(&json!({
            "spec": {
                "type": "LoadBalancer", "ports": ports(port_count), "externalIPs": many(external),
                "loadBalancerSourceRanges": ranges,
            },
            "status": {"loadBalancer": {"ingress": ingress}},
        }));
        assert_eq!((service.external_ips.len(), service.load_balancer_ips.len()), served, "{rule}");
        assert_eq!(texts(&service.external_ips), many(external)[..served.0], "{rule}: the first ones");
        assert_eq!(service.ports.len(), usize::from(port_count), "{rule}: all ports");
        assert_eq!(problems.len(), named, "{rule}: {problems:?}");
    }
}

#[test]
fn values_that_the_api_does_not_have_are_invalid() {
    let cases = [
        (
            json!({"spec": {"type": "Cluster"}}),
            "spec.type",
            "\"Cluster\" (want ClusterIP, NodePort or LoadBalancer)",
        ),
        (
            json!({"spec": {"sessionAffinity": "ClientIp"}}),
            "spec.sessionAffinity",
            "\"ClientIp\" (want None or ClientIP)",
        ),
        (
            json!({"spec": {"internalTrafficPolicy": "local"}}),
            "spec.internalTrafficPolicy",
            "\"local\" (want Cluster or Local)",
        ),
        (
            json!({"spec": {"externalTrafficPolicy": "Node"}}),
            "spec.externalTrafficPolicy",
            "\"Node\" (want Cluster or Local)",
        ),
        (
            json!({"status": {"loadBalancer": {"ingress": [{}, {"ip": "192.0.2.1", "ipMode": "Dsr"}]}}}),
            "status.loadBalancer.ingress[1].ipMode",
            "\"Dsr\" (want VIP or Proxy)",
        ),
    ];
    for (patch, field, words) in cases {
        for origin in [Origin::Api, Origin::Manifest] {
            let (_, problems) = service_from(origin, &patch);
            assert_eq!(problems, [format!("Service shop/web: {field}: unsupported value {words}")]);
        }
        assert!(problems_of_manifest(&patch).iter().all(|problem| problem.is_invalid), "{patch}");
    }
}

fn problems_of_manifest(patch: &Value) -> Vec<Problem> {
    let json = web(patch);
    let wire: wire::Service<'_> = object_from_json("Service", &json).unwrap();
    let mut converter = converter(Origin::Manifest);
    Service::convert(&mut converter, &wire).unwrap();
    converter.take_problems()
}

#[test]
fn entries_that_only_an_api_server_rejects_are_invalid_in_a_manifest() {
    let affinity = |seconds: i32| {
        let config = json!({"clientIP": {"timeoutSeconds": seconds}});
        json!({"spec": {"sessionAffinity": "ClientIP", "sessionAffinityConfig": config}})
    };
    let cases = [
        (json!({"spec": {"ports": []}}), Some("spec.ports")),
        (affinity(86_401), Some("spec.sessionAffinityConfig.clientIP.timeoutSeconds")),
        (affinity(86_400), None),
        (json!({"spec": {"clusterIP": "None", "clusterIPs": ["None"], "ports": []}}), None),
    ];
    for (patch, field) in cases {
        let problems = problems_of_manifest(&patch);
        let invalid: Vec<_> =
            problems.iter().map(|problem| (problem.field.as_str(), problem.is_invalid)).collect();
        assert_eq!(invalid, field.map(|field| (field, true)).into_iter().collect::<Vec<_>>(), "{patch}");
        assert_eq!(service_from(Origin::Api, &patch).1, Vec::<String>::new(), "{patch}");
    }
}
