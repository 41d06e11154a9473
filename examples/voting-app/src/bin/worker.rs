//! The worker's executable; see `worker`. It may be stopped at any moment.

use anyhow::Result;
use clap::Parser;
use swarm_voting_app::{server, settings, worker};

#[tokio::main]
async fn main() -> Result<()> {
    let settings = settings::Worker::parse().settings()?;
    settings::log();
    tracing::info!(name = settings.name, queues = settings.redis.len(), "counting votes");
    tokio::select! {
        () = worker::run(settings) => {}
        ended = server::ended() => ended?,
    }
    Ok(())
}
