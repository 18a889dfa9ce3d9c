//! Where ports are opened, and what happens when that is not possible.

use tracing::subscriber::DefaultGuard;

use super::*;

#[tokio::test]
async fn restricted_addresses_are_listened_on_alone_and_followed_when_they_change() {
    let mut rig = Rig::start();
    let [port] = free_ports();
    rig.restrict(&["127.0.0.1/32"]).await;
    rig.tell(&[("ns/a", Some((port, 1)))]).await;
    assert_eq!(status(port).await, Ok((200, 1)));
    let elsewhere = || ask(at("127.0.0.2", port), "GET /");
    assert_eq!(elsewhere().await, Err(io::ErrorKind::ConnectionRefused));
    rig.addresses = NodePortAddresses::All;
    rig.tell(&[]).await;
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
    let error = open::OpenPort::open(&addresses, port, &axum::Router::new()).unwrap_err();
    assert_eq!((error.address, error.source.kind()), (at("127.0.0.2", port), io::ErrorKind::AddrInUse));
    std::net::TcpListener::bind(at("127.0.0.1", port)).unwrap();
    drop(taken);
}

#[tokio::test(start_paused = true)]
async fn a_taken_port_is_tried_again_with_growing_pauses() {
    let rig = Rig::start();
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    rig.tell(&[("ns/a", Some((port, 1)))]).await;
    // Attempts at 0, 1, 3, 7, 15 and 31 s.
    sleep(Duration::from_secs(16)).await;
    drop(taken);
    sleep(Duration::from_secs(14)).await;
    assert_eq!(status(port).await, REFUSED);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(status(port).await, Ok((200, 1)));
}

#[tokio::test(start_paused = true)]
async fn pauses_do_not_grow_beyond_half_a_minute() {
    let rig = Rig::start();
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    rig.tell(&[("ns/a", Some((port, 1)))]).await;
    // The attempt after that at 31 s is at 61 s.
    sleep(Duration::from_secs(60)).await;
    drop(taken);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(status(port).await, Ok((200, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_comes_into_force_hastens_the_next_attempt_but_not_by_much() {
    let rig = Rig::start();
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let [other] = free_ports();
    rig.tell(&[("ns/a", Some((port, 1)))]).await;
    sleep(Duration::from_millis(15_500)).await;
    drop(taken);
    rig.tell(&[]).await;
    assert_eq!(status(port).await, REFUSED, "the last attempt was half a second ago");
    sleep(Duration::from_secs(1)).await;
    rig.tell(&[]).await;
    assert_eq!(status(port).await, Ok((200, 1)));
    rig.tell(&[("ns/b", Some((other, 1)))]).await;
    assert_eq!(status(other).await, Ok((200, 1)));
}

#[tokio::test]
async fn of_two_services_that_ask_for_one_port_the_same_gets_it_and_the_other_follows() {
    for _ in 0..10 {
        let rig = Rig::start();
        let [port] = free_ports();
        rig.tell(&[("ns/b", Some((port, 2))), ("ns/a", Some((port, 1)))]).await;
        assert_eq!(status(port).await, Ok((200, 1)));
        let third = free_ports::<1>()[0];
        rig.tell(&[("ns/a", None), ("ns/c", Some((third, 1)))]).await;
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
async fn a_port_that_cannot_be_opened_is_logged_once_with_its_service_and_so_is_its_end() {
    let rig = Rig::start();
    let (lines, _guard) = Lines::collect();
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let [free] = free_ports();
    rig.tell(&[("ns/a", Some((port, 1))), ("ns/b", Some((free, 1)))]).await;
    sleep(Duration::from_secs(10)).await;
    drop(taken);
    sleep(Duration::from_secs(30)).await;
    rig.tell(&[("ns/a", None)]).await;
    assert_eq!(
        lines.take(),
        [
            format!(
                "ERROR a Service's health check cannot be served, so load balancers will pass this node by \
                 service=ns/a address=0.0.0.0:{port} err=Address already in use (os error 98) retry_in=1s"
            ),
            format!("INFO a Service's health check is served now service=ns/a family=IPv4 port={port}"),
        ]
    );
}

#[tokio::test]
async fn nowhere_to_listen_is_logged_once_for_all_services() {
    let mut rig = Rig::start();
    let (lines, _guard) = Lines::collect();
    let [a, b] = free_ports();
    rig.restrict(&["240.0.0.0/4"]).await;
    rig.tell(&[("ns/a", Some((a, 1)))]).await;
    rig.tell(&[("ns/b", Some((b, 1)))]).await;
    let line = "INFO health checks of Services are not served family=IPv4 \
                because=\"no local address is in --nodeport-addresses\"";
    assert_eq!(lines.take(), [line]);
    rig.restrict(&["241.0.0.0/8"]).await;
    assert_eq!(lines.take(), [line], "these are others");
}

#[tokio::test(start_paused = true)]
async fn a_port_that_cannot_be_opened_is_told_once_until_it_could_be_or_is_asked_for_anew() {
    let failures = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&failures);
    let hook = move |failure: &OpenFailure| told.lock().unwrap().push(failure.clone());
    let rig = Rig::telling(Arc::new(hook));
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let failure = OpenFailure {
        service: object_name("ns/a"),
        port,
        error: format!("0.0.0.0:{port}: Address already in use (os error 98)"),
    };
    rig.tell(&[("ns/a", Some((port, 1)))]).await;
    sleep(Duration::from_secs(90)).await;
    rig.tell(&[("ns/a", Some((port, 2)))]).await;
    let told = || failures.lock().unwrap().clone();
    assert_eq!(told(), vec![failure.clone()], "attempts and counts are no news");
    rig.tell(&[("ns/a", None)]).await;
    rig.tell(&[("ns/a", Some((port, 1)))]).await;
    assert_eq!(told(), [failure.clone(), failure]);
    drop(taken);
    sleep(Duration::from_secs(90)).await;
    assert_eq!(status(port).await, Ok((200, 1)));
    assert_eq!(told().len(), 2);
}

#[tokio::test]
async fn nowhere_to_listen_is_told_to_nobody_and_a_taken_port_after_that_is() {
    let failures = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&failures);
    let mut rig =
        Rig::telling(Arc::new(move |failure: &OpenFailure| told.lock().unwrap().push(failure.port)));
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    rig.restrict(&["240.0.0.0/4"]).await;
    rig.tell(&[("ns/a", Some((port, 1)))]).await;
    assert!(failures.lock().unwrap().is_empty());
    rig.restrict(&["127.0.0.1/32"]).await;
    assert_eq!(*failures.lock().unwrap(), [port]);
}
