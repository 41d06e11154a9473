//! What goes wrong, and when: all of it follows from the seed.

use std::collections::BTreeSet;
use std::time::Duration;

use raft::eraftpb::MessageType;

use crate::disk::DiskFault;
use crate::net::{Place, Weather};
use crate::world::{Event, World};

/// The clock of a manager jumps by less than this in either direction.
const JUMP_MAX_MS: u64 = 7_200_000;

impl World {
    /// One fault, and the time of the next.
    pub(crate) fn fault(&mut self) {
        if !self.env.is_stormy {
            return;
        }
        let pause = self.env.random.millis(100, 2500);
        self.after(pause, Event::Fault);
        let managers: Vec<u64> = self.managers.keys().copied().collect();
        let workers: Vec<u64> = self.workers.keys().copied().collect();
        let (Some(manager), Some(worker)) =
            (self.env.random.pick(&managers), self.env.random.pick(&workers))
        else {
            return;
        };
        // Leaders are worth more attention than others.
        let leader = self.leader().filter(|_| self.env.random.chance(500));
        let manager = leader.unwrap_or(manager);
        match self.env.random.below(17) {
            0 => self.crash_manager(manager, true),
            1 => self.crash_manager(manager, false),
            2 => self.spoil_disk(manager, DiskFault::Crash),
            3 => self.spoil_disk(manager, DiskFault::Full),
            4 => self.crash_worker(worker, true),
            5 => self.crash_worker(worker, false),
            6 => self.split(),
            7 => self.isolate(manager),
            8 => self.worsen(),
            9 => self.jump(manager),
            10 => self.hand_over(manager),
            11 | 16 => self.end_leader(manager),
            12..=14 => self.change_members(manager),
            _ => self.kill_container(worker),
        }
    }

    fn crash_worker(&mut self, id: u64, is_power: bool) {
        let Some(worker) = self.workers.get_mut(&id).filter(|worker| worker.agent.is_some()) else {
            return;
        };
        match is_power {
            true => worker.crash(&mut self.env),
            false => worker.stop_agent(&mut self.env),
        }
        self.break_conns(Place::Worker(id), is_power);
        let pause = self.env.random.millis(50, 12_000);
        self.after(pause, Event::StartWorker { worker: id });
    }

    /// The leader goes, and while the others elect another, they are restarted again and again.
    fn end_leader(&mut self, manager: u64) {
        let leader = self.leader().unwrap_or(manager);
        self.crash_manager(leader, false);
        let left = 5 + self.env.random.below(20);
        let pause = self.env.random.millis(500, 1500);
        self.after(pause, Event::Flicker { left });
    }

    /// A manager's process ends and is back in a moment, and the next is soon to follow.
    pub(crate) fn flicker(&mut self, left: usize) {
        if left == 0 || !self.env.is_stormy {
            return;
        }
        let running: Vec<u64> = self
            .managers
            .values()
            .filter(|machine| machine.process.is_some())
            .map(|machine| machine.id)
            .collect();
        let moment = self.env.random.millis(1, 20);
        if let Some(id) = self.env.random.pick(&running) {
            let is_power = self.env.random.chance(500);
            self.restart_manager(id, is_power, moment);
        }
        let pause = self.env.random.millis(5, 120);
        self.after(pause, Event::Flicker { left: left - 1 });
    }

    /// In crowded groups, members that have just voted are restarted at once now and then: what they promised must
    /// bind them.
    pub(crate) fn tempt(&mut self, voter: u64, message: &[u8]) {
        if !self.env.is_stormy || !self.group.is_crowded() {
            return;
        }
        let Ok(message) = swarm_raft::wire::decode(message) else { return };
        let is_vote = message.get_msg_type() == MessageType::MsgRequestVoteResponse;
        if is_vote && !message.reject && self.env.random.chance(700) {
            let moment = self.env.random.millis(1, 5);
            self.restart_manager(voter, true, moment);
        }
    }

