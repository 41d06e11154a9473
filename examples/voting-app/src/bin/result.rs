//! The results page's executable; see `results`.

use anyhow::{Context, Result};
use clap::Parser;
use swarm_voting_app::{results, settings};

#[tokio::main]
async fn main() -> Result<()> {
    let settings = settings::Results::parse();
    settings::log();
    results::run(&settings).await.context("serve HTTP")
}
