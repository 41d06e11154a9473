//! The executable of a crowd of voters; see `crowd`. Prints figures, and ends with an error if a vote was lost.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Parser;
use swarm_voting_app::crowd::{self, Plan, Target};
use swarm_voting_app::settings;
use tokio_postgres::Config;

/// Votes for cats and dogs, through whatever fails meanwhile, and checks that every acknowledged vote was counted.
#[derive(Debug, Parser)]
#[command(name = "voters")]
struct Arguments {
    /// The page to vote on.
    #[arg(default_value = "http://votingapp.local/")]
    url: String,
    /// Where the page is served, as host:port, instead of the URL's own address (repeatable).
    #[arg(long = "address", value_name = "ADDRESS")]
    addresses: Vec<String>,
    /// Votes to be acknowledged in all.
    #[arg(long, default_value_t = 5000)]
    votes: u64,
    /// Voters at once.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    at_once: u64,
    /// Each vote of that number changes an earlier one; 0: none does.
    #[arg(long, default_value_t = 5)]
    change_every: u64,
    /// How many seconds a voter tries, and how long counting may take at the end.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    patience: u64,
    /// The Postgres to compare with in the end, as postgres://postgres:password@host/postgres.
    #[arg(long, value_name = "URL")]
    check: Option<Config>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    settings::log();
    let patience = Duration::from_secs(arguments.patience);
    let plan = Plan {
        target: Target::new(&arguments.url, &arguments.addresses).await?,
        votes: arguments.votes,
        at_once: arguments.at_once,
        change_every: arguments.change_every,
        patience,
    };
    let outcome = crowd::run(&plan, &Arc::default()).await;
    println!("{}", outcome.report);
    if let Some(postgres) = &arguments.check {
        let verdict = crowd::check(&outcome, postgres, patience).await?;
        println!("{verdict}");
        ensure!(verdict.is_clean(), "votes were lost or counted wrongly");
    }
    ensure!(outcome.report.gave_up == 0, "{} voters gave up", outcome.report.gave_up);
    Ok(())
}
