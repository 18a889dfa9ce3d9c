//! What is answered as Services come and go.

use super::*;

#[tokio::test]
async fn the_response_equals_kube_proxys_on_any_path_and_method() {
    let rig = Rig::start();
    let [port] = free_ports();
    rig.update(&[("shop/web", Some((port, 18)))]).await;
    for request in ["GET /", "GET /healthz", "POST /a/b?c=d", "DELETE /x", "BREW /pot", "OPTIONS *"] {
        let answer = ask(at("127.0.0.1", port), request).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(
            body,
            "{\n\t\"service\": {\n\t\t\"namespace\": \"shop\",\n\t\t\"name\": \"web\"\n\t},\n\
             \t\"localEndpoints\": 18,\n\t\"serviceProxyHealthy\": true\n}",
            "{request}"
        );
        let mut headers: Vec<_> = head.split("\r\n").filter(|line| !line.starts_with("date: ")).collect();
        assert_eq!(headers.remove(0), "HTTP/1.0 200 OK", "{request}");
        headers.sort_unstable();
        assert_eq!(
            headers,
            [
                &format!("content-length: {}", body.len()),
                "content-type: application/json",
                "x-content-type-options: nosniff",
                "x-load-balancing-endpoint-weight: 18",
            ],
            "{request}"
        );
    }
}

#[tokio::test]
async fn the_status_follows_the_number_of_local_endpoints() {
    let rig = Rig::start();
    let [port] = free_ports();
    rig.update(&[]).await;
    rig.update(&[("ns/unknown", None)]).await;
    assert_eq!(status(port).await, REFUSED);
    for (count, expected) in [(0, 503), (18, 200), (0, 503), (1, 200)] {
        rig.update(&[("ns/a", Some((port, count)))]).await;
        assert_eq!(status(port).await, Ok((expected, count)));
    }
    rig.update(&[("ns/a", None)]).await;
    assert_eq!(status(port).await, REFUSED);
}

#[tokio::test]
async fn services_do_not_touch_each_other() {
    let rig = Rig::start();
    let [a, b, c] = free_ports();
    rig.update(&[("ns/a", Some((a, 1))), ("ns/b", Some((b, 2))), ("ns/c", Some((c, 0)))]).await;
    assert_eq!(
        (status(a).await, status(b).await, status(c).await),
        (Ok((200, 1)), Ok((200, 2)), Ok((503, 0)))
    );
    rig.update(&[("ns/b", Some((b, 0)))]).await;
    assert_eq!(
        (status(a).await, status(b).await, status(c).await),
        (Ok((200, 1)), Ok((503, 0)), Ok((503, 0)))
    );
}

#[tokio::test]
async fn one_step_removes_keeps_moves_and_adds() {
    let rig = Rig::start();
    let [gone, kept, from, to, new] = free_ports();
    rig.update(&[("ns/gone", Some((gone, 1))), ("ns/kept", Some((kept, 2))), ("ns/moved", Some((from, 3)))])
        .await;
    rig.update(&[("ns/gone", None), ("ns/moved", Some((to, 0))), ("ns/new", Some((new, 5)))]).await;
    assert_eq!((status(gone).await, status(from).await), (REFUSED, REFUSED));
    assert_eq!(status(kept).await, Ok((200, 2)));
    assert_eq!(status(to).await, Ok((503, 0)), "the count of the old port is forgotten");
    assert_eq!(status(new).await, Ok((200, 5)));
}

#[tokio::test]
async fn two_services_may_exchange_their_ports_in_one_step() {
    let rig = Rig::start();
    let [a, b] = free_ports();
    rig.update(&[("ns/a", Some((a, 1))), ("ns/b", Some((b, 2)))]).await;
    for step in 0..20 {
        let (first, second) = if step % 2 == 0 { (b, a) } else { (a, b) };
        rig.update(&[("ns/a", Some((first, 1))), ("ns/b", Some((second, 2)))]).await;
        assert_eq!((status(first).await, status(second).await), (Ok((200, 1)), Ok((200, 2))), "step {step}");
    }
}

#[tokio::test]
async fn an_unchanged_port_keeps_its_connections_and_a_removed_one_closes_them() {
    let rig = Rig::start();
    let [port] = free_ports();
    rig.update(&[("ns/a", Some((port, 1)))]).await;
    let mut stream = TcpStream::connect(at("127.0.0.1", port)).await.unwrap();
    let mut buffer = vec![0; 4096];
    for count in [1, 2] {
        rig.update(&[("ns/a", Some((port, count)))]).await;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
        let length = stream.read(&mut buffer).await.unwrap();
        let answer = String::from_utf8_lossy(&buffer[..length]);
        assert!(answer.contains(&format!("\"localEndpoints\": {count}")), "{answer}");
    }
    rig.update(&[("ns/a", None)]).await;
    assert_eq!(timeout(Duration::from_secs(30), stream.read(&mut buffer)).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn a_proxy_that_is_late_answers_503_with_the_count_and_recovers() {
    let rig = Rig::start();
    let [port] = free_ports();
    rig.update(&[("ns/a", Some((port, 4)))]).await;
    assert_eq!(status(port).await, Ok((200, 4)), "though no Node has been seen");
    rig.health.queued(IpFamily::V4);
    assert_eq!(status(port).await, Ok((503, 4)));
    let answer = ask(at("127.0.0.1", port), "GET /").await.unwrap();
    assert!(answer.ends_with("\"serviceProxyHealthy\": false\n}"), "{answer}");
    rig.health.updated(IpFamily::V4);
    assert_eq!(status(port).await, Ok((200, 4)));
    rig.health.started(IpFamily::V6);
    assert_eq!(status(port).await, Ok((503, 4)), "the other family has no rules yet");
}

#[tokio::test]
async fn each_family_has_its_ports() {
    let rig = Rig::start();
    let [port] = free_ports();
    rig.update(&[("ns/a", Some((port, 1)))]).await;
    assert_eq!(ask(at("::1", port), "GET /").await, Err(io::ErrorKind::ConnectionRefused));
    rig.update_family(IpFamily::V6, &[("ns/a", Some((port, 0)))]).await;
    let answer = ask(at("::1", port), "GET /").await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 503 "), "{answer}");
    assert_eq!(status(port).await, Ok((200, 1)));
    rig.update(&[("ns/a", None)]).await;
    assert_eq!(status(port).await, REFUSED);
    assert!(ask(at("::1", port), "GET /").await.is_ok());
}

#[tokio::test]
async fn updates_before_the_servers_run_are_merged() {
    let handle = ServiceHealth::default();
    let [port, dropped] = free_ports();
    let name = || object_name("ns/a");
    for (port, local_endpoints) in [(dropped, 7), (port, 1), (port, 2)] {
        let check = HealthCheck { port, local_endpoints };
        handle.update(IpFamily::V4, &NodePortAddresses::All, vec![(name(), Some(check))]);
    }
    let health = Health::new(Duration::ZERO);
    let task = tokio::spawn(handle.clone().serve(health));
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!((status(dropped).await, status(port).await), (REFUSED, Ok((503, 2))));
    assert_eq!(Arc::strong_count(&handle.shared), 2);
    task.abort();
}
