//! The real binary with a credential plugin and a proxy, and what its log and its pages show of them.

#![expect(clippy::unwrap_used, reason = "everything in this crate is a test")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use portolan_testkit::api_server::{ApiServer, Refusal};
use portolan_testkit::forward_proxy::{ForwardProxy, ProxyProtocol};
use portolan_testkit::netns::isolated;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const PATIENCE: Duration = Duration::from_secs(60);
const METRICS: &str = "127.0.0.1:10249";

/// The binary, with a folder for its kubeconfig and its log.
struct Proxy {
    process: Child,
    log: PathBuf,
}

impl Proxy {
    fn start(folder: &Path, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let log = folder.join("log");
        let kubeconfig = format!("--kubeconfig={}", folder.join("kubeconfig").display());
        #[expect(clippy::disallowed_methods, reason = "this starts the program under test")]
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_portolan"));
        command.args([&*kubeconfig, "--hostname-override=n1", "--mode=nftables"]).args(flags);
        command.envs(variables.iter().map(|(name, value)| (OsStr::new(name), OsStr::new(value))));
        let process = command.stderr(File::create(&log).unwrap()).spawn().unwrap();
        Self { process, log }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn wait_until(&mut self, what: &str, mut holds: impl FnMut(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(&self.log()) {
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "{what}, {ended:?}: {}", self.log());
            sleep(Duration::from_millis(10));
        }
    }

    /// Ends it as the kubelet does.
    fn terminate(&mut self) {
        kill(Pid::from_raw(self.process.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match self.process.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > deadline => self.process.kill().unwrap(),
                None => sleep(Duration::from_millis(10)),
            }
        };
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }
}

fn kubeconfig(folder: &Path, cluster: &Value, user: &Value) {
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}], "users": [{"name": "u", "user": user}],
    });
    fs::write(folder.join("kubeconfig"), kubeconfig.to_string()).unwrap();
}

/// A user whose credentials a shell script prints.
fn exec(script: &str, folder: &TempDir) -> Value {
    fs::write(folder.path().join("plugin"), script).unwrap();
    json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never", "command": "sh",
        "args": [folder.path().join("plugin"), folder.path(), "TopSecretArgument"],
        "env": [{"name": "PASSWORD", "value": "TopSecretVariable"}],
    }})
}

fn page(path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(METRICS.parse::<SocketAddr>().unwrap()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_plugin_that_hangs_does_not_keep_a_signal_from_ending_the_proxy() {
    isolated(|| {
        let folder = tempfile::tempdir().unwrap();
        let user = exec("echo > \"$1/started\"; exec sleep 3600\n", &folder);
        kubeconfig(folder.path(), &json!({"server": "http://127.0.0.1:1"}), &user);
        let mut proxy = Proxy::start(folder.path(), &[], &[]);
        proxy.wait_until("the plugin is started", |_| folder.path().join("started").exists());
        proxy.terminate();
    });
}

#[test]
fn a_proxy_of_the_environment_is_used_and_no_secret_is_logged_at_v_10_or_shown_on_a_page() {
    isolated(|| {
        let runtime = Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let server = runtime.block_on(ApiServer::start_with_tls()).unwrap();
        let start = ForwardProxy::start(ProxyProtocol::Http, &server, Some(("u", "TopSecretProxy")));
        let forward = runtime.block_on(start).unwrap();
        let pair = server.issue_client_certificate("client").unwrap();
        let credential = json!({
            "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
            "status": {"token": "TopSecretToken", "clientCertificateData": pair.certificate, "clientKeyData": pair.key},
        });
        fs::write(folder.path().join("credential"), credential.to_string()).unwrap();
        let user = exec("echo TopSecretError >&2; cat \"$1/credential\"\n", &folder);
        let authority = server.authority_file().unwrap();
        let cluster = json!({"server": "https://api.invalid:6443", "certificate-authority": authority, "tls-server-name": "127.0.0.1"});
        kubeconfig(folder.path(), &cluster, &user);

        let flags = [
            "-v=10",
            "--profiling",
            "--feature-gates=ComponentFlagz=true,ComponentStatusz=true",
            "--master=https://u:TopSecretMaster@api.invalid:6443",
        ];
        let url = format!("http://u:TopSecretProxy@{}", forward.address());
        let mut proxy = Proxy::start(
            folder.path(),
            &flags,
            &[("HTTPS_PROXY", &url), ("NO_PROXY", "10.0.0.0/8,.example")],
        );
        server.apply(json!({
            "kind": "Node", "metadata": {"name": "n1"},
            "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]},
        }));
        let watched = server.wait_for_watchers(&["services", "endpointslices", "nodes", "servicecidrs"]);
        runtime.block_on(async { tokio::time::timeout(PATIENCE, watched).await }).unwrap();
        assert!(forward.asked().iter().all(|head| head.starts_with("CONNECT api.invalid:6443 HTTP/1.1\r\n")));
        let last = server.requests().pop().unwrap();
        assert_eq!((&*last.client, &*last.authorization), ("client", "Bearer TopSecretToken"));
        let pages = ["/configz", "/flagz", "/statusz", "/metrics", "/debug/flags/v"].map(page);
        assert!(pages[1].contains("master") && pages[1].contains("https://api.invalid:6443"), "{}", pages[1]);

        // Failures of the plugin, of the server and of the proxy.
        fs::write(folder.path().join("credential"), "TopSecretGarbage").unwrap();
        server.refuse(Some(Refusal { status: 401, resource: "" }));
        runtime.block_on(server.cut_connections());
        proxy.wait_until("the plugin failed", |log| log.contains("Failed to renew credentials"));
        drop(forward);
        runtime.block_on(server.cut_connections());
        proxy.wait_until("the proxy is away", |log| log.contains(": proxy http://127.0.0.1:"));
        proxy.terminate();

        let shown = format!("{}{}", pages.concat(), proxy.log());
        assert!(shown.contains("pooling idle connection"), "libraries are heard at -v 10: {shown}");
        // Of what is base64 too: the user and the password for the proxy.
        let key = pair.key.lines().filter(|line| !line.starts_with("-----"));
        for secret in ["TopSecret", "VG9wU2VjcmV0", "dTpUb3BTZWNyZXQ"].into_iter().chain(key) {
            let line = shown.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{secret}");
        }
    });
}
