//! A stand-in for Consul: Debian has no package of it.
//!
//! It serves what standalone Swarm uses of Consul's HTTP API as Consul documents it: keys and values (`recurse`,
//! `acquire`, `release`, `flags`), sessions (TTL, behaviours `release` and `delete`), and queries that wait for an index.
//! As in Consul, a session lives for twice its TTL after its last renewal, TTLs below `session_ttl_min` are refused, a key
//! that another session has is not acquired (`false`), `LockIndex` counts acquisitions, and each write moves the index.
//! Not here: data centres, ACLs, health checks, `cas`, transactions. What it has survives [`Consul::kill`], as a
//! Consul's data folder does.

mod server;
mod state;

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::{KeyStore, START_TIMEOUT};
use crate::{Host, wait_until};
use state::State;

const PORT: u16 = 8500;

/// What the threads of a stand-in share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// A stand-in for a Consul agent on a host.
#[derive(Debug)]
pub struct Consul {
    host: Host,
    shared: Arc<Shared>,
    /// Of the server that runs, so that it ends.
    is_over: Arc<AtomicBool>,
}

impl Consul {
    /// Starts one that takes session TTLs of this length and longer.
    pub fn start(host: Host, session_ttl_min: Duration) -> Self {
        let state = Mutex::new(State::new(session_ttl_min));
        let shared = Shared { state, changed: Condvar::new() };
        let mut consul = Self { host, shared: Arc::new(shared), is_over: Arc::default() };
        consul.restart();
        consul
    }

    fn address(&self) -> (std::net::Ipv4Addr, u16) {
        (self.host.address(), PORT)
    }
}

impl KeyStore for Consul {
    fn url(&self) -> String {
        format!("consul://{}:{PORT}", self.host.address())
    }

    fn kill(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.shared.changed.notify_all();
        // Wakes the listener up.
        let address = self.address();
        self.host.in_network(move || drop(TcpStream::connect(address)));
        let is_free = || self.host.in_network(move || TcpListener::bind(address).is_ok());
        wait_until(START_TIMEOUT, "the stand-in to end", || is_free().then_some(()));
    }

    fn restart(&mut self) {
        self.is_over = Arc::default();
        // A session's time begins anew with a new leader.
        self.shared.state.lock().expect("the state").renew_all();
        let address = self.address();
        let listener = self.host.in_network(move || TcpListener::bind(address)).expect("listen");
        let (shared, is_over) = (self.shared.clone(), self.is_over.clone());
        std::thread::spawn(move || server::run(&listener, &shared, &is_over));
    }
}

impl Drop for Consul {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.shared.changed.notify_all();
        let address = self.address();
        self.host.in_network(move || {
            if let Ok(mut stream) = TcpStream::connect(address) {
                let _ = stream.read(&mut [0]);
            }
        });
    }
}
