//! A network of its own for each measurement: an API server, pods that answer, and the proxy.
//!
//! All ends are in one namespace. The pods' range is routed to `lo` as local, so that one server answers for
//! every endpoint and reports the address at which it was reached. VIPs are local too: an untranslated packet
//! reaches the same server, which then reports the VIP, or is rejected where the proxy uses the port. So every
//! request is answered at once, whether a VIP is served or not, and needs no timeout.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use portolan_testkit::api_server::ApiServer;
use portolan_testkit::netns::{Namespace, Program};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::mode::Mode;
use crate::objects::{POD_PORT, PODS, PORT, VIPS};
use crate::proxy::{From, Page, Proxy};

/// What clients connect from; routed to `lo` with the pods, whose connections are not masqueraded.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 1);
/// What the proxy watches.
const RESOURCES: [&str; 3] = ["services", "endpointslices", "nodes"];

/// The network, the API server, and the proxy once it is started.
pub(crate) struct Stage {
    namespace: Namespace,
    runtime: Runtime,
    pub(crate) api: ApiServer,
    mode: Mode,
}

/// Runs `work` on its own stage and takes that down.
pub(crate) fn on_stage<T: Send>(
    mode: &Mode,
    work: impl FnOnce(&Stage) -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("stage{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let namespace = Namespace::create(&name)?;
    let result = namespace.run(|| {
        let stage = Stage::new(namespace.clone(), mode)?;
        let result = work(&stage);
        stage.take_down();
        result
    })?;
    Program::new("ip").args(["netns", "del", &name]).run()?;
    result
}

impl Stage {
    fn new(namespace: Namespace, mode: &Mode) -> anyhow::Result<Self> {
        for command in [
            "link set lo up".to_owned(),
            format!("route add local {PODS} dev lo"),
            format!("route add local {VIPS} dev lo"),
        ] {
            namespace.ip(&command)?;
        }
        serve(POD_PORT)?;
        if !mode.relays() {
            serve(PORT)?;
        }
        // Its threads are in this thread's namespace, and so are their sockets.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let api = runtime.block_on(ApiServer::start())?;
        Ok(Self { namespace, runtime, api, mode: mode.clone() })
    }

    /// Gives the API server these objects.
    pub(crate) fn fill(&self, objects: impl Iterator<Item = Value>) {
        self.api.apply_all(objects);
    }

    /// Starts the proxy on the API server.
    pub(crate) fn start(&self) -> anyhow::Result<Proxy> {
        Proxy::start(&self.namespace, &self.mode, From::Api(self.api.kubeconfig_file()))
    }

    /// Starts the proxy on something else.
    pub(crate) fn start_from(&self, from: From<'_>) -> anyhow::Result<Proxy> {
        Proxy::start(&self.namespace, &self.mode, from)
    }

    /// Starts the proxy and waits until it has loaded everything and follows.
    pub(crate) fn start_loaded(&self) -> anyhow::Result<(Proxy, Page)> {
        let mut proxy = self.start()?;
        let page = proxy.wait_loaded()?;
        self.runtime.block_on(self.api.wait_for_watchers(&RESOURCES));
        Ok((proxy, page))
    }

    /// When the proxy first asked for Services or EndpointSlices after `since`.
    pub(crate) fn first_asked(&self, since: Instant) -> Option<Instant> {
        let requests = self.api.requests();
        let asked = requests.iter().filter(|request| {
            request.at >= since && ["services", "endpointslices"].contains(&request.resource.as_str())
        });
        asked.map(|request| request.at).min()
    }

    /// How long the API server takes to send both lists to a client that drops them, and their
    /// bytes.
    pub(crate) fn hand_out_lists(&self) -> anyhow::Result<(Duration, usize)> {
        let address = self.api.url().trim_start_matches("http://").to_owned();
        let began = Instant::now();
        let mut bytes = 0;
        for path in ["/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices"] {
            let mut stream = std::net::TcpStream::connect(&address)?;
            stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
            bytes += usize::try_from(std::io::copy(&mut stream, &mut std::io::sink())?)?;
        }
        Ok((began.elapsed(), bytes))
    }

    fn take_down(self) {
        drop(self.api);
        self.runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

/// Answers every connection to a port with the address it came to, until the process ends.
fn serve(port: u16) -> anyhow::Result<()> {
    let listener =
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).with_context(|| format!("port {port} is taken"))?;
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let Ok(std::net::SocketAddr::V4(reached)) = stream.local_addr() else { continue };
            // A client that went away needs no answer.
            let _ = stream.write_all(&reached.ip().octets());
        }
    });
    Ok(())
}
