//! A worker loses power: until all tasks run elsewhere. First one worker, then the other.

use std::time::Instant;

use anyhow::{Context, Result};

use super::{Goal, Samples};
use crate::service::{Service, spec};
use crate::side::Side;

const REPLICAS: u64 = 9;

pub(super) fn measure(side: &Side) -> Result<Vec<Samples>> {
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
