//! The real binary in the node, from manifests or an API server that is not there, to packets.

use std::net::SocketAddr;
use std::time::Duration;

use portolan_core::IpFamily;
use portolan_testkit::netns::{
    Caller, LongConnection, ManifestFolder, NODE_V4, NODE_V6, NetnsError, Portolan, Prober, Program,
    Topology, Transport, http_get, isolated, list_ruleset, wait_until,
};
use portolan_testkit::shop::{POD_PORT, WEB_MANIFEST, web_manifest_sockets, web_slice_manifests};

use crate::modes::{Mode, in_each_mode};

const PATIENCE: Duration = Duration::from_secs(30);
const HEALTH: &str = "127.0.0.1:10256";

/// A network with servers, a folder with [`WEB_MANIFEST`] and pods 1 and 2, and the proxy running on it.
fn running(mode: Mode) -> (Topology, Vec<portolan_testkit::netns::EchoServer>, ManifestFolder, Portolan) {
    let net = Topology::routed(3).unwrap();
    let servers = net.serve(&[POD_PORT]).unwrap();
    let folder = ManifestFolder::create().unwrap();
    folder.write("service.yaml", WEB_MANIFEST).unwrap();
    folder.write("slices.yaml", &web_slice_manifests(&net, &[1, 2])).unwrap();
    let mut proxy = Portolan::start(net.node(), Portolan::flags_in(mode.name(), &folder)).unwrap();
    proxy.wait_synced(PATIENCE).unwrap();
    (net, servers, folder, proxy)
}

in_each_mode!(
    manifests_are_served_and_their_changes_followed_under_traffic,
    killing_and_restarting_the_proxy_loses_no_connection,
    a_restart_beside_a_broken_manifest_keeps_what_is_served_and_says_so,
    load_balancers_learn_whether_this_node_has_endpoints,
    an_api_server_that_is_not_there_leaves_the_kernel_as_it_was,
);

fn manifests_are_served_and_their_changes_followed_under_traffic(mode: Mode) {
    let (net, _servers, folder, mut proxy) = running(mode);
    let client = Caller::from(net.client());
    let probers = web_manifest_sockets().map(|to| Prober::start(&client, Transport::Tcp, to).unwrap());
    for prober in &probers {
        prober.wait_for_pod("pod1", PATIENCE).unwrap();
        prober.wait_for_pod("pod2", PATIENCE).unwrap();
    }
    folder.write("slices.yaml", &web_slice_manifests(&net, &[2, 3])).unwrap();
    for prober in &probers {
        prober.wait_for_pod("pod3", PATIENCE).unwrap();
    }
    // A broken file leaves what was there, and is said to be broken.
    folder.write("slices.yaml", "apiVersion: [").unwrap();
    proxy
        .wait_until("the broken file is reported", PATIENCE, |proxy| {
            proxy.log().unwrap().contains("slices.yaml")
        })
        .unwrap();
    for prober in probers {
        prober.wait_for_attempts(100, PATIENCE).unwrap();
        let report = prober.stop();
        assert_eq!(report.tally.failed(), 0, "{} {:?}", report.tally, report.first_failures);
    }
    let answers = client.many_tcp(web_manifest_sockets()[0], 60).unwrap();
    assert_eq!(answers.answers_of("pod1"), 0, "{answers}");
    assert_eq!(answers.successes(), 60, "{answers}");
    mode.assert_reloads(net.node());
}

