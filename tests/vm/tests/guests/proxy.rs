//! The real proxy on kernels of other years: it starts, serves, and its rules print and load again.

use std::net::SocketAddr;
use std::time::Duration;

use portolan_core::IpFamily;
use portolan_ipvs::Servers;
use portolan_testkit::netns::{
    Caller, EchoServer, ManifestFolder, Namespace, NetnsError, Portolan, Prober, Program, Topology,
    Transport, assert_ruleset_reloads,
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

/// A node for virtual servers whose proxy is started again and again: `--init-only` at first, and then where it may
/// only read settings.
struct Prepared {
    net: Topology,
    folder: ManifestFolder,
    _servers: Vec<EchoServer>,
}

impl Prepared {
    fn new() -> Self {
        let net = Topology::routed(2).unwrap();
        let servers = net.serve(&[8080]).unwrap();
        let folder = ManifestFolder::create().unwrap();
        folder.write("web.yaml", WEB_MANIFEST).unwrap();
        folder.write("slices.yaml", &web_slice_manifests(&net, &[1, 2])).unwrap();
        Self { net, folder, _servers: servers }
    }

    fn start(&self, more: &[&str]) -> Portolan {
        let strict = ["--ipvs-strict-arp=true", "--ipvs-udp-timeout=77s", "--conntrack-max-per-core=0"];
        let flags = Portolan::flags_in("ipvs", &self.folder).into_iter();
        let more = strict.iter().chain(more).map(|flag| (*flag).to_owned());
        Portolan::start(self.net.node(), flags.chain(more)).unwrap()
    }

    /// Runs it to its end: how that was, and what it logged.
    fn init_only(&self) -> (Option<i32>, String) {
        let mut proxy = self.start(&["--init-only"]);
        let code = match proxy.wait_until("it ends", PATIENCE, |_| false).unwrap_err() {
            NetnsError::Ended { status, .. } => status.code(),
            other => panic!("{other}"),
        };
        (code, proxy.log().unwrap())
    }

    /// What a proxy logs that serves where it may only read settings.
    fn serve(&self) -> String {
        let mut proxy = self.start(&[]);
        proxy.wait_synced(PATIENCE).unwrap();
        let client = Caller::from(self.net.client()).with_patience(Duration::from_secs(20));
        for to in web_manifest_sockets() {
            client.connect_tcp(to).unwrap();
        }
        let log = proxy.log().unwrap();
        assert!(proxy.terminate(PATIENCE).unwrap().success());
        log
    }

    fn value(&self, sysctl: &str) -> String {
        let read = || std::fs::read_to_string(format!("/proc/sys/net/ipv4/{sysctl}")).unwrap();
        self.net.node().run(read).unwrap().trim().to_owned()
    }
}

/// As a container without privileges has them.
fn forbid_to_write_sysctls() {
    let mount = |words: &str| Program::new("mount").args(words.split(' ')).run().unwrap();
    mount("-o bind /proc/sys /proc/sys");
    mount("-o remount,bind,ro /proc/sys");
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap_err();
}

#[test]
fn init_only_prepares_a_host_for_virtual_servers_that_may_only_read_settings() {
    in_guest(ipvs::with_ipvs(machine(Kernel::Bookworm)), || {
        let node = Prepared::new();
        let (code, log) = node.init_only();
        assert_eq!(code, Some(0), "{log}");
        for sysctl in ["vs/conntrack", "vs/expire_nodest_conn", "vs/expire_quiescent_template", "ip_forward"]
        {
            assert_eq!(node.value(sysctl), "1", "{sysctl}: {log}");
        }
        assert_eq!(
            (node.value("conf/all/arp_ignore"), node.value("conf/all/arp_announce")),
            ("1".into(), "2".into())
        );
        let timeouts = node.net.node().run(|| Servers::load().unwrap().unwrap().timeouts().unwrap());
        assert_eq!(timeouts.unwrap().udp, Duration::from_secs(77), "{log}");
        let servers = virtual_servers(node.net.node());
        assert!(!servers.contains("TCP  ") && !servers.contains("kube-ipvs0"), "{servers}");

        forbid_to_write_sysctls();
        let log = node.serve();
        assert!(!log.contains("cannot set /proc/sys"), "{log}");
    });
}

#[test]
fn virtual_servers_serve_without_the_settings_that_they_do_not_need() {
    in_guest(ipvs::with_ipvs(machine(Kernel::Bookworm)), || {
        let node = Prepared::new();
        let needed = [("net/ipv4/vs/conntrack", "1"), ("net/ipv4/ip_forward", "1")];
        node.net.node().sysctl(&needed).unwrap();
        forbid_to_write_sysctls();
        let (code, log) = node.init_only();
        assert_eq!(code, Some(1), "{log}");
        let useful = ["vs/expire_nodest_conn", "vs/expire_quiescent_template", "conf/all/arp_ignore"];
        let serving = node.serve();
        for sysctl in useful {
            let naming = format!("cannot set /proc/sys/net/ipv4/{sysctl} to ");
            assert!(log.contains(&naming), "{sysctl}: {log}");
            let told = serving.lines().filter(|line| line.starts_with('W') && line.contains(&naming));
            // Once by each family.
            assert_eq!(told.filter(|line| line.contains("--init-only")).count(), 2, "{sysctl}: {serving}");
        }
    });
}

#[test]
fn without_ip6tables_virtual_servers_are_of_ipv4_alone() {
    in_guest(ipvs::with_ipvs(machine(Kernel::Bookworm)), || {
        let node = Prepared::new();
        while let Some(program) = portolan_iptables::find("ip6tables") {
            std::fs::remove_file(program).unwrap();
        }
        let mut proxy = node.start(&[]);
        let health = "127.0.0.1:10256".parse().unwrap();
        let is_healthy =
            |proxy: &Portolan| proxy.get(health, "/healthz").is_ok_and(|reply| reply.status == 200);
        proxy.wait_until("it is healthy", PATIENCE, is_healthy).unwrap();
        let served = virtual_servers(node.net.node());
        assert!(served.contains("10.96.0.80/32") && !served.contains("fd00:10:96::80"), "{served}");
        let log = proxy.log().unwrap();
        assert!(log.contains("the program ip6tables, which is not in PATH"), "{log}");
        assert!(proxy.terminate(PATIENCE).unwrap().success());
    });
}
