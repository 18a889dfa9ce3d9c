//! The loop on paused time, with backends that do what a script says.

mod configuring;
mod convergence;
mod failing;
mod flow_races;
mod flows;
mod integrity;
mod logging;
mod recorder;
mod reports;
mod rig;
mod timing;

pub(crate) use recorder::Recorder;
pub(crate) use rig::{error, settings};
