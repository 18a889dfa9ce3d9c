//! Random changes under random faults: in the end both sides agree, and what was
//! never away was never missing from a list on the way.

use std::time::Duration;

use portolan_testkit::api_server::{Refusal, StreamedLists};
use portolan_testkit::random;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::Config;

use super::*;

/// Something that happens on or to the server.
#[derive(Debug, Clone)]
enum Step {
    Apply { service: u8, ip: u8 },
    ApplySlice { service: u8, endpoints: u8 },
    Delete { service: u8 },
    DeleteSlice { service: u8 },
    Malform { service: u8 },
    LeaveSelection { service: u8 },
    Cut,
    Compact,
    Expire,
    ExpireTokens,
    BreakNextList(usize),
    EndNextList(usize),
    Refuse(u16),
    Accept,
    Streaming(StreamedLists),
    Bookmarks(bool),
    Nonsense,
    Outage,
    Pause(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let service = 0_u8..6;
    prop_oneof![
        4 => (service.clone(), any::<u8>()).prop_map(|(service, ip)| Step::Apply { service, ip }),
        4 => (service.clone(), 0_u8..4).prop_map(|(service, endpoints)| Step::ApplySlice { service, endpoints }),
        2 => service.clone().prop_map(|service| Step::Delete { service }),
        2 => service.clone().prop_map(|service| Step::DeleteSlice { service }),
        1 => service.clone().prop_map(|service| Step::Malform { service }),
        1 => service.prop_map(|service| Step::LeaveSelection { service }),
        2 => Just(Step::Cut),
        1 => Just(Step::Compact),
        2 => Just(Step::Expire),
        1 => Just(Step::ExpireTokens),
        1 => (0_usize..4).prop_map(Step::BreakNextList),
        1 => (0_usize..4).prop_map(Step::EndNextList),
        1 => select(vec![401, 403, 429, 500, 504]).prop_map(Step::Refuse),
        2 => Just(Step::Accept),
        1 => select(vec![StreamedLists::Supported, StreamedLists::NoStorage, StreamedLists::Forbidden]).prop_map(Step::Streaming),
        1 => any::<bool>().prop_map(Step::Bookmarks),
        1 => Just(Step::Nonsense),
        1 => Just(Step::Outage),
        3 => (1_u64..30).prop_map(Step::Pause),
    ]
}

fn named(service: u8) -> (String, String) {
    (format!("s{service}"), format!("s{service}-1"))
}

async fn take(step: Step, following: &mut Following) {
    let server = &following.server;
    match step {
        Step::Apply { service: number, ip } => {
            server.apply(service(&named(number).0, &format!("10.96.{number}.{ip}")));
        }
        Step::ApplySlice { service, endpoints } => {
            let (service, name) = named(service);
            let addresses = ["10.244.0.1", "10.244.0.2", "10.244.0.3"];
            server.apply(slice(&name, &service, &addresses[..usize::from(endpoints)]));
        }
        Step::Delete { service } => {
            server.delete("Service", "shop", &named(service).0);
        }
        Step::DeleteSlice { service } => {
            server.delete("EndpointSlice", "shop", &named(service).1);
        }
        Step::Malform { service: number } => {
            let mut object = service(&named(number).0, "10.96.0.1");
            object["spec"]["ports"] = json!(7);
            server.apply(object);
        }
        Step::LeaveSelection { service: number } => {
            server.apply(service(&named(number).0, "None"));
        }
        Step::Cut => server.cut_connections().await,
        Step::Compact => server.compact(),
        Step::Expire => server.expire_watches(),
        Step::ExpireTokens => server.expire_continue_tokens(),
        Step::BreakNextList(after) => server.break_next_list_after(after),
        Step::EndNextList(after) => server.end_next_list_after(after),
        Step::Refuse(status) => server.refuse(Some(Refusal { status, resource: "" })),
        Step::Accept => server.refuse(None),
        Step::Streaming(support) => server.set_streamed_lists(support),
        Step::Bookmarks(on) => server.send_bookmarks(on.then_some(Duration::from_millis(3))),
        Step::Nonsense => server.inject("services", "{\"type\":\"ADDED\",\"object\":"),
        Step::Outage => {
            server.set_down(true).await;
            following.downstream.during(Duration::from_millis(5)).await;
            following.server.set_down(false).await;
        }
        Step::Pause(time) => {
            following.downstream.during(Duration::from_millis(time)).await;
        }
    }
    // These are always there, so every list must have them.
    let world = &following.downstream.world;
    for (kind, lists, names) in [
        ("services", &world.services.lists, world.services.names()),
        ("slices", &world.slices.lists, world.slices.names()),
    ] {
        let present = names.iter().filter(|name| name.contains("always")).count();
        assert!(lists.is_empty() || present == ALWAYS, "{kind} lost something: {names:?}");
        assert!(lists.iter().all(|size| *size >= ALWAYS), "a list of {kind} was not whole: {lists:?}");
    }
}

/// Objects of each kind that no step touches. More than a page, and than a broken list lets through.
const ALWAYS: usize = 12;

async fn agree_after(steps: Vec<Step>) {
    let mut objects = vec![node(NODE), service_cidr("kubernetes")];
    for i in 0..ALWAYS {
        objects.push(service(&format!("always{i:02}"), &format!("10.97.0.{i}")));
        objects.push(slice(&format!("always{i:02}-1"), &format!("always{i:02}"), &["10.244.9.9"]));
    }
    let server = serving(objects).await;
    server.limit_pages(5);
    let mut following = Following::start(server, TIMING).await;
    for step in steps {
        take(step, &mut following).await;
    }
    following.server.refuse(None);
    // What is malformed in the end has no right answer but "as before"; so let nothing be.
    for number in 0..6 {
        following.server.apply(service(&named(number).0, "10.96.200.1"));
    }
    following.settle().await;
    take(Step::Accept, &mut following).await;
    following.finish().await;
}

proptest! {
    #![proptest_config(Config { max_shrink_iters: 200, ..random::cases(48) })]

    #[test]
    fn downstream_agrees_with_the_server_after_any_changes_and_faults(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(agree_after(steps));
    }
}
