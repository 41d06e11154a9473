//! Connections of peers without a certificate: they may hold so many, and one more closes the oldest.
//!
//! Whoever joins is done in seconds, so it is a flood whose connections are closed; members are not touched by it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Context;

use futures::task::AtomicWaker;

/// What is counted.
#[derive(Debug)]
pub(crate) struct Strangers {
    max: usize,
    connections: Mutex<VecDeque<Weak<Door>>>,
}

/// One stranger's connection, as long as it is open.
#[derive(Debug, Default)]
pub(crate) struct Door {
    is_shut: AtomicBool,
    reader: AtomicWaker,
}

impl Strangers {
    /// Takes so many.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, connections: Mutex::default() }
    }

    /// Counts one more; it counts until the answer is dropped.
    pub(crate) fn admit(&self) -> Arc<Door> {
        let door = Arc::new(Door::default());
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.retain(|known| known.strong_count() > 0);
        if connections.len() >= self.max
            && let Some(oldest) = connections.pop_front().and_then(|known| known.upgrade())
        {
            oldest.shut();
        }
        connections.push_back(Arc::downgrade(&door));
        door
    }
}

impl Door {
    /// Whether the connection is to be closed; the context is woken when that changes.
    pub(crate) fn is_shut(&self, cx: &Context<'_>) -> bool {
        self.reader.register(cx.waker());
        self.is_shut.load(Ordering::Acquire)
    }

    fn shut(&self) {
        self.is_shut.store(true, Ordering::Release);
        self.reader.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn one_more_shuts_the_oldest() {
        let strangers = Strangers::new(2);
        let cx = Context::from_waker(Waker::noop());
        let (first, second) = (strangers.admit(), strangers.admit());
        drop(second);
        let third = strangers.admit();
        assert!(!first.is_shut(&cx) && !third.is_shut(&cx));
        let fourth = strangers.admit();
        assert!(first.is_shut(&cx) && !third.is_shut(&cx) && !fourth.is_shut(&cx));
        let _fifth = strangers.admit();
        assert!(third.is_shut(&cx) && !fourth.is_shut(&cx));
    }
}
