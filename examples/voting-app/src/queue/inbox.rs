//! A front end's way into its Redis: one connection for all requests, replaced when it fails.
//!
//! Redis answers a write after its file is on disk (`appendfsync always`), so an answer is an acknowledgement. All
//! that arrives while it writes goes into the next write together.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use redis::RedisError;
use redis::aio::MultiplexedConnection;
use tokio::sync::Mutex;

use super::{Address, FIELD, QueueError, STREAM};
use crate::ballot::Vote;

/// A voter does not wait longer: the page that says "try again" is better than none.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The key that a check of health writes.
const HEALTH_KEY: &str = "health";

/// Takes votes.
#[derive(Debug)]
pub struct Inbox {
    address: Address,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// With the number of the connection, so that who saw it fail does not drop its successor.
    connection: Option<(u64, MultiplexedConnection)>,
    opened: u64,
    failed_at: Option<Instant>,
}

impl Inbox {
    /// The queue at a Redis, by URL. It is connected to when it is needed.
    pub fn new(url: &str) -> Result<Self, QueueError> {
        let address = Address::new(url, RESPONSE_TIMEOUT)?;
        Ok(Self { address, state: Mutex::default() })
    }

    /// Where its Redis is.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address.name
    }

    /// Puts a vote in. When it returns, the vote is on Redis' disk; after an error it may be there or not.
    pub async fn push(&self, vote: &Vote) -> Result<(), QueueError> {
        let mut command = redis::cmd("XADD");
        command.arg(STREAM).arg("*").arg(FIELD).arg(vote.to_string());
        self.run("queue a vote", &command).await
    }

    /// Whether the Redis takes writes.
    pub async fn check(&self) -> Result<(), QueueError> {
        let mut command = redis::cmd("SET");
        command.arg(HEALTH_KEY).arg("written");
        self.run("write for a check", &command).await
    }

    async fn run(&self, operation: &'static str, command: &redis::Cmd) -> Result<(), QueueError> {
        let (number, mut connection) = self.connection().await?;
        let answer: Result<(), RedisError> = command.exec_async(&mut connection).await;
        if answer.as_ref().is_err_and(is_broken) {
            let mut state = self.state.lock().await;
            state.connection.take_if(|(known, _)| *known == number);
        }
        answer.map_err(self.address.failed(operation))
    }

    /// The connection, made by the first who needs one. Who waited for an attempt that failed makes none of its own.
    async fn connection(&self) -> Result<(u64, MultiplexedConnection), QueueError> {
        let asked_at = Instant::now();
        let mut state = self.state.lock().await;
        if let Some((number, connection)) = &state.connection {
            return Ok((*number, connection.clone()));
        }
        if state.failed_at.is_some_and(|failed_at| failed_at > asked_at) {
            return Err(QueueError::Away { address: self.address.name.clone() });
        }
        match self.address.connect().await {
            Ok(connection) => {
                state.opened += 1;
                let opened = (state.opened, connection);
                state.connection = Some(opened.clone());
                drop(state);
                self.warn_unless_durable(opened.1.clone()).await;
                Ok(opened)
            }
            Err(error) => {
                state.failed_at = Some(Instant::now());
                Err(error)
            }
        }
    }

    /// A Redis that keeps votes in memory acknowledges what it can lose.
    async fn warn_unless_durable(&self, mut connection: MultiplexedConnection) {
        let mut command = redis::cmd("CONFIG");
        command.arg("GET").arg("append*");
        let answer: Result<HashMap<String, String>, _> = command.query_async(&mut connection).await;
        let Ok(settings) = answer else { return };
        let is = |name, value| settings.get(name).is_some_and(|set| set == value);
        if !(is("appendonly", "yes") && is("appendfsync", "always")) {
            tracing::warn!(
                redis = self.address.name,
                "this Redis can lose votes: start it with --appendonly yes --appendfsync always"
            );
        }
    }
}

/// Whether a connection is of no use after an error. One that did not answer in time is: whoever was at its other end
/// may be gone for good.
fn is_broken(error: &RedisError) -> bool {
    error.is_io_error() || error.is_timeout() || error.is_unrecoverable_error()
}
