//! A machine loses power: until all its tasks run elsewhere. First one worker, then the other; with three managers the
//! leader's.

use std::time::Instant;

use anyhow::{Context, Result};

use super::well::await_well;
use super::{Goal, Samples};
use crate::service::{Service, spec};
use crate::side::Side;

const REPLICAS: u64 = 9;

/// Workers, one after the other.
pub(super) fn measure(side: &mut Side) -> Result<Vec<Samples>> {
    let mut manager = side.manager()?;
    let service = Service::create(&mut manager, &spec("failover", &side.image, REPLICAS))?;
    let count = usize::try_from(REPLICAS)?;
    service.running(&mut manager, count, &[], Instant::now())?;
    let (mut values, mut lost) = (Vec::new(), Vec::new());
    for worker in [2, 1] {
        let engine = side.engine(worker);
        let info = crate::api::Client::open(&engine.socket())?.get("/info")?;
        lost.push(info["Swarm"]["NodeID"].as_str().context("no node ID")?.to_owned());
        let start = Instant::now();
        engine.host().kill_all();
        values.push(service.running(&mut manager, count, &lost, start)?.as_secs_f64());
    }
    Ok(vec![Samples::new("dead worker, its tasks running elsewhere", Goal::Seconds(5.0), values)])
}

/// The leader's machine, once.
pub(super) fn machine_of_leader(side: &mut Side) -> Result<Vec<Samples>> {
    let leader = await_well(side)?;
    let other = (leader + 1) % side.len();
    let mut manager = side.client(other)?;
    let service = Service::create(&mut manager, &spec("machine", &side.image, REPLICAS))?;
    let count = usize::try_from(REPLICAS)?;
    service.running(&mut manager, count, &[], Instant::now())?;
    let info = side.client(leader)?.get("/info")?;
    let lost = info["Swarm"]["NodeID"].as_str().context("no node ID")?.to_owned();
    let start = Instant::now();
    side.machine(leader).kill_machine();
    let elapsed = service.running(&mut manager, count, &[lost], start)?;
    let figure = "leader's machine lost: all its tasks running elsewhere";
    Ok(vec![Samples::new(figure, Goal::Seconds(5.0), vec![elapsed.as_secs_f64()])])
}
