//! One open socket and the task behind it.

use std::io;
use std::sync::Arc;

use portolan_core::IpFamily;
use socket2::SockRef;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::balancer::Via;
use crate::filter::Guard;
use crate::limits::Listener;
use crate::listen::{self, ListenError, Transport};
use crate::site::Site;
use crate::{tcp, udp};

/// A place that is being served.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) site: Arc<Site>,
    socket: Socket,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
enum Socket {
    Tcp(Arc<TcpListener>),
    Udp(Arc<UdpSocket>),
}

impl Listening {
    /// Opens the socket and starts its task; nothing where the threads that relay are gone, because the
    /// process ends.
    pub(super) fn open(
        site: Site,
        transport: Transport,
        permit: Listener,
    ) -> Result<Option<Self>, ListenError> {
        let site = Arc::new(site);
        let Some(handle) = site.relay.handle() else { return Ok(None) };
        let _inside = handle.enter();
        let (stop, stopped) = oneshot::channel();
        let (service, guard) = (site.balancer.name(), site.guard());
        let may_be_anothers = matches!(site.via, Via::LoadBalancer | Via::ExternalIp);
        let no_place = |source| listen::ListenError::other(service, site.address, transport, source);
        let (socket, task) = match transport {
            Transport::Tcp => {
                let listener =
                    TcpListener::from_std(listen::tcp(service, site.address, &guard, may_be_anothers)?);
                let listener = Arc::new(listener.map_err(no_place)?);
                let serving = tcp::serve(Arc::clone(&listener), Arc::clone(&site), stopped);
                let task = handle.spawn(permitted(permit, serving));
                (Socket::Tcp(listener), task)
            }
            Transport::Udp => {
                let socket =
                    UdpSocket::from_std(listen::udp(service, site.address, &guard, may_be_anothers)?);
                let socket = Arc::new(socket.map_err(no_place)?);
                let serving = udp::serve(Arc::clone(&socket), Arc::clone(&site), stopped);
                let task = handle.spawn(permitted(permit, serving));
                (Socket::Udp(socket), task)
            }
        };
        Ok(Some(Self { site, socket, stop, task }))
    }

    /// Lets others in than before.
    pub(super) fn set_guard(&self, guard: Arc<Guard>) -> io::Result<()> {
        let family = IpFamily::of(self.site.address.ip());
        match &self.socket {
            Socket::Tcp(listener) => listen::put_guard(&SockRef::from(&**listener), family, &guard)?,
            Socket::Udp(socket) => listen::put_guard(&SockRef::from(&**socket), family, &guard)?,
        }
        self.site.set_guard(guard);
        Ok(())
    }

    /// Closes these; returns when their ports are free.
    pub(super) async fn close_all(closing: Vec<Self>) {
        let mut ending = Vec::with_capacity(closing.len());
        for Self { site: _, socket, stop, task } in closing {
            drop(socket);
            // Who is gone has stopped.
            let _ = stop.send(());
            ending.push(task);
        }
        for task in ending {
            // A task that panicked has let go as well.
            let _ = task.await;
        }
    }
}

/// Counts a listener for as long as it is served.
async fn permitted(permit: Listener, serving: impl Future<Output = ()>) {
    serving.await;
    drop(permit);
}
