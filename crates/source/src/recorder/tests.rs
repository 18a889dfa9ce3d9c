//! Reports against a server that checks Events as a real one does.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portolan_core::name::ObjectName;
use portolan_testkit::api_server::{ApiServer, Verb};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use super::*;
use crate::tests::log::Log;
use crate::{ApiSource, Count, SourceMetrics, Timing};

mod cache;
mod trouble;

/// Longer than anything here takes.
const TIME_LIMIT: Duration = Duration::from_secs(20);

const TIMING: Timing = Timing {
    watch: Duration::from_secs(300),
    silence: Duration::from_secs(60),
    streamed_list: Duration::from_secs(10),
    answer: Duration::from_secs(10),
    first_retry: Duration::from_millis(5),
    last_retry: Duration::from_millis(20),
    credentials: Duration::from_secs(5),
};

/// What a proxy reports at its start.
pub(crate) fn starting() -> Report {
    Report {
        kind: ReportKind::Normal,
        reason: "Starting",
        action: "StartKubeProxy",
        regarding: Regarding::Node,
        note: String::new(),
    }
}

fn unheard(service: &str, note: &str) -> Report {
    Report {
        kind: ReportKind::Warning,
        reason: "FailedToStartServiceHealthcheck",
        action: "Listen",
        regarding: Regarding::Service(ObjectName::new("shop", service)),
        note: note.to_owned(),
    }
}

/// A source that may report.
struct Reporting {
    server: ApiServer,
    source: Option<ApiSource>,
    reports: EventRecorder,
    metrics: Arc<SourceMetrics>,
    stop: Option<oneshot::Sender<()>>,
}

impl Reporting {
    async fn prepare() -> Self {
        let server = ApiServer::start().await.unwrap();
        let kubeconfig: Option<PathBuf> = Some(server.kubeconfig_file().to_owned());
        // As fast as one likes, because a test has no five minutes.
        let place = crate::ApiServer { kubeconfig, qps: -1.0, ..Default::default() };
        let source = ApiSource::new(&place, "n1", TIMING, Arc::new(())).await.unwrap();
        let (reports, metrics) = (source.events(), source.metrics());
        Self { server, source: Some(source), reports, metrics, stop: None }
    }

    async fn start() -> Self {
        let mut reporting = Self::prepare().await;
        reporting.run();
        reporting
    }

    /// Runs the source, with a core that takes whatever comes.
    fn run(&mut self) {
        let (sender, mut events) = mpsc::channel(1024);
        let (stop, stopped) = oneshot::channel::<()>();
        self.stop = Some(stop);
        tokio::spawn(async move { while events.recv().await.is_some() {} });
        tokio::spawn(self.source.take().unwrap().run(sender, async move {
            let _ = stopped.await;
        }));
    }

