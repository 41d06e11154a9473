//! Stores of keys and values that many managers and agents share: what discovery and leader election need of one.
//!
//! ```text
//!  swarm join   ── register ──>┐         ┌── etcd      leases, watches from a revision
//!  swarm manage ── follow ────>│  Store  ├── consul    sessions, blocking queries
//!  election     ── hold ──────>┘         └── zookeeper ephemeral nodes, watches
//! ```
//!
//! Keys and values are those of docker/swarm 1.2.9, so that both can share a Consul or a ZooKeeper.

mod consul;
mod etcd;
mod hosts;
mod tls;
mod zookeeper;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

pub(crate) use tls::{TlsError, TlsFiles};

use crate::discovery::{StoreKind, StoreUrl};

/// A host of a store that takes no connection by then is tried again later, and another one now.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// No request but a watch may take longer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// No answer that is read whole may be larger: ten thousand engines take two megabytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A store did not do what it was asked.
#[derive(Debug, Clone, Error)]
pub(crate) enum StoreError {
    /// None of its hosts answers, or not as a whole: without a leader of its own, say.
    #[error("{store} is unavailable: {problem}")]
    Unavailable {
        /// As its URL names it, with the host that was asked.
        store: String,
        /// What is wrong.
        problem: String,
    },
    /// It answered with an error.
    #[error("{store} refused: {problem}")]
    Refused {
        /// As its URL names it, with the host that was asked.
        store: String,
        /// Its words.
        problem: String,
    },
    /// It answered with something else than it should.
    #[error("{store} gave an answer that makes no sense: {problem}")]
    Nonsense {
        /// As its URL names it, with the host that was asked.
        store: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// A key and who wants to be written there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) key: String,
    pub(crate) value: String,
    /// The store forgets the claim when it hears nothing of its owner for so long.
    pub(crate) ttl: Duration,
}

/// What a store knows a candidate by, from one request to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session(pub(crate) String);

/// Who has a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holding {
    /// The one who asks.
    Ours {
        /// The store's number for this holding: another one has another.
        fence: u64,
        /// The store gives the lock to nobody else for so long after the request was made.
        sure: Duration,
    },
    /// Somebody else.
    Others,
}

/// What hears the values below a path each time they change.
pub(crate) type TellValues<'t> = &'t mut (dyn FnMut(Vec<String>) + Send);
/// What hears who has a lock each time that changes.
pub(crate) type TellHolder<'t> = &'t mut (dyn FnMut(Option<String>) + Send);

/// A store.
#[async_trait]
pub(crate) trait Store: fmt::Debug + Send + Sync {
    /// Writes a claim, or renews it.
    async fn register(&self, claim: &Claim) -> Result<(), StoreError>;

    /// The values of the keys directly below a path.
    async fn values(&self, path: &str) -> Result<Vec<String>, StoreError>;

    /// Tells the values of the keys directly below a path, at once and after each change, until that fails.
    async fn follow(&self, path: &str, tell: TellValues<'_>) -> StoreError;

    /// Tells who has the lock at a key, at once and after each change, until that fails.
    async fn follow_holder(&self, key: &str, tell: TellHolder<'_>) -> StoreError;

    /// Takes a lock that nobody has, or confirms that it is still ours, in which case the store holds it for the claim's
    /// time from now on. The session is changed as soon as the store knows another, so that it is right also where
    /// the request is given up in its middle.
    async fn hold(
        &self,
        claim: &Claim,
        session: &mut Option<Session>,
    ) -> Result<Holding, StoreError>;

    /// Gives a lock back, so that somebody else can have it at once.
    async fn release(&self, claim: &Claim, session: Session) -> Result<(), StoreError>;
}

/// The store that a URL names; nothing is asked of it yet.
///
/// # Errors
/// [`TlsError`], where its certificates can't be read.
pub(crate) fn open(url: &StoreUrl) -> Result<Arc<dyn Store>, TlsError> {
    let files = match url.kind {
        // Variables of Consul's own command line.
        StoreKind::Consul
            if says("CONSUL_HTTP_SSL_VERIFY", &["0", "f", "F", "false", "FALSE", "False"]) =>
        {
            return Err(TlsError::Unverified);
        }
        StoreKind::Consul if says("CONSUL_HTTP_SSL", &["1", "t", "T", "true", "TRUE", "True"]) => {
            Some(url.tls.clone().unwrap_or_default())
        }
        _ => url.tls.clone(),
    };
    let tls = files.as_ref().map(TlsFiles::load).transpose()?;
    Ok(match url.kind {
        StoreKind::Etcd => Arc::new(etcd::Etcd::new(url, tls)),
        StoreKind::Consul => Arc::new(consul::Consul::new(url, tls)),
        StoreKind::ZooKeeper => Arc::new(zookeeper::ZooKeeper::new(url)),
    })
}

/// Whether a variable of the environment has one of these values.
fn says(variable: &str, values: &[&str]) -> bool {
    std::env::var(variable).is_ok_and(|value| values.contains(&&*value))
}
