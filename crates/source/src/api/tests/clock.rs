//! How long everything takes, and how often the server is asked, when it or something before it does not do its part.
//!
//! The clock is paused and requests pass the network by, so times are exact: only waits take time.

use std::collections::BTreeMap;

use kube::Client;
use portolan_testkit::api_server::{Refusal, Request, StreamedLists, Verb, WatchFault};
use tokio::time::Instant;
use tower::service_fn;

use super::super::access::Access;
use super::super::client::ApiClient;
use super::super::limiter::Limiter;
use super::super::reflector::StreamedLists as Lists;
use super::*;
use crate::recorder::tests::starting;
use crate::tests::log::Log;

const MINUTE: Duration = Duration::from_secs(60);

/// The longest wait between two tries, and a moment.
const LONGEST: Duration = Duration::from_millis(30_100);

/// A source with the waits of the real one, and a server that sends bookmarks as often as a real one. Nothing is
/// waited for.
fn follow(server: ApiServer, streaming: Lists) -> Following {
    server.send_bookmarks(Some(MINUTE));
    let way = server.in_memory();
    let client = Client::new(service_fn(move |request| way.clone().send(request)), "default");
    let client = ApiClient {
        access: Arc::new(Access::over(client, server.url())),
        server: server.url().into(),
        host: "".into(),
        timing: Timing::default(),
        metrics: Arc::default(),
        limiter: Arc::new(Limiter::new(-1.0, 0)),
        observer: Arc::new(()),
    };
    let source = ApiSource::over(client, NODE.to_owned(), streaming);
    let (sender, downstream) = Downstream::new();
    let (metrics, reports, (stop, stopped)) = (source.metrics(), source.events(), oneshot::channel());
    let task = tokio::spawn(source.run(sender, async move {
        let _: Result<(), _> = stopped.await;
    }));
    Following { server, downstream, metrics, reports, task, stop }
}

impl Following {
    /// Lets time pass.
    async fn pass(&mut self, time: Duration) {
        self.downstream.during(time).await;
    }

    /// How long it takes until `wanted`, looked at every 10 ms.
    async fn until(&mut self, most: Duration, what: &str, wanted: impl Fn(&Self) -> bool) -> Duration {
        let began = Instant::now();
        while !wanted(self) {
            assert!(began.elapsed() <= most, "no {what} within {most:?}: {:#?}", self.asked_since(began));
            self.pass(Duration::from_millis(10)).await;
        }
        began.elapsed()
    }

    async fn until_listed(&mut self, most: Duration) -> Duration {
        self.until(most, "lists", |following| following.downstream.world.is_listed()).await
    }

    /// How long until downstream knows of a change of a Service and of its slice.
    async fn until_changed(&mut self, most: Duration) -> Duration {
        let addresses = self.downstream.world.endpoints_of("shop/s000");
        let next = if addresses == ["10.244.7.1:8080"] { "10.244.7.2" } else { "10.244.7.1" };
        self.server.apply(slice("s000-1", "s000", &[next]));
        self.server.apply(service("s000", &next.replace("10.244", "10.96")));
        let wanted = expected(&self.server);
        self.until(most, "change", |following| {
            let world = &following.downstream.world;
            world.services.objects == wanted.services.objects && world.slices.objects == wanted.slices.objects
        })
        .await
    }

    /// Requests for each kind since then.
    fn asked_since(&self, since: Instant) -> BTreeMap<String, usize> {
        let requests = self.server.requests().into_iter().filter(|request| request.at >= since.into_std());
        requests.fold(BTreeMap::new(), |mut counts, request| {
            *counts.entry(request.resource).or_default() += 1;
            counts
        })
    }
}

