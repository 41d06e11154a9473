//! Many simulated nodes: how long their tasks take to run, how long lists of them take, and what a manager keeps of them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Goal, Samples};
use crate::api::Client;
use crate::crowd::Crowd;
use crate::interrupt::{check, wait};
use crate::service::{Service, spec};
use crate::side::Side;

const NODES: usize = 1_000;
const TASKS: u64 = 30_000;
const MANY_NODES: usize = 5_000;
/// How long the many are watched.
const WATCHED: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_secs(1);
/// How often it is asked whether all run, where that is what is measured.
const FAST_POLL: Duration = Duration::from_millis(250);
/// What was needed on the way has gone after it.
const REST: Duration = Duration::from_secs(15);
/// How often a list is asked for.
const LISTS: usize = 10;

/// One manager, to which real agents of one process are connected; each runs its part of one service.
pub(super) fn memory(side: &mut Side) -> Result<Vec<Samples>> {
    let mut manager = side.manager()?;
    let _crowd = gather(side, &mut manager, NODES)?;
    start_tasks(side, &mut manager)?;
    std::thread::sleep(REST);
    check()?;
    let mut total = 0.0;
    for process in side.processes(0)? {
        total += process.resident_mb()?;
    }
    let figure = "manager with 1,000 nodes and 30,000 tasks, resident";
    Ok(vec![Samples::new(figure, Goal::Megabytes(300.0), vec![total])])
}

/// Three managers: from the request to tasks that all run, and what a client that lists them waits then.
pub(super) fn crowd(side: &mut Side) -> Result<Vec<Samples>> {
    let mut manager = side.manager()?;
    let _crowd = gather(side, &mut manager, NODES)?;
    let took = start_tasks(side, &mut manager)?.as_secs_f64();
    let mut samples = vec![
        Samples::new(
            "30,000 tasks on 1,000 nodes, create to all running",
            Goal::Seconds(15.0),
            vec![took],
        ),
        Samples::new(
            "tasks placed and reported running per second meanwhile",
            Goal::PerSecond(4000.0),
            vec![TASKS as f64 / took],
        ),
    ];
    samples.extend(lists(
        &mut manager,
        "service ls with 1,000 nodes and 30,000 tasks",
        "node ls with 1,000 nodes and 30,000 tasks",
    )?);
    Ok(samples)
}

/// Three managers: whether each of very many nodes keeps being known as ready, and what lists of them take.
pub(super) fn multitude(side: &mut Side) -> Result<Vec<Samples>> {
    let mut manager = side.manager()?;
    let _crowd = gather(side, &mut manager, MANY_NODES)?;
    start_tasks(side, &mut manager)?;
    let mut samples = lists(
        &mut manager,
        "service ls with 5,000 nodes and 30,000 tasks",
        "node ls with 5,000 nodes and 30,000 tasks",
    )?;
    let (begun, mut held) = (Instant::now(), usize::MAX);
    while begun.elapsed() < WATCHED {
        check()?;
        held = held.min(count_ready(&mut manager)?.saturating_sub(side.len()));
        std::thread::sleep(POLL);
    }
    let figure = "simulated nodes that are ready all the time, for a minute";
    samples.push(Samples::new(figure, Goal::AtLeast(5000.0), vec![held as f64]));
    Ok(samples)
}

/// What `docker service ls` and `docker node ls` wait for, before they read and print it.
fn lists(
    manager: &mut Client,
    services: &'static str,
    nodes: &'static str,
) -> Result<Vec<Samples>> {
    let mut samples = Vec::new();
    for (figure, path) in [(services, "/services?status=true"), (nodes, "/nodes")] {
        let mut values = Vec::new();
        for _ in 0..LISTS {
            let begun = Instant::now();
            manager.read(path)?;
            values.push(begun.elapsed().as_secs_f64());
        }
        samples.push(Samples::new(figure, Goal::Seconds(0.1), values));
    }
    Ok(samples)
}

fn count_ready(manager: &mut Client) -> Result<usize> {
    let nodes = manager.get("/nodes")?;
    let nodes = nodes.as_array().context("no list of nodes")?;
    Ok(nodes.iter().filter(|node| node["Status"]["State"] == "ready").count())
}

/// So many simulated nodes, ready.
fn gather(side: &mut Side, manager: &mut Client, count: usize) -> Result<Crowd> {
    let crowd = Crowd::start(side.managers(), count)?;
    let own = side.len();
    wait("the nodes to be ready", TIMEOUT, POLL, || {
        // Without a leader there is no answer for a while.
        let Ok(ready) = count_ready(manager) else { return Ok(None) };
        crate::table::progress(&format!("{ready} of {} nodes are ready", count + own));
        Ok((ready == count + own).then_some(()))
    })?;
    Ok(crowd)
}

/// One service on all simulated nodes; how long it takes until all of its tasks run.
fn start_tasks(side: &mut Side, manager: &mut Client) -> Result<Duration> {
    // What runs on the machines of the bench itself is no part of the figure.
    let mut many = spec("many", &side.image, TASKS);
    many["TaskTemplate"]["Placement"] =
        serde_json::json!({ "Constraints": ["node.role == worker"] });
    let begun = Instant::now();
    let service = Service::create(manager, &many)?;
    let mut told = Instant::now();
    wait("the tasks to run", TIMEOUT, FAST_POLL, || {
        let Ok(running) = service.count_running(manager) else { return Ok(None) };
        if told.elapsed() >= POLL {
            told = Instant::now();
            crate::table::progress(&format!("{running} of {TASKS} tasks run"));
        }
        Ok((running == TASKS).then(|| begun.elapsed()))
    })
}
