//! Who listens in which session: wakes streams when something of theirs changed, and ends them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::SessionError;

/// What a stream of a session hears.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signal {
    /// Set when the session is over.
    pub(crate) ended: Option<SessionError>,
}

/// The running sessions by node. Waking only marks a session, so a slow stream holds nobody up and piles up nothing.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    sessions: Mutex<BTreeMap<String, Entry>>,
    count: Count,
}

/// How many sessions there are, for whoever wants to know at any time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count(Arc<AtomicUsize>);

impl Count {
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, count: usize) {
        self.0.store(count, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Entry {
    session_id: String,
    signal: watch::Sender<Signal>,
}

impl Hub {
    /// Begins a session, or leaves it be if it runs.
    pub(crate) fn open(&self, node_id: String, session_id: String) {
        let mut sessions = self.sessions();
        if sessions.get(&node_id).is_none_or(|entry| entry.session_id != session_id) {
            sessions.insert(node_id, Entry { session_id, signal: watch::Sender::default() });
            self.count.set(sessions.len());
        }
    }

    /// The signal of a session that runs.
    pub(crate) fn listen(
        &self,
        node_id: &str,
        session_id: &str,
    ) -> Result<watch::Receiver<Signal>, SessionError> {
        match self.sessions().get(node_id) {
            Some(entry) if entry.session_id == session_id => Ok(entry.signal.subscribe()),
            Some(_) => Err(SessionError::Invalid),
            None => Err(SessionError::NotRegistered),
        }
    }

    /// Has the node's streams look at the tables anew.
    pub(crate) fn wake(&self, node_id: &str) {
        if let Some(entry) = self.sessions().get(node_id) {
            entry.signal.send_modify(|_| {});
        }
    }

    /// Has all streams look at the tables anew.
    pub(crate) fn wake_all(&self) {
        for entry in self.sessions().values() {
            entry.signal.send_modify(|_| {});
        }
    }

    /// Ends a session, unless another has taken its place.
    pub(crate) fn end(&self, node_id: &str, session_id: &str, reason: SessionError) {
        let mut sessions = self.sessions();
        if sessions.get(node_id).is_some_and(|entry| entry.session_id == session_id)
            && let Some(entry) = sessions.remove(node_id)
        {
            entry.signal.send_modify(|signal| signal.ended = Some(reason));
            self.count.set(sessions.len());
        }
    }

    /// How many sessions run.
    pub(crate) fn count(&self) -> Count {
        self.count.clone()
    }

    /// Ends all sessions.
    pub(crate) fn end_all(&self, reason: &SessionError) {
        for entry in std::mem::take(&mut *self.sessions()).into_values() {
            entry.signal.send_modify(|signal| signal.ended = Some(reason.clone()));
        }
    }

    // The map is whole between any two statements that could panic.
    fn sessions(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
