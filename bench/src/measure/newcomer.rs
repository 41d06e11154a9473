//! A fourth manager joins a swarm with much in its store, while writes go on: until it has all of it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hyper::Method;

use super::load::{Attempt, Load};
use super::well::await_well;
use super::{Goal, Samples};
use crate::api::Connection;
use crate::interrupt::wait;
use crate::service::spec;
use crate::side::Side;

const SERVICES: usize = 10_000;
const TASKS_EACH: u64 = 10;
const CLIENTS: usize = 16;
const TIMEOUT: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(50);
/// Writes go on for so long before and after.
const CALM: Duration = Duration::from_secs(1);
/// The newcomer's count of what the store holds.
const TASKS: &str = "swarm_manager_tasks_total";

/// Services whose tasks no node may run, so that it is the store alone that is large.
pub(super) fn measure(side: &mut Side) -> Result<Vec<Samples>> {
    let leader = await_well(side)?;
    fill(side.engine(leader).socket(), side.image.clone())?;
    let expect = (SERVICES * usize::try_from(TASKS_EACH)?) as f64;
    let filled = |side: &mut Side, index: usize| {
        wait("all tasks in the store", TIMEOUT, POLL, || {
            Ok(side.machine(index).figure(TASKS).filter(|count| *count >= expect).map(drop))
        })
    };
    filled(side, leader)?;
    let load = Load::start(side, &[leader], 1, "newcomer");
    std::thread::sleep(CALM);
    let newcomer = side.len();
    let address = side.engine(leader).host().address().to_string();
    let token = side.engine(leader).docker(&["swarm", "join-token", "--quiet", "manager"]).ok();
    let start = Instant::now();
    let join = ["swarm", "join", "--token", &token, &format!("{address}:2377")];
    side.engine(newcomer).docker(&join).ok();
    filled(side, newcomer)?;
    let elapsed = start.elapsed();
    std::thread::sleep(CALM);
    let mut writes = load.end()?;
    writes.retain(Attempt::is_accepted);
    let stall = writes.windows(2).map(|pair| pair[1].over - pair[0].over).max();
    let stall = stall.context("no write was accepted")?;
    let caught_up = "new manager has 10,000 services and 100,000 tasks";
    let stalled = "longest pause between two writes meanwhile";
    Ok(vec![
        Samples::new(caught_up, Goal::Seconds(10.0), vec![elapsed.as_secs_f64()]),
        Samples::new(stalled, Goal::Seconds(0.2), vec![stall.as_secs_f64()]),
    ])
}

fn fill(socket: PathBuf, image: String) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| tokio::spawn(create(socket.clone(), image.clone(), client)))
            .collect();
        for client in clients {
            client.await??;
        }
        Ok(())
    })
}

async fn create(socket: PathBuf, image: String, client: usize) -> Result<()> {
    let mut connection = Connection::open(&socket).await?;
    for number in (client..SERVICES).step_by(CLIENTS) {
        let mut spec = spec(&format!("full{number}"), &image, TASKS_EACH);
        let nowhere = serde_json::json!({ "Constraints": ["node.labels.none == 1"] });
        spec["TaskTemplate"]["Placement"] = nowhere;
        let body = serde_json::to_vec(&spec)?;
        connection.send(Method::POST, "/services/create", body.into()).await?;
    }
    Ok(())
}