fn killing_and_restarting_the_proxy_loses_no_connection(mode: Mode) {
    let (net, _servers, folder, mut proxy) = running(mode);
    let client = Caller::from(net.client());
    let probers = web_manifest_sockets().map(|to| Prober::start(&client, Transport::Tcp, to).unwrap());
    let stream = LongConnection::open(&client, web_manifest_sockets()[0]).unwrap();
    let wait = || {
        for prober in &probers {
            prober.wait_for_attempts(100, PATIENCE).unwrap();
        }
        stream.wait_for_lines(5, PATIENCE).unwrap();
    };
    wait();
    proxy.kill().unwrap();
    wait();
    // Changes that happened without a running proxy are applied.
    folder.write("slices.yaml", &web_slice_manifests(&net, &[1, 2, 3])).unwrap();
    proxy = Portolan::start(net.node(), Portolan::flags_in(mode.name(), &folder)).unwrap();
    proxy.wait_synced(PATIENCE).unwrap();
    for prober in &probers {
        prober.wait_for_pod("pod3", PATIENCE).unwrap();
    }
    wait();
    let status = proxy.terminate(PATIENCE).unwrap();
    assert!(status.success(), "SIGTERM is a clean end: {status}");
    wait();
    for prober in probers {
        let report = prober.stop();
        assert_eq!(report.tally.failed(), 0, "{} {:?}", report.tally, report.first_failures);
    }
    assert_eq!(stream.close().broken, None);
}

fn a_restart_beside_a_broken_manifest_keeps_what_is_served_and_says_so(mode: Mode) {
    let (net, _servers, folder, proxy) = running(mode);
    let client = Caller::from(net.client());
    let probers = web_manifest_sockets().map(|to| Prober::start(&client, Transport::Tcp, to).unwrap());
    assert!(proxy.terminate(PATIENCE).unwrap().success());
    let rules = mode.listed(net.node());

    folder.write("service.yaml", &format!("{WEB_MANIFEST}\n---\nkind: [")).unwrap();
    let mut proxy = Portolan::start(net.node(), Portolan::flags_in(mode.name(), &folder)).unwrap();
    let says = |proxy: &Portolan, word: &str| {
        proxy
            .get(HEALTH.parse().unwrap(), "/healthz")
            .is_ok_and(|answer| answer.status == 503 && answer.body.contains(word))
    };
    let reason = "service.yaml: document ";
    proxy.wait_until("the reason is on /healthz", PATIENCE, |proxy| says(proxy, reason)).unwrap();
    for prober in &probers {
        prober.wait_for_attempts(100, PATIENCE).unwrap();
    }
    assert!(says(&proxy, reason));
    assert_eq!(mode.listed(net.node()), rules);
    let log = proxy.log().unwrap();
    assert!(log.contains("existing rules remain in effect"), "{log}");
    assert!(!log.contains("last good content"), "a new process has none: {log}");

    folder.write("service.yaml", WEB_MANIFEST).unwrap();
    proxy.wait_synced(PATIENCE).unwrap();
    for prober in probers {
        prober.wait_for_attempts(100, PATIENCE).unwrap();
        let report = prober.stop();
        assert_eq!(report.tally.failed(), 0, "{} {:?}", report.tally, report.first_failures);
    }
    // What others wrote is gone now: nothing can be lost, so what can be read is served.
    assert!(proxy.terminate(PATIENCE).unwrap().success());
    let mut cleanup = Portolan::start(net.node(), ["--cleanup"]).unwrap();
    assert_eq!(exit_code(&mut cleanup), Some(0), "{}", cleanup.log().unwrap());
    folder.write("other.yaml", "kind: [").unwrap();
    let mut proxy = Portolan::start(net.node(), Portolan::flags_in(mode.name(), &folder)).unwrap();
    for to in web_manifest_sockets() {
        wait_until("what can be read is served", PATIENCE, || client.connect_tcp(to).is_ok()).unwrap();
    }
    proxy.wait_until("the reason is on /healthz", PATIENCE, |proxy| says(proxy, "other.yaml")).unwrap();
}

