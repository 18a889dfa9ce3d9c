//! A Service that asks for as much as its author can write.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use portolan_backend_userspace::{Counters, UserspaceFactory};
use portolan_core::{
    ApplyReport, BackendError, BackendFactory, ChangeSet, IpFamily, NodePlan, ProxyBackend, ProxyMode,
};
use portolan_testkit::hostile::assert_work_follows_the_length_of_lists;
use portolan_testkit::netns::{isolated, wait_until};

struct Boxed(Box<dyn ProxyBackend>);

#[async_trait]
impl ProxyBackend for Boxed {
    fn mode(&self) -> ProxyMode {
        self.0.mode()
    }

    async fn apply(&mut self, plan: &NodePlan, changes: &ChangeSet) -> Result<ApplyReport, BackendError> {
        self.0.apply(plan, changes).await
    }

    async fn cleanup(&mut self) -> Result<(), BackendError> {
        self.0.cleanup().await
    }
}

/// Backends of one process after the other: the sockets of the one before are closed first.
fn backends() -> impl Fn(IpFamily) -> Boxed {
    let running: Mutex<(UserspaceFactory, Arc<Counters>)> = Mutex::default();
    move |family| {
        let (factory, counters) = &mut *running.lock().unwrap();
        if family == IpFamily::V4 {
            wait_until("listeners are closed", Duration::from_secs(60), || counters.listeners.get() == 0)
                .unwrap();
            *factory = UserspaceFactory::default();
            *counters = factory.counters();
        }
        Boxed(factory.create(family).unwrap())
    }
}

#[test]
fn work_follows_the_length_of_each_list_and_another_service_does_not_notice() {
    isolated(|| assert_work_follows_the_length_of_lists(backends()));
}
