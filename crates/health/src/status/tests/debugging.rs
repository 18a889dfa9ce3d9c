//! `/debug/…`.

use super::*;

#[tokio::test]
async fn only_put_sets_the_verbosity() {
    let levels = Arc::default();
    let router = router(everything(&levels));
    let put = async |body: &str| {
        let request = Request::builder().method(Method::PUT).uri("/debug/flags/v");
        ask_for(&router, request.body(Body::from(body.to_owned())).unwrap()).await.0
    };
    for level in ["4", "0", "-1"] {
        let said = format!("successfully set klog.logging.verbosity to {level}\n");
        assert_eq!(put(level).await, answer(200, TEXT, &said));
    }
    for nonsense in ["", "much", "4 ", "2147483648"] {
        let rejected = put(nonsense).await;
        assert_eq!((rejected.status, rejected.content_type.as_str()), (400, TEXT), "{nonsense}");
        assert!(rejected.body.contains(&format!("{nonsense:?}")), "{}", rejected.body);
    }
    for method in [Method::GET, Method::POST, Method::DELETE] {
        let rejected = ask(&router, method, "/debug/flags/v").await;
        assert_eq!(rejected, answer(406, TEXT, "unsupported http method\n"));
    }
    assert_eq!(*levels.lock().unwrap(), [4, 0, 0]);
}

#[tokio::test]
async fn indexes_list_their_pages() {
    let router = full_router();
    for (path, named) in [
        ("/debug/flags", ["/debug/flags/v"].as_slice()),
        ("/debug/flags/", &["/debug/flags/v"]),
        ("/debug/flags/other", &["/debug/flags/v"]),
        ("/debug/pprof/", &["cmdline", "profile?seconds=10", "symbol", "threads"]),
    ] {
        let page = get(&router, path).await;
        assert_eq!((page.status, page.content_type.as_str()), (200, "text/html; charset=utf-8"), "{path}");
        for link in named {
            assert!(page.body.contains(&format!("href=\"{link}\"")), "{path} does not name {link}");
        }
    }
}

#[tokio::test]
async fn the_path_of_profiles_redirects_to_their_index() {
    let request = Request::builder().uri("/debug/pprof").body(Body::empty()).unwrap();
    let (page, headers) = ask_for(&full_router(), request).await;
    assert_eq!((page.status, headers["location"].to_str().unwrap()), (302, "/debug/pprof/"));
}

#[tokio::test]
async fn the_command_line_is_separated_by_zero_bytes() {
    let arguments: Vec<_> = std::env::args().collect();
    assert_eq!(get(&full_router(), "/debug/pprof/cmdline").await, answer(200, TEXT, &arguments.join("\0")));
}

#[tokio::test]
async fn the_symbol_page_has_no_symbols() {
    let router = full_router();
    assert_eq!(get(&router, "/debug/pprof/symbol").await, answer(200, TEXT, "num_symbols: 0\n"));
    assert_eq!(
        ask(&router, Method::POST, "/debug/pprof/symbol").await,
        answer(200, TEXT, "num_symbols: 0\n")
    );
}

#[tokio::test]
async fn threads_are_listed_with_this_one_running() {
    let page = get(&full_router(), "/debug/pprof/threads").await;
    assert_eq!((page.status, page.content_type.as_str()), (200, TEXT));
    let mut lines = page.body.lines();
    assert!(lines.next().unwrap().trim_start().starts_with("thread name"), "{}", page.body);
    // The thread that answers is one that runs.
    assert!(lines.any(|line| line.contains(" R ")), "{}", page.body);
}

#[tokio::test]
async fn profiles_of_go_are_not_implemented_and_unknown_ones_not_found() {
    let router = full_router();
    for profile in ["heap", "allocs", "goroutine", "block", "mutex", "threadcreate", "trace"] {
        let page = get(&router, &format!("/debug/pprof/{profile}?debug=1")).await;
        assert_eq!(page.status, 501, "{profile}");
        assert!(page.body.starts_with(&format!("{profile} is a profile of Go's runtime")), "{}", page.body);
    }
    assert_eq!(get(&router, "/debug/pprof/other").await, answer(404, TEXT, "Unknown profile\n"));
}

#[tokio::test(start_paused = true)]
async fn a_profile_takes_the_requested_time_up_to_a_limit() {
    let router = full_router();
    for (query, seconds) in [("?seconds=2", 2), ("", 30), ("?seconds=0", 30), ("?seconds=soon", 30)] {
        let began = tokio::time::Instant::now();
        let request =
            Request::builder().uri(format!("/debug/pprof/profile{query}")).body(Body::empty()).unwrap();
        let response = tower::ServiceExt::oneshot(router.clone(), request).await.unwrap();
        assert_eq!(response.status(), 200, "{query}");
        assert_eq!(response.headers()["content-type"], "application/octet-stream");
        assert_eq!(response.headers()["content-disposition"], "attachment; filename=\"profile\"");
        assert_eq!(began.elapsed().as_secs(), seconds, "{query}");
    }
    let rejected = get(&router, "/debug/pprof/profile?seconds=3601").await;
    assert_eq!(rejected, answer(400, TEXT, "a profile may take up to 3600 seconds\n"));
}