/// In nftables mode that takes nothing, where the kernel lets us own our tables.
#[test]
fn rules_of_iptables_that_others_flush_are_back_within_a_sync_period() {
    isolated(|| {
        let (net, _servers, folder, proxy) = running(Mode::Iptables);
        assert!(proxy.terminate(PATIENCE).unwrap().success());
        let flags = Portolan::flags_in("iptables", &folder).into_iter();
        let mut proxy =
            Portolan::start(net.node(), flags.chain(["--iptables-sync-period=1s".into()])).unwrap();
        proxy.wait_synced(PATIENCE).unwrap();
        let repairs = |proxy: &Portolan, family: IpFamily| {
            let series = format!("portolan_sync_repairs_total{{ip_family=\"{family}\"}}");
            proxy.metric(&series).ok().flatten()
        };
        assert_eq!(IpFamily::ALL.map(|family| repairs(&proxy, family)), [Some(0.0); 2]);
        let before = Mode::Iptables.listed(net.node());

        net.node().run_program(&Program::new("nft").args(["flush", "ruleset"])).unwrap();
        let are_back = |proxy: &Portolan| {
            IpFamily::ALL.iter().all(|family| repairs(proxy, *family) == Some(1.0))
                && Mode::Iptables.listed(net.node()) == before
        };
        proxy.wait_until("the rules are back", PATIENCE, are_back).unwrap();
        let client = Caller::from(net.client());
        for to in web_manifest_sockets() {
            client.connect_tcp(to).unwrap_or_else(|error| panic!("{to}: {error}"));
        }
        assert!(proxy.log().unwrap().contains("Rules were changed or removed by another process"));
    });
}

/// Asks for [`WEB_MANIFEST`] behind a load balancer that keeps clients' addresses, under this policy.
fn balanced(policy: &str) -> String {
    let kind = format!(
        "type: LoadBalancer\n  externalTrafficPolicy: {policy}\n  healthCheckNodePort: {HEALTH_CHECK}"
    );
    WEB_MANIFEST.replace("type: NodePort", &kind)
}

/// Port of the health check of [`balanced`].
const HEALTH_CHECK: u16 = 32100;

fn load_balancers_learn_whether_this_node_has_endpoints(mode: Mode) {
    let (net, _servers, folder, mut proxy) = running(mode);
    let node = [SocketAddr::from((NODE_V4, HEALTH_CHECK)), SocketAddr::from((NODE_V6, HEALTH_CHECK))];
    let answers = || node.map(|address| http_get(net.client(), address, "/").ok().map(|reply| reply.status));
    let mut wait = |what: &str, status: Option<u16>| {
        proxy.wait_until(what, PATIENCE, |_| answers() == [status; 2]).unwrap();
    };
    wait("no client asks for a check", None);

    folder.write("service.yaml", &balanced("Local")).unwrap();
    wait("both families answer 200", Some(200));
    let reply = http_get(net.client(), node[0], "/any/path").unwrap();
    assert_eq!(reply.header("x-load-balancing-endpoint-weight"), Some("2"));
    assert!(reply.body.contains("\"localEndpoints\": 2,"), "{}", reply.body);

    let ready = "conditions: {ready: true}";
    let terminating = "conditions: {ready: false, serving: true, terminating: true}";
    folder.write("slices.yaml", &web_slice_manifests(&net, &[1, 2]).replace(ready, terminating)).unwrap();
    wait("terminating endpoints do not count", Some(503));
    let answer = Caller::from(net.client()).connect_tcp(web_manifest_sockets()[2]).unwrap();
    assert!(["pod1", "pod2"].contains(&answer.pod.as_str()), "they still receive traffic: {answer:?}");

    folder.write("service.yaml", &balanced("Cluster")).unwrap();
    wait("any node will do", None);
    assert!(proxy.terminate(PATIENCE).unwrap().success());
}

/// Waits for a process that ends by itself.
fn exit_code(process: &mut Portolan) -> Option<i32> {
    match process.wait_until("it ends", PATIENCE, |_| false).unwrap_err() {
        NetnsError::Ended { status, .. } => status.code(),
        other => panic!("{other}"),
    }
}

