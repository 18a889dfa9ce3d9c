//! Servers that are away, say no, or break, and reports that come too fast.

use std::thread;

use portolan_testkit::api_server::Refusal;

use super::*;

#[tokio::test]
async fn a_server_that_returns_gets_everything_in_order() {
    let (log, _guard) = Log::capture();
    let reporting = Reporting::start().await;
    reporting.server.set_down(true).await;
    for service in ["a", "b", "c"] {
        reporting.reports.record(unheard(service, "no"));
        reporting.reports.record(unheard(service, "no"));
    }
    sleep(Duration::from_millis(200)).await;
    reporting.server.set_down(false).await;
    // The source learns of the last one after the server has it.
    reporting.until("Events", |reporting| reporting.counts() == [3, 0, 0]).await;
    let events = reporting.server.events();
    let told: Vec<_> =
        events.iter().map(|event| (&event["regarding"]["name"], &event["series"]["count"])).collect();
    assert_eq!(told, [(&json!("a"), &json!(2)), (&json!("b"), &json!(2)), (&json!("c"), &json!(2))]);
    let lines: Vec<_> = log.lines().into_iter().filter(|line| line.contains("Events")).collect();
    assert!(
        matches!(&lines[..], [away, back] if away.contains("WARN") && away.contains("Failed to send Events") && back.contains("can be sent again")),
        "{lines:#?}"
    );
}

#[tokio::test]
async fn a_rejected_event_is_one_warning_and_does_not_delay_others() {
    let (log, _guard) = Log::capture();
    let reporting = Reporting::start().await;
    reporting.server.refuse(Some(Refusal { status: 403, resource: "events" }));
    for service in ["a", "b", "c"] {
        reporting.reports.record(unheard(service, "no"));
    }
    reporting.until("refusals", |reporting| reporting.counts() == [0, 3, 0]).await;
    let lines: Vec<_> = log.lines().into_iter().filter(|line| line.contains("an Event")).collect();
    assert!(matches!(&lines[..], [one] if one.contains("WARN") && one.contains("403")), "{lines:#?}");
    reporting.server.refuse(None);
    reporting.reports.record(starting());
    reporting.until("Event", |reporting| reporting.reasons() == ["Starting"]).await;
    // What was rejected is not sent again just because it happens again.
    reporting.reports.record(unheard("a", "no"));
    sleep(Duration::from_millis(50)).await;
    assert_eq!(reporting.server.events().len(), 1);
}

#[tokio::test]
async fn a_server_error_is_retried_but_not_for_ever_for_one_event() {
    let reporting = Reporting::start().await;
    reporting.server.refuse(Some(Refusal { status: 500, resource: "events" }));
    reporting.reports.record(unheard("web", "no"));
    reporting.until("end of time_limit", |reporting| reporting.counts()[1] == 1).await;
    assert_eq!(reporting.server.count(Verb::Create, "events"), 12);
    reporting.server.refuse(Some(Refusal { status: 500, resource: "events" }));
    reporting.reports.record(starting());
    sleep(Duration::from_millis(30)).await;
    reporting.server.refuse(None);
    reporting.until("Event", |reporting| reporting.reasons() == ["Starting"]).await;
}

#[tokio::test]
async fn events_are_sent_after_an_outage_of_any_length() {
    for status in [503, 429, 401] {
        let reporting = Reporting::start().await;
        reporting.server.refuse(Some(Refusal { status, resource: "events" }));
        reporting.reports.record(starting());
        // More tries than one Event gets that the server has something against.
        reporting.until("tries", |reporting| reporting.server.count(Verb::Create, "events") > 20).await;
        reporting.server.refuse(None);
        reporting.until("Event", |reporting| reporting.counts() == [1, 0, 0]).await;
        assert_eq!(reporting.reasons(), ["Starting"], "{status}");
    }
}

#[tokio::test]
async fn events_that_a_starting_server_rejects_are_sent_later_and_delay_no_others() {
    // Rights that are not loaded, and an API that is not registered.
    for status in [403, 404] {
        let (log, _guard) = Log::capture();
        let reporting = Reporting::start().await;
        reporting.server.refuse(Some(Refusal { status, resource: "events" }));
        reporting.reports.record(starting());
        reporting.reports.record(unheard("web", "no"));
        reporting.until("tries", |reporting| reporting.server.count(Verb::Create, "events") >= 4).await;
        reporting.server.refuse(None);
        reporting.until("Events", |reporting| reporting.counts() == [2, 0, 0]).await;
        let mut reasons = reporting.reasons();
        reasons.sort();
        assert_eq!(reasons, ["FailedToStartServiceHealthcheck", "Starting"], "{status}");
        let warned = log.lines().into_iter().filter(|line| line.contains("API server rejected an Event"));
        assert_eq!(warned.count(), 1, "{status}: {:#?}", log.lines());
    }
}

#[tokio::test]
async fn reports_do_not_wait_and_take_bounded_memory() {
    let reporting = Reporting::start().await;
    reporting.server.set_down(true).await;
    let began = Instant::now();
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let reports = reporting.reports.clone();
            thread::spawn(move || {
                for round in 0..250 {
                    reports.record(unheard(&format!("s{number}-{round}"), "no"));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(began.elapsed() < TIME_LIMIT, "{:?}", began.elapsed());
    reporting.reports.record(starting());
    reporting.server.set_down(false).await;
    reporting.until("Events", |reporting| reporting.counts() == [64, 0, 937]).await;
    assert_eq!(reporting.reasons().last().unwrap(), "Starting", "the newest stay");
}
