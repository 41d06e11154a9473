//! Managers' machines: they start, take turns, crash and come back.

use std::time::Duration;

use swarm_ca::Role;
use swarm_raft::{RaftConfig, RaftError};

use crate::disk::DiskFault;
use crate::group::{config, context};
use crate::manager::{Manager, Process};
use crate::net::Place;
use crate::operator::FOUNDER;
use crate::seat::{Seat, machine_of};
use crate::world::{Event, World};

impl World {
    /// A machine for a manager, which joins with a token for this role.
    pub(crate) fn add_machine(&mut self, id: u64, token: Role) {
        let seat = Seat::newcomer(token);
        self.managers.insert(id, Manager::new(id, &self.env, seat));
        self.attend(id);
    }

    pub(crate) fn process(&mut self, id: u64) -> Option<&mut Process> {
        self.managers.get_mut(&id)?.process.as_mut()
    }

    /// The process of the member with this raft ID.
    pub(crate) fn member(&mut self, raft_id: u64) -> Option<&mut Process> {
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

    /// The manager that leads the newest term.
    pub(crate) fn leader(&self) -> Option<u64> {
        let status = |machine: &Manager| machine.process.as_ref().map(|process| process.status());
        let serving = self.managers.values().filter_map(status).filter(|status| status.serving);
        serving.max_by_key(|status| status.term).map(|status| machine_of(status.id))
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
