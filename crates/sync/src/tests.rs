//! The loop on paused time, with backends that do what a script says.

mod failing;
mod following;
mod logging;
mod rig;
mod timing;

pub(crate) use rig::{Notes, error, settings};
