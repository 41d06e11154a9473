//! Whether a swarm's managers are well: all in reach of each other, and who leads.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::interrupt::wait;
use crate::side::Side;

/// What the managers may take to be well again.
const TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// Waits until all managers are in reach of each other; the leader.
pub(super) fn await_well(side: &Side) -> Result<usize> {
    let mut leader = None;
    for asked in 0..side.len() {
        leader = Some(wait("all managers in reach", TIMEOUT, POLL, || {
            let Ok(nodes) = side.client(asked).and_then(|mut client| client.get("/nodes")) else {
                return Ok(None);
            };
            let nodes = nodes.as_array().cloned().unwrap_or_default();
            let well = nodes.iter().filter(|node| {
                node["ManagerStatus"]["Reachability"] == "reachable"
                    && node["Status"]["State"] == "ready"
            });
            let is_well = well.count() == side.len();
            if is_well { leader_of(side, asked) } else { Ok(None) }
        })?);
    }
    leader.context("no manager")
}

/// Waits until one of the managers names a leader that is none of the lost.
pub(super) fn await_successor(side: &Side, asked: usize, lost: &[usize]) -> Result<usize> {
    wait("a leader among those left", TIMEOUT, POLL, || {
        Ok(leader_of(side, asked)?.filter(|next| !lost.contains(next)))
    })
}

/// Which machine leads, as one of the managers sees it; none while nobody does.
fn leader_of(side: &Side, asked: usize) -> Result<Option<usize>> {
    let Ok(nodes) = side.client(asked).and_then(|mut client| client.get("/nodes")) else {
        return Ok(None);
    };
    let nodes = nodes.as_array().cloned().unwrap_or_default();
    let Some(leader) = nodes.iter().find(|node| node["ManagerStatus"]["Leader"] == true) else {
        return Ok(None);
    };
    let address = leader["ManagerStatus"]["Addr"].as_str().unwrap_or_default();
    let host = address.split(':').next().unwrap_or_default();
    let index = (0..side.len()).find(|at| side.engine(*at).host().address().to_string() == host);
    index.map(Some).with_context(|| format!("{address} leads, which is none of the machines"))
}
