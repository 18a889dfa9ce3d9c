//! The binary that the mode is registered in.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use portolan_core::IpFamily;
use portolan_testkit::netns::{Caller, ManifestFolder, Portolan, Program, Topology, isolated};
use portolan_testkit::scenario::POD_PORT;

const BINARY: &str = env!("CARGO_BIN_EXE_portolan-haproxy");
const PATIENCE: Duration = Duration::from_secs(60);

const SERVICE: &str = "apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  clusterIP: 10.96.0.80
  ports: [{name: http, port: 80, protocol: TCP}]
";

#[test]
fn it_serves_what_it_serves_when_it_has_ended_and_cleans_up() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();
        let _servers = net.serve(&[POD_PORT]).unwrap();
        let manifests = ManifestFolder::create().unwrap();
        manifests.write("web.yaml", SERVICE).unwrap();
        manifests.write("slice.yaml", &net.slice("web", IpFamily::V4, ("TCP", POD_PORT), &[1])).unwrap();
        let flags = Portolan::flags_in("haproxy", &manifests);
        let mut proxy = Portolan::start_binary(Path::new(BINARY), net.node(), flags).unwrap();
        proxy.wait_synced(PATIENCE).unwrap();
        let caller = Caller::from(net.client());
        let vip: SocketAddr = "10.96.0.80:80".parse().unwrap();
        assert_eq!(caller.connect_tcp(vip).unwrap().pod, "pod1");

        proxy.terminate(PATIENCE).unwrap();
        assert_eq!(caller.connect_tcp(vip).unwrap().pod, "pod1");

        net.node().run_program(&Program::new(BINARY).args(["--cleanup"])).unwrap();
        assert!(caller.connect_tcp(vip).is_err());
        assert!(!Path::new("/run/portolan-haproxy").exists());
    });
}
