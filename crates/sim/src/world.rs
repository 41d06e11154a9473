//! The world: all machines, the network between them, and the one queue of events that time runs along.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use swarm_ca::Role;
use swarm_raft::{RaftConfig, RaftError};

use crate::client::Client;
use crate::disk::DiskFault;
use crate::env::{Answer, Call, Effect, Env, Outcome, Timer};
use crate::manager::{GroupOptions, Manager, TICK, config, context};
use crate::net::{ConnId, Net, Place};
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
    requests: u64,
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
                Client::new(0, nodes.clone(), nodes.len()),
                Client::new(1, Vec::new(), nodes.len()),
                Client::new(2, Vec::new(), nodes.len()),
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

    /// A machine for a manager, which joins with a token for this role.
    pub(crate) fn add_machine(&mut self, id: u64, token: Role) {
        let seat = Seat::newcomer(token);
        self.managers.insert(id, Manager::new(id, &self.env, seat));
        self.attend(id);
    }

    pub(crate) fn after(&mut self, pause: Duration, event: Event) {
        self.at(self.env.now + pause, event);
    }

    fn at(&mut self, time: Duration, event: Event) {
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

    fn deliver(&mut self, to: u64, body: &[u8]) {
        let Ok(from) = swarm_raft::wire::decode(body).map(|message| message.from) else { return };
        let now = self.env.now;
        let Some(process) = self.member(to) else { return };
        if process.members().is_removed(from) {
            // As the managers' own service answers.
            if let Some(machine) = self.managers.get_mut(&machine_of(from))
                && machine.seat.raft_id == Some(from)
            {
                machine.seat.is_told_removed = true;
            }
            return;
        }
        process.step(now, from, body);
        self.turn(machine_of(to), false);
    }

    fn deliver_call(&mut self, conn: ConnId, call: Call) {
        let Some(found) = self.net.conn(conn).cloned() else { return };
        let Some(machine) = self.managers.get_mut(&found.manager) else { return };
        if machine.boot != found.manager_boot {
            return;
        }
        if let Some(process) = &mut machine.process {
            process.call(&mut self.env, conn, &format!("w{}", found.worker), call);
            self.turn(found.manager, false);
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

    pub(crate) fn process(&mut self, id: u64) -> Option<&mut crate::manager::Process> {
        self.managers.get_mut(&id)?.process.as_mut()
    }

    /// The process of the member with this raft ID.
    fn member(&mut self, raft_id: u64) -> Option<&mut crate::manager::Process> {
        self.process(machine_of(raft_id)).filter(|process| process.raft_id() == raft_id)
    }

    /// A manager does what it can; one that fails is gone, and is started again.
    pub(crate) fn turn(&mut self, id: u64, ticked: bool) {
        let Some(machine) = self.managers.get_mut(&id) else { return };
        let Some(process) = &mut machine.process else { return };
        if let Err(error) = process.work(&mut self.env, machine.ahead_ms, ticked) {
            self.failed(id, &error);
        }
    }

    fn failed(&mut self, id: u64, error: &RaftError) {
        let is_disk = matches!(error, RaftError::Log(_));
        self.env.note(format_args!("manager {id} fails: {error}"));
        if !is_disk {
            self.env.checks.expect(Err(format!("members fail of disks alone: {id} of {error:?}")));
        }
        self.crash_manager(id, true);
    }

    /// A manager's machine loses power, or only the process ends; it comes back after a while.
    pub(crate) fn crash_manager(&mut self, id: u64, is_power: bool) {
        let pause = self.env.random.millis(50, 8000);
        self.restart_manager(id, is_power, pause);
    }

    /// As [`World::crash_manager`], and back after this time.
    pub(crate) fn restart_manager(&mut self, id: u64, is_power: bool, pause: Duration) {
        let Some(machine) = self.managers.get_mut(&id) else { return };
        if machine.process.take().is_none() {
            return;
        }
        match is_power {
            true => machine.disk.crash(&mut self.env.random),
            false => machine.disk.settle(),
        }
        machine.is_up = false;
        self.env.note(format_args!("manager {id} is gone (power: {is_power})"));
        self.break_conns(Place::Manager(id), is_power);
        self.after(pause, Event::StartMachine { machine: id });
    }

    pub(crate) fn start_manager(&mut self, id: u64) {
        let group = self.group;
        let Some(machine) =
            self.managers.get_mut(&id).filter(|machine| machine.is_up && machine.process.is_none())
        else {
            return;
        };
        let Some(raft_id) = machine.seat.raft_id else { return };
        let config: RaftConfig = config(raft_id, group);
        let is_founder = Seat::founder(FOUNDER).raft_id == Some(raft_id);
        let config = if is_founder { config.founding(context(raft_id)) } else { config };
        if let Err(error) = machine.start(&mut self.env, config) {
            if matches!(error, RaftError::Log(_)) {
                machine.disk.crash(&mut self.env.random);
                machine.is_up = false;
                self.env.note(format_args!("manager {id} cannot start: {error}"));
                return self.after(Duration::from_secs(1), Event::StartMachine { machine: id });
            }
            let what = format!("members start again: {id} does not: {error:?}");
            return self.env.checks.expect(Err(what));
        }
        let boot = machine.boot;
        let first = self.env.random.millis(1, 100);
        self.after(first, Event::Tick { manager: id, boot });
        self.turn(id, false);
    }

    /// All connections of a machine break; the other ends learn it at once, or when they have waited long enough.
    pub(crate) fn break_conns(&mut self, place: Place, is_silent: bool) {
        for conn in self.net.conns_of(place) {
            self.break_conn(conn, is_silent);
        }
    }

    fn break_conn(&mut self, id: ConnId, is_silent: bool) {
        let Some(conn) = self.net.drop_conn(id) else { return };
        let (worker, worker_max) = (conn.worker, if is_silent { 6000 } else { 20 });
        let pause = self.env.random.millis(1, worker_max);
        self.after(pause, Event::LostByWorker { worker, boot: conn.worker_boot, conn: id });
        let (manager, manager_max) = (conn.manager, if is_silent { 20_000 } else { 20 });
        let pause = self.env.random.millis(1, manager_max);
        self.after(pause, Event::LostByManager { manager, boot: conn.manager_boot, conn: id });
    }

    /// Does what processes wanted done.
    pub(crate) fn carry_out(&mut self) {
        while !self.env.effects.is_empty() {
            for effect in std::mem::take(&mut self.env.effects) {
                self.effect(effect);
            }
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Raft { from, to, body, is_snapshot } => self.send(from, to, &body, is_snapshot),
            Effect::Call { conn, call } => match self.stream(conn, true) {
                Some(at) => self.at(at, Event::Call { conn, call }),
                None => self.break_conn(conn, true),
            },
            Effect::Answer { conn, answer } => match self.stream(conn, false) {
                Some(at) => self.at(at, Event::Answer { conn, answer }),
                None => self.break_conn(conn, true),
            },
            Effect::Close { conn } => self.break_conn(conn, false),
            Effect::Done { request, outcome } => self.done(request, outcome),
            Effect::Timer { worker, boot, after, timer } => {
                self.after(after, Event::Timer { worker, boot, timer });
            }
        }
    }

    fn stream(&mut self, conn: ConnId, to_manager: bool) -> Option<Duration> {
        self.net.stream(self.env.now, &mut self.env.random, conn, to_manager)
    }

    fn send(&mut self, from: u64, to: u64, body: &[u8], is_snapshot: bool) {
        let (a, b) = (Place::Manager(machine_of(from)), Place::Manager(machine_of(to)));
        let arrivals = self.net.datagram(self.env.now, &mut self.env.random, a, b);
        if is_snapshot {
            let sent = !arrivals.is_empty();
            self.env.note(format_args!("manager {from} sends {to} a snapshot (arrives: {sent})"));
            self.after(Duration::from_millis(20), Event::SnapshotSent { from, to, sent });
        }
        self.tempt(machine_of(from), body);
        for at in arrivals {
            self.at(at, Event::Raft { to, body: body.to_vec() });
        }
    }

    /// A client acts: asks for something, or gives up on what it waits for.
    fn client(&mut self, id: usize) {
        let pause = self.env.random.millis(100, 2500);
        self.after(pause, Event::Client(id));
        self.read();
        let client = &mut self.clients[id];
        match &client.waiting {
            Some(waiting) if waiting.until > self.env.now => return,
            Some(_) => client.waiting = None,
            None => {}
        }
        if !self.env.is_stormy {
            return;
        }
        let wish = client.wish(&mut self.env.random);
        self.ask(id, wish);
    }

    /// Somebody reads, from any manager.
    fn read(&mut self) {
        let managers: Vec<u64> = self.managers.keys().copied().collect();
        let Some(from) = self.env.random.pick(&managers) else { return };
        let Some(machine) = self.managers.get_mut(&from) else { return };
        if let Some(process) = &mut machine.process {
            process.read(&mut self.env);
            self.turn(from, false);
        }
    }

    /// Sends a wish to a manager; clients mostly know who leads.
    pub(crate) fn ask(&mut self, id: usize, wish: crate::client::Wish) {
        let leader = self.leader();
        let managers: Vec<u64> = self.managers.keys().copied().collect();
        let anybody = self.env.random.pick(&managers);
        let Some(to) = leader.filter(|_| self.env.random.chance(800)).or(anybody) else { return };
        self.requests += 1;
        let number = self.requests;
        let until = self.env.now + self.env.random.millis(1000, 10_000);
        let what = wish.describe();
        self.env.note(format_args!("client {id} asks manager {to} ({number}): {what}"));
        self.env.checks.acknowledged.ask(&wish.key, wish.revision, wish.is_removal());
        let waiting = crate::client::Waiting { number, wish: wish.clone(), until };
        self.clients[id].waiting = Some(waiting);
        let service_id = self.env.random.id();
        let Some(machine) = self.managers.get_mut(&to) else { return };
        crate::clock::set(self.env.now, machine.ahead_ms);
        if let Some(process) = &mut machine.process {
            process.request(&mut self.env, number, |transaction| {
                wish.transact(transaction, service_id)
            });
            self.turn(to, false);
        }
    }

    fn done(&mut self, request: u64, outcome: Outcome) {
        // A client that has given up hears nothing any more, and the write is done nevertheless.
        for client in &mut self.clients {
            let Some(waiting) = client.waiting.take_if(|waiting| waiting.number == request) else {
                continue;
            };
            self.env.note(format_args!("request {request}: {outcome:?}"));
            if let Outcome::Acknowledged { term } = outcome {
                let wish = &waiting.wish;
                self.env.checks.acknowledged.acknowledge(&wish.key, wish.revision, term);
            }
        }
    }

    /// The manager that leads the newest term.
    pub(crate) fn leader(&self) -> Option<u64> {
        let status = |machine: &Manager| machine.process.as_ref().map(|process| process.status());
        let serving = self.managers.values().filter_map(status).filter(|status| status.serving);
        serving.max_by_key(|status| status.term).map(|status| machine_of(status.id))
    }

    /// What runs on each worker.
    pub(crate) fn containers(&self) -> BTreeMap<String, BTreeSet<String>> {
        self.workers.values().map(|worker| (worker.node_id(), worker.engine.running())).collect()
    }

    /// The disk of a manager will fail.
    pub(crate) fn spoil_disk(&mut self, id: u64, fault: DiskFault) {
        if let Some(machine) = self.managers.get(&id) {
            machine.disk.set_fault(Some(fault));
        }
        if fault == DiskFault::Full {
            let pause = self.env.random.millis(100, 8000);
            self.after(pause, Event::Room { manager: id });
        }
    }
}