#[tokio::test(start_paused = true)]
async fn when_watches_bring_nothing_lists_bring_every_change_and_that_is_logged_once() {
    let refused = [400, 403, 404, 405, 410, 500, 502, 503, 504].map(WatchFault::Refused);
    let faults = [WatchFault::EndsAtOnce, WatchFault::BreaksInEvents, WatchFault::EndsAfterAnEvent];
    for fault in faults.into_iter().chain(refused) {
        let (log, _guard) = Log::capture();
        let server = serving(small_cluster(3)).await;
        server.spoil_watches(Some(fault));
        let mut following = follow(server, Lists::Enabled);
        following.until_listed(Duration::from_secs(2)).await;
        following.until_changed(LONGEST).await;

        let began = Instant::now();
        for _ in 0..10 {
            following.until_changed(LONGEST).await;
        }
        following.pass((began + 10 * MINUTE).saturating_duration_since(Instant::now())).await;
        // A list and a watch, each after half of the longest wait at least. Where a watch lasts until an event comes,
        // each change costs up to three watches and a list.
        for (resource, count) in following.asked_since(began) {
            assert!(count <= 130, "{fault:?}: {resource} is asked for {count} times in 10 minutes");
        }
        let logged = log.lines_with(&["Watches bring no changes", r#"kind="Service""#]);
        let expected = usize::from(fault != WatchFault::Refused(410));
        let works_between_changes =
            matches!(fault, WatchFault::BreaksInEvents | WatchFault::EndsAfterAnEvent);
        if works_between_changes {
            assert!((1..=5).contains(&logged.len()), "{logged:#?}");
        } else {
            assert_eq!(logged.len(), expected, "{fault:?}: {logged:#?}");
        }

        let healed = || log.lines_with(&["Objects can be read again", r#"kind="Service""#]).len();
        let healed_before = healed();
        following.server.spoil_watches(None);
        following.server.cut_connections().await;
        following.pass(MINUTE).await;
        let before = following.server.requests().len();
        assert!(
            following.until_changed(Duration::from_millis(50)).await < Duration::from_millis(50),
            "{fault:?}"
        );
        assert_eq!(following.server.requests().len(), before, "{fault:?}: watches bring changes again");
        if !works_between_changes && fault != WatchFault::Refused(410) {
            assert_eq!(healed(), healed_before + 1, "{fault:?}");
        }
        following.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn when_a_proxy_buffers_watches_lists_bring_the_changes() {
    for (fault, most) in [(WatchFault::Mute, 151), (WatchFault::Unanswered, 250)] {
        let (log, _guard) = Log::capture();
        let server = serving(small_cluster(3)).await;
        server.spoil_watches(Some(fault));
        let mut following = follow(server, Lists::Enabled);
        let took = following.until_listed(Duration::from_secs(11)).await;
        assert!(took >= Duration::from_secs(10), "{fault:?}: {took:?}");
        assert_eq!(log.lines_with(&["Streamed list did not complete"]).len(), 4, "{fault:?}");
        // Three watches that stay silent.
        following.until_changed(Duration::from_secs(500)).await;
        let began = Instant::now();
        for _ in 0..5 {
            following.until_changed(LONGEST + Duration::from_secs(most)).await;
        }
        following.pass((began + 20 * MINUTE).saturating_duration_since(Instant::now())).await;
        for (resource, count) in following.asked_since(began) {
            assert!(count <= 50, "{fault:?}: {resource} is asked for {count} times in 20 minutes");
        }
        following.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn watches_that_a_balancer_ends_for_want_of_events_cost_few_lists() {
    let mut following = follow(serving(small_cluster(3)).await, Lists::Enabled);
    following.until_listed(Duration::from_secs(1)).await;
    let began = Instant::now();
    for _ in 0..40 {
        following.pass(Duration::from_secs(30)).await;
        following.server.cut_connections().await;
    }
    // One for each time in which a watch would have been taken for dead.
    let lists = following.downstream.world.services.lists.len();
    assert!(lists <= 1 + 1200 / 150, "{lists} lists in 20 minutes");
    assert!(following.asked_since(began)["services"] <= 40 + lists);
    following.pass(Duration::from_secs(1)).await;
    assert!(following.until_changed(Duration::from_millis(50)).await < Duration::from_millis(50));
    following.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_streamed_list_without_an_end_mark_is_given_up_after_ten_seconds() {
    let server = serving(small_cluster(3)).await;
    server.set_streamed_lists(StreamedLists::Unknown);
    let mut following = follow(server, Lists::Enabled);
    let took = following.until_listed(Duration::from_secs(11)).await;
    assert!(took >= Duration::from_secs(10), "{took:?}");
    following.finish().await;
}

#[tokio::test(start_paused = true)]
async fn changes_do_not_prolong_a_streamed_list_without_an_end_mark() {
    let server = serving(small_cluster(3)).await;
    server.set_streamed_lists(StreamedLists::Unknown);
    let mut following = follow(server, Lists::Enabled);
    let mut seconds = 0;
    while !following.downstream.world.is_listed() {
        assert!(seconds <= 14, "no lists");
        following.server.apply(service("s000", &format!("10.96.7.{seconds}")));
        following.server.apply(slice("s000-1", "s000", &[&format!("10.244.7.{seconds}")]));
        following.pass(Duration::from_secs(2)).await;
        seconds += 2;
    }
    assert!(following.until_changed(Duration::from_millis(50)).await < Duration::from_millis(50));
    following.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_streamed_list_with_data_is_not_given_up() {
    // Ten pieces of 64 events, one every nine seconds.
    let server = serving(small_cluster(640)).await;
    server.slow_down(Duration::from_secs(9));
    let mut following = follow(server, Lists::Enabled);
    let took = following.until_listed(Duration::from_secs(100)).await;
    assert!(took >= Duration::from_secs(90), "{took:?}");
    assert_eq!(following.server.count(Verb::List, "services"), 0);
    assert_eq!(following.downstream.world.services.lists, [640]);
    following.finish().await;
}

#[tokio::test(start_paused = true)]
async fn without_streamed_lists_pages_are_requested_from_the_start() {
    let server = serving(small_cluster(3)).await;
    server.set_streamed_lists(StreamedLists::Unknown);
    let mut following = follow(server, Lists::Disabled);
    following.until_listed(Duration::ZERO).await;
    following.server.expire_watches();
    following.server.apply(service("s000", "10.96.7.7"));
    following.until_changed(Duration::from_secs(3)).await;
    let requests = following.server.requests();
    assert!(requests.iter().all(|request| !request.query.contains_key("sendInitialEvents")), "{requests:#?}");
    following.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_first_answer_after_a_restart_ends_the_outage_for_all_kinds() {
    let (log, _guard) = Log::capture();
    let mut following = follow(serving(small_cluster(3)).await, Lists::Enabled);
    following.until_listed(Duration::from_secs(1)).await;
    for round in 1..=3 {
        following.pass(5 * MINUTE).await;
        following.server.set_down(true).await;
        following.pass(2 * MINUTE).await;
        following.server.apply(service("s000", &format!("10.96.7.{round}")));
        following.server.apply(slice("s000-1", "s000", &[&format!("10.244.7.{round}")]));
        // The restarted server knows nothing of the past.
        following.server.compact();
        following.server.set_down(false).await;
        let (back, requests) = (Instant::now(), following.server.requests().len());
        following.until(LONGEST, "request", |following| following.server.requests().len() > requests).await;
        let wanted = expected(&following.server);
        let lists = |following: &Following| {
            let world = &following.downstream.world;
            [&world.services.lists, &world.slices.lists, &world.nodes.lists].map(Vec::len)
        };
        let recoveries = || {
            ["Service", "EndpointSlice", "Node"]
                .map(|kind| log.lines_with(&["Objects can be read again", &format!("kind={kind:?}")]).len())
        };
        let fresh = |following: &Following| {
            let world = &following.downstream.world;
            let lists = lists(following);
            // The first answer is that the version is too old, which is no recovery; only a list is.
            for (recovered, lists) in recoveries().into_iter().zip(lists) {
                assert!(recovered < lists, "{:#?}", log.lines());
            }
            world.services.objects == wanted.services.objects
                && world.slices.objects == wanted.slices.objects
                && lists == [round + 1; 3]
        };
        // At most 2 s until the others ask, and 2 s until they list.
        following.until(Duration::from_millis(4100), "fresh state", fresh).await;
        following.pass(Duration::from_secs(2)).await;
        assert_eq!(recoveries(), [round; 3], "{:#?}", log.lines());
        let asked: Vec<_> =
            following.server.requests().into_iter().filter(|request| request.at >= back.into_std()).collect();
        for kind in ["services", "endpointslices", "nodes", "servicecidrs"] {
            let of_kind: Vec<_> = asked.iter().filter(|request| request.resource == kind).collect();
            let is_list = |request: &&&Request| {
                request.verb == Verb::List || request.query.contains_key("sendInitialEvents")
            };
            assert!(of_kind.iter().filter(is_list).count() <= 1, "one list: {of_kind:#?}");
            // The watch that is resumed, the list, and after a list in pages the watch from its version on. A list in
            // pages is next where a streamed one was tried during the outage.
            assert!(of_kind.len() <= 3, "{of_kind:#?}");
        }
    }
    following.finish().await;
}

#[tokio::test(start_paused = true)]
async fn requests_that_a_starting_server_rejects_are_repeated_within_seconds() {
    for status in [403, 404] {
        let server = serving(small_cluster(3)).await;
        server.set_down(true).await;
        let mut following = follow(server, Lists::Enabled);
        following.reports.record(starting());
        following.pass(2 * MINUTE).await;
        following.server.refuse(Some(Refusal { status, resource: "" }));
        following.server.set_down(false).await;
        let requests = following.server.requests().len();
        following.until(LONGEST, "request", |following| following.server.requests().len() > requests).await;
        following.pass(Duration::from_secs(20)).await;
        following.server.refuse(None);
        let rights = Instant::now();
        let wanted = expected(&following.server);
        let known = |following: &Following| {
            let world = &following.downstream.world;
            world.is_listed()
                && (&world.services, &world.service_cidrs.objects)
                    == (&Known { lists: vec![3], ..wanted.services.clone() }, &wanted.service_cidrs.objects)
        };
        following.until(Duration::from_millis(4100), "lists", known).await;
        // The Event was rejected, too.
        let event = |following: &Following| following.server.events().len() == 1;
        following.until(LONGEST, "Event", event).await;
        assert_eq!(following.server.events()[0]["reason"], "Starting", "{status} {:?}", rights.elapsed());
        following.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn persistent_rejections_are_retried_ever_more_rarely() {
    for status in [401, 403, 404, 422, 429, 500, 503] {
        let server = serving(small_cluster(3)).await;
        server.refuse(Some(Refusal { status, resource: "" }));
        let mut following = follow(server, Lists::Enabled);
        let began = Instant::now();
        following.pass(Duration::from_secs(45)).await;
        for (resource, count) in following.asked_since(began) {
            assert!(count <= 26, "{status}: {resource} is asked for {count} times in 45 seconds");
        }
        let began = Instant::now();
        following.pass(10 * MINUTE).await;
        for (resource, count) in following.asked_since(began) {
            assert!(count <= 41, "{status}: {resource} is asked for {count} times in 10 minutes");
        }
        following.server.refuse(None);
        // A kind that the server does not have is an exception.
        let lists = |world: &World| [world.services.lists.len(), world.slices.lists.len()];
        following.until(LONGEST, "lists", |following| lists(&following.downstream.world) == [1, 1]).await;
        following.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_keeps_ending_watches_is_not_listed_in_a_loop() {
    let mut following = follow(serving(small_cluster(3)).await, Lists::Enabled);
    following.until_listed(Duration::from_secs(1)).await;
    following.pass(MINUTE).await;
    // Every version is too old as soon as it is known.
    let began = Instant::now();
    while began.elapsed() < 10 * MINUTE {
        following.server.expire_watches();
        following.pass(Duration::from_millis(500)).await;
    }
    let lists = following.downstream.world.services.lists.len();
    assert!((20..=55).contains(&lists), "{lists} lists in 10 minutes");
    following.until_changed(LONGEST).await;
    following.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_cannot_be_listed_does_not_delay_others() {
    let server = serving(small_cluster(3)).await;
    server.refuse(Some(Refusal { status: 500, resource: "endpointslices" }));
    let mut following = follow(server, Lists::Enabled);
    following.pass(5 * MINUTE).await;
    let began = Instant::now();
    following.server.apply(service("s000", "10.96.7.7"));
    following.pass(Duration::from_millis(10)).await;
    assert_eq!(following.downstream.world.services.objects, expected(&following.server).services.objects);
    following.pass(5 * MINUTE).await;
    let asked = following.asked_since(began);
    assert!(asked["endpointslices"] <= 21 && asked.get("services") <= Some(&1), "{asked:?}");
    following.server.refuse(None);
    following.until_listed(LONGEST).await;
    following.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_page_that_leads_to_itself_is_an_error() {
    let server = serving(small_cluster(9)).await;
    server.limit_pages(3);
    server.repeat_pages(true);
    let mut following = follow(server, Lists::Disabled);
    following.pass(MINUTE).await;
    let asked = following.server.count(Verb::List, "services");
    assert!(asked <= 30, "{asked} pages in a minute");
    assert_eq!(following.downstream.world.services.lists, Vec::<usize>::new());
    following.server.repeat_pages(false);
    following.until_listed(LONGEST).await;
    following.finish().await;
}
