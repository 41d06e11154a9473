//! Service creates per second through the leader: no replicas, so it is the store, its log and the disk that are measured.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use hyper::Method;

use super::{Goal, Samples};
use crate::api::Connection;
use crate::interrupt::check;
use crate::service::spec;
use crate::side::Side;

const ROUND: Duration = Duration::from_secs(3);
const ROUNDS: u32 = 3;

/// One manager: against Docker's rate.
pub(super) fn one_manager(side: &mut Side) -> Result<Vec<Samples>> {
    Ok(vec![
        with_clients(side, 1, "service creates per second, 1 client", Goal::TimesDocker(4.0))?,
        with_clients(side, 16, "service creates per second, 16 clients", Goal::TimesDocker(10.0))?,
    ])
}

/// Three managers, of which two must have flushed what is acknowledged.
pub(super) fn three_managers(side: &mut Side) -> Result<Vec<Samples>> {
    let figure = "three managers: service creates per second, 1 client";
    let one = with_clients(side, 1, figure, Goal::PerSecond(1000.0))?;
    let figure = "three managers: service creates per second, 16 clients";
    Ok(vec![one, with_clients(side, 16, figure, Goal::PerSecond(4000.0))?])
}

fn with_clients(side: &Side, clients: u32, figure: &'static str, goal: Goal) -> Result<Samples> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let socket = side.engine(0).socket();
    let mut values = Vec::new();
    for round in 0..ROUNDS {
        check()?;
        let created = runtime.block_on(async {
            let loops: Vec<_> = (0..clients)
                .map(|client| format!("c{clients}-{round}-{client}"))
                .map(|prefix| tokio::spawn(create(socket.clone(), side.image.clone(), prefix)))
                .collect();
            let mut created = 0;
            for client in loops {
                created += client.await??;
            }
            anyhow::Ok(created)
        })?;
        values.push(f64::from(created) / ROUND.as_secs_f64());
    }
    Ok(Samples::new(figure, goal, values))
}

/// Creates services one after another until the round is over.
async fn create(socket: PathBuf, image: String, prefix: String) -> Result<u32> {
    let mut connection = Connection::open(&socket).await?;
    let (start, mut created) = (Instant::now(), 0);
    while start.elapsed() < ROUND {
        let body = serde_json::to_vec(&spec(&format!("{prefix}-{created}"), &image, 0))?;
        connection.send(Method::POST, "/services/create", body.into()).await?;
        created += 1;
    }
    Ok(created)
}
