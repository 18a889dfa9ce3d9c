//! A backend that writes down what it is told.

use std::io::Error;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use portolan_core::{
    ApplyReport, BackendError, BackendFactory, ChangeSet, IpFamily, NodePlan, ProbeFailure, ProxyBackend,
    ProxyMode,
};

/// What the backends were told, and whether they may succeed.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) refuses: bool,
    pub(crate) panics: bool,
    pub(crate) plans: Vec<String>,
    pub(crate) cleaned: Vec<IpFamily>,
}

#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Told>>);

#[async_trait]
impl BackendFactory for Recorder {
    fn mode(&self) -> ProxyMode {
        ProxyMode::new("recorder")
    }

    async fn probe(&self) -> Result<(), ProbeFailure> {
        Ok(())
    }

    fn create(&self, family: IpFamily) -> Result<Box<dyn ProxyBackend>, BackendError> {
        Ok(Box::new(Recording { told: Arc::clone(&self.0), family }))
    }
}

struct Recording {
    told: Arc<Mutex<Told>>,
    family: IpFamily,
}

#[async_trait]
impl ProxyBackend for Recording {
    fn mode(&self) -> ProxyMode {
        ProxyMode::new("recorder")
    }

    async fn apply(&mut self, plan: &NodePlan, _: &ChangeSet) -> Result<ApplyReport, BackendError> {
        let panics = self.told.lock().unwrap().panics;
        assert!(!panics, "the recorder is broken");
        let mut told = self.told.lock().unwrap();
        if told.refuses {
            return Err(BackendError::busy("the recorder", Error::other("not now")));
        }
        told.plans.push(format!("{} {:?}", self.family, plan.service_ports));
        Ok(ApplyReport::default())
    }

    async fn cleanup(&mut self) -> Result<(), BackendError> {
        self.told.lock().unwrap().cleaned.push(self.family);
        Ok(())
    }
}

impl Recorder {
    /// What it was told so far, and the switches.
    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap()
    }
}
