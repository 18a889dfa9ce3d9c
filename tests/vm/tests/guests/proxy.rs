//! The real proxy on kernels of other years: it starts, serves, and its rules print and load again.

use std::net::SocketAddr;
use std::time::Duration;

use portolan_core::IpFamily;
use portolan_testkit::netns::{
    Caller, ManifestFolder, Namespace, Portolan, Prober, Program, Topology, Transport, assert_ruleset_reloads,
};
use portolan_testkit::shop::{WEB_MANIFEST, web_manifest_sockets, web_slice_manifests};
use portolan_tests_vm::{Kernel, Vm, in_guest, proxy};

use crate::ipvs;

/// Emulated processors are some twenty times slower than real ones, and share what there is with other tests.
const PATIENCE: Duration = Duration::from_secs(120);

const STICKY: &str = "
apiVersion: v1
kind: Service
metadata: {name: sticky, namespace: shop}
spec:
  clusterIP: 10.96.0.81
  sessionAffinity: ClientIP
  ports:
  - {name: http, port: 80, protocol: UDP, targetPort: 8080}
";

/// The pods of both Services, by number.
fn slices(net: &Topology, pods: &[usize]) -> String {
    web_slice_manifests(net, pods) + &net.slice("sticky", IpFamily::V4, ("UDP", 8080), pods)
}

fn machine(kernel: Kernel) -> Vm {
    let binary = proxy().unwrap();
    let vm = Vm::new(kernel).network_programs().copy(&binary).variable("PORTOLAN_BIN", binary);
    vm.memory(1024).patience(3 * PATIENCE)
}

/// On a kernel whose release starts so: serves two Services in a network of this guest, follows a change,
/// restarts, and cleans up. Returns the node's rules while it served and when it had cleaned up, as `rules`
/// has them.
fn serves_on(release: &str, mode: &str, rules: impl Fn(&Namespace) -> String) -> [String; 2] {
    let running = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert!(running.starts_with(release), "{running}");
    let net = Topology::routed(3).unwrap();
    let _servers = net.serve(&[8080]).unwrap();
    let folder = ManifestFolder::create().unwrap();
    folder.write("web.yaml", WEB_MANIFEST).unwrap();
    folder.write("sticky.yaml", STICKY).unwrap();
    folder.write("slices.yaml", &slices(&net, &[1, 2])).unwrap();
    let start = || {
        let mut proxy = Portolan::start(net.node(), Portolan::flags_in(mode, &folder)).unwrap();
        proxy.wait_synced(PATIENCE).unwrap();
        proxy
    };
    let proxy = start();
    let client = Caller::from(net.client()).with_patience(Duration::from_secs(20));
    let probers: Vec<_> = web_manifest_sockets()
        .into_iter()
        .map(|to| Prober::start(&client, Transport::Tcp, to).unwrap())
        .collect();
    for prober in &probers {
        prober.wait_for_pod("pod1", PATIENCE).unwrap();
        prober.wait_for_pod("pod2", PATIENCE).unwrap();
    }
    let sticky_at: SocketAddr = "10.96.0.81:80".parse().unwrap();
    let sticky: Vec<_> = (0..8).map(|_| client.query_udp(sticky_at).unwrap().pod).collect();
    assert!(sticky.iter().all(|pod| *pod == sticky[0]), "{sticky:?}");
    folder.write("slices.yaml", &slices(&net, &[2, 3])).unwrap();
    for prober in &probers {
        prober.wait_for_pod("pod3", PATIENCE).unwrap();
    }
    let served = rules(net.node());

    assert!(proxy.terminate(PATIENCE).unwrap().success());
    let proxy = start();
    for prober in probers {
        let report = prober.stop();
        assert!(report.first_failures.is_empty(), "{report:?}");
    }
    assert!(proxy.terminate(PATIENCE).unwrap().success());
    net.node().run_program(&Program::new(Portolan::binary().unwrap()).args(["--cleanup"])).unwrap();
    [served, rules(net.node())]
}

fn serves_by_nftables_on(release: &str) {
    let [served, left] = serves_on(release, "nftables", assert_ruleset_reloads);
    assert!(served.contains("table ip portolan") && served.contains("table ip6 portolan"), "{served}");
    assert!(!left.contains("portolan"), "{left}");
}

#[test]
fn the_proxy_serves_on_linux_5_10() {
    in_guest(machine(Kernel::Bullseye), || serves_by_nftables_on("5.10."));
}

#[test]
fn the_proxy_serves_on_linux_6_1() {
    in_guest(machine(Kernel::Bookworm), || serves_by_nftables_on("6.1."));
}

#[test]
fn the_proxy_serves_on_linux_6_12() {
    in_guest(machine(Kernel::Trixie), || serves_by_nftables_on("6.12."));
}

/// The virtual servers of a node as the kernel lists them, and the device that carries their addresses.
fn virtual_servers(node: &Namespace) -> String {
    let servers = node.run(|| std::fs::read_to_string("/proc/thread-self/net/ip_vs").unwrap()).unwrap();
    let device = node.ip("address show dev kube-ipvs0").unwrap_or_default();
    servers + &device
}

#[test]
fn the_proxy_serves_by_virtual_servers() {
    in_guest(ipvs::with_ipvs(machine(Kernel::Bookworm)), || {
        let [served, left] = serves_on("6.1.", "ipvs", virtual_servers);
        // 10.96.0.80 and its port 80, as /proc has them.
        assert!(served.contains("TCP  0A600050:0050 rr"), "{served}");
        assert!(served.contains("10.96.0.80/32") && served.contains("fd00:10:96::80/128"), "{served}");
        assert!(!left.contains("TCP  ") && !left.contains("kube-ipvs0"), "{left}");
    });
}
