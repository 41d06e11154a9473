//! The queue of votes in a Redis: a stream, which front ends append to ([`Inbox`]) and workers read as one group
//! ([`Outbox`]).
//!
//! An entry stays in the stream until a worker removes it, and Redis notes which worker has it under way. That
//! survives the worker, and, with a file that is synchronised on every write, Redis too.

mod inbox;
mod outbox;

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, RedisError};

pub use inbox::Inbox;
pub use outbox::{Batch, Outbox};

/// The stream of votes.
const STREAM: &str = "votes";
/// The group that all workers belong to: each entry goes to one of them.
const GROUP: &str = "workers";
/// The field of an entry that holds the vote.
const FIELD: &str = "vote";
/// A Redis that does not take a connection in this time is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a Redis did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// It can't be reached.
    #[error("connect to Redis at {address}: {source}")]
    Connect {
        /// Where it should be.
        address: String,
        /// What the client said.
        source: RedisError,
    },
    /// It refused something, or did not answer.
    #[error("{operation} at Redis {address}: {source}")]
    Operation {
        /// What was asked.
        operation: &'static str,
        /// Of whom.
        address: String,
        /// What came back.
        source: RedisError,
    },
    /// Somebody else has just failed to connect.
    #[error("Redis at {address} is away")]
    Away {
        /// Where it should be.
        address: String,
    },
}

/// Where a Redis is.
#[derive(Debug, Clone)]
struct Address {
    client: Client,
    name: String,
    response_timeout: Duration,
}

impl Address {
    fn new(url: &str, response_timeout: Duration) -> Result<Self, QueueError> {
        let connect = |source| QueueError::Connect { address: url.into(), source };
        let info = url.into_connection_info().map_err(connect)?;
        // Without what may be a password.
        let name = info.addr.to_string();
        let client = Client::open(info).map_err(connect)?;
        Ok(Self { client, name, response_timeout })
    }

    async fn connect(&self) -> Result<MultiplexedConnection, QueueError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(CONNECT_TIMEOUT)
            .set_response_timeout(self.response_timeout);
        self.client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .map_err(|source| QueueError::Connect { address: self.name.clone(), source })
    }

    fn failed(&self, operation: &'static str) -> impl FnOnce(RedisError) -> QueueError {
        let address = self.name.clone();
        move |source| QueueError::Operation { operation, address, source }
    }
}
