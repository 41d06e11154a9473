//! What a Consul knows: keys, sessions, and the index that each write moves.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A session lives for so many times its TTL after its last renewal, as in Consul.
const TTL_MULTIPLIER: u32 = 2;

/// A key.
#[derive(Debug, Clone, Default)]
pub(super) struct Pair {
    pub(super) value: Vec<u8>,
    pub(super) flags: u64,
    pub(super) session: Option<String>,
    pub(super) lock_index: u64,
    pub(super) create_index: u64,
    pub(super) modify_index: u64,
}

#[derive(Debug, Clone)]
struct Session {
    ttl: Duration,
    ends_at: Instant,
    deletes: bool,
}

/// All of it.
#[derive(Debug)]
pub(super) struct State {
    session_ttl_min: Duration,
    pub(super) pairs: BTreeMap<String, Pair>,
    sessions: BTreeMap<String, Session>,
    pub(super) index: u64,
    made: u64,
}

impl State {
    pub(super) fn new(session_ttl_min: Duration) -> Self {
        // Of an index of nought nobody can wait for the next.
        Self {
            session_ttl_min,
            pairs: BTreeMap::new(),
            sessions: BTreeMap::new(),
            index: 1,
            made: 0,
        }
    }

    /// Forgets sessions that are over; whether there were some.
    pub(super) fn expire(&mut self) -> bool {
        let now = Instant::now();
        let over =
            |(id, session): (&String, &Session)| (session.ends_at <= now).then(|| id.clone());
        let over: Vec<String> = self.sessions.iter().filter_map(over).collect();
        over.iter().for_each(|id| self.destroy(id));
        !over.is_empty()
    }

    pub(super) fn renew_all(&mut self) {
        for session in self.sessions.values_mut() {
            session.ends_at = Instant::now() + session.ttl * TTL_MULTIPLIER;
        }
    }

    pub(super) fn create(&mut self, ttl: Duration, deletes: bool) -> Result<String, String> {
        let shortest = self.session_ttl_min;
        if ttl < shortest || ttl > Duration::from_secs(86_400) {
            return Err(format!(
                "Invalid Session TTL '{}', must be between [{shortest:?}=24h0m0s]",
                ttl.as_nanos()
            ));
        }
        self.made += 1;
        let id = format!("{:08x}-0000-4000-8000-{:012x}", self.made, self.made);
        let ends_at = Instant::now() + ttl * TTL_MULTIPLIER;
        self.sessions.insert(id.clone(), Session { ttl, ends_at, deletes });
        Ok(id)
    }

    pub(super) fn renew(&mut self, id: &str) -> bool {
        let session = self.sessions.get_mut(id);
        session.is_some_and(|session| {
            session.ends_at = Instant::now() + session.ttl * TTL_MULTIPLIER;
            true
        })
    }

    pub(super) fn destroy(&mut self, id: &str) {
        let Some(session) = self.sessions.remove(id) else { return };
        let is_its = |pair: &Pair| pair.session.as_deref() == Some(id);
        if self.pairs.values().any(is_its) {
            self.index += 1;
        }
        if session.deletes {
            self.pairs.retain(|_, pair| !is_its(pair));
        }
        for pair in self.pairs.values_mut().filter(|pair| is_its(pair)) {
            pair.session = None;
            pair.modify_index = self.index;
        }
    }

    /// Writes a key; with a session to acquire it for, or to release it from. Whether that was possible.
    pub(super) fn put(
        &mut self,
        key: &str,
        value: Vec<u8>,
        flags: u64,
        acquire: Option<&str>,
        release: Option<&str>,
    ) -> Result<bool, String> {
        if let Some(id) = acquire.filter(|id| !self.sessions.contains_key(*id)) {
            return Err(format!("invalid session {id:?}"));
        }
        let mut pair = self.pairs.get(key).cloned().unwrap_or_default();
        match (acquire, release) {
            (Some(id), _) => match &pair.session {
                Some(holder) if holder != id => return Ok(false),
                Some(_) => {}
                None => {
                    pair.session = Some(id.to_owned());
                    pair.lock_index += 1;
                }
            },
            (None, Some(id)) => match &pair.session {
                Some(holder) if holder == id => pair.session = None,
                _ => return Ok(false),
            },
            (None, None) => {}
        }
        self.index += 1;
        if pair.create_index == 0 {
            pair.create_index = self.index;
        }
        (pair.value, pair.flags, pair.modify_index) = (value, flags, self.index);
        self.pairs.insert(key.to_owned(), pair);
        Ok(true)
    }
}
