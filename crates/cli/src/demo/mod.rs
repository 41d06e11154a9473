//! `swarm demo`: a manager and its workers on hosts of their own on this one machine, with a service on them.
//!
//! The hosts are network namespaces on a switch; the daemons are this executable's own, told what to do through the
//! Docker API only. Everything lives below one process ([`keeper`]) and in one folder ([`site`]), so that nothing is
//! left however the demonstration ends.

mod cgroups;
mod cluster;
mod elf;
pub(crate) mod hello;
mod host;
mod image;
pub(crate) mod keeper;
mod lan;
mod preflight;
mod screen;
mod site;
mod sys;
mod view;

use crate::client::Client;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::output;
use host::Host;
use keeper::Keeper;
use lan::Lan;
use screen::Screen;
use site::Site;
use view::View;

/// How often the table is brought up to date.
const REFRESH: Duration = Duration::from_millis(250);
/// How long `--once` waits for all tasks.
const ONCE_TIMEOUT: Duration = Duration::from_secs(120);

/// `swarm demo`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Flags {
    /// Number of worker hosts beside the manager
    #[arg(long, value_name = "number", default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=20))]
    workers: u8,
    /// End successfully as soon as all tasks run
    #[arg(long)]
    once: bool,
}

/// Runs the demonstration until Ctrl-C.
pub(crate) fn run(flags: &Flags) -> anyhow::Result<()> {
    preflight::check()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        site::remove_leftovers()?;
        lan::remove_leftover()?;
        let mut stage = Stage::set()?;
        let result = tokio::select! {
            result = play(&mut stage, flags) => result,
            () = signals.wait() => match flags.once {
                true => Err(anyhow::anyhow!("interrupted")),
                false => Ok(()),
            },
        };
        output::line("removing the demonstration's containers, daemons and networks");
        drop(stage);
        result
    })
}

/// All that has to be removed again. The order of the fields is that of the removal: hosts before the keeper, since
/// the first process of a namespace goes last, and the folder when nobody uses it any more.
#[derive(Debug)]
struct Stage {
    hosts: Vec<Host>,
    keeper: Keeper,
    lan: Lan,
    site: Site,
}

impl Stage {
    fn set() -> anyhow::Result<Self> {
        let site = Site::make()?;
        let lan = Lan::make()?;
        let keeper = Keeper::start()?;
        Ok(Self { hosts: Vec::new(), keeper, lan, site })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // All at once, so that no manager starts elsewhere what is being removed here.
        self.keeper.kill();
    }
}

async fn play(stage: &mut Stage, flags: &Flags) -> anyhow::Result<()> {
    for number in 1..=flags.workers + 1 {
        let host = Host::start(&stage.site, &stage.lan, &stage.keeper, number)?;
        output::line(&format!("host {} at {}: daemon {}", host.name(), host.address(), host.pid()));
        stage.hosts.push(host);
    }
    for host in &mut stage.hosts {
        host.wait_ready().await?;
    }
    cluster::form(&stage.hosts).await.context("forming the swarm")?;
    cluster::load_image(&stage.hosts).await?;
    let manager = stage.hosts.first().context("no manager")?;
    cluster::create_service(manager).await.context("creating the service")?;
    let (service, replicas) = (cluster::SERVICE, cluster::REPLICAS);
    output::line(&format!("service {service} with {replicas} replicas created\n"));
    if flags.once {
        return watch_until_complete(stage).await;
    }
    output::line(&invitation(&stage.hosts));
    watch(manager).await
}

/// Shows the cluster for as long as the manager is there to ask.
async fn watch(manager: &Host) -> anyhow::Result<()> {
    let mut screen = Screen::new();
    loop {
        // A manager that was killed is no failure of the demonstration: whoever did it wanted to see that.
        if let Ok(view) = look(&manager.client()).await {
            screen.show(&view);
        }
        tokio::time::sleep(REFRESH).await;
    }
}

async fn watch_until_complete(stage: &mut Stage) -> anyhow::Result<()> {
    let mut screen = Screen::new();
    let deadline = Instant::now() + ONCE_TIMEOUT;
    loop {
        for host in &mut stage.hosts {
            host.check()?;
        }
        let manager = stage.hosts.first().context("no manager")?.client();
        let view = look(&manager).await?;
        screen.show(&view);
        if view.is_complete(stage.hosts.len()) {
            screen.finish(&view);
            return Ok(());
        }
        if Instant::now() > deadline {
            screen.finish(&view);
            bail!("not all tasks run after {} s", ONCE_TIMEOUT.as_secs());
        }
        tokio::time::sleep(REFRESH).await;
    }
}

async fn look(manager: &Client) -> anyhow::Result<View> {
    let nodes = manager.get("/nodes").await?;
    let services = manager.get("/services").await?;
    let tasks = manager.get("/tasks").await?;
    Ok(View::read(&nodes, &services, &tasks))
}

/// What to type next.
fn invitation(hosts: &[Host]) -> String {
    let socket = hosts.first().map(|host| host.socket().display().to_string()).unwrap_or_default();
    let service = cluster::SERVICE;
    let mut lines = vec!["In another terminal, as root:".to_owned()];
    lines.push(format!("  export DOCKER_HOST=unix://{socket}"));
    lines.push("  docker node ls".to_owned());
    lines.push(format!("  docker service ps {service}"));
    lines.push(format!("  docker service scale {service}=12"));
    if let [_, .., worker] = hosts {
        let (name, pid) = (worker.name(), worker.pid());
        lines.push("  docker node update --availability drain demo2".to_owned());
        lines.push(format!(
            "  kill -9 {pid}    # the daemon of {name}: its tasks come up elsewhere"
        ));
    }
    lines.push("Ctrl-C here removes everything.\n".to_owned());
    lines.join("\n")
}

/// What ends the demonstration.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
