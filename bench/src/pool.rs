//! Standalone Swarm at scale: one manager in front of a thousand simulated engines with thirty containers each, and what
//! its clients wait for then.
//!
//! Times are those of whole requests to the manager's socket. A creation takes the manager three requests to the engine
//! (make, list, inspect); simulated engines answer at once, and their part is included.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use swarm_testkit::{Host, Lab, swarm_binary};

use crate::api::Client;
use crate::interrupt::{check, wait};
use crate::measure::{Goal, Samples};
use crate::process::Process;
use crate::simulated;

/// The name of these measurements.
pub(crate) const NAME: &str = "standalone";

const ENGINES: usize = 1_000;
const CONTAINERS_PER_ENGINE: usize = 30;
/// Creations one after the other, and how many clients at once do as many again.
const CREATIONS: usize = 1_000;
const CLIENTS: usize = 16;
/// How often a list is asked for.
const LISTS: usize = 20;
/// How long the manager is watched at rest.
const REST: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(100);
/// Where the published figures of the original are, and how much better is wanted: a quarter of 400 and 360 ms.
const MEDIAN_GOAL: Goal = Goal::Seconds(0.1);
const P99_GOAL: Goal = Goal::Seconds(0.09);

/// All figures.
pub(crate) fn measure() -> Result<Vec<Samples>> {
    let lab = Lab::new();
    let host = lab.host("manager");
    let mut pool = Pool::start(host)?;
    let begun = Instant::now();
    pool.manage()?;
    let mut client = pool.client()?;
    wait("engines to be healthy", TIMEOUT, POLL, || {
        let info = client.get("/info")?;
        let rows = info["SystemStatus"].as_array().into_iter().flatten();
        let healthy = rows.filter(|row| row[1] == "Healthy").count();
        Ok((healthy == ENGINES).then_some(()))
    })?;
    let found = begun.elapsed().as_secs_f64();
    let seconds = |figure, goal, values| Samples::new(figure, goal, values);
    let mut samples = vec![seconds(
        "standalone: start to 1,000 engines and 30,000 containers known",
        Goal::Seconds(30.0),
        vec![found],
    )];
    samples.extend(pool.at_rest()?);
    // Meanwhile the manager has hung up.
    let mut client = pool.client()?;
    let (count, info) = repeat(&mut client, "/info", |info| info["Containers"].as_u64())?;
    ensure!(count == Some(30_000), "the manager knows {count:?} containers");
    samples.push(seconds("standalone: docker info", Goal::Seconds(0.1), info));
    let (count, list) = repeat(&mut client, "/containers/json", |list| {
        list.as_array().map(|list| list.len() as u64)
    })?;
    ensure!(count == Some(30_000), "the manager lists {count:?} containers");
    samples.push(seconds("standalone: docker ps", Goal::Seconds(1.0), list));
    let mut alone = create(&mut client, "alone", CREATIONS)?;
    samples.push(seconds("standalone: create, one client", MEDIAN_GOAL, alone.clone()));
    samples.push(seconds("standalone: create, one client, p99", P99_GOAL, vec![p99(&mut alone)]));
    let mut many = pool.create_at_once()?;
    samples.push(seconds("standalone: create, 16 clients", MEDIAN_GOAL, many.clone()));
    samples.push(seconds("standalone: create, 16 clients, p99", P99_GOAL, vec![p99(&mut many)]));
    Ok(samples)
}

/// The engines, and the manager in front of them.
struct Pool {
    host: Host,
    engines: Child,
    manager: Option<Child>,
}

impl Pool {
    fn start(host: Host) -> Result<Self> {
        host.in_network(|| -> Result<()> {
            let up = Command::new("ip").args(["link", "set", "lo", "up"]).status()?;
            ensure!(up.success(), "no loopback device");
            Ok(())
        })?;
        let network = host.netns();
        let part = format!("{} {ENGINES} {CONTAINERS_PER_ENGINE}", network.display());
        let mut command = Command::new(std::env::current_exe()?);
        let engines = command.arg("--engines").arg(part).stdin(Stdio::piped()).spawn();
        let pool = Self { host, engines: engines.context("start engines")?, manager: None };
        let last = simulated::address(ENGINES - 1);
        wait("the last engine", TIMEOUT, POLL, || {
            Ok(pool.host.in_network(|| std::net::TcpStream::connect(last).ok().map(drop)))
        })?;
        Ok(pool)
    }