    /// The network where nothing makes it worse; slow where elections are crowded, so that candidates overlap.
    pub(crate) fn usual_weather(&self) -> Weather {
        let delay_max_ms = if self.env.is_stormy && self.group.is_crowded() { 60 } else { 5 };
        Weather { delay_max_ms, ..Weather::FAIR }
    }

    fn places(&self) -> Vec<Place> {
        let managers = self.managers.keys().copied().map(Place::Manager);
        managers.chain(self.workers.keys().copied().map(Place::Worker)).collect()
    }

    /// The network falls into two parts; sometimes one still hears the other.
    fn split(&mut self) {
        let places = self.places();
        let is_one_way = self.env.random.chance(300);
        let (left, right): (Vec<Place>, Vec<Place>) =
            places.into_iter().partition(|_| self.env.random.chance(500));
        let mut links = BTreeSet::new();
        for a in &left {
            for b in &right {
                links.insert((*a, *b));
                if !is_one_way {
                    links.insert((*b, *a));
                }
            }
        }
        let until = self.env.now + self.env.random.millis(500, 12_000);
        self.env.note(format_args!("split: {left:?} from {right:?}, one way: {is_one_way}"));
        self.net.cut(links, until);
    }

    /// A manager is cut off, or only half of it: it is heard and hears nothing, or the other way round.
    fn isolate(&mut self, id: u64) {
        let one = Place::Manager(id);
        let direction = self.env.random.below(3);
        let mut links = BTreeSet::new();
        for other in self.places().into_iter().filter(|other| *other != one) {
            if direction != 0 {
                links.insert((one, other));
            }
            if direction != 1 {
                links.insert((other, one));
            }
        }
        let until = self.env.now + self.env.random.millis(500, 12_000);
        self.env.note(format_args!("manager {id} is isolated ({direction})"));
        self.net.cut(links, until);
    }

    fn worsen(&mut self) {
        let weather = Weather {
            loss_per_mille: self.env.random.below(300),
            double_per_mille: self.env.random.below(200),
            delay_max_ms: 1 + self.env.random.below(200) as u64,
        };
        self.env.note(format_args!("weather: {weather:?}"));
        self.net.weather = weather;
        let pause = self.env.random.millis(1000, 10_000);
        self.after(pause, Event::FairWeather);
    }

    fn jump(&mut self, id: u64) {
        let ahead_ms = self.env.random.below(2 * JUMP_MAX_MS as usize) as i64 - JUMP_MAX_MS as i64;
        self.env.note(format_args!("the clock of manager {id} is ahead by {ahead_ms} ms"));
        if let Some(machine) = self.managers.get_mut(&id) {
            machine.ahead_ms = ahead_ms;
        }
    }

    fn hand_over(&mut self, to: u64) {
        let Some(leader) = self.leader() else { return };
        let Some(to) = self.process(to).map(|process| process.raft_id()) else { return };
        self.env.note(format_args!("manager {leader} hands over to {to}"));
        if let Some(process) = self.process(leader) {
            process.transfer(to);
            self.turn(leader, false);
        }
    }

    fn change_members(&mut self, manager: u64) {
        match self.env.random.chance(500) {
            true => self.operator.grow(&mut self.env.random),
            false => self.operator.shrink(manager),
        }
    }

    fn kill_container(&mut self, id: u64) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let running: Vec<String> = worker.engine.running().into_iter().collect();
        let Some(task) = running.get(self.env.random.below(running.len())) else { return };
        self.env.note(format_args!("worker {id}: the container of {} dies", &task[..6]));
        worker.container_dies(&mut self.env, task);
    }

    /// Everything that was broken is whole again.
    pub(crate) fn heal(&mut self) {
        self.env.note(format_args!("all faults are over"));
        self.env.is_stormy = false;
        self.net.heal();
        for machine in self.managers.values_mut() {
            machine.ahead_ms = 0;
            machine.disk.set_fault(None);
        }
    }

    /// Begins the time of faults.
    pub(crate) fn storm(&mut self) {
        self.env.is_stormy = true;
        self.net.weather = self.usual_weather();
        self.after(Duration::from_secs(3), Event::Fault);
    }
}
