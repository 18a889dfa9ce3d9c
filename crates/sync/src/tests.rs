//! The loop on paused time, with backends that do what a script says.

mod configuring;
mod failing;
mod flows;
mod following;
mod logging;
mod looking;
mod notes;
mod racing;
mod rig;
mod telling;
mod timing;

pub(crate) use notes::Notes;
pub(crate) use rig::{error, settings};
