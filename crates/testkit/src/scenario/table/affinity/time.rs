//! For how long a client stays with its endpoint.

use std::time::Duration;

use portolan_core::Protocol::{Tcp, Udp};

use super::{clients, sticky};
use crate::scenario::Scenario;
use crate::scenario::check::from;
use crate::scenario::need::Need;
use crate::scenario::objects::{away, here, pods, web};
use crate::scenario::packet::{WEB, cluster_ip, node_port};

const SHORT: Duration = Duration::from_secs(2);

pub(in crate::scenario) fn a_client_is_forgotten_when_its_time_is_over() -> Scenario {
    let all = || from(clients(25)).to([cluster_ip(WEB)]).by([Tcp, Udp]).stays("endpoint", [1, 2, 3]).times(2);
    Scenario::new()
        .given(web().affinity(SHORT))
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect(all())
        .after(SHORT + Duration::from_millis(900))
        .expect(all().but_some_moved())
}

pub(in crate::scenario) fn every_connection_starts_the_time_anew() -> Scenario {
    let all = || {
        from(clients(12))
            .to([cluster_ip(WEB), node_port(WEB)])
            .by([Tcp])
            .stays("endpoint", [1, 2, 3])
            .times(1)
    };
    let second = Duration::from_secs(1);
    Scenario::new()
        .needing(Need::SharedAffinity)
        .given(web().affinity(SHORT))
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect(all())
        .after(second)
        .expect(all())
        .after(second)
        .expect(all())
        .after(second)
        .expect(all())
}

pub(in crate::scenario) fn a_changed_time_is_followed() -> Scenario {
    let all = || from(clients(25)).to([cluster_ip(WEB)]).by([Tcp]).stays("endpoint", [1, 2, 3]).times(2);
    Scenario::new()
        .given(sticky())
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect(all())
        .given(web().affinity(SHORT))
        .expect(all())
        .after(SHORT + Duration::from_millis(900))
        .expect(all().but_some_moved())
}