    fn socket(&self) -> std::path::PathBuf {
        self.host.folder().join("docker.sock")
    }

    fn manage(&mut self) -> Result<()> {
        let addresses: Vec<String> =
            (0..ENGINES).map(|number| simulated::address(number).to_string()).collect();
        let file = self.host.folder().join("engines");
        std::fs::write(&file, addresses.join("\n"))?;
        let mut command = self.host.command(swarm_binary());
        command.args(["--log-level", "error", "manage"]);
        command.arg("-H").arg(format!("unix://{}", self.socket().display()));
        command.arg(format!("file://{}", file.display()));
        command.stdout(std::fs::File::create(self.host.folder().join("manager.log"))?);
        self.manager = Some(command.spawn().context("start the manager")?);
        wait("the manager's socket", TIMEOUT, POLL, || Ok(self.client().ok().map(drop)))
    }

    fn client(&self) -> Result<Client> {
        Client::open(&self.socket())
    }

    fn process(&self) -> Result<Process> {
        let manager = self.manager.as_ref().context("no manager")?;
        Ok(Process(u64::from(manager.id())))
    }

    /// What the manager takes when nobody asks anything of it.
    fn at_rest(&self) -> Result<Vec<Samples>> {
        let process = self.process()?;
        let (begun, before) = (Instant::now(), process.processor_seconds()?);
        while begun.elapsed() < REST {
            check()?;
            std::thread::sleep(POLL);
        }
        let used = (process.processor_seconds()? - before) / begun.elapsed().as_secs_f64();
        Ok(vec![
            Samples::new(
                "standalone: the manager's memory, resident",
                Goal::Megabytes(300.0),
                vec![process.resident_mb()?],
            ),
            Samples::new(
                "standalone: processor time for each second at rest",
                Goal::Seconds(0.1),
                vec![used],
            ),
        ])
    }

    /// As many creations again, by several clients.
    fn create_at_once(&self) -> Result<Vec<f64>> {
        let of_client = |number: usize| -> Result<Vec<f64>> {
            create(&mut self.client()?, &format!("many{number}"), CREATIONS / CLIENTS)
        };
        std::thread::scope(|scope| {
            let of_client = &of_client;
            let clients: Vec<_> =
                (0..CLIENTS).map(|number| scope.spawn(move || of_client(number))).collect();
            let mut all = Vec::new();
            for client in clients {
                all.extend(client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??);
            }
            Ok(all)
        })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(manager) = &mut self.manager {
            let _ = manager.kill();
            let _ = manager.wait();
        }
        // They end when nobody holds their input any more.
        drop(self.engines.stdin.take());
        let _ = self.engines.wait();
    }
}

/// Asks for a list some times: the last answer's count, and the times.
fn repeat(
    client: &mut Client,
    path: &str,
    count: impl Fn(&Value) -> Option<u64>,
) -> Result<(Option<u64>, Vec<f64>)> {
    let mut times = Vec::new();
    let mut answer = Vec::new();
    for _ in 0..LISTS {
        let begun = Instant::now();
        answer = client.read(path)?.to_vec();
        times.push(begun.elapsed().as_secs_f64());
    }
    Ok((count(&serde_json::from_slice(&answer)?), times))
}

fn create(client: &mut Client, name: &str, count: usize) -> Result<Vec<f64>> {
    let body = json!({"Image": "alpine", "Cmd": ["sleep", "1000"], "Env": ["constraint:storage==ssd"],
        "HostConfig": {"Memory": 134_217_728}});
    let mut times = Vec::new();
    for number in 0..count {
        check()?;
        let begun = Instant::now();
        let path = format!("/containers/create?name={name}-{number}");
        let made = client.post(&path, &body)?;
        times.push(begun.elapsed().as_secs_f64());
        let id = made["Id"].as_str().context("a container without ID")?;
        client.post(&format!("/containers/{id}/start"), &Value::Null)?;
    }
    Ok(times)
}

/// The smallest that is not below 99 of a hundred.
fn p99(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() * 99).div_ceil(100).max(1);
    values.get(rank - 1).copied().unwrap_or(f64::NAN)
}
