//! The leader goes, by SIGTERM or by SIGKILL, while eight clients write through the other two managers. What was
//! acknowledged must be there at the end, on every manager.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use hyper::Method;
use serde_json::Value;

use super::{Goal, Samples};
use crate::api::Connection;
use crate::interrupt::wait;
use crate::machine::Machine;
use crate::service::spec;
use crate::side::Side;

/// What the managers may take to be well again.
const TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);
/// A request that is not answered for so long is made anew.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// So many clients write through each of the managers that stay.
const CLIENTS_EACH: usize = 4;
/// Between a client's writes: a load, and yet a list of services that can be read at the end.
const PAUSE: Duration = Duration::from_millis(20);
/// A pause after a refusal, so that a manager without a leader isn't kept busy by the question.
const REFUSED_PAUSE: Duration = Duration::from_millis(10);
/// The writers write for so long before the leader goes, and after its successor has taken a write.
const CALM: Duration = Duration::from_millis(500);
/// As often as the figure's goal says; Docker takes seconds each time.
const ROUNDS: usize = 20;
const ROUNDS_STOCK: usize = 5;

/// SIGTERM: the longest pause between two accepted writes.
pub(super) fn handover(side: &mut Side) -> Result<Vec<Samples>> {
    let figure = "leader SIGTERMed: gap in accepted writes";
    let values = rounds(side, ROUNDS_STOCK, Machine::stop, |writes, gone| {
        let around = writes.iter().filter(|write| write.accepted + CALM > gone);
        let mut accepted: Vec<Instant> = around.map(|write| write.accepted).collect();
        accepted.sort();
        accepted.windows(2).map(|pair| pair[1] - pair[0]).max()
    })?;
    Ok(vec![Samples::new(figure, Goal::Seconds(0.1), values)])
}

/// SIGKILL: from it to the first accepted write that was asked for after it.
pub(super) fn lost(side: &mut Side) -> Result<Vec<Samples>> {
    let figure = "leader SIGKILLed to first accepted write";
    let count = if side.is_stock() { ROUNDS_STOCK } else { ROUNDS };
    let values = rounds(side, count, Machine::kill, first_after)?;
    Ok(vec![Samples::new(figure, Goal::Seconds(1.0), values)])
}

fn first_after(writes: &[Write], gone: Instant) -> Option<Duration> {
    let after = writes.iter().filter(|write| write.asked > gone);
    after.map(|write| write.accepted - gone).min()
}

/// Lets the leader go so many times, each time until the others take writes again and all is well.
fn rounds(
    side: &mut Side,
    count: usize,
    go: impl Fn(&mut Machine),
    figure: impl Fn(&[Write], Instant) -> Option<Duration>,
) -> Result<Vec<f64>> {
    let (mut values, mut acknowledged) = (Vec::new(), BTreeSet::new());
    for round in 0..count {
        let leader = await_well(side)?;
        let others: Vec<usize> = (0..side.len()).filter(|index| *index != leader).collect();
        let clients =
            (0..CLIENTS_EACH).flat_map(|client| others.iter().map(move |at| (client, at)));
        let writers: Vec<Writer> = clients
            .map(|(client, at)| {
                Writer::start(side, *at, &format!("w{count}-{round}-{at}-{client}"))
            })
            .collect();
        std::thread::sleep(CALM);
        let gone = Instant::now();
        go(side.machine(leader));
        wait("a write without the leader", TIMEOUT, POLL, || {
            Ok(leader_of(side, others[0])?.filter(|next| *next != leader).map(drop))
        })?;
        std::thread::sleep(CALM);
        let mut writes = Vec::new();
        for writer in writers {
            writes.extend(writer.end()?);
        }
        let value = figure(&writes, gone).context("no write was accepted")?;
        values.push(value.as_secs_f64());
        acknowledged.extend(writes.into_iter().map(|write| write.name));
        side.machine(leader).restart();
    }
    await_well(side)?;
    for index in 0..side.len() {
        let kept = services(side, index)?;
        let lost: Vec<&String> = acknowledged.difference(&kept).collect();
        ensure!(lost.is_empty(), "acknowledged services that manager {index} lost: {lost:?}");
    }
    crate::table::progress(&format!("all {} acknowledged writes are there", acknowledged.len()));
    Ok(values)
}

/// The names of all services that a manager knows.
fn services(side: &Side, index: usize) -> Result<BTreeSet<String>> {
    let services = side.client(index)?.get("/services")?;
    let services = services.as_array().context("no list of services")?.iter();
    let name = |service: &Value| service["Spec"]["Name"].as_str().map(str::to_owned);
    Ok(services.filter_map(name).collect())
}

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

/// A write that was accepted.
pub(super) struct Write {
    name: String,
    asked: Instant,
    pub(super) accepted: Instant,
}

/// Creates services on one manager, one after the other, whatever it answers.
pub(super) struct Writer {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Write>>>,
}

impl Writer {
    pub(super) fn start(side: &Side, manager: usize, prefix: &str) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (socket, image) = (side.engine(manager).socket(), side.image.clone());
        let (prefix, until) = (prefix.to_owned(), over.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(write(socket, image, prefix, &until))
        });
        Self { over, thread }
    }

    pub(super) fn end(self) -> Result<Vec<Write>> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("a writer panicked"))?
    }
}

async fn write(
    socket: PathBuf,
    image: String,
    prefix: String,
    until: &AtomicBool,
) -> Result<Vec<Write>> {
    let mut connection = Connection::open(&socket).await?;
    let mut writes = Vec::new();
    for number in 0.. {
        if until.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("{prefix}-{number}");
        let body = serde_json::to_vec(&spec(&name, &image, 0))?;
        let asked = Instant::now();
        let answer = connection.send(Method::POST, "/services/create", body.into());
        match tokio::time::timeout(ATTEMPT_TIMEOUT, answer).await {
            Ok(Ok(_)) => {
                writes.push(Write { name, asked, accepted: Instant::now() });
                tokio::time::sleep(PAUSE).await;
            }
            Ok(Err(_)) => tokio::time::sleep(REFUSED_PAUSE).await,
            // What is answered late would be taken for the answer to the next.
            Err(_) => connection = Connection::open(&socket).await?,
        }
    }
    Ok(writes)
}
