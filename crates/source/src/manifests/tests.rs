//! The folder source on real folders.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::ManifestSource;
use super::folder::{Folder, Wanted};
use crate::error::SourceError;
use crate::folder_watch::Changes;
use crate::metrics::{Count, SourceMetrics};
use crate::tests::downstream::{Downstream, World};
use crate::tests::log::Log;

/// Long enough for a debounced look that should change nothing.
const A_WHILE: Duration = Duration::from_millis(700);

struct Running {
    dir: TempDir,
    downstream: Downstream,
    metrics: Arc<SourceMetrics>,
    task: JoinHandle<Result<(), SourceError>>,
    stop: oneshot::Sender<()>,
}

impl Running {
    /// Starts a source over a folder that holds `files` and waits for its first lists.
    async fn over(files: &[(&str, &str)]) -> Self {
        Self::over_with(files, |source| source).await
    }

    async fn over_with(
        files: &[(&str, &str)],
        adjust: impl FnOnce(ManifestSource) -> ManifestSource,
    ) -> Self {
        let dir = folder_of(files);
        let source = adjust(ManifestSource::new(dir.path().join("."), "e2e-n2"));
        Self::start(dir, source).await
    }

    async fn start(dir: TempDir, source: ManifestSource) -> Self {
        let mut run = Self::start_unlisted(dir, source);
        run.downstream.listed().await;
        run
    }

    /// The same without waiting for lists.
    fn start_unlisted(dir: TempDir, source: ManifestSource) -> Self {
        let (sender, downstream) = Downstream::new();
        let metrics = source.metrics();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(source.run(sender, async move {
            let _ = stopped.await;
        }));
        Self { dir, downstream, metrics, task, stop }
    }

