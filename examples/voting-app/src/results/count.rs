//! The count as it was last known, kept up by one task for all who look.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;
use tokio_postgres::Config;

use crate::backoff::Backoff;
use crate::ledger::{Ledger, LedgerError, Tally};

/// How often votes are counted: live to the eye.
const INTERVAL: Duration = Duration::from_millis(500);
/// Counting millions takes a while; Postgres does other things for so many times as long.
const REST: u32 = 9;

/// What is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Count {
    #[serde(flatten)]
    pub(super) tally: Tally,
    /// Whether Postgres said so at the last attempt.
    pub(super) fresh: bool,
}

/// Counts for as long as it is let.
pub(super) async fn follow(config: Config, counts: watch::Sender<Count>) {
    let mut backoff = Backoff::default();
    loop {
        let Err(error) = count(&config, &counts, &mut backoff).await;
        counts.send_if_modified(|count| std::mem::replace(&mut count.fresh, false));
        let wait = backoff.failed();
        tracing::warn!(%error, again_after = ?wait, "votes can't be counted");
        tokio::time::sleep(wait).await;
    }
}

async fn count(
    config: &Config,
    counts: &watch::Sender<Count>,
    backoff: &mut Backoff,
) -> Result<Infallible, LedgerError> {
    let ledger = Ledger::open(config).await?;
    loop {
        let asked = Instant::now();
        let known = Count { tally: ledger.tally().await?, fresh: true };
        let rest = INTERVAL.max(asked.elapsed() * REST);
        counts.send_if_modified(|count| std::mem::replace(count, known) != known);
        backoff.worked();
        tokio::time::sleep(rest).await;
    }
}
