//! The world: all machines, the network between them, and the one queue of events that time runs along.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::client::Client;
use crate::env::{Answer, Call, Env, Timer};
use crate::group::{GroupOptions, TICK};
use crate::manager::Manager;
use crate::net::{ConnId, Net};
use crate::operator::{FOUNDER, Operator};
use crate::options::Options;
use crate::seat::{Seat, machine_of};
use crate::worker::Worker;

/// What happens at some time.
#[derive(Debug)]
pub(crate) enum Event {
    Tick { manager: u64, boot: u64 },
    Raft { to: u64, body: Vec<u8> },
    SnapshotSent { from: u64, to: u64, sent: bool },
    Call { conn: ConnId, call: Call },
    Answer { conn: ConnId, answer: Answer },
    LostByWorker { worker: u64, boot: u64, conn: ConnId },
    LostByManager { manager: u64, boot: u64, conn: ConnId },
    Timer { worker: u64, boot: u64, timer: Timer },
    StartMachine { machine: u64 },
    Attend { machine: u64 },
    StartWorker { worker: u64 },
    Client(usize),
    Operator,
    Fault,
    FairWeather,
    Room { manager: u64 },
    Flicker { left: usize },
}

/// A whole cluster.
pub(crate) struct World {
    pub(crate) env: Env,
    queue: BTreeMap<(Duration, u64), Event>,
    scheduled: u64,
    pub(crate) net: Net,
    pub(crate) managers: BTreeMap<u64, Manager>,
    pub(crate) workers: BTreeMap<u64, Worker>,
    pub(crate) clients: Vec<Client>,
    pub(crate) operator: Operator,
    /// Counts what clients asked for.
    pub(crate) requests: u64,
    pub(crate) group: GroupOptions,
    pub(crate) events: u64,
}

impl World {
    /// A cluster with the founder up, and everybody else about to start.
    pub(crate) fn new(seed: u64, options: Options) -> Self {
        let mut env = Env::new(seed, options);
        let managers = if env.random.chance(250) { 5 } else { 3 };
        let workers = 2 + env.random.below(3) as u64;
        let group = GroupOptions {
            snapshot_entries: 20 + env.random.below(200) as u64,
            keep_entries: env.random.below(30) as u64,
            // In some groups timeouts are so close together that elections often have several candidates.
            election_ticks_spread: if env.random.chance(400) { 2 } else { 10 },
        };
        let nodes: Vec<String> = (1..=workers).map(|id| format!("w{id}")).collect();
        let mut world = Self {
            clients: vec![
                Client::new(0, nodes.clone(), nodes.len(), options.has_labels),
                Client::new(1, Vec::new(), nodes.len(), options.has_labels),
                Client::new(2, Vec::new(), nodes.len(), options.has_labels),
            ],
            operator: Operator::new(nodes, managers),
            managers: BTreeMap::new(),
            workers: (1..=workers).map(|id| (id, Worker::new(id))).collect(),
            env,
            queue: BTreeMap::new(),
            scheduled: 0,
            net: Net::new(),
            requests: 0,
            group,
            events: 0,
        };
        world.managers.insert(FOUNDER, Manager::new(FOUNDER, &world.env, Seat::founder(FOUNDER)));
        world.start_manager(FOUNDER);
        world.attend(FOUNDER);
        for worker in 1..=workers {
            let after = world.env.random.millis(0, 2000);
            world.after(after, Event::StartWorker { worker });
        }
        world.after(Duration::from_millis(50), Event::Operator);
        for client in 0..world.clients.len() {
            world.after(Duration::from_millis(2500), Event::Client(client));
        }
        world
    }

    pub(crate) fn after(&mut self, pause: Duration, event: Event) {
        self.at(self.env.now + pause, event);
    }

    /// Lets something happen at this time.
    pub(crate) fn at(&mut self, time: Duration, event: Event) {
        self.scheduled += 1;
        self.queue.insert((time, self.scheduled), event);
    }

