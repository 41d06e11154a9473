//! Managers are cut off from the others, by a pulled cable or by a network that loses what one side sends, and come
//! back, while eight clients write through the majority and two through each manager on the other side. What was
//! acknowledged on either side must be there at the end, on every manager.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use swarm_testkit::Engine as _;

use super::load::{Acknowledged, Attempt, CLIENTS, Load, first_after};
use super::well::{await_successor, await_well};
use super::{Goal, Samples};
use crate::side::Side;

/// The clients write for so long before the cut, and after it was healed.
const CALM: Duration = Duration::from_millis(500);
/// A cut lasts so long at least: several elections.
const HOLD: Duration = Duration::from_secs(3);
const MINORITY_CLIENTS_EACH: usize = 2;
const ROUNDS: usize = 20;
const ROUNDS_STOCK: usize = 5;

/// What is lost between the managers that are cut off and the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Everything, and they notice: their cables are pulled.
    Cable,
    /// What they send.
    Mute,
    /// What is sent to them.
    Deaf,
    /// Everything, and nobody is told.
    Silent,
}

/// The leader's cable.
pub(super) fn leader(side: &mut Side) -> Result<Vec<Samples>> {
    let figures = [
        "leader's cable pulled: first accepted write",
        "leader's cable pulled: longest wait for an answer",
        "leader's cable pulled: longest wait on its side",
    ];
    Scene { cut: Cut::Cable, of_leader: true, count: 1, figures }.measure(side)
}

/// What the leader sends.
pub(super) fn mute_leader(side: &mut Side) -> Result<Vec<Samples>> {
    let figures = [
        "leader not heard: first accepted write",
        "leader not heard: longest wait for an answer",
        "leader not heard: longest wait on its side",
    ];
    Scene { cut: Cut::Mute, of_leader: true, count: 1, figures }.measure(side)
}

/// What the leader should hear.
pub(super) fn deaf_leader(side: &mut Side) -> Result<Vec<Samples>> {
    let figures = [
        "leader deaf: first accepted write",
        "leader deaf: longest wait for an answer",
        "leader deaf: longest wait on its side",
    ];
    Scene { cut: Cut::Deaf, of_leader: true, count: 1, figures }.measure(side)
}

/// A follower's cable.
pub(super) fn follower(side: &mut Side) -> Result<Vec<Samples>> {
    let figures = [
        "follower's cable pulled: first accepted write",
        "follower's cable pulled: longest wait for an answer",
        "follower's cable pulled: longest wait on its side",
    ];
    Scene { cut: Cut::Cable, of_leader: false, count: 1, figures }.measure(side)
}

/// Of five the leader and a follower, which still reach each other.
pub(super) fn two_of_five(side: &mut Side) -> Result<Vec<Samples>> {
    let figures = [
        "leader and follower of five cut off: first accepted write",
        "leader and follower of five cut off: longest wait for an answer",
        "leader and follower of five cut off: longest wait on its side",
    ];
    Scene { cut: Cut::Silent, of_leader: true, count: 2, figures }.measure(side)
}

/// A measurement: who is cut off, and how.
struct Scene {
    cut: Cut,
    /// The leader is among them, not followers alone.
    of_leader: bool,
    count: usize,
    /// From the cut to the first accepted write; the longest wait for an answer, on the majority's side and on the other.
    figures: [&'static str; 3],
}

/// What one round came to, and when.
struct Round {
    majority: Vec<Attempt>,
    minority: Vec<Attempt>,
    /// When the cut began, and when it was complete.
    cut: (Instant, Instant),
}

impl Scene {
    fn measure(&self, side: &mut Side) -> Result<Vec<Samples>> {
        let (mut first, mut longest, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        let (mut acknowledged, mut refusals) = (Acknowledged::default(), BTreeMap::new());
        for round in 0..if side.is_stock() { ROUNDS_STOCK } else { ROUNDS } {
            let Round { majority, minority, cut } = self.round(side, round)?;
            let (began, complete) = cut;
            let accepted = first_after(&majority, complete).context("no write was accepted")?;
            first.push((accepted - began).as_secs_f64());
            longest.push(longest_after(&majority, began));
            refused.push(longest_after(&minority, began));
            let late = minority.iter().any(|one| one.asked > complete && one.is_accepted());
            ensure!(!late, "a write was acknowledged by a minority, in round {round}");
            for text in majority.iter().chain(&minority).filter_map(|one| one.refusal.as_ref()) {
                *refusals.entry(text.clone()).or_insert(0) += 1;
            }
            acknowledged.note(majority);
            acknowledged.note(minority);
        }
        for (text, times) in refusals {
            crate::table::progress(&format!("{times} times: {text}"));
        }
        await_well(side)?;
        acknowledged.check(side)?;
        let [to_first, of_majority, of_minority] = self.figures;
        Ok(vec![
            Samples::new(to_first, Goal::Seconds(1.0), first),
            Samples::new(of_majority, Goal::Seconds(2.0), longest),
            Samples::new(of_minority, Goal::Seconds(1.0), refused),
        ])
    }

    fn round(&self, side: &mut Side, round: usize) -> Result<Round> {
        let leader = await_well(side)?;
        let first = if self.of_leader { leader } else { (leader + 1 + round % 2) % side.len() };
        let (minority, majority) = side.part(first, self.count, round);
        let name = format!("{:?}{}{round}", self.cut, if self.of_leader { "-l" } else { "-f" });
        let load = Load::start(side, &majority, CLIENTS, &name);
        let clients = MINORITY_CLIENTS_EACH * minority.len();
        let few = Load::start(side, &minority, clients, &format!("{name}-cut"));
        std::thread::sleep(CALM);
        let began = Instant::now();
        self.cut.make(side, &minority);
        let complete = Instant::now();
        await_successor(side, majority[0], if self.of_leader { &minority } else { &[] })?;
        std::thread::sleep(HOLD.saturating_sub(began.elapsed()));
        let minority_attempts = few.end()?;
        self.cut.heal(side, &minority);
        std::thread::sleep(CALM);
        Ok(Round { majority: load.end()?, minority: minority_attempts, cut: (began, complete) })
    }
}

/// The longest wait for an answer that came after an event, in seconds.
fn longest_after(attempts: &[Attempt], event: Instant) -> f64 {
    let after = attempts.iter().filter(|attempt| attempt.over > event);
    after.map(Attempt::duration).max().unwrap_or_default().as_secs_f64()
}

impl Cut {
    fn make(self, side: &mut Side, minority: &[usize]) {
        let address = |index: usize| side.engine(index).host().address();
        let (inside, outside): (Vec<usize>, Vec<usize>) =
            (0..side.len()).partition(|index| minority.contains(index));
        let inside: Vec<Ipv4Addr> = inside.into_iter().map(address).collect();
        let outside: Vec<Ipv4Addr> = outside.into_iter().map(address).collect();
        side.at_once(|index, machine| match (self, minority.contains(&index)) {
            (Self::Cable, true) => machine.host().cut_off(),
            (Self::Deaf | Self::Silent, true) => machine.host().deafen(&outside),
            (Self::Mute | Self::Silent, false) => machine.host().deafen(&inside),
            (Self::Cable | Self::Deaf, false) | (Self::Mute, true) => {}
        });
    }

    fn heal(self, side: &mut Side, minority: &[usize]) {
        side.at_once(|index, machine| match (self, minority.contains(&index)) {
            (Self::Cable, true) => machine.host().reconnect(),
            (Self::Cable, false) => {}
            _ => machine.host().deafen(&[]),
        });
    }
}
