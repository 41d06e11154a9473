//! The front end's executable; see `front_end`.

use anyhow::Result;
use clap::Parser;
use swarm_voting_app::{front_end, settings};

#[tokio::main]
async fn main() -> Result<()> {
    let settings = settings::FrontEnd::parse();
    settings::log();
    Ok(front_end::run(&settings).await?)
}
