//! What passes between machines: effects become events, in the time that the network takes for them, or never.

use std::time::Duration;

use crate::env::{Call, Effect};
use crate::net::{ConnId, Place};
use crate::seat::machine_of;
use crate::world::{Event, World};

impl World {
    pub(crate) fn deliver(&mut self, to: u64, body: &[u8]) {
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

    pub(crate) fn deliver_call(&mut self, conn: ConnId, call: Call) {
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
}
