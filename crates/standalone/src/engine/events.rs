//! What happens on all engines, for those who follow it, and the latest of it for those who were away.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::mpsc;

use super::Engine;

/// Events that may wait for one who follows, in numbers and in bytes; who is slower is cut off.
const WAITING_MAX: usize = 10_000;
const WAITING_BYTES_MAX: usize = 16 << 20;
/// Events that are kept, in numbers and in bytes: some minutes of a busy pool. Engines keep 256 each.
const RECENT_MAX: usize = 4096;
const RECENT_BYTES_MAX: usize = 8 << 20;

/// Where something happened, as it was called then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) name: String,
    /// `ID|host:port`
    pub(crate) id: String,
    /// `host:port`
    pub(crate) addr: String,
    pub(crate) ip: String,
}

impl Origin {
    pub(crate) fn of(engine: &Engine) -> Self {
        Self {
            name: engine.name(),
            id: engine.id(),
            addr: engine.addr().to_owned(),
            ip: engine.ip(),
        }
    }
}

/// Something that happened on an engine.
#[derive(Debug, Clone)]
pub(crate) struct EngineEvent {
    pub(crate) origin: Arc<Origin>,
    /// The engine's words.
    pub(crate) event: Arc<Value>,
    /// How long they were.
    pub(crate) bytes: usize,
}

impl EngineEvent {
    /// When it happened, in nanoseconds of the engine's clock.
    pub(crate) fn at(&self) -> u64 {
        nanoseconds(&self.event)
    }
}

/// When an event happened, in nanoseconds.
pub(crate) fn nanoseconds(event: &Value) -> u64 {
    let seconds = || event["time"].as_u64().unwrap_or_default().saturating_mul(1_000_000_000);
    event["timeNano"].as_u64().unwrap_or_else(seconds)
}

/// Where all events go.
#[derive(Debug, Default)]
pub(crate) struct EventHub {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    followers: Vec<Follower>,
    recent: VecDeque<EngineEvent>,
    recent_bytes: usize,
}

#[derive(Debug)]
struct Follower {
    sender: mpsc::Sender<EngineEvent>,
    waiting: Arc<AtomicUsize>,
}

impl Follower {
    /// Whether the event could be given, and more may.
    fn take(&self, event: &EngineEvent) -> bool {
        let waiting = self.waiting.fetch_add(event.bytes, Ordering::Relaxed);
        waiting < WAITING_BYTES_MAX && self.sender.try_send(event.clone()).is_ok()
    }
}

/// One who follows.
#[derive(Debug)]
pub(crate) struct Following {
    receiver: mpsc::Receiver<EngineEvent>,
    waiting: Arc<AtomicUsize>,
}

impl Following {
    /// The next event; none once who follows is too far behind.
    pub(crate) async fn next(&mut self) -> Option<EngineEvent> {
        let event = self.receiver.recv().await?;
        self.waiting.fetch_sub(event.bytes, Ordering::Relaxed);
        Some(event)
    }
}

impl EventHub {
    /// Tells all who follow.
    pub(crate) fn tell(&self, event: EngineEvent) {
        let mut state = self.lock();
        state.followers.retain(|follower| follower.take(&event));
        state.recent_bytes += event.bytes;
        state.recent.push_back(event);
        while state.recent.len() > RECENT_MAX || state.recent_bytes > RECENT_BYTES_MAX {
            let Some(oldest) = state.recent.pop_front() else { break };
            state.recent_bytes -= oldest.bytes;
        }
    }

    /// What happened last, and what happens from then on: nothing in between is missed.
    pub(crate) fn follow(&self) -> (Vec<EngineEvent>, Following) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let waiting = Arc::new(AtomicUsize::new(0));
        let mut state = self.lock();
        state.followers.push(Follower { sender, waiting: waiting.clone() });
        (state.recent.iter().cloned().collect(), Following { receiver, waiting })
    }

    /// How many follow.
    pub(crate) fn followers(&self) -> usize {
        let mut state = self.lock();
        state.followers.retain(|follower| !follower.sender.is_closed());
        state.followers.len()
    }

    // Each change is whole before anything can panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(number: u64, bytes: usize) -> EngineEvent {
        let [name, id, addr, ip] = ["n", "i", "a:1", "a"].map(str::to_owned);
        let origin = Arc::new(Origin { name, id, addr, ip });
        EngineEvent { origin, event: Arc::new(json!({"timeNano": number})), bytes }
    }

    #[tokio::test]
    async fn who_follows_hears_all_or_is_cut_off() {
        let hub = EventHub::default();
        hub.tell(event(1, 10));
        let (recent, mut following) = hub.follow();
        assert_eq!(recent.iter().map(EngineEvent::at).collect::<Vec<_>>(), [1]);
        for number in 2..5 {
            hub.tell(event(number, 10));
        }
        for number in 2..5 {
            assert_eq!(following.next().await.map(|event| event.at()), Some(number));
        }
        assert_eq!(hub.followers(), 1);
        for _ in 0..3 {
            hub.tell(event(5, WAITING_BYTES_MAX / 2 + 1));
        }
        assert_eq!(hub.followers(), 0);
        assert!(following.next().await.is_some() && following.next().await.is_some());
        assert!(following.next().await.is_none());
        assert!(hub.follow().0.is_empty(), "none of them is kept that is larger than all may be");
        for number in 0..2 * RECENT_MAX as u64 {
            hub.tell(event(number, 1));
        }
        assert_eq!(hub.follow().0.len(), RECENT_MAX);
    }
}
