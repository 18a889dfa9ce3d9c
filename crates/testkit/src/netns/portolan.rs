//! The real proxy, as a process in the node.

use std::env;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use super::{
    HttpReply, ManifestFolder, Namespace, NetnsError, POD_CIDR_V4, POD_CIDR_V6, Program, RunningProgram,
    http_get,
};

/// The proxy's default address of metrics, as in kube-proxy.
const METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 10249);
/// Set on each successful sync; one series per address family.
const LAST_SYNC: &str = "kubeproxy_sync_proxy_rules_last_timestamp_seconds";

/// A running `portolan`; dropping it kills it, and in a failed test prints its log.
#[derive(Debug)]
pub struct Portolan {
    namespace: Namespace,
    program: RunningProgram,
}

impl Portolan {
    /// [`flags_in`](Self::flags_in) nftables mode.
    pub fn flags(manifests: &ManifestFolder) -> Vec<String> {
        Self::flags_in("nftables", manifests)
    }

    /// The flags that suit a [`Topology`](super::Topology) and read a manifest folder, in this mode.
    ///
    /// Node ports answer on all addresses of the node, which is called `node1`.
    pub fn flags_in(mode: &str, manifests: &ManifestFolder) -> Vec<String> {
        let cluster = format!("{POD_CIDR_V4},{POD_CIDR_V6}");
        let folder = manifests.path().display().to_string();
        [
            ("--manifests", folder.as_str()),
            ("--mode", mode),
            ("--hostname-override", "node1"),
            ("--cluster-cidr", &cluster),
            ("--nodeport-addresses", "0.0.0.0/0,::/0"),
            ("--metrics-bind-address", "127.0.0.1:10249"),
            ("--healthz-bind-address", "127.0.0.1:10256"),
            ("-v", "2"),
        ]
        .iter()
        .flat_map(|(flag, value)| [(*flag).to_owned(), (*value).to_owned()])
        .collect()
    }

    /// The binary to test: the one that `PORTOLAN_BIN` names, or else the one cargo built beside this test.
    ///
    /// # Errors
    /// When there is none.
    pub fn binary() -> Result<PathBuf, NetnsError> {
        let path = if let Some(path) = env::var_os("PORTOLAN_BIN") {
            path.into()
        } else {
            let test = env::current_exe().map_err(NetnsError::io("find", "the test executable"))?;
            // This test is target/PROFILE/deps/NAME-HASH, and binaries are in target/PROFILE.
            test.ancestors().nth(2).unwrap_or(Path::new("")).join("portolan")
        };
        if path.is_file() { Ok(path) } else { Err(NetnsError::NoBinary { path }) }
    }

    /// Starts [the proxy](Self::binary) in a namespace.
    ///
    /// # Errors
    /// When there is no binary, or it does not start.
    pub fn start<F: Into<OsString>>(
        namespace: &Namespace,
        flags: impl IntoIterator<Item = F>,
    ) -> Result<Self, NetnsError> {
        Self::start_binary(&Self::binary()?, namespace, flags)
    }

    /// Starts another binary in the proxy's place, such as a build with a backend of one's own.
    ///
    /// # Errors
    /// When there is no such binary, or it does not start.
    pub fn start_binary<F: Into<OsString>>(
        binary: &Path,
        namespace: &Namespace,
        flags: impl IntoIterator<Item = F>,
    ) -> Result<Self, NetnsError> {
        if !binary.is_file() {
            return Err(NetnsError::NoBinary { path: binary.to_owned() });
        }
        let program = Program::new(binary).args(flags);
        Ok(Self { namespace: namespace.clone(), program: namespace.spawn_program(&program)? })
    }

    /// Waits until both families have been synced once.
    ///
    /// # Errors
    /// When `patience` runs out, or the proxy ends.
    pub fn wait_synced(&mut self, patience: Duration) -> Result<(), NetnsError> {
        self.wait_until("both families are synced", patience, |proxy| {
            ["IPv4", "IPv6"].iter().all(|family| {
                let series = format!("{LAST_SYNC}{{ip_family=\"{family}\"}}");
                proxy.metric(&series).ok().flatten().is_some_and(|time| time > 0.0)
            })
        })
    }

    /// Waits until something about the running proxy holds.
    ///
    /// # Errors
    /// When `patience` runs out, or the proxy ends meanwhile.
    pub fn wait_until(
        &mut self,
        what: &str,
        patience: Duration,
        mut holds: impl FnMut(&Self) -> bool,
    ) -> Result<(), NetnsError> {
        let mut ended = None;
        super::wait_until(what, patience, || {
            ended = self.program.exited().ok().flatten();
            ended.is_some() || holds(self)
        })?;
        match ended {
            Some(status) => Err(NetnsError::Ended { status, log: self.log()? }),
            None => Ok(()),
        }
    }

    /// The value of one series on the metrics page, by its full name with labels.
    ///
    /// # Errors
    /// When the page is not there.
    pub fn metric(&self, series: &str) -> Result<Option<f64>, NetnsError> {
        let page = self.get(METRICS, "/metrics")?.body;
        let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.trim().parse().ok();
        Ok(page.lines().find_map(value))
    }

    /// Fetches a page from one of the proxy's servers.
    ///
    /// # Errors
    /// When nothing answers there.
    pub fn get(&self, server: SocketAddr, path: &str) -> Result<HttpReply, NetnsError> {
        http_get(&self.namespace, server, path)
    }

    /// All it has logged so far.
    ///
    /// # Errors
    /// When the log cannot be read back.
    pub fn log(&self) -> Result<String, NetnsError> {
        self.program.log()
    }

    /// The process's id in the test's own process namespace.
    pub fn id(&self) -> u32 {
        self.program.id()
    }

    /// Kills it with `SIGKILL`, as a crash would.
    ///
    /// # Errors
    /// When the kernel cannot.
    pub fn kill(mut self) -> Result<ExitStatus, NetnsError> {
        self.program.kill()
    }

    /// Ends it with `SIGTERM`, as the kubelet does.
    ///
    /// # Errors
    /// When it is still there after `patience`.
    pub fn terminate(mut self, patience: Duration) -> Result<ExitStatus, NetnsError> {
        self.program.terminate(patience)
    }
}
