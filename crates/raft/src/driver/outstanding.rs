//! What waits for the log: proposals for their commit, reads for their index.

use std::collections::{BTreeMap, VecDeque};

use super::inbox::Done;
use crate::error::RaftError;
use crate::log::Position;

/// Whom a committed entry is told.
pub(super) enum Waiter {
    /// The caller of `RaftNode::propose`.
    Caller(Done),
    /// The state machine, under this ticket.
    Ticket(u64),
}

/// The proposals of this leadership that are not applied yet, in log order.
#[derive(Default)]
pub(super) struct Proposals {
    queue: VecDeque<(Position, Waiter)>,
}

impl Proposals {
    /// A proposal was appended at `position`.
    pub(super) fn push(&mut self, position: Position, waiter: Waiter) {
        self.queue.push_back((position, waiter));
    }

    /// The waiter for the entry at `position`, if this leadership proposed it.
    pub(super) fn take(&mut self, position: Position) -> Option<Waiter> {
        let (first, _) = self.queue.front()?;
        if *first == position { self.queue.pop_front().map(|(_, waiter)| waiter) } else { None }
    }

    /// Leadership is lost: callers are told, the state machine learns it as a whole.
    pub(super) fn fail(&mut self, error: fn() -> RaftError) {
        for (_, waiter) in self.queue.drain(..) {
            if let Waiter::Caller(done) = waiter {
                done(Err(error()));
            }
        }
    }
}

/// Reads on their way through a majority, and then waiting to be applied.
#[derive(Default)]
pub(super) struct Reads {
    next: u64,
    asked: BTreeMap<u64, (u64, Done)>,
    confirmed: Vec<(u64, Done)>,
}

impl Reads {
    /// Notes a read and answers its context; it fails when `tick_max` passes without an answer.
    pub(super) fn ask(&mut self, tick_max: u64, done: Done) -> Vec<u8> {
        self.next += 1;
        self.asked.insert(self.next, (tick_max, done));
        self.next.to_be_bytes().to_vec()
    }

    /// A majority has confirmed a read: it waits for `index`.
    pub(super) fn confirm(&mut self, context: &[u8], index: u64) {
        let Ok(key) = context.try_into().map(u64::from_be_bytes) else { return };
        if let Some((_, done)) = self.asked.remove(&key) {
            self.confirmed.push((index, done));
        }
    }

    /// Answers the reads that `applied` satisfies and fails those that are overdue.
    pub(super) fn settle(&mut self, applied: u64, tick: u64) {
        for (index, done) in self.confirmed.extract_if(.., |(index, _)| *index <= applied) {
            done(Ok(index));
        }
        let overdue = self.asked.extract_if(.., |_, (tick_max, _)| *tick_max < tick);
        for (_, (_, done)) in overdue {
            done(Err(RaftError::NotLeader { leader: None }));
        }
    }

    /// The member stops.
    pub(super) fn fail(&mut self) {
        let asked = std::mem::take(&mut self.asked).into_values().map(|(_, done)| done);
        for done in asked.chain(self.confirmed.drain(..).map(|(_, done)| done)) {
            done(Err(RaftError::Stopped));
        }
    }
}
