//! What clients ask for and are told, by way of some manager.

use crate::client::{Waiting, Wish};
use crate::env::Outcome;
use crate::world::{Event, World};

impl World {
    /// A client acts: asks for something, or gives up on what it waits for.
    pub(crate) fn client(&mut self, id: usize) {
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
    pub(crate) fn ask(&mut self, id: usize, wish: Wish) {
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
        let waiting = Waiting { number, wish: wish.clone(), until };
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

    pub(crate) fn done(&mut self, request: u64, outcome: Outcome) {
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
}
