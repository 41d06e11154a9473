//! What the executables are told on the command line or, as in a container, by variables.
//!
//! The names that "Try Swarm at scale" uses are kept: front end `01` has its Redis at `redis01`, a worker empties
//! `redis01` to `redis02` when it is told 1 and 2, and Postgres is `pg`.

use std::io::IsTerminal;
use std::net::SocketAddr;

use clap::Args;
use tokio_postgres::Config;
use tracing_subscriber::EnvFilter;

/// Of the walk-through; good enough where nothing but the application reaches Postgres.
const PASSWORD: &str = "pg8675309";
/// Two digits, as the names in the walk-through have.
const REDIS_NUMBER_MAX: u8 = 99;

/// Where Postgres is.
#[derive(Debug, Clone, Args)]
pub struct Postgres {
    /// Where votes are counted.
    #[arg(
        long,
        env = "POSTGRES_URL",
        default_value = "postgres://postgres@pg/postgres",
        hide_env_values = true
    )]
    postgres: Config,
    /// The password, unless the URL has one.
    #[arg(long, env = "POSTGRES_PASSWORD", default_value = PASSWORD, hide_env_values = true)]
    postgres_password: String,
}

/// Where HTTP is served.
#[derive(Debug, Clone, Args)]
pub struct Listen {
    /// The address to serve HTTP on.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:80")]
    pub listen: SocketAddr,
}

/// What a front end is told.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "vote", about = "Takes votes for cats or dogs and queues them in its Redis.")]
pub struct FrontEnd {
    #[command(flatten)]
    pub(crate) listen: Listen,
    /// The front end's number, as its page shows it; its Redis is redis<NUMBER>.
    #[arg(long, env = "WEB_VOTE_NUMBER", default_value = "01")]
    pub(crate) number: String,
    /// Its Redis, where it is not redis<NUMBER>.
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    redis: Option<String>,
}

/// What a worker is told.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "worker", about = "Empties the queues of votes into Postgres.")]
pub struct Worker {
    /// The worker's number. No two workers have the same.
    #[arg(long, env = "WORKER_NUMBER", default_value = "01")]
    number: String,
    /// The number of the first Redis.
    #[arg(long, env = "FROM_REDIS_HOST", default_value = "1",
          value_parser = clap::value_parser!(u8).range(1..=i64::from(REDIS_NUMBER_MAX)))]
    from_redis_host: u8,
    /// The number of the last Redis.
    #[arg(long, env = "TO_REDIS_HOST", default_value = "1",
          value_parser = clap::value_parser!(u8).range(1..=i64::from(REDIS_NUMBER_MAX)))]
    to_redis_host: u8,
    /// The Redis servers, by URL and separated by commas, where they are not redis<NUMBER>.
    #[arg(long, env = "REDIS_URLS", value_delimiter = ',', hide_env_values = true)]
    redis: Vec<String>,
    #[command(flatten)]
    postgres: Postgres,
}

/// What the results page is told.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "result", about = "Shows the results of the vote.")]
pub struct Results {
    #[command(flatten)]
    pub(crate) listen: Listen,
    #[command(flatten)]
    pub(crate) postgres: Postgres,
}

/// Two settings that don't go together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "FROM_REDIS_HOST is {from} and TO_REDIS_HOST is {to}: the first must not be above the last"
)]
pub struct EmptyRange {
    from: u8,
    to: u8,
}

impl Postgres {
    /// With the password.
    #[must_use]
    pub fn config(&self) -> Config {
        let mut config = self.postgres.clone();
        if config.get_password().is_none() {
            config.password(&self.postgres_password);
        }
        config
    }
}

impl FrontEnd {
    /// The URL of its Redis.
    #[must_use]
    pub fn redis(&self) -> String {
        self.redis.clone().unwrap_or_else(|| format!("redis://redis{}", self.number))
    }
}

impl Worker {
    /// What the worker itself needs to know.
    pub fn settings(&self) -> Result<crate::worker::Settings, EmptyRange> {
        let (from, to) = (self.from_redis_host, self.to_redis_host);
        let redis = match self.redis.is_empty() {
            false => self.redis.clone(),
            true if from <= to => {
                (from..=to).map(|number| format!("redis://redis{number:02}")).collect()
            }
            true => return Err(EmptyRange { from, to }),
        };
        let name = format!("worker{}", self.number);
        Ok(crate::worker::Settings { name, redis, postgres: self.postgres.config() })
    }
}

/// Logs to the standard error, by `RUST_LOG`.
pub fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let output = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Colours are for terminals; `docker logs` would show their codes.
    output.with_ansi(std::io::stderr().is_terminal()).init();
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn numbers_name_the_redis_servers() {
        let worker =
            |line: &str| Worker::try_parse_from(line.split(' ')).map(|worker| worker.settings());
        let redis = |line: &str| worker(line).expect("parses").expect("goes together").redis;
        assert_eq!(redis("worker"), ["redis://redis01"]);
        let both = "worker --from-redis-host 9 --to-redis-host 11";
        assert_eq!(redis(both), ["redis://redis09", "redis://redis10", "redis://redis11"]);
        assert_eq!(redis("worker --redis redis://a,redis://b:1"), ["redis://a", "redis://b:1"]);
        let backwards = worker("worker --from-redis-host 2").expect("parses");
        assert_eq!(backwards.err(), Some(EmptyRange { from: 2, to: 1 }));
        assert!(worker("worker --to-redis-host 100").is_err());

        let front_end = |line: &str| FrontEnd::try_parse_from(line.split(' ')).expect("parses");
        assert_eq!(front_end("vote --number 02").redis(), "redis://redis02");
        assert_eq!(front_end("vote --redis redis://other:7").redis(), "redis://other:7");
    }

    #[test]
    fn the_password_is_the_walk_through_s_unless_another_is_given() {
        let config = |line: &str| {
            let results = Results::try_parse_from(line.split(' ')).expect("parses");
            results.postgres.config().get_password().map(<[u8]>::to_vec)
        };
        assert_eq!(config("result"), Some(PASSWORD.into()));
        assert_eq!(config("result --postgres-password x"), Some(b"x".to_vec()));
        let url = "result --postgres postgres://u:y@h/d --postgres-password x";
        assert_eq!(config(url), Some(b"y".to_vec()));
        assert!(Results::try_parse_from(["result", "--postgres", "h h"]).is_err());
    }
}
