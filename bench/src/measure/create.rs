//! One replica, from the request that creates its service to its task being seen running.

use std::time::Instant;

use anyhow::Result;

use super::{Goal, Samples};
use crate::service::{Service, spec};
use crate::side::Side;

const ROUNDS: usize = 15;

pub(super) fn measure(side: &mut Side) -> Result<Vec<Samples>> {
    let mut manager = side.manager()?;
    let mut values = Vec::new();
    for round in 0..ROUNDS {
        let spec = spec(&format!("create{round}"), &side.image, 1);
        let start = Instant::now();
        let service = Service::create(&mut manager, &spec)?;
        values.push(service.running(&mut manager, 1, &[], start)?.as_secs_f64());
        service.remove(&mut manager)?;
    }
    Ok(vec![Samples::new("1 replica, create to running", Goal::Seconds(0.10), values)])
}
