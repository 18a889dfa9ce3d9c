use portolan_core::{ObjectName, Protocol};

use super::*;

fn name(namespace: &str, service: &str, port: &str, protocol: Protocol) -> ServicePortName {
    ServicePortName { service: ObjectName::new(namespace, service), port: port.into(), protocol }
}

#[test]
fn chains_have_the_names_of_kube_proxy() {
    use Protocol::{Tcp, Udp};
    let cases = [
        (name("ns1", "svc1", "p80", Tcp), "XPGD46QRK7WJZT7O", "10.180.0.1:80", "SXIVWICOYRO3J4NJ"),
        (
            name("kube-system", "kube-dns", "dns", Udp),
            "TCOU7JCQXEZGVUNU",
            "10.244.0.5:53",
            "LPGSDLJ3FDW46N4W",
        ),
        (
            name("default", "kubernetes", "https", Tcp),
            "NPX46M4PTMTKRN6Y",
            "192.168.1.10:6443",
            "FIMWYXOJBPP32KI5",
        ),
        (name("default", "web", "", Tcp), "LOLE4ISW44XBNF3G", "[fd00:10:244::5]:8080", "QGQYRWUG4RCCAQNM"),
    ];
    for (name, port, endpoint, endpoint_hash) in cases {
        let own = Chain::Own(Kind::Cluster, Hash::of_port(&name));
        assert_eq!(own.to_string(), format!("KUBE-SVC-{port}"), "{name}");
        let hash = Hash::of_endpoint(&name, endpoint.parse().unwrap());
        assert_eq!(Chain::Own(Kind::Endpoint, hash).to_string(), format!("KUBE-SEP-{endpoint_hash}"));
    }
}

#[test]
fn every_name_is_parsed_to_its_chain() {
    let hash = Hash::of_port(&name("ns1", "svc1", "p80", Protocol::Tcp));
    let built_in = BuiltIn::ALL.iter().map(|chain| Chain::BuiltIn(*chain));
    let fixed = Fixed::ALL.iter().map(|chain| Chain::Fixed(*chain));
    let own = Kind::ALL.iter().map(|kind| Chain::Own(*kind, hash));
    for chain in built_in.chain(fixed).chain(own) {
        assert_eq!(Chain::parse(&chain.to_string()), Some(chain));
    }
}

#[test]
fn names_of_other_programs_are_not_parsed() {
    let names = [
        "KUBE-KUBELET-CANARY",
        "KUBE-IPTABLES-HINT",
        "KUBE-SVC-",
        "KUBE-SVC-XPGD46QRK7WJZT7",
        "KUBE-SVC-XPGD46QRK7WJZT7OO",
        "KUBE-SVC-xpgd46qrk7wjzt7o",
        "KUBE-SVC-XPGD46QRK7WJZT71",
        "KUBE-XLB-XPGD46QRK7WJZT7O",
        "DOCKER",
    ];
    for name in names {
        assert_eq!(Chain::parse(name), None, "{name}");
    }
}
