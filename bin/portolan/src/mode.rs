//! Which mode to run: the one asked for, or the next on the line that can run here.

use std::sync::Arc;

use portolan_config::ModeSelection;
use portolan_core::{BackendFactory, IpFamily, ProbeFailure, ProxyMode, Registry};

use crate::aside::aside;
use crate::modes::PREFERENCE;

/// What is missing of a mode that kube-proxy's users know, in a binary of somebody's own.
const NO_BACKEND: &str = "a backend that this binary does not have";

/// The mode that runs, and those that were to be preferred but cannot.
pub(crate) struct Chosen<'a> {
    /// Makes the backends.
    pub(crate) factory: &'a Arc<dyn BackendFactory>,
    /// Why earlier modes on the line were passed over, in that order.
    pub(crate) passed_over: Vec<ProbeFailure>,
}

impl Chosen<'_> {
    /// The mode that was to run, and why it does not, if another one does.
    pub(crate) fn fallback(&self) -> Option<Fallback> {
        let wanted = self.passed_over.first()?;
        let missing = self.passed_over.iter().map(|failure| format!("{}: {}", failure.mode, failure.missing));
        Some(Fallback {
            from: wanted.mode.clone(),
            to: self.factory.mode(),
            missing: missing.collect::<Vec<_>>().join("; "),
        })
    }
}

/// One mode runs in place of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fallback {
    /// The one that was to run.
    pub(crate) from: ProxyMode,
    /// The one that does.
    pub(crate) to: ProxyMode,
    /// What each mode before it lacks.
    pub(crate) missing: String,
}

/// No mode that may run can.
#[derive(Debug, thiserror::Error)]
#[error("no mode can run on this host: {}", list(.0))]
pub(crate) struct NoMode(Vec<ProbeFailure>);

fn list(failures: &[ProbeFailure]) -> String {
    let words = failures.iter().map(|failure| format!("{} needs {}", failure.mode, failure.missing));
    words.collect::<Vec<_>>().join("; ")
}

/// Takes the first mode on the line of `selection` that can run here. What was asked for by name is
/// the only one on it unless `may_fall_back`.
///
/// # Errors
/// None can.
pub(crate) async fn choose<'a>(
    registry: &'a Registry,
    selection: &ModeSelection,
    may_fall_back: bool,
) -> Result<Chosen<'a>, NoMode> {
    let mut passed_over = Vec::new();
    for mode in line(registry, selection, may_fall_back) {
        let failure = match registry.get(&mode) {
            None => ProbeFailure { mode, missing: NO_BACKEND.to_owned() },
            Some(factory) => match probe(factory).await {
                Ok(()) => return Ok(Chosen { factory, passed_over }),
                Err(failure) => failure,
            },
        };
        passed_over.push(failure);
    }
    Err(NoMode(passed_over))
}

/// Asks a mode whether it can run here. Programs of the host may take their time to answer it, and signals are to
/// be heard meanwhile.
///
/// # Errors
/// What is missing.
pub(crate) async fn probe(factory: &Arc<dyn BackendFactory>) -> Result<(), ProbeFailure> {
    let asked = Arc::clone(factory);
    answer(factory, async move { asked.probe().await }).await
}

/// Asks a mode whether it can serve this family here, in the same way.
///
/// # Errors
/// What is missing.
pub(crate) async fn probe_family(
    factory: &Arc<dyn BackendFactory>,
    family: IpFamily,
) -> Result<(), ProbeFailure> {
    let asked = Arc::clone(factory);
    answer(factory, async move { asked.probe_family(family).await }).await
}

async fn answer(
    factory: &Arc<dyn BackendFactory>,
    question: impl Future<Output = Result<(), ProbeFailure>> + Send + 'static,
) -> Result<(), ProbeFailure> {
    aside(question).await.unwrap_or_else(|crash| {
        Err(ProbeFailure { mode: factory.mode(), missing: format!("an answer about the host: {crash}") })
    })
}

/// The modes to try, in that order.
fn line(registry: &Registry, selection: &ModeSelection, may_fall_back: bool) -> Vec<ProxyMode> {
    let asked = match selection {
        ModeSelection::Unset | ModeSelection::Auto => return PREFERENCE.to_vec(),
        ModeSelection::Explicit(mode) => mode,
    };
    let place = |wanted: &ProxyMode| PREFERENCE.iter().position(|mode| mode == wanted);
    let fallback = || registry.get(asked)?.fallback().and_then(|mode| place(&mode));
    let next = place(asked).map(|at| at + 1).or_else(fallback).unwrap_or(0);
    if !may_fall_back {
        return vec![asked.clone()];
    }
    // What stands before it is the last resort: a node that forwards in a way that nobody asked for
    // is better than one that does not forward.
    let (before, after) = PREFERENCE.split_at(next);
    std::iter::once(asked).chain(after).chain(before.iter().filter(|mode| *mode != asked)).cloned().collect()
}

#[cfg(test)]
mod tests;
