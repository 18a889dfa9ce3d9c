//! Changing to and from the ipvs mode by the real binary: new connections are made all the while, those that were
//! there before go on, and the node has nothing of the mode that went but virtual servers that connections use.
//!
//! Each connection comes from its own port, because of what IPVS cannot distinguish: decision 22.

use std::time::Duration;

use portolan_core::IpFamily;
use portolan_testkit::netns::{
    Caller, LongConnection, ManifestFolder, Namespace, Portolan, Prober, Program, Topology, Transport,
    wait_until,
};
use portolan_testkit::shop::{POD_PORT, WEB_MANIFEST, web_manifest_sockets, web_slice_manifests};
use portolan_testkit::upstream::{Xtables, ipvs as kube_proxys};
use portolan_tests_vm::{Kernel, Vm, in_guest, proxy};

use crate::ipvs;

/// Emulated processors are some twenty times slower than real ones, and share what there is with other tests.
const PATIENCE: Duration = Duration::from_secs(120);

/// Both kinds of iptables, each under its own name.
fn machine() -> Vm {
    let binary = proxy().unwrap();
    let vm = ipvs::with_ipvs(Vm::new(Kernel::Bookworm)).copy(&binary).variable("PORTOLAN_BIN", binary);
    vm.programs(ipvs::iptables_of(&["nft", "legacy"])).memory(1024).patience(2 * PATIENCE)
}

/// A mode, and by which kind of iptables it writes if it does.
#[derive(Clone, Copy)]
struct Mode {
    name: &'static str,
    kind: Xtables,
}

const fn mode(name: &'static str, kind: Xtables) -> Mode {
    Mode { name, kind }
}

/// Lets the plain names lead to the programs of this kind.
fn install(kind: Xtables) {
    let kind = if kind == Xtables::Nft { "nft" } else { "legacy" };
    for program in ["iptables", "ip6tables"] {
        for suffix in ["", "-save", "-restore"] {
            let find = |name: &str| Program::new("which").args([name]).run().unwrap().trim().to_owned();
            let (plain, of_kind) =
                (find(&format!("{program}{suffix}")), find(&format!("{program}-{kind}{suffix}")));
            Program::new("ln").args(["-sf", &of_kind, &plain]).run().unwrap();
        }
    }
}

/// What tells which modes have something on a node.
fn traces(node: &Namespace) -> Vec<String> {
    let mut found = Vec::new();
    let tables = node.run_program(&Program::new("nft").args(["list", "tables"])).unwrap();
    found.extend(tables.contains("portolan").then(|| "nftables".to_owned()));
    for kind in Xtables::ALL {
        let save = || IpFamily::ALL.map(|family| kind.save(family).unwrap()).concat();
        let saved = node.run(save).unwrap();
        let filter: String = saved.split('*').filter(|table| table.starts_with("filter")).collect();
        let is_there = [
            ("iptables", saved.contains(":KUBE-SEP-")),
            ("iptables", filter.contains(":KUBE-SERVICES ")),
            ("ipvs", saved.contains(":KUBE-IPVS-FILTER ")),
            ("kube-proxy's ipvs", filter.contains(":KUBE-IPVS-OUT-FILTER ")),
        ];
        found.extend(
            is_there.into_iter().filter(|(_, is)| *is).map(|(mode, _)| format!("{mode} in {kind:?}")),
        );
    }
    let sets = node.run_program(&Program::new("ipset").args(["list", "-name"])).unwrap();
    found.extend(sets.contains("KUBE-").then(|| "sets".to_owned()));
    found.extend(node.ip("link").unwrap().contains("kube-ipvs0").then(|| "device".to_owned()));
    found.dedup();
    found
}

impl Mode {
    /// What a node has where this mode is the only one.
    fn traces(self) -> Vec<String> {
        let kind = self.kind;
        match self.name {
            "ipvs" => vec![format!("ipvs in {kind:?}"), "sets".to_owned(), "device".to_owned()],
            "iptables" => vec![format!("iptables in {kind:?}")],
            other => vec![other.to_owned()],
        }
    }

    fn start(self, net: &Topology, folder: &ManifestFolder) -> Portolan {
        install(self.kind);
        let mut proxy = Portolan::start(net.node(), Portolan::flags_in(self.name, folder)).unwrap();
        proxy.wait_synced(PATIENCE).unwrap();
        proxy
    }
}

/// A node between clients and two pods, and traffic by all kinds of addresses.
struct Stage {
    net: Topology,
    client: Caller,
    folder: ManifestFolder,
    probers: Vec<Prober>,
    _servers: Vec<portolan_testkit::netns::EchoServer>,
}

