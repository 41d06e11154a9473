//! The votes that count, in Postgres: one row a voter, so that no vote counts twice.
//!
//! A row is replaced by a vote that ranks higher only (see `ballot`), in one statement, so whatever is committed again,
//! late, or by several workers at once leaves the same rows.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls};

use crate::ballot::Vote;

/// A Postgres that is silent for so long is away: what was under way is done again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Under a lock, of any number: two sessions that make a table at once fail, whatever the statement promises.
const TABLE: &str = "BEGIN;
SELECT pg_advisory_xact_lock(8675309);
CREATE TABLE IF NOT EXISTS votes (
    voter text PRIMARY KEY,
    choice text NOT NULL CHECK (choice IN ('cats', 'dogs')),
    number bigint NOT NULL,
    cast_at_us bigint NOT NULL
);
COMMIT";
const COMMIT: &str = "INSERT INTO votes (voter, choice, number, cast_at_us)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
    ON CONFLICT (voter) DO UPDATE
    SET choice = excluded.choice, number = excluded.number, cast_at_us = excluded.cast_at_us
    WHERE (votes.number, votes.cast_at_us, votes.choice)
        < (excluded.number, excluded.cast_at_us, excluded.choice)";
const TALLY: &str = "SELECT count(*) FILTER (WHERE choice = 'cats'),
    count(*) FILTER (WHERE choice = 'dogs') FROM votes";
const BY_PREFIX: &str = "SELECT voter, choice FROM votes WHERE starts_with(voter, $1)";

/// How many voted for what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// For cats.
    pub cats: i64,
    /// For dogs.
    pub dogs: i64,
}

/// Why Postgres did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// It can't be reached, or refused us.
    #[error("connect to Postgres: {0}")]
    Connect(#[source] Described),
    /// A statement failed.
    #[error("{operation} in Postgres: {source}")]
    Statement {
        /// What was asked.
        operation: &'static str,
        /// What it said.
        source: Described,
    },
    /// It did not answer.
    #[error("Postgres did not {operation} within {ANSWER_TIMEOUT:?}")]
    Silent {
        /// What was asked.
        operation: &'static str,
    },
}

/// An error of the client with what it says about the cause, which it keeps to itself.
#[derive(Debug, thiserror::Error)]
#[error("{}", describe(.0))]
pub struct Described(#[from] tokio_postgres::Error);

/// A connection to the table of votes.
#[derive(Debug)]
pub struct Ledger {
    client: Client,
}

impl Ledger {
    /// Connects. What else is done fails once the connection is lost; open another then.
    pub async fn open(config: &Config) -> Result<Self, LedgerError> {
        let mut config = config.clone();
        config.connect_timeout(CONNECT_TIMEOUT).tcp_user_timeout(ANSWER_TIMEOUT);
        config.application_name("voting-app");
        let connect = tokio::time::timeout(ANSWER_TIMEOUT, config.connect(NoTls));
        let opened = connect.await.map_err(|_| LedgerError::Silent { operation: "connect" })?;
        let (client, connection) = opened.map_err(|error| LedgerError::Connect(error.into()))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to Postgres ended");
            }
        });
        Ok(Self { client })
    }

    /// Makes the table of votes if there is none.
    pub async fn prepare(&self) -> Result<(), LedgerError> {
        answer("make the table of votes", self.client.batch_execute(TABLE)).await
    }

    /// Commits votes, at most one of each voter; see [`crate::ballot::newest`]. Returns how many rows that changed.
    pub async fn commit(&self, votes: &[Vote]) -> Result<u64, LedgerError> {
        let voters: Vec<&str> = votes.iter().map(|vote| vote.voter.as_str()).collect();
        let choices: Vec<&str> = votes.iter().map(|vote| vote.choice.as_str()).collect();
        let numbers: Vec<i64> = votes.iter().map(|vote| vote.number).collect();
        let times: Vec<i64> = votes.iter().map(|vote| vote.cast_at_us).collect();
        let parameters: [&(dyn ToSql + Sync); 4] = [&voters, &choices, &numbers, &times];
        answer("commit votes", self.client.execute(COMMIT, &parameters)).await
    }

    /// What was counted so far; nothing before the first worker has made the table.
    pub async fn tally(&self) -> Result<Tally, LedgerError> {
        match answer("count votes", self.client.query_one(TALLY, &[])).await {
            Ok(row) => Ok(Tally { cats: row.get(0), dogs: row.get(1) }),
            Err(LedgerError::Statement { source, .. }) if source.is_missing_table() => {
                Ok(Tally::default())
            }
            Err(error) => Err(error),
        }
    }

    /// Voters whose IDs begin so, with their choices.
    pub async fn of_prefix(&self, prefix: &str) -> Result<Vec<(String, String)>, LedgerError> {
        match answer("read votes", self.client.query(BY_PREFIX, &[&prefix])).await {
            Ok(rows) => Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect()),
            Err(LedgerError::Statement { source, .. }) if source.is_missing_table() => Ok(vec![]),
            Err(error) => Err(error),
        }
    }
}

impl Tally {
    /// All votes.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.cats + self.dogs
    }
}

impl Described {
    fn is_missing_table(&self) -> bool {
        self.0.code() == Some(&SqlState::UNDEFINED_TABLE)
    }
}

async fn answer<T>(
    operation: &'static str,
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, LedgerError> {
    match tokio::time::timeout(ANSWER_TIMEOUT, work).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(LedgerError::Statement { operation, source: error.into() }),
        Err(_) => Err(LedgerError::Silent { operation }),
    }
}

fn describe(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
