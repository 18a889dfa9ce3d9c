//! A file that changes under a reload, with nobody else around.

use std::fs;

use portolan_config::{Environment, Invocation};
use portolan_metrics::Build;

use super::*;

/// A reload of a file, and what it reaches.
struct Scene {
    folder: tempfile::TempDir,
    reload: Reload,
    configz: Configz,
    sync: watch::Receiver<Configuration>,
}

const HEAD: &str = "kind: KubeProxyConfiguration\napiVersion: kubeproxy.config.k8s.io/v1alpha1\n";

fn read(path: &Path) -> Result<Option<Config>, ConfigError> {
    let args = ["portolan".into(), format!("--config={}", path.display()).into()];
    let environment = Environment { hostname: &|| Ok("n1".to_owned()), modes: &[] };
    match portolan_config::parse(args, &environment)? {
        Invocation::Run(config) => Ok(Some(*config)),
        other => panic!("{other:?}"),
    }
}

impl Scene {
    /// Of a process that was started with a file of these lines, and that runs `mode`.
    fn new(body: &str, mode: ProxyMode, verbosity: VerbosityHandle) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.conf");
        fs::write(&path, format!("{HEAD}{body}")).unwrap();
        let config = read(&path).unwrap().unwrap();
        let (sender, sync) = watch::channel(configuration(&config));
        let configz = Configz::new(config.configz(&mode));
        let reload = Reload {
            reread: Box::new(move || read(&path)),
            started_with: config.clone(),
            current: config.clone(),
            effective: config,
            mode,
            configz: configz.clone(),
            sync: sender,
            health: Health::new(std::time::Duration::from_secs(30)),
            verbosity,
            host: Host::at(folder.path()),
            metrics: Metrics::new(&Build { git_version: "v1".into(), version: "1" }).unwrap(),
        };
        Self { folder, reload, configz, sync }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("config.conf")
    }

    fn write(&self, body: &str) {
        fs::write(self.path(), format!("{HEAD}{body}")).unwrap();
    }

    fn reread(&mut self) {
        self.reload.reread(&self.path());
    }

    fn shown(&self, pointer: &str) -> serde_json::Value {
        let page: serde_json::Value = serde_json::from_str(&self.configz.text()).unwrap();
        page["kubeproxy.config.k8s.io"].pointer(pointer).cloned().unwrap_or_default()
    }
}

fn nowhere() -> VerbosityHandle {
    VerbosityHandle::detached().0
}

#[test]
fn verbosity_that_was_set_by_hand_stays_until_the_file_says_another() {
    let (handle, verbosity) = VerbosityHandle::detached();
    let mut scene = Scene::new("", ProxyMode::NFTABLES, handle.clone());
    handle.set(4);
    scene.write("oomScoreAdj: 0");
    scene.reread();
    assert_eq!(verbosity(), Some(4), "the file said nothing of it");
    scene.write("logging: {verbosity: 2}");
    scene.reread();
    assert_eq!(verbosity(), Some(2));
}

#[test]
fn settings_of_the_section_that_counts_are_shown_in_that_of_the_mode_that_runs() {
    let mut scene = Scene::new("", ProxyMode::NFTABLES, nowhere());
    scene.write(
        "iptables: {syncPeriod: 7s, masqueradeAll: true}\nfeatureGates: {AllowServiceExternalIPs: false}",
    );
    scene.reread();
    assert_eq!(scene.shown("/nftables/syncPeriod"), "7s");
    assert_eq!(scene.shown("/nftables/masqueradeAll"), true);
    assert_eq!(scene.shown("/featureGates"), serde_json::Value::Null, "gates wait for a restart");
    assert_eq!(scene.sync.borrow().sync_period.as_secs(), 7);
}

#[test]
fn what_was_written_before_the_watch_began_is_taken_over() {
    let mut scene = Scene::new("", ProxyMode::NFTABLES, nowhere());
    scene.reload.catch_up(&scene.path());
    assert!(!scene.sync.has_changed().unwrap(), "nothing was");
    let page = scene.reload.metrics.render().unwrap();
    assert!(!page.contains("portolan_config_reloads_total{result=\"success\"} 1"), "{page}");
    scene.write("clusterCIDR: 10.0.0.0/8");
    scene.reload.catch_up(&scene.path());
    assert!(scene.sync.has_changed().unwrap());
    assert_eq!(scene.shown("/clusterCIDR"), "10.0.0.0/8");
}

#[test]
fn a_pipe_is_not_read_again_and_a_file_that_is_away_is() {
    let folder = tempfile::tempdir().unwrap();
    assert!(is_followed(&folder.path().join("away")));
    let (pipe, _other_end) = std::io::pipe().unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&pipe);
    assert!(!is_followed(Path::new(&format!("/proc/self/fd/{number}"))));
}

#[test]
fn what_waits_with_another_mode_holds_once_the_mode_is_as_before() {
    let mut scene = Scene::new("mode: nftables", ProxyMode::NFTABLES, nowhere());
    let masquerades_all = |scene: &Scene| scene.sync.borrow().node.masquerade_all;
    scene.write("mode: ipvs\nnftables: {masqueradeAll: true}\niptables: {masqueradeAll: true}");
    scene.reread();
    assert!(!masquerades_all(&scene), "the mode has not changed yet");
    assert_eq!(scene.shown("/nftables/masqueradeAll"), false);
    assert_eq!(scene.shown("/mode"), "nftables");
    scene.write("mode: nftables\nnftables: {masqueradeAll: true}");
    scene.reread();
    assert!(masquerades_all(&scene));
    assert_eq!(scene.shown("/nftables/masqueradeAll"), true);
}
