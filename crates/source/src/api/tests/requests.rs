//! The requests: their content, user agent, rate, and the reports about them.

use std::sync::Mutex;
use std::time::Instant;

use portolan_testkit::api_server::{Refusal, StreamedLists};

use super::*;
use crate::Answered;
use crate::recorder::tests::starting;
use crate::tests::log::Log;

/// Records the reports.
#[derive(Debug, Default)]
struct Ledger {
    answered: Mutex<Vec<(String, u64, Option<u64>)>>,
    limited: Mutex<Vec<(String, Duration)>>,
}

impl ClientObserver for Ledger {
    fn answered(&self, answered: &Answered<'_>) {
        let Answered { verb, code, host, request_bytes, response_bytes, took } = *answered;
        assert!(took < Duration::from_secs(20), "{answered:?}");
        let entry = (format!("{verb} {code} {host}"), request_bytes, response_bytes);
        self.answered.lock().unwrap().push(entry);
    }

    fn limited(&self, verb: &str, host: &str, waited: Duration) {
        self.limited.lock().unwrap().push((format!("{verb} {host}"), waited));
    }
}

impl Ledger {
    fn of(&self, request: &str) -> Vec<(u64, Option<u64>)> {
        let answered = self.answered.lock().unwrap();
        let those = answered.iter().filter(|(name, _, _)| name == request);
        those.map(|(_, sent, read)| (*sent, *read)).collect()
    }
}

async fn observed(server: ApiServer, place: super::super::ApiServer) -> (Following, Arc<Ledger>, String) {
    let (ledger, host) = (Arc::new(Ledger::default()), server.url().replace("http://", ""));
    let observer: Arc<dyn ClientObserver> = Arc::<Ledger>::clone(&ledger);
    (Following::start_with(server, place, TIMING, observer).await, ledger, host)
}

#[tokio::test]
async fn every_request_is_reported_with_its_answer_and_sizes() {
    let (mut following, ledger, host) =
        observed(serving(small_cluster(3)).await, super::super::ApiServer::default()).await;
    following.settle().await;
    following.watched().await;
    following.reports.record(starting());
    following.reports.flush(Duration::from_secs(10)).await;
    // Streamed lists are watches: they are reported while they last, without a size.
    assert_eq!(ledger.of(&format!("GET 200 {host}")), [(0, None); 4]);
    let posts = ledger.of(&format!("POST 201 {host}"));
    assert!(matches!(posts[..], [(200..400, Some(200..400))]), "{posts:?}");

    following.server.refuse(Some(Refusal { status: 403, resource: "" }));
    following.server.cut_connections().await;
    following.failed(8).await;
    assert!(
        ledger.of(&format!("GET 403 {host}")).iter().all(|(_, read)| read.is_some_and(|read| read > 100))
    );
    following.server.set_down(true).await;
    following.failed(following.metrics.get(Count::Failures) + 8).await;
    assert!(ledger.of(&format!("GET <error> {host}")).contains(&(0, None)));
    following.finish().await;
}

#[tokio::test]
async fn a_list_is_reported_with_all_bytes_of_its_pages() {
    let server = serving(small_cluster(100)).await;
    server.set_streamed_lists(StreamedLists::Forbidden);
    let (mut following, ledger, host) = observed(server, super::super::ApiServer::default()).await;
    following.settle().await;
    following.watched().await;
    let refused = ledger.of(&format!("GET 422 {host}"));
    assert_eq!(refused.len(), 4, "streamed lists that the server does not have");
    while ledger.of(&format!("GET 200 {host}")).len() < 8 {
        following.downstream.during(Duration::from_millis(10)).await;
    }
    let logged = ledger.of(&format!("GET 200 {host}"));
    let (lists, watches): (Vec<_>, Vec<_>) = logged.iter().partition(|(_, read)| read.is_some());
    assert_eq!((lists.len(), watches.len()), (4, 4));
    let bytes = |kind: &str| -> usize {
        following.server.objects(kind).iter().map(|object| object.to_string().len()).sum()
    };
    let expected = bytes("Service") as u64;
    assert!(lists.iter().any(|(_, read)| (expected..expected + 500).contains(&read.unwrap())), "{lists:?}");
    following.finish().await;
}

#[tokio::test]
async fn lists_and_events_wait_for_their_turn_and_watches_do_not() {
    let server = serving(small_cluster(1)).await;
    server.set_streamed_lists(StreamedLists::Forbidden);
    let place = super::super::ApiServer { qps: 20.0, burst: 1, ..Default::default() };
    let began = Instant::now();
    let (mut following, ledger, host) = observed(server, place).await;
    following.settle().await;
    following.watched().await;
    following.reports.record(starting());
    following.reports.flush(Duration::from_secs(10)).await;
    assert!(began.elapsed() >= Duration::from_millis(190), "four turns of 50 ms: {:?}", began.elapsed());
    let limited = ledger.limited.lock().unwrap().clone();
    let names: Vec<_> = limited.iter().map(|(name, _)| name.replace(&host, "host")).collect();
    assert_eq!(names, ["GET host", "GET host", "GET host", "GET host", "POST host"]);
    assert_eq!(limited[0].1, Duration::ZERO);
    assert!(limited[3].1 > Duration::from_millis(100), "the fourth of those at once: {limited:?}");
    following.finish().await;
}

#[tokio::test]
async fn all_requests_are_allowed_by_the_role_of_kube_proxy() {
    for support in [StreamedLists::Supported, StreamedLists::Forbidden] {
        let server = serving(small_cluster(3)).await;
        server.set_streamed_lists(support);
        server.allow_only_what_a_proxy_may();
        let mut following = Following::start(server, TIMING).await;
        following.settle().await;
        following.watched().await;
        following.reports.record(starting());
        following.reports.flush(Duration::from_secs(10)).await;
        following.reports.record(starting());
        following.reports.flush(Duration::from_secs(10)).await;
        following.server.expire_watches();
        following.server.apply(service("s000", "10.96.7.7"));
        following.settle().await;
        assert_eq!(following.server.forbidden(), []);
        let events = following.server.events();
        assert_eq!((events.len(), &events[0]["series"]["count"]), (1, &json!(2)));
        following.finish().await;
    }
}

#[tokio::test]
async fn the_agent_begins_with_the_name_of_the_program() {
    let place = super::super::ApiServer { agent: "kube-proxy".to_owned(), ..Default::default() };
    let (mut following, _, _) = observed(serving(small_cluster(1)).await, place).await;
    following.settle().await;
    let requests = following.server.requests();
    assert!(requests.iter().all(|request| request.user_agent.starts_with("kube-proxy/v1.36.2+portolan.")));
    following.finish().await;
}

#[tokio::test]
async fn retry_after_of_an_overloaded_server_sets_the_next_request() {
    // The log says how long; nothing here waits for it.
    for (last_retry, header, expected) in [(60, "7", "retryAfter=7s"), (20, "3600", "retryAfter=20s")] {
        let (log, _guard) = Log::capture();
        let server = serving(small_cluster(1)).await;
        server.refuse(Some(Refusal { status: 503, resource: "" }));
        server.set_retry_after(Some(header.parse().unwrap()));
        let timing = Timing { last_retry: Duration::from_secs(last_retry), ..TIMING };
        let mut following = Following::start(server, timing).await;
        following.failed(4).await;
        let logged = log.lines_with(&["Failed to read objects", "kind=\"Service\" verb=\"list\""]).remove(0);
        assert!(logged.contains(expected), "{logged}");
        following.finish().await;
    }
}
