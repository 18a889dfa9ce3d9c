//! Work that goes on beside a measurement until that ends.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

/// A thread that works until this is ended, or dropped because the measurement failed.
pub(crate) struct Background<T> {
    /// The only strong reference: the thread ends when it is gone.
    held: Arc<()>,
    thread: JoinHandle<T>,
}

/// Tells the thread how long to go on.
pub(crate) struct Wanted(Weak<()>);

impl Wanted {
    /// Whether the result is still to come.
    pub(crate) fn goes_on(&self) -> bool {
        self.0.strong_count() > 0
    }
}

impl<T: Send + 'static> Background<T> {
    /// Starts `work` in the calling thread's network namespace. It returns soon after it is no longer wanted.
    pub(crate) fn start(work: impl FnOnce(&Wanted) -> T + Send + 'static) -> Self {
        let held = Arc::new(());
        let wanted = Wanted(Arc::downgrade(&held));
        Self { held, thread: std::thread::spawn(move || work(&wanted)) }
    }

    /// Ends it, and gives what came of it; panics if it did.
    pub(crate) fn end(self) -> T {
        drop(self.held);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn work_goes_on_until_it_is_ended_and_gives_its_result() {
        let (sender, receiver) = channel();
        let counting = Background::start(move |wanted| {
            let mut rounds = 0;
            while wanted.goes_on() {
                rounds += 1;
                sender.send(rounds).unwrap();
            }
            rounds
        });
        assert_eq!(receiver.iter().nth(2), Some(3));
        assert!(counting.end() >= 3);
    }

    #[test]
    fn dropped_work_ends_as_well() {
        let (sender, receiver) = channel::<()>();
        drop(Background::start(move |wanted| {
            while wanted.goes_on() {
                std::thread::yield_now();
            }
            drop(sender);
        }));
        assert!(receiver.recv().is_err());
    }
}
