//! From 5 to 50 replicas over three hosts.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Goal, Samples};
use crate::service::{Service, spec};
use crate::side::Side;

const ROUNDS: usize = 3;
/// Between rounds, so that none pays for the removal of what the one before it started.
const PAUSE: Duration = Duration::from_secs(6);

pub(super) fn measure(side: &mut Side) -> Result<Vec<Samples>> {
    let mut manager = side.manager()?;
    let mut values = Vec::new();
    for round in 0..ROUNDS {
        let name = format!("scale{round}");
        let service = Service::create(&mut manager, &spec(&name, &side.image, 5))?;
        service.running(&mut manager, 5, &[], Instant::now())?;
        let start = Instant::now();
        service.update(&mut manager, &spec(&name, &side.image, 50))?;
        values.push(service.running(&mut manager, 50, &[], start)?.as_secs_f64());
        service.remove(&mut manager)?;
        std::thread::sleep(PAUSE);
    }
    Ok(vec![Samples::new("scale 5 to 50 over three hosts", Goal::Seconds(1.0), values)])
}
