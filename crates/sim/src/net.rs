//! The network: who reaches whom, how long it takes, and what gets lost.
//!
//! Raft's messages are datagrams: lost, doubled and overtaken. An agent's session is a connection: in order, whole, or
//! broken for ever, which both ends learn in their own time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::random::Random;

/// A machine on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Manager(u64),
    Worker(u64),
}

/// Names a connection; also the dispatcher's name for the session stream on it.
pub(crate) type ConnId = u64;

/// What the network is like at the moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) loss_per_mille: usize,
    pub(crate) double_per_mille: usize,
    pub(crate) delay_max_ms: u64,
}

impl Weather {
    pub(crate) const FAIR: Self = Self { loss_per_mille: 0, double_per_mille: 0, delay_max_ms: 5 };
}

/// A connection between an agent and a manager.
#[derive(Debug, Clone)]
pub(crate) struct Conn {
    pub(crate) worker: u64,
    pub(crate) worker_boot: u64,
    pub(crate) manager: u64,
    pub(crate) manager_boot: u64,
    /// When the last message towards the manager, and towards the worker, arrives.
    last: [Duration; 2],
}

/// Links that are cut for a while, in one direction each.
#[derive(Debug)]
struct Cut {
    links: BTreeSet<(Place, Place)>,
    until: Duration,
}

/// The network.
#[derive(Debug)]
pub(crate) struct Net {
    cuts: Vec<Cut>,
    pub(crate) weather: Weather,
    conns: BTreeMap<ConnId, Conn>,
    conn_last: ConnId,
}

impl Net {
    pub(crate) fn new() -> Self {
        Self { cuts: Vec::new(), weather: Weather::FAIR, conns: BTreeMap::new(), conn_last: 0 }
    }

    pub(crate) fn cut(&mut self, links: BTreeSet<(Place, Place)>, until: Duration) {
        self.cuts.push(Cut { links, until });
    }

    /// All cuts are mended, and the weather is fair.
    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
        self.weather = Weather::FAIR;
    }

    fn is_cut(&self, now: Duration, from: Place, to: Place) -> bool {
        self.cuts.iter().any(|cut| cut.until > now && cut.links.contains(&(from, to)))
    }

    fn delay(&self, random: &mut Random) -> Duration {
        // Now and then a message takes far longer than the others, and is overtaken by them.
        let factor = if random.chance(20) { 20 } else { 1 };
        Duration::from_micros(100) + random.millis(0, self.weather.delay_max_ms * factor)
    }

    /// When copies of a datagram arrive: none where it is lost.
    pub(crate) fn datagram(
        &mut self,
        now: Duration,
        random: &mut Random,
        from: Place,
        to: Place,
    ) -> Vec<Duration> {
        self.cuts.retain(|cut| cut.until > now);
        if self.is_cut(now, from, to) || random.chance(self.weather.loss_per_mille) {
            return Vec::new();
        }
        let copies = if random.chance(self.weather.double_per_mille) { 2 } else { 1 };
        (0..copies).map(|_| now + self.delay(random)).collect()
    }

    pub(crate) fn connect(&mut self, worker: (u64, u64), manager: (u64, u64)) -> ConnId {
        self.conn_last += 1;
        let conn = Conn {
            worker: worker.0,
            worker_boot: worker.1,
            manager: manager.0,
            manager_boot: manager.1,
            last: [Duration::ZERO; 2],
        };
        self.conns.insert(self.conn_last, conn);
        self.conn_last
    }

    pub(crate) fn conn(&self, id: ConnId) -> Option<&Conn> {
        self.conns.get(&id)
    }

    /// When a message on a connection arrives; none where the connection breaks, or is broken already.
    pub(crate) fn stream(
        &mut self,
        now: Duration,
        random: &mut Random,
        id: ConnId,
        to_manager: bool,
    ) -> Option<Duration> {
        let conn = self.conns.get(&id)?;
        let (worker, manager) = (Place::Worker(conn.worker), Place::Manager(conn.manager));
        let (from, to) = if to_manager { (worker, manager) } else { (manager, worker) };
        // The protocol below repeats what is lost: a cut breaks a connection, single losses delay it.
        if self.is_cut(now, from, to) || self.is_cut(now, to, from) {
            return None;
        }
        let lost = if random.chance(self.weather.loss_per_mille) { 200 } else { 0 };
        let at = now + self.delay(random) + Duration::from_millis(lost);
        let last = &mut self.conns.get_mut(&id)?.last[usize::from(to_manager)];
        *last = (*last + Duration::from_micros(1)).max(at);
        Some(*last)
    }

    pub(crate) fn drop_conn(&mut self, id: ConnId) -> Option<Conn> {
        self.conns.remove(&id)
    }

    /// The connections of a machine.
    pub(crate) fn conns_of(&self, place: Place) -> Vec<ConnId> {
        let of = |conn: &Conn| match place {
            Place::Manager(id) => conn.manager == id,
            Place::Worker(id) => conn.worker == id,
        };
        self.conns.iter().filter(|(_, conn)| of(conn)).map(|(id, _)| *id).collect()
    }
}