#[test]
fn cleanup_removes_our_tables_and_leaves_those_of_others() {
    isolated(|| {
        let (net, _servers, folder, proxy) = running(Mode::Nftables);
        net.node().run_program(&Program::new("nft").args(["add", "table", "ip", "bystander"])).unwrap();
        let cleanup = || Portolan::start(net.node(), ["--cleanup"]).unwrap();
        let mut busy = cleanup();
        assert_eq!(exit_code(&mut busy), Some(1), "a running proxy's tables are not another's to remove");
        assert!(busy.log().unwrap().contains("belongs to a running process"), "{}", busy.log().unwrap());

        proxy.terminate(PATIENCE).unwrap();
        let mut done = cleanup();
        assert_eq!(exit_code(&mut done), Some(0), "{}", done.log().unwrap());
        let ruleset = list_ruleset(net.node()).unwrap();
        assert!(!ruleset.contains("portolan"), "{ruleset}\n{}", done.log().unwrap());
        assert!(ruleset.contains("table ip bystander"), "{ruleset}");
        drop(folder);
    });
}

fn an_api_server_that_is_not_there_leaves_the_kernel_as_it_was(mode: Mode) {
    let (net, _servers, folder, proxy) = running(mode);
    proxy.terminate(PATIENCE).unwrap();
    let before = mode.listed(net.node());
    folder.write("kubeconfig", KUBECONFIG).unwrap();
    let kubeconfig = folder.path().join("kubeconfig").display().to_string();
    let flags = [
        ("--kubeconfig", kubeconfig.as_str()),
        ("--mode", mode.name()),
        ("--hostname-override", "node1"),
        ("--metrics-bind-address", "127.0.0.1:10249"),
        ("--healthz-bind-address", HEALTH),
    ];
    let flags = flags.iter().flat_map(|(flag, value)| [*flag, *value]);
    let mut proxy = Portolan::start(net.node(), flags).unwrap();
    proxy
        .wait_until("the failure is reported", PATIENCE, |proxy| {
            let log = proxy.log().unwrap();
            log.contains("127.0.0.1:1") && log.contains("refused")
        })
        .unwrap();
    let health = proxy.get(HEALTH.parse().unwrap(), "/healthz").unwrap();
    assert_eq!(health.status, 503, "{}", health.body);
    assert_eq!(mode.listed(net.node()), before);
    let answer = Caller::from(net.client()).connect_tcp(web_manifest_sockets()[0]).unwrap();
    assert!(["pod1", "pod2"].contains(&answer.pod.as_str()));
}

/// Port 1 (tcpmux) has no listener in a fresh namespace.
const KUBECONFIG: &str = "
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: here, user: here}}]
clusters: [{name: here, cluster: {server: 'http://127.0.0.1:1'}}]
users: [{name: here, user: {token: none}}]
";

/// Opening one would load the kernel's SCTP module, which many nodes forbid.
#[test]
fn a_service_of_sctp_is_served_without_a_socket_of_sctp() {
    isolated(|| {
        let (net, _servers, folder, proxy) = running(Mode::Nftables);
        let sockets = || {
            let open = std::fs::read_dir(format!("/proc/{}/fd", proxy.id())).unwrap();
            let target =
                |file: std::io::Result<std::fs::DirEntry>| std::fs::read_link(file.ok()?.path()).ok();
            open.filter_map(target).filter(|target| target.to_string_lossy().starts_with("socket:")).count()
        };
        let before = sockets();
        assert!(before > 2, "{before}: a netlink socket and two servers at least");
        let sctp =
            WEB_MANIFEST.replace("TCP", "SCTP").replace("name: web", "name: sig").replace("30080", "30868");
        let sctp = sctp.replace("10.96.0.80", "10.96.0.81").replace("96::80", "96::81");
        folder.write("sctp.yaml", &sctp).unwrap();
        let is_served = || list_ruleset(net.node()).unwrap().contains("10.96.0.81 . sctp . 80");
        wait_until("the Service is programmed", PATIENCE, is_served).unwrap();
        wait_until("no socket came with it", PATIENCE, || sockets() <= before).unwrap();
    });
}
