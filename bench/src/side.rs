//! Three engines as a swarm: the two sides of every comparison.

use anyhow::{Context, Result};
use swarm_testkit::{Engine, Host, Lab, Output, busybox_image_tar};

use crate::api::Client;
use crate::machine::Machine;
use crate::process::Process;

const IMAGE: &str = "busybox:bench";

/// Which machines a swarm has, in this order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    /// The first founded the swarm.
    pub(crate) managers: usize,
    pub(crate) workers: usize,
    /// Machines whose engines run, and which have not joined.
    pub(crate) spares: usize,
}

/// A swarm of some hosts, the first of which founded it, with the image on each.
pub(crate) struct Side {
    machines: Vec<Machine>,
    /// So many of them are in the swarm.
    members: usize,
    /// The image by its ID, for which neither side asks a registry.
    pub(crate) image: String,
}

impl Side {
    /// Our daemons.
    pub(crate) fn ours(form: Form) -> Result<Self> {
        Self::start("node", form, Machine::ours)
    }

    /// Docker's engines.
    pub(crate) fn stock(form: Form) -> Result<Self> {
        Self::start("stock", form, Machine::stock)
    }

    fn start(name: &str, form: Form, start: impl Fn(Host) -> Machine) -> Result<Self> {
        let lab = Lab::new();
        let host = |number| prepared(lab.host(&format!("{name}{number}")));
        let members = form.managers + form.workers;
        let count = members + form.spares;
        let machines: Vec<Machine> = (1..=count).map(|number| start(host(number))).collect();
        let archive = lab.folder().join("image.tar");
        std::fs::write(&archive, busybox_image_tar(IMAGE))?;
        let founder = machines[0].host().address().to_string();
        machines[0].docker(&["swarm", "init", "--advertise-addr", &founder]).ok();
        for (index, machine) in machines.iter().enumerate().take(members).skip(1) {
            let role = if index < form.managers { "manager" } else { "worker" };
            let token = machines[0].docker(&["swarm", "join-token", "--quiet", role]).ok();
            machine.docker(&["swarm", "join", "--token", &token, &format!("{founder}:2377")]).ok();
        }
        for machine in &machines {
            machine.docker(&["load", "--input", archive.to_str().context("a plain path")?]).ok();
        }
        let mut side = Self { machines, members, image: String::new() };
        let image = side.manager()?.get(&format!("/images/{IMAGE}/json"))?;
        side.image = image["Id"].as_str().context("an image without ID")?.into();
        Ok(side)
    }

    /// How many machines are in the swarm.
    pub(crate) fn len(&self) -> usize {
        self.members
    }

    /// Whether these are Docker's engines.
    pub(crate) fn is_stock(&self) -> bool {
        matches!(self.machines[0], Machine::Stock(_))
    }

    /// The machines, the founder first; all are managers where there are no workers.
    pub(crate) fn managers(&self) -> &[Machine] {
        &self.machines
    }

    /// One of the machines, to be killed or started.
    pub(crate) fn machine(&mut self, index: usize) -> &mut Machine {
        &mut self.machines[index]
    }

    /// Does something to all machines at once.
    pub(crate) fn at_once<T>(&mut self, act: impl Fn(usize, &mut Machine) -> T + Sync) {
        std::thread::scope(|scope| {
            for (index, machine) in self.machines.iter_mut().enumerate() {
                let act = &act;
                scope.spawn(move || drop(act(index, machine)));
            }
        });
    }

    /// The members as two groups: one of them and the next ones, so many altogether, in each round others; and the rest.
    pub(crate) fn part(
        &self,
        first: usize,
        count: usize,
        round: usize,
    ) -> (Vec<usize>, Vec<usize>) {
        let others = self.members - 1;
        let next = |at: usize| (first + 1 + (round + at) % others) % self.members;
        let group: Vec<usize> = std::iter::once(first).chain((0..count - 1).map(next)).collect();
        let rest = (0..self.members).filter(|index| !group.contains(index)).collect();
        (group, rest)
    }

    /// A new connection to one of the engines.
    pub(crate) fn client(&self, index: usize) -> Result<Client> {
        Client::open(&self.engine(index).socket())
    }

    /// A new connection to the manager.
    pub(crate) fn manager(&self) -> Result<Client> {
        self.client(0)
    }

    /// One of the engines; the first is the manager.
    pub(crate) fn engine(&self, index: usize) -> &dyn Engine {
        &self.machines[index]
    }

    /// All processes that one engine's daemon consists of: dockerd runs a containerd of its own.
    pub(crate) fn processes(&self, index: usize) -> Result<Vec<Process>> {
        let daemon = Process::of_file(&self.engine(index).host().folder().join("pid"))?;
        let mut processes = vec![daemon];
        processes
            .extend(daemon.children()?.into_iter().filter(|child| child.name() == "containerd"));
        Ok(processes)
    }
}

/// A host whose folder for what a restart may forget is in memory, as `/run` is on every machine.
fn prepared(host: Host) -> Host {
    let folder = host.folder().join("exec");
    std::fs::create_dir_all(&folder).expect("make a folder");
    Output::of(host.command("mount").args(["-t", "tmpfs", "tmpfs"]).arg(folder)).ok();
    host
}