impl Stage {
    fn new() -> Self {
        let net = Topology::routed(2).unwrap();
        let servers = net.serve(&[POD_PORT]).unwrap();
        let folder = ManifestFolder::create().unwrap();
        folder.write("services.yaml", WEB_MANIFEST).unwrap();
        folder.write("slices.yaml", &web_slice_manifests(&net, &[1, 2])).unwrap();
        let client = Caller::from(net.client()).with_patience(Duration::from_secs(20)).with_fresh_ports();
        Self { net, client, folder, probers: Vec::new(), _servers: servers }
    }

    /// Begins to make connections, which all pods answer.
    fn probe(&mut self) {
        self.probers =
            web_manifest_sockets().map(|to| Prober::start(&self.client, Transport::Tcp, to).unwrap()).into();
        self.wait_for_pods();
    }

    fn wait_for_pods(&self) {
        for prober in &self.probers {
            prober.wait_for_pod("pod1", PATIENCE).unwrap();
            prober.wait_for_pod("pod2", PATIENCE).unwrap();
        }
    }

    fn connect(&self) -> Vec<LongConnection> {
        web_manifest_sockets().into_iter().map(|to| LongConnection::open(&self.client, to).unwrap()).collect()
    }

    /// Another mode takes over; what was connected stays so.
    fn change(&self, old: Portolan, to: Mode, between: impl FnOnce(&Namespace)) -> Portolan {
        let lasting = self.connect();
        assert!(old.terminate(PATIENCE).unwrap().success());
        between(self.net.node());
        let proxy = to.start(&self.net, &self.folder);
        // Beyond the first look for leftovers, and the second.
        std::thread::sleep(Duration::from_secs(5));
        for connection in &lasting {
            connection.wait_for_lines(5, PATIENCE).unwrap();
        }
        for connection in lasting {
            assert_eq!(connection.close().broken, None, "{}", proxy.log().unwrap());
        }
        self.wait_for_pods();
        // Virtual servers remember connections for two minutes after their end, and stay so long, with all that
        // tells them from others'.
        let lasting = |what: &String| ["sets", "device"].contains(&what.as_str());
        let wanted = to.traces();
        let is_alone =
            || traces(self.net.node()).into_iter().all(|what| wanted.contains(&what) || lasting(&what));
        let alone = wait_until("the old mode has nothing left but what lasts", PATIENCE, is_alone);
        let found = traces(self.net.node());
        assert!(
            alone.is_ok() && wanted.iter().all(|what| found.contains(what)),
            "{found:?}\n{}",
            proxy.log().unwrap()
        );
        proxy
    }

    fn end(self) {
        for prober in self.probers {
            let report = prober.stop();
            assert!(report.first_failures.is_empty(), "{report:?}");
        }
    }
}

/// From mode to mode, one after the other.
fn change_through(modes: &[Mode]) {
    let mut stage = Stage::new();
    let mut proxy = modes[0].start(&stage.net, &stage.folder);
    stage.probe();
    for to in &modes[1..] {
        proxy = stage.change(proxy, *to, |_| ());
    }
    stage.end();
}

#[test]
fn a_node_changes_from_nftables_to_ipvs_and_back_without_losing_a_connection() {
    let nftables = mode("nftables", Xtables::Nft);
    in_guest(machine(), || change_through(&[nftables, mode("ipvs", Xtables::Nft), nftables]));
}

#[test]
fn a_node_changes_from_iptables_to_ipvs_and_back_in_the_same_tables_without_losing_a_connection() {
    let iptables = mode("iptables", Xtables::Nft);
    in_guest(machine(), || change_through(&[iptables, mode("ipvs", Xtables::Nft), iptables]));
}

#[test]
fn a_node_changes_from_iptables_to_ipvs_and_back_in_other_tables_without_losing_a_connection() {
    let iptables = mode("iptables", Xtables::Legacy);
    in_guest(machine(), || change_through(&[iptables, mode("ipvs", Xtables::Nft), iptables]));
}

/// Sets, device and virtual servers of both are the same; kube-proxy's rules are not.
#[test]
fn a_node_of_kube_proxys_ipvs_mode_is_taken_over_without_losing_a_connection() {
    in_guest(machine(), || {
        let mut stage = Stage::new();
        let ipvs = mode("ipvs", Xtables::Nft);
        let proxy = ipvs.start(&stage.net, &stage.folder);
        stage.probe();
        let load = |node: &Namespace| {
            let load = |family| Xtables::Nft.restore(family, &kube_proxys::ruleset(family)).unwrap();
            node.run(|| IpFamily::ALL.into_iter().for_each(load)).unwrap();
            assert!(traces(node).contains(&"kube-proxy's ipvs in Nft".to_owned()), "{:?}", traces(node));
        };
        let _proxy = stage.change(proxy, ipvs, load);
        // Kube-proxy's rules would have refused that.
        for ip in ["10.96.0.80", "fd00:10:96::80"] {
            stage.net.client().run_program(&Program::new("ping").args(["-c", "1", "-W", "20", ip])).unwrap();
        }
        stage.end();
    });
}
