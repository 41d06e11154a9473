//! What the daemon and a container's shim keep in memory.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Goal, Samples};
use crate::interrupt::check;
use crate::process::Process;
use crate::service::{Service, spec};
use crate::side::Side;

/// How long the daemons are left alone before they count as at rest.
const REST: Duration = Duration::from_secs(5);

/// The daemons of a swarm without services: the manager, and a worker.
pub(super) fn at_rest(side: &mut Side) -> Result<Vec<Samples>> {
    std::thread::sleep(REST);
    check()?;
    let of = |index, figure| {
        let mut parts = Vec::new();
        for process in side.processes(index)? {
            parts.push((process.name(), process.resident_mb()?));
        }
        let total = parts.iter().map(|(_, size)| size).sum();
        let mut samples = Samples::new(figure, Goal::Megabytes(30.0), vec![total]);
        if parts.len() > 1 {
            let parts: Vec<_> = parts.iter().map(|(name, mb)| format!("{name} {mb:.1}")).collect();
            samples.note = Some(parts.join(", "));
        }
        anyhow::Ok(samples)
    };
    Ok(vec![of(0, "manager at rest, resident")?, of(1, "worker at rest, resident")?])
}

/// The parents of the containers on the manager's host.
pub(super) fn shim(side: &mut Side) -> Result<Vec<Samples>> {
    let mut manager = side.manager()?;
    let service = Service::create(&mut manager, &spec("shim", &side.image, 9))?;
    service.running(&mut manager, 9, &[], Instant::now())?;
    std::thread::sleep(REST);
    check()?;
    let (mut resident, mut private) = (Vec::new(), Vec::new());
    let containers = manager.get("/containers/json")?;
    for container in containers.as_array().context("no list of containers")? {
        let id = container["Id"].as_str().context("a container without ID")?;
        let container = manager.get(&format!("/containers/{id}/json"))?;
        let process = container["State"]["Pid"].as_u64().context("a container without process")?;
        let (all, own) = Process(process).parent()?.resident_and_private_mb()?;
        resident.push(all);
        private.push(own);
    }
    service.remove(&mut manager)?;
    Ok(vec![
        Samples::new("a container's shim, resident", Goal::Megabytes(4.0), resident),
        Samples::new("a container's shim, private", Goal::Megabytes(1.0), private),
    ])
}