    /// Waits until this many unreadable objects are reported.
    async fn until_reported(&mut self, reported: &ReportedUnread, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while last(reported).len() != count {
            assert!(Instant::now() < deadline, "{reported:?}");
            self.downstream.during(Duration::from_millis(20)).await;
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    async fn until(&mut self, what: &str, wanted: impl Fn(&World) -> bool) -> &World {
        self.downstream.until(what, wanted).await
    }

    async fn until_services(&mut self, names: &[&str]) {
        self.until(&format!("services {names:?}"), |world| world.services.names() == names).await;
    }

    /// Nothing may change; what is known stays what it is.
    async fn assert_unmoved(&mut self) {
        assert_eq!(self.downstream.during(A_WHILE).await, 0, "{:#?}", self.downstream.world);
    }

    async fn finish(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

fn folder_of(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(dir.path().join(name), content).unwrap();
    }
    dir
}

fn service(name: &str, ip: &str) -> String {
    format!(
        "kind: Service\napiVersion: v1\nmetadata: {{name: {name}}}\nspec: {{clusterIP: {ip}, ports: [{{port: 80}}]}}\n"
    )
}

fn slice(name: &str, service: &str, address: &str) -> String {
    format!(
        "kind: EndpointSlice\napiVersion: discovery.k8s.io/v1\naddressType: IPv4\n\
         metadata: {{name: {name}, labels: {{kubernetes.io/service-name: {service}}}}}\n\
         ports: [{{port: 8080}}]\nendpoints: [{{addresses: [{address}]}}]\n"
    )
}

fn endpoints(service: &str, address: &str) -> String {
    format!(
        "kind: Endpoints\napiVersion: v1\nmetadata: {{name: {service}}}\n\
         subsets: [{{addresses: [{{ip: {address}}}], ports: [{{port: 8080}}]}}]\n"
    )
}

fn ip_of(world: &World, service: &str) -> Option<String> {
    let service = world.services.objects.values().find(|known| known.name.to_string() == service)?;
    service.cluster_ips.v4.map(|ip| ip.to_string())
}

#[tokio::test]
async fn a_dump_of_a_real_cluster_is_read_whole_and_each_endpoint_once() {
    let mut run = Running::over(&[("cluster.yaml", portolan_testkit::fixtures::CLUSTER)]).await;
    let world = &run.downstream.world;
    assert_eq!(
        world.services.names(),
        [
            "default/kubernetes",
            "kube-system/kube-dns",
            "shop/cart",
            "shop/cart-unready",
            "shop/frontend",
            "shop/frontend-internal",
            "shop/frontend-nodeport",
            "shop/frontend-zone",
            "shop/legacy-db",
        ]
    );
    let slices = world.slices.names();
    assert_eq!(slices.len(), 9, "{slices:?}");
    assert!(
        slices.iter().all(|name| !name.contains("headless") && name.matches('/').count() == 1),
        "{slices:?}"
    );
    assert_eq!(world.endpoints_of("shop/legacy-db"), ["203.0.113.20:5432"]);
    assert_eq!(world.endpoints_of("shop/frontend-nodeport").len(), 3);
    let frontend = &world.services.objects[&portolan_core::name::ObjectName::new("shop", "frontend")];
    assert_eq!(frontend.load_balancer_ips, ["192.0.2.44".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(frontend.health_check_node_port, Some(32635));
    assert_eq!(world.nodes.names(), ["e2e-n2"]);
    assert_eq!(world.nodes.objects["e2e-n2"].zone.as_deref(), Some("zone2"));
    let lists = [&world.services.lists, &world.slices.lists, &world.nodes.lists, &world.service_cidrs.lists];
    assert_eq!(lists.map(Vec::len), [1; 4]);
    assert_eq!(run.metrics.get(Count::Malformed), 0);
    assert_eq!(run.metrics.get(Count::Problems), 0);
    run.assert_unmoved().await;
    run.finish().await;
}

#[tokio::test]
async fn a_missing_folder_is_an_error_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("none");
    let (sender, _downstream) = Downstream::new();
    let error = ManifestSource::new(&missing, "n1").run(sender, std::future::pending()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot read the manifest folder {}", missing.display()));
}

#[tokio::test]
async fn files_written_created_renamed_and_removed_are_followed() {
    let mut run = Running::over(&[("a.yaml", &service("a", "10.96.0.1"))]).await;
    run.until_services(&["default/a"]).await;

    run.write("a.yaml", &service("a", "10.96.0.9"));
    run.until("new address", |world| ip_of(world, "default/a").as_deref() == Some("10.96.0.9")).await;

    let json = r#"{"kind":"Service","metadata":{"name":"b"},"spec":{"clusterIP":"10.96.0.2","ports":[{"port":80}]}}"#;
    run.write("b.json", json);
    run.until_services(&["default/a", "default/b"]).await;

    // An editor's save: write beside it, then rename over it.
    run.write(".a.yaml.tmp", &service("a2", "10.96.0.3"));
    fs::rename(run.path(".a.yaml.tmp"), run.path("a.yaml")).unwrap();
    run.until_services(&["default/a2", "default/b"]).await;

    fs::rename(run.path("b.json"), run.path("b.json~")).unwrap();
    run.until_services(&["default/a2"]).await;

    fs::remove_file(run.path("a.yaml")).unwrap();
    run.until_services(&[]).await;
    assert_eq!(run.downstream.world.services.lists, [1], "later changes come one by one");
    run.finish().await;
}

#[tokio::test]
async fn service_cidrs_and_labels_that_hand_a_service_to_another_proxy_are_followed() {
    let cidr = |range: &str| {
        format!("kind: ServiceCIDR\nmetadata: {{name: kubernetes}}\nspec: {{cidrs: [{range}]}}\n")
    };
    let plain = service("a", "10.96.0.1");
    let mut run = Running::over(&[("cidr.yaml", &cidr("10.96.0.0/16")), ("a.yaml", &plain)]).await;
    let ranges = |world: &World| -> Vec<String> {
        world.service_cidrs.objects.values().flat_map(|cidr| &cidr.cidrs).map(ToString::to_string).collect()
    };
    run.until("the range", |world| ranges(world) == ["10.96.0.0/16"]).await;
    run.write("cidr.yaml", &cidr("10.97.0.0/16"));
    run.until("another range", |world| ranges(world) == ["10.97.0.0/16"]).await;
    fs::remove_file(run.path("cidr.yaml")).unwrap();
    run.until("no range", |world| ranges(world).is_empty()).await;

    let label = "labels: {service.kubernetes.io/service-proxy-name: other}, name:";
    run.write("a.yaml", &plain.replace("name:", label));
    run.until_services(&[]).await;
    run.write("a.yaml", &plain);
    run.until_services(&["default/a"]).await;
    run.finish().await;
}

#[tokio::test]
async fn a_file_that_is_still_being_written_is_not_read() {
    use std::io::Write as _;
    let mut run = Running::over(&[("a.yaml", &service("a", "10.96.0.1"))]).await;
    // Like `kubectl get … > a.yaml`: empty at once, filled later.
    let mut file = fs::File::create(run.path("a.yaml")).unwrap();
    // Another file changes meanwhile; the open one must not be read because of it.
    run.write("b.yaml", &service("b", "10.96.0.2"));
    run.until_services(&["default/a", "default/b"]).await;
    run.assert_unmoved().await;
    write!(file, "{}---\n{}", service("a", "10.96.0.1"), service("c", "10.96.0.3")).unwrap();
    drop(file);
    run.until_services(&["default/a", "default/b", "default/c"]).await;
    assert_eq!(run.metrics.get(Count::BrokenFiles), 0);
    run.finish().await;
}

#[tokio::test]
async fn a_broken_file_keeps_its_last_good_content() {
    let good = format!("{}---\n{}", service("a", "10.96.0.1"), service("b", "10.96.0.2"));
    let mut run = Running::over(&[("a.yaml", &good), ("z.yaml", &service("z", "10.96.0.26"))]).await;
    run.write("a.yaml", &format!("{}---\nkind: Service\nspec: [1, 2\n", service("a", "10.96.0.9")));
    run.assert_unmoved().await;
    assert_eq!(run.metrics.get(Count::BrokenFiles), 1);
    let same = fs::read(run.path("a.yaml")).unwrap();
    fs::write(run.path("a.yaml"), same).unwrap();
    run.assert_unmoved().await;
    assert_eq!(run.metrics.get(Count::BrokenFiles), 1, "the same trouble is reported once");
    assert_eq!(ip_of(&run.downstream.world, "default/a").as_deref(), Some("10.96.0.1"));

    run.write("z.yaml", &service("w", "10.96.0.25"));
    run.until_services(&["default/a", "default/b", "default/w"]).await;

    run.write("a.yaml", &service("a", "10.96.0.8"));
    run.until("good version", |world| ip_of(world, "default/a").as_deref() == Some("10.96.0.8")).await;
    run.until_services(&["default/a", "default/w"]).await;

    run.write("a.yaml", "not: [a manifest");
    run.assert_unmoved().await;
    fs::remove_file(run.path("a.yaml")).unwrap();
    run.until_services(&["default/w"]).await;
    run.finish().await;
}

/// What a source tells of what it has never read: the last list, as texts.
type ReportedUnread = Arc<Mutex<Vec<Vec<String>>>>;

/// Over these files, beside rules of an earlier process or not; it may not list anything for now.
fn beside_earlier_rules(files: &[(&str, &str)], has_rules: bool) -> (Running, ReportedUnread) {
    let reported = ReportedUnread::default();
    let sender = Arc::clone(&reported);
    let dir = folder_of(files);
    let source = ManifestSource::new(dir.path(), "e2e-n2")
        .with_earlier_rules(std::future::ready(has_rules))
        .with_unread_report(move |unread| sender.lock().unwrap().push(unread.to_vec()));
    (Running::start_unlisted(dir, source), reported)
}

fn last(reported: &ReportedUnread) -> Vec<String> {
    reported.lock().unwrap().last().cloned().unwrap_or_default()
}

#[tokio::test]
async fn without_earlier_rules_a_file_that_is_broken_at_the_start_does_not_stop_the_others() {
    let files = [("a.yaml", "{{{"), ("b.yaml", &service("b", "10.96.0.2"))];
    let (mut run, reported) = beside_earlier_rules(&files, false);
    run.until_services(&["default/b"]).await;
    assert_eq!(run.metrics.get(Count::BrokenFiles), 1);
    assert!(last(&reported)[0].contains("a.yaml: document 1, line 1: "), "{reported:?}");
    run.write("a.yaml", &service("a", "10.96.0.1"));
    run.until_services(&["default/a", "default/b"]).await;
    assert_eq!(last(&reported), [""; 0]);
    run.finish().await;
}

#[tokio::test]
async fn beside_earlier_rules_nothing_is_listed_until_everything_has_been_read() {
    let bad_value = service("c", "10.96.0.3").replace("ports:", "sessionAffinity: Cookie, ports:");
    let broken = format!("{}---\nkind: Service\nspec: [1, 2\n", service("a", "10.96.0.1"));
    let files = [("a.yaml", &*broken), ("b.yaml", &service("b", "10.96.0.2")), ("c.yaml", &bad_value)];
    let (mut run, reported) = beside_earlier_rules(&files, true);
    symlink("/nowhere", run.path("d.yaml")).unwrap();
    run.until_reported(&reported, 3).await;
    run.assert_unmoved().await;
    let unread = last(&reported);
    assert!(unread[0].contains("/a.yaml: document 2, line 7: "), "{unread:?}");
    let field = "/c.yaml: document 1, line 1: Service default/c: spec.sessionAffinity: ";
    assert!(unread[1].contains(field) && unread[1].contains("\"Cookie\""), "{unread:?}");
    assert!(unread[2].contains("/d.yaml: "), "{unread:?}");

    // Changes of what can be read wait, too.
    run.write("b.yaml", &service("b", "10.96.0.9"));
    run.assert_unmoved().await;
    fs::remove_file(run.path("d.yaml")).unwrap();
    run.write("a.yaml", &service("a", "10.96.0.1"));
    run.until_reported(&reported, 1).await;
    run.assert_unmoved().await;
    run.write("c.yaml", &service("c", "10.96.0.3"));
    run.until_services(&["default/a", "default/b", "default/c"]).await;
    assert_eq!(last(&reported), [""; 0]);
    assert_eq!(run.downstream.world.services.lists, [3], "the first list is complete");
    assert_eq!(ip_of(&run.downstream.world, "default/b").as_deref(), Some("10.96.0.9"));

    // From now on the last good content counts.
    let count = reported.lock().unwrap().len();
    run.write("b.yaml", "{{{");
    run.write("new.yaml", "{{{");
    run.assert_unmoved().await;
    assert_eq!(reported.lock().unwrap().len(), count);
    run.finish().await;
}

#[tokio::test]
async fn a_file_without_read_permission_at_the_start_delays_the_first_list() {
    let files = [("a.yaml", &*service("a", "10.96.0.1")), ("b.yaml", &service("b", "10.96.0.2"))];
    let dir = folder_of(&files);
    let forbidden = dir.path().join("a.yaml");
    // Root may read any file, so this is a link that leads through one.
    fs::rename(&forbidden, dir.path().join("target")).unwrap();
    symlink("target/a.yaml", &forbidden).unwrap();
    let source = ManifestSource::new(dir.path(), "n1");
    let mut run = Running::start_unlisted(dir, source);
    run.assert_unmoved().await;
    assert_eq!(run.metrics.get(Count::BrokenFiles), 1);
    fs::remove_file(&forbidden).unwrap();
    fs::rename(run.path("target"), &forbidden).unwrap();
    run.until_services(&["default/a", "default/b"]).await;
    run.finish().await;
}

#[tokio::test]
async fn a_malformed_object_keeps_its_version_and_does_not_affect_others() {
    let two = |a: &str, b: &str| format!("{a}---\n{b}");
    let first = two(&service("a", "10.96.0.1"), &service("b", "10.96.0.2"));
    let mut run = Running::over(&[("a.yaml", &first)]).await;
    let bad = service("a", "10.96.0.9").replace("port: 80", "port: eighty");
    run.write("a.yaml", &two(&bad, &service("b", "10.96.0.8")));
    run.until("change of the good one", |world| ip_of(world, "default/b").as_deref() == Some("10.96.0.8"))
        .await;
    assert_eq!(ip_of(&run.downstream.world, "default/a").as_deref(), Some("10.96.0.1"));
    assert_eq!(run.metrics.get(Count::Malformed), 1);
    run.finish().await;
}

/// A folder that is scanned on this thread, whose log can be captured.
struct ScannedFolder {
    dir: TempDir,
    folder: Folder,
    world: World,
}

impl ScannedFolder {
    fn at(files: &[(&str, &str)]) -> Self {
        let dir = folder_of(files);
        let folder = Folder::new(dir.path().to_owned(), "e2e-n2".into(), Arc::default());
        let mut scanned = Self { dir, folder, world: World::default() };
        scanned.again();
        scanned
    }

    fn again(&mut self) {
        let scan = self.folder.scan(&Changes::all(), Wanted::Everything).unwrap();
        assert_eq!(scan.unread, [""; 0]);
        scan.events.into_iter().for_each(|event| self.world.apply(event));
    }

    /// Whether each of these stands in one line of the log, in which `DIR` is the folder.
    fn assert_logged(&self, log: &Log, wanted: &[&str]) {
        let lines = log.lines();
        for words in wanted {
            let words = words.replace("DIR", &self.dir.path().display().to_string());
            assert_eq!(lines.iter().filter(|line| line.contains(&words)).count(), 1, "{words}: {lines:#?}");
        }
    }
}

#[test]
fn a_rejected_object_keeps_its_version_and_is_logged_with_its_place() {
    let (log, _guard) = Log::capture();
    let two = |a: &str, b: &str| format!("# two\n{a}---\n{b}");
    let first = two(&service("a", "10.96.0.1"), &slice("a-1", "a", "10.244.0.1"));
    let mut scanned = ScannedFolder::at(&[("a.yaml", &first)]);
    let bad = two(
        &service("a", "10.96.0.9").replace("ports:", "sessionAffinity: Cookie, externalIPs: [x], ports:"),
        &slice("a-1", "a", "10.244.0.2").replace("port: 8080", "port: 8080, protocol: GRE"),
    );
    let text = format!("{bad}---\n{}", service("c", "10.96.0.3"));
    fs::write(scanned.dir.path().join("a.yaml"), text).unwrap();
    scanned.again();
    assert_eq!(scanned.world.services.names(), ["default/a", "default/c"]);
    assert_eq!(ip_of(&scanned.world, "default/a").as_deref(), Some("10.96.0.1"));
    assert_eq!(scanned.world.endpoints_of("default/a"), ["10.244.0.1:8080"]);
    let kept = "Rejected object; its last good version remains in effect file=DIR/a.yaml document=";
    let wanted = [
        "1 line=2 object=\"Service default/a\" field=\"spec.externalIPs[0]\" err=\"\\\"x\\\" is not an IP address\"",
        "1 line=2 object=\"Service default/a\" field=\"spec.sessionAffinity\" \
         err=\"unsupported value \\\"Cookie\\\" (want None or ClientIP)\"",
        "2 line=7 object=\"EndpointSlice default/a-1\" field=\"ports[0].protocol\" \
         err=\"unsupported value \\\"GRE\\\" (want TCP, UDP or SCTP)\"",
    ]
    .map(|location| format!("{kept}{location}"));
    scanned.assert_logged(&log, &wanted.each_ref().map(String::as_str));
}

#[test]
fn ignored_parts_are_logged_with_their_place() {
    let (log, _guard) = Log::capture();
    let label = "labels: {kubernetes.io/service-name: a}";
    let unlabelled = slice("s", "a", "10.244.0.1").replace(label, "labels: {}");
    let misspelt = service("a", "10.96.0.1").replace("kind: Service", "kind: Servcie");
    let old = slice("o", "a", "10.244.0.2").replace("discovery.k8s.io/v1", "discovery.k8s.io/v1beta1");
    let (right, twice) = (service("a", "10.96.0.1"), service("a", "10.96.0.2"));
    let yaml = [&right, &unlabelled, &misspelt, &misspelt, &old, &twice].map(String::as_str).join("---\n");
    let scanned = ScannedFolder::at(&[("a.yaml", &yaml)]);
    assert_eq!(ip_of(&scanned.world, "default/a").as_deref(), Some("10.96.0.1"));
    assert_eq!(scanned.world.endpoints_of("default/a"), ["10.244.0.2:8080"]);
    scanned.assert_logged(
        &log,
        &[
            "Ignored part of an object file=DIR/a.yaml document=2 line=6 object=\"EndpointSlice default/s\" \
             field=\"metadata.labels[kubernetes.io/service-name]\" \
             err=\"is missing, so the slice belongs to no Service\"",
            "Ignored objects of a kind that is not read from manifests file=DIR/a.yaml document=3 line=13 \
             kind=\"v1 Servcie\" count=2",
            "Unknown apiVersion of a known kind file=DIR/a.yaml document=5 line=23 \
             apiVersion=\"discovery.k8s.io/v1beta1\" readAs=\"discovery.k8s.io/v1\"",
            "Object is defined twice in this file; the first definition is used file=DIR/a.yaml document=6 \
             line=30 object=\"Service default/a\"",
        ],
    );
}

#[tokio::test]
async fn the_first_file_by_name_defines_an_object() {
    let mut run =
        Running::over(&[("10.yaml", &service("a", "10.96.0.1")), ("20.yaml", &service("a", "10.96.0.2"))])
            .await;
    assert_eq!(ip_of(&run.downstream.world, "default/a").as_deref(), Some("10.96.0.1"));
    fs::remove_file(run.path("10.yaml")).unwrap();
    run.until("second definition", |world| ip_of(world, "default/a").as_deref() == Some("10.96.0.2")).await;
    run.write("10.yaml", &service("a", "None"));
    run.until_services(&[]).await;
    run.finish().await;
}

#[tokio::test]
async fn endpoints_count_until_a_slice_serves_their_service() {
    let mut run = Running::over(&[
        ("a.yaml", &service("a", "10.96.0.1")),
        ("endpoints.yaml", &endpoints("a", "10.244.0.1")),
    ])
    .await;
    assert_eq!(run.downstream.world.slices.names(), ["default/a/0/IPv4"]);
    run.write("slice.yaml", &slice("a-1", "a", "10.244.0.2"));
    run.until("slice alone", |world| world.endpoints_of("default/a") == ["10.244.0.2:8080"]).await;
    assert_eq!(run.downstream.world.slices.names(), ["default/a-1"]);
    fs::remove_file(run.path("slice.yaml")).unwrap();
    run.until("endpoints again", |world| world.endpoints_of("default/a") == ["10.244.0.1:8080"]).await;
    run.finish().await;
}

/// Lays files out as the kubelet mounts a `ConfigMap`: links to links to a hidden folder.
fn mount_config_map(dir: &Path, version: &str, content: &str) {
    fs::create_dir(dir.join(version)).unwrap();
    fs::write(dir.join(version).join("a.yaml"), content).unwrap();
    symlink(version, dir.join("..data_tmp")).unwrap();
    fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
}

#[tokio::test]
async fn a_config_map_that_swaps_its_link_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    mount_config_map(dir.path(), "..2026_11_21_a", &service("a", "10.96.0.1"));
    symlink("..data/a.yaml", dir.path().join("a.yaml")).unwrap();
    let source = ManifestSource::new(dir.path(), "n1");
    let mut run = Running::start(dir, source).await;
    run.until_services(&["default/a"]).await;
    mount_config_map(run.dir.path(), "..2026_11_21_b", &service("b", "10.96.0.2"));
    fs::remove_dir_all(run.path("..2026_11_21_a")).unwrap();
    run.until_services(&["default/b"]).await;
    assert_eq!(run.metrics.get(Count::BrokenFiles), 0);
    run.finish().await;
}

#[tokio::test]
async fn a_write_through_a_link_is_read_by_the_periodic_scan() {
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("real.yaml");
    fs::write(&target, service("a", "10.96.0.1")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    symlink(&target, dir.path().join("a.yaml")).unwrap();
    let source = ManifestSource::new(dir.path(), "n1").rescan_every(Duration::from_millis(100));
    let mut run = Running::start(dir, source).await;
    run.until_services(&["default/a"]).await;
    fs::write(&target, service("b", "10.96.0.2")).unwrap();
    run.until_services(&["default/b"]).await;
    run.finish().await;
}

#[tokio::test]
async fn a_folder_that_vanishes_keeps_its_state_until_it_is_back() {
    let outer = tempfile::tempdir().unwrap();
    let inner = outer.path().join("manifests");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("a.yaml"), service("a", "10.96.0.1")).unwrap();
    let source = ManifestSource::new(&inner, "n1");
    let mut run = Running::start(outer, source).await;
    run.until_services(&["default/a"]).await;

    fs::rename(&inner, run.path("aside")).unwrap();
    run.assert_unmoved().await;

    // Changes in the old folder have no effect any more.
    fs::write(run.path("aside").join("x.yaml"), service("x", "10.96.0.7")).unwrap();
    run.assert_unmoved().await;

    let fresh = run.path("fresh");
    fs::create_dir(&fresh).unwrap();
    fs::write(fresh.join("b.yaml"), service("b", "10.96.0.2")).unwrap();
    fs::rename(&fresh, &inner).unwrap();
    run.until_services(&["default/b"]).await;
    fs::write(inner.join("c.yaml"), service("c", "10.96.0.3")).unwrap();
    run.until_services(&["default/b", "default/c"]).await;
    run.finish().await;
}

#[tokio::test]
async fn entries_that_are_no_regular_files_are_ignored() {
    let mut run = Running::over(&[("a.yaml", &service("a", "10.96.0.1"))]).await;
    fs::create_dir(run.path("dir.yaml")).unwrap();
    run.write("notes.txt", &service("n", "10.96.0.4"));
    run.write(".hidden.yaml", &service("h", "10.96.0.5"));
    run.write("a.yaml.bak", &service("k", "10.96.0.6"));
    run.assert_unmoved().await;
    assert_eq!(run.metrics.get(Count::BrokenFiles), 0);
    run.finish().await;
}

#[tokio::test]
async fn a_pipe_does_not_hang_the_source() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), service("a", "10.96.0.1")).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(dir.path().join("pipe.yaml")).unwrap();
    let source = ManifestSource::new(dir.path(), "n1");
    let mut run = Running::start(dir, source).await;
    run.until_services(&["default/a"]).await;
    drop(socket);
    run.finish().await;
}

#[tokio::test]
async fn ten_thousand_services_in_one_file_are_read_in_time() {
    use std::fmt::Write as _;
    let mut yaml = "apiVersion: v1\nkind: List\nitems:\n".to_owned();
    for i in 0..10_000 {
        let (high, low) = (i / 250, i % 250);
        writeln!(
            yaml,
            "- {{kind: Service, apiVersion: v1, metadata: {{name: s{i}, labels: {{app: web}}}}, \
             spec: {{clusterIP: 10.96.{high}.{low}, ports: [{{name: http, port: 80}}]}}}}"
        )
        .unwrap();
    }
    let mut run = Running::over(&[("big.yaml", &yaml)]).await;
    assert_eq!(run.downstream.world.services.objects.len(), 10_000);
    run.write("one.yaml", &service("one", "10.97.0.1"));
    let before = run.metrics.get(Count::Events);
    run.until("one more", |world| world.services.objects.len() == 10_001).await;
    assert_eq!(run.metrics.get(Count::Events) - before, 1, "only the difference is sent");
    run.finish().await;
}
