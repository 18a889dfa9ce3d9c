//! Tells systemd how far the proxy is; nothing happens where nobody asked to be told (`NOTIFY_SOCKET`).

use sd_notify::NotifyState;
use tracing::warn;

/// The rules are in force for the first time.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("rules are in force")]);
}

/// The proxy ends, and its rules stay.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(err = %error, "the service manager cannot be told");
    }
}
