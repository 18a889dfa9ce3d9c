//! Where ports are opened, and what happens when that is not possible.

use tracing::subscriber::DefaultGuard;

use super::*;

#[tokio::test]
async fn only_restricted_addresses_are_listened_on_and_changes_are_applied() {
    let mut rig = Rig::start();
    let [port] = free_ports();
    rig.restrict(&["127.0.0.1/32"]).await;
    rig.update(&[("ns/a", Some((port, 1)))]).await;
    assert_eq!(status(port).await, Ok((200, 1)));
    let elsewhere = || ask(at("127.0.0.2", port), "GET /");
    assert_eq!(elsewhere().await, Err(io::ErrorKind::ConnectionRefused));
    rig.addresses = NodePortAddresses::All;
    rig.update(&[]).await;
    assert!(elsewhere().await.is_ok());
    rig.restrict(&["240.0.0.0/4"]).await;
    assert_eq!(status(port).await, REFUSED, "no address of this host is in there");
    rig.restrict(&["127.0.0.0/8"]).await;
    assert_eq!(status(port).await, Ok((200, 1)));
}

#[tokio::test]
async fn a_port_is_opened_at_all_addresses_or_none() {
    let [port] = free_ports();
    let taken = std::net::TcpListener::bind(at("127.0.0.2", port)).unwrap();
    let addresses = [at("127.0.0.1", 0), at("127.0.0.2", 0)];
    let error = family::open(&addresses, port, &axum::Router::new()).unwrap_err();
    assert_eq!((error.address, error.source.kind()), (at("127.0.0.2", port), io::ErrorKind::AddrInUse));
    std::net::TcpListener::bind(at("127.0.0.1", port)).unwrap();
    drop(taken);
}

#[tokio::test(start_paused = true)]
async fn a_port_in_use_is_retried_with_growing_pauses() {
    let rig = Rig::start();
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    rig.update(&[("ns/a", Some((port, 1)))]).await;
    // Attempts at 0, 1, 3, 7, 15 and 31 s.
    sleep(Duration::from_secs(16)).await;
    drop(taken);
    sleep(Duration::from_secs(14)).await;
    assert_eq!(status(port).await, REFUSED);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(status(port).await, Ok((200, 1)));
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_up_to_half_a_minute() {
    let rig = Rig::start();
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    rig.update(&[("ns/a", Some((port, 1)))]).await;
    // The attempt after that at 31 s is at 61 s.
    sleep(Duration::from_secs(60)).await;
    drop(taken);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(status(port).await, Ok((200, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_new_plan_retries_after_the_shortest_pause() {
    let rig = Rig::start();
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let [other] = free_ports();
    rig.update(&[("ns/a", Some((port, 1)))]).await;
    sleep(Duration::from_millis(15_500)).await;
    drop(taken);
    rig.update(&[]).await;
    assert_eq!(status(port).await, REFUSED, "the last attempt was half a second ago");
    sleep(Duration::from_secs(1)).await;
    rig.update(&[]).await;
    assert_eq!(status(port).await, Ok((200, 1)));
    rig.update(&[("ns/b", Some((other, 1)))]).await;
    assert_eq!(status(other).await, Ok((200, 1)));
}

#[tokio::test]
async fn of_two_services_with_one_port_the_first_by_name_gets_it_and_the_other_follows() {
    for _ in 0..10 {
        let rig = Rig::start();
        let [port] = free_ports();
        rig.update(&[("ns/b", Some((port, 2))), ("ns/a", Some((port, 1)))]).await;
        assert_eq!(status(port).await, Ok((200, 1)));
        let third = free_ports::<1>()[0];
        rig.update(&[("ns/a", None), ("ns/c", Some((third, 1)))]).await;
        assert_eq!(status(port).await, Ok((200, 2)));
    }
}

/// Collects log lines for as long as its guard lives, on this thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn collect() -> (Self, DefaultGuard) {
        let lines = Self::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .without_time()
            .with_target(false)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    fn take(&self) -> Vec<String> {
        let text = String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_port_that_cannot_be_opened_is_logged_once_and_so_is_its_recovery() {
    let rig = Rig::start();
    let (lines, _guard) = Lines::collect();
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let [free] = free_ports();
    rig.update(&[("ns/a", Some((port, 1))), ("ns/b", Some((free, 1)))]).await;
    sleep(Duration::from_secs(10)).await;
    drop(taken);
    sleep(Duration::from_secs(30)).await;
    rig.update(&[("ns/a", None)]).await;
    assert_eq!(
        lines.take(),
        [
            format!(
                "ERROR Failed to serve health check of Service; load balancers send it no traffic through this node \
                 service=ns/a address=0.0.0.0:{port} err=Address already in use (os error 98) retryAfter=1s"
            ),
            format!(
                "INFO Started health check of Service after a failure service=ns/a ipFamily=IPv4 port={port}"
            ),
        ]
    );
}

#[tokio::test]
async fn no_address_to_listen_on_is_logged_once_for_all_services() {
    let mut rig = Rig::start();
    let (lines, _guard) = Lines::collect();
    let [a, b] = free_ports();
    rig.restrict(&["240.0.0.0/4"]).await;
    rig.update(&[("ns/a", Some((a, 1)))]).await;
    rig.update(&[("ns/b", Some((b, 1)))]).await;
    let line = "INFO Failed to serve health checks of Services ipFamily=IPv4 \
                reason=\"no local address is in nodePortAddresses\"";
    assert_eq!(lines.take(), [line]);
    rig.restrict(&["241.0.0.0/8"]).await;
    assert_eq!(lines.take(), [line], "these are others");
}

#[tokio::test(start_paused = true)]
async fn a_port_that_cannot_be_opened_is_reported_once_until_it_opens_or_changes() {
    let failures = Arc::new(Mutex::new(Vec::new()));
    let reported = Arc::clone(&failures);
    let hook = move |failure: &OpenFailure| reported.lock().unwrap().push(failure.clone());
    let rig = Rig::with_hook(Arc::new(hook));
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let failure = OpenFailure {
        service: object_name("ns/a"),
        port,
        error: format!("0.0.0.0:{port}: Address already in use (os error 98)"),
    };
    rig.update(&[("ns/a", Some((port, 1)))]).await;
    sleep(Duration::from_secs(90)).await;
    rig.update(&[("ns/a", Some((port, 2)))]).await;
    let reported = || failures.lock().unwrap().clone();
    assert_eq!(reported(), vec![failure.clone()], "attempts and counts are no news");
    rig.update(&[("ns/a", None)]).await;
    rig.update(&[("ns/a", Some((port, 1)))]).await;
    assert_eq!(reported(), [failure.clone(), failure]);
    drop(taken);
    sleep(Duration::from_secs(90)).await;
    assert_eq!(status(port).await, Ok((200, 1)));
    assert_eq!(reported().len(), 2);
}

#[tokio::test]
async fn no_address_to_listen_on_is_not_reported_and_a_port_in_use_after_that_is() {
    let failures = Arc::new(Mutex::new(Vec::new()));
    let reported = Arc::clone(&failures);
    let mut rig =
        Rig::with_hook(Arc::new(move |failure: &OpenFailure| reported.lock().unwrap().push(failure.port)));
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    rig.restrict(&["240.0.0.0/4"]).await;
    rig.update(&[("ns/a", Some((port, 1)))]).await;
    assert!(failures.lock().unwrap().is_empty());
    rig.restrict(&["127.0.0.1/32"]).await;
    assert_eq!(*failures.lock().unwrap(), [port]);
}