    /// Lets time run until `until`.
    ///
    /// # Errors
    /// The violation that ends it before.
    pub(crate) fn run(&mut self, until: Duration) -> Result<(), String> {
        while let Some(((at, _), event)) = self.queue.pop_first() {
            if at > until {
                self.at(at, event);
                break;
            }
            self.env.now = at;
            self.events += 1;
            self.handle(event);
            self.carry_out();
            if let Some(violation) = self.env.checks.violation() {
                return Err(violation);
            }
        }
        self.env.now = until;
        Ok(())
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Tick { manager, boot } => {
                if self
                    .managers
                    .get(&manager)
                    .is_some_and(|m| m.boot == boot && m.process.is_some())
                {
                    self.after(TICK, Event::Tick { manager, boot });
                    self.turn(manager, true);
                }
            }
            Event::Raft { to, body } => self.deliver(to, &body),
            Event::SnapshotSent { from, to, sent } => {
                if let Some(process) = self.member(from) {
                    process.snapshot_sent(to, sent);
                    self.turn(machine_of(from), false);
                }
            }
            Event::Call { conn, call } => self.deliver_call(conn, call),
            Event::Answer { conn, answer } => {
                let Some(worker) = self.net.conn(conn).map(|conn| conn.worker) else { return };
                if let Some(worker) = self.workers.get_mut(&worker) {
                    worker.answered(&mut self.env, conn, answer);
                }
            }
            Event::LostByWorker { worker, boot, conn } => {
                if let Some(worker) = self.workers.get_mut(&worker).filter(|w| w.boot == boot) {
                    worker.end_session(&mut self.env, conn);
                }
            }
            Event::LostByManager { manager, boot, conn } => {
                let Some(machine) = self.managers.get_mut(&manager).filter(|m| m.boot == boot)
                else {
                    return;
                };
                if let Some(process) = &mut machine.process {
                    process.conn_lost(&mut self.env, conn);
                    self.turn(manager, false);
                }
            }
            Event::Timer { worker, boot, timer } => self.timer(worker, boot, timer),
            Event::StartMachine { machine } => {
                if let Some(machine) = self.managers.get_mut(&machine) {
                    machine.is_up = true;
                }
                self.follow_post(machine);
            }
            Event::Attend { machine } => self.attend(machine),
            Event::StartWorker { worker } => {
                if let Some(worker) = self.workers.get_mut(&worker).filter(|w| w.agent.is_none()) {
                    worker.start(&mut self.env);
                }
            }
            Event::Client(client) => self.client(client),
            Event::Operator => self.operate(),
            Event::Fault => self.fault(),
            Event::Flicker { left } => self.flicker(left),
            Event::Room { manager } => {
                if let Some(machine) = self.managers.get(&manager) {
                    machine.disk.make_room();
                }
            }
            Event::FairWeather => self.net.weather = self.usual_weather(),
        }
    }

    fn timer(&mut self, id: u64, boot: u64, timer: Timer) {
        let env = &mut self.env;
        let Some(worker) = self.workers.get_mut(&id).filter(|worker| worker.boot == boot) else {
            return;
        };
        if worker.agent.is_none() {
            return;
        }
        match timer {
            Timer::Heartbeat(conn) => worker.heartbeat(env, conn),
            Timer::Overdue(conn, asked) => worker.overdue(env, conn, asked),
            Timer::Work(work) => worker.worked(env, work),
            Timer::Connect => {
                if worker.has_session() {
                    return;
                }
                let managers: Vec<(u64, u64)> =
                    self.managers.values().map(|manager| (manager.id, manager.boot)).collect();
                let Some(manager) = env.random.pick(&managers) else { return };
                let conn = self.net.connect((id, boot), manager);
                worker.connected(env, conn);
            }
        }
    }

    /// What runs on each worker.
    pub(crate) fn containers(&self) -> BTreeMap<String, BTreeSet<String>> {
        self.workers.values().map(|worker| (worker.node_id(), worker.engine.running())).collect()
    }
}
