//! Resolves the API server's name and reports at once when that takes long.
//!
//! A resolver whose servers do not answer gives up after 10 s or more. Until then no request fails, so nothing else
//! would say what the proxy is waiting for.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tokio::time::sleep;
use tower::Service;
use tracing::warn;

use super::addresses::Addresses;
use super::telling::Telling;

/// Names are resolved within milliseconds; after this long the log names those that are not.
const SLOW: Duration = Duration::from_secs(1);

/// The system's resolver, or another one.
#[derive(Debug, Clone)]
pub(super) struct Resolver<R = GaiResolver> {
    inner: R,
    /// Where answers are noted before anything connects to them.
    addresses: Addresses,
    telling: Arc<Mutex<Telling>>,
}

impl<R> Resolver<R> {
    pub(super) fn new(inner: R, addresses: Addresses) -> Self {
        Self { inner, addresses, telling: Arc::default() }
    }
}

impl<R> Service<Name> for Resolver<R>
where
    R: Service<Name, Response: Iterator<Item = SocketAddr> + Send, Error: Send, Future: Send + 'static>,
{
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = R::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, R::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), R::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (host, telling, addresses) =
            (name.to_string(), Arc::clone(&self.telling), self.addresses.clone());
        let mut answer = Box::pin(self.inner.call(name));
        Box::pin(async move {
            let found = tokio::select! {
                answer = &mut answer => answer,
                () = sleep(SLOW) => {
                    // All watches ask at once; one line is enough.
                    if telling.lock().unwrap_or_else(PoisonError::into_inner).fail(&host) {
                        warn!(host, waited = ?SLOW, "No answer from DNS yet for the name of the API server");
                    }
                    answer.await
                }
            };
            let found: Vec<_> = found?.collect();
            addresses.note(found.iter().map(SocketAddr::ip));
            Ok(found.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::io;

    use tokio::time::{Instant, timeout};
    use tower::{ServiceExt as _, service_fn};

    use super::*;
    use crate::log::Log;

    type Answer = io::Result<std::vec::IntoIter<SocketAddr>>;

    fn addresses() -> Addresses {
        Addresses::of(&"https://api.example".parse().unwrap())
    }

    fn name() -> Name {
        "api.example".parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_without_an_answer_is_named_after_a_second_and_once() {
        let (log, _guard) = Log::capture();
        let resolver = Resolver::new(service_fn(|_: Name| pending::<Answer>()), addresses());
        let ask = || timeout(Duration::from_millis(1500), resolver.clone().oneshot(name()));
        let (began, (first, second)) = (Instant::now(), tokio::join!(ask(), ask()));
        assert!(first.is_err() && second.is_err());
        assert_eq!(began.elapsed().as_millis(), 1500);
        let lines = log.lines();
        assert!(
            matches!(&lines[..], [one] if one.contains("No answer from DNS") && one.contains("api.example")),
            "{lines:#?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_passed_on_without_a_word() {
        let (log, _guard) = Log::capture();
        let address: SocketAddr = "192.0.2.1:0".parse().unwrap();
        let resolver = Resolver::new(
            service_fn(move |_: Name| ready(Answer::Ok(vec![address].into_iter()))),
            addresses(),
        );
        let answer: Vec<_> = resolver.oneshot(name()).await.unwrap().collect();
        assert_eq!((answer, log.lines()), (vec![address], vec![]));
    }
}