    async fn until(&self, what: &str, wanted: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + TIME_LIMIT;
        while !wanted(self) {
            assert!(Instant::now() < deadline, "no {what}: {:#?}", self.server.events());
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn counts(&self) -> [u64; 3] {
        [Count::EventsSent, Count::EventsFailed, Count::EventsDropped].map(|count| self.metrics.get(count))
    }

    fn reasons(&self) -> Vec<String> {
        let events = self.server.events();
        events.iter().map(|event| event["reason"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn an_event_about_the_node_is_kube_proxys() {
    let reporting = Reporting::start().await;
    reporting.reports.record(starting());
    reporting.until("Event", |reporting| reporting.server.events().len() == 1).await;
    let mut event = reporting.server.events().remove(0);
    let name = event["metadata"]["name"].take();
    let (object, stamp) = name.as_str().unwrap().split_once('.').unwrap();
    assert_eq!(object, "n1");
    let nanoseconds = u128::from_str_radix(stamp, 16).unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    assert!(now - nanoseconds < TIME_LIMIT.as_nanos(), "{stamp}");
    let time: jiff::Timestamp = event["eventTime"].take().as_str().unwrap().parse().unwrap();
    assert_eq!(time.as_microsecond().unsigned_abs(), u64::try_from(nanoseconds / 1000).unwrap());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let expected = json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": null, "namespace": "default"},
        "eventTime": null,
        "reportingController": "kube-proxy",
        "reportingInstance": format!("kube-proxy-{}", host.trim()),
        "action": "StartKubeProxy",
        "reason": "Starting",
        "regarding": {"kind": "Node", "name": "n1", "apiVersion": "v1"},
        "type": "Normal",
    });
    assert_eq!(event, expected);
    reporting.until("count", |reporting| reporting.counts() == [1, 0, 0]).await;
}

#[tokio::test]
async fn an_event_about_a_service_is_in_its_namespace() {
    let reporting = Reporting::start().await;
    reporting.reports.record(unheard("web", "port 30000: in use"));
    reporting.until("Event", |reporting| reporting.server.events().len() == 1).await;
    let event = reporting.server.events().remove(0);
    assert_eq!(event["regarding"], json!({"kind": "Service", "namespace": "shop", "name": "web"}));
    assert_eq!(
        [&event["metadata"]["namespace"], &event["type"], &event["action"], &event["note"]],
        ["shop", "Warning", "Listen", "port 30000: in use"]
    );
}

#[tokio::test]
async fn a_note_is_cut_between_characters_at_the_limit_of_servers() {
    let reporting = Reporting::start().await;
    reporting.reports.record(unheard("web", &format!("x{}", "ä".repeat(5000))));
    reporting.until("Event", |reporting| reporting.server.events().len() == 1).await;
    let event = reporting.server.events().remove(0);
    assert_eq!(event["note"].as_str().unwrap(), format!("x{}", "ä".repeat(511)));
}

#[tokio::test]
async fn repeats_are_counted_in_the_first_event() {
    let reporting = Reporting::start().await;
    reporting.reports.record(starting());
    reporting.until("Event", |reporting| reporting.server.events().len() == 1).await;
    for _ in 0..9 {
        reporting.reports.record(starting());
    }
    sleep(Duration::from_millis(50)).await;
    assert_eq!(reporting.server.events()[0]["series"], json!(null), "not before its time");
    reporting.reports.flush(TIME_LIMIT).await;
    let events = reporting.server.events();
    assert_eq!((events.len(), &events[0]["series"]["count"]), (1, &json!(10)));
    assert_eq!(reporting.server.count(Verb::Patch, "events"), 1);
    reporting.reports.flush(TIME_LIMIT).await;
    assert_eq!(reporting.counts(), [2, 0, 0], "nothing is sent twice");
}

#[tokio::test]
async fn an_event_that_the_server_has_deleted_is_created_again_with_its_count() {
    let reporting = Reporting::start().await;
    reporting.reports.record(starting());
    reporting.reports.flush(TIME_LIMIT).await;
    reporting.server.forget_events();
    reporting.reports.record(starting());
    reporting.reports.flush(TIME_LIMIT).await;
    let events = reporting.server.events();
    assert_eq!((events.len(), &events[0]["series"]["count"]), (1, &json!(2)));
}

#[tokio::test]
async fn reports_before_the_source_runs_are_sent_later() {
    let mut reporting = Reporting::prepare().await;
    reporting.reports.record(starting());
    sleep(Duration::from_millis(20)).await;
    assert_eq!(reporting.server.events().len(), 0);
    reporting.run();
    reporting.until("Event", |reporting| reporting.server.events().len() == 1).await;
}

#[tokio::test]
async fn the_last_reports_are_sent_without_a_source_and_within_a_time_limit() {
    let (log, _guard) = Log::capture();
    let reporting = Reporting::prepare().await;
    reporting.reports.record(starting());
    reporting.reports.flush(TIME_LIMIT).await;
    assert_eq!(reporting.server.events().len(), 1);
    reporting.server.set_down(true).await;
    reporting.reports.record(unheard("web", "no"));
    let began = Instant::now();
    reporting.reports.flush(Duration::from_millis(200)).await;
    assert!(
        began.elapsed() >= Duration::from_millis(200) && began.elapsed() < TIME_LIMIT,
        "{:?}",
        began.elapsed()
    );
    assert!(
        log.lines().iter().any(|line| line.contains("were not sent before the end")),
        "{:#?}",
        log.lines()
    );
}

#[tokio::test]
async fn a_recorder_without_a_server_discards_reports() {
    let nowhere = EventRecorder::disabled();
    nowhere.record(starting());
    nowhere.flush(TIME_LIMIT).await;
}
