//! The leader goes, by SIGTERM or by SIGKILL, while eight clients write through the managers that stay; of five
//! managers another one goes with it. What was acknowledged must be there at the end, on every manager.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::load::{Acknowledged, Attempt, CLIENTS, Load, first_after};
use super::well::{await_successor, await_well};
use super::{Goal, Samples};
use crate::machine::Machine;
use crate::side::Side;

/// The clients write for so long before the leader goes, and after its successor has taken a write.
const CALM: Duration = Duration::from_millis(500);
/// As often as the figure's goal says; Docker takes seconds each time.
const ROUNDS: usize = 20;
const ROUNDS_STOCK: usize = 5;

/// SIGTERM: the longest pause between two accepted writes.
pub(super) fn handover(side: &mut Side) -> Result<Vec<Samples>> {
    let figure = "leader SIGTERMed: gap in accepted writes";
    let name = |round| format!("stop{round}");
    let values = rounds(side, ROUNDS_STOCK, 1, name, Machine::stop, |attempts, gone| {
        let around = attempts.iter().filter(|one| one.is_accepted() && one.over + CALM > gone);
        let mut accepted: Vec<Instant> = around.map(|one| one.over).collect();
        accepted.sort();
        accepted.windows(2).map(|pair| pair[1] - pair[0]).max()
    })?;
    Ok(vec![Samples::new(figure, Goal::Seconds(0.1), values)])
}

/// SIGKILL: from it to the first accepted write that was asked for after it.
pub(super) fn lost(side: &mut Side) -> Result<Vec<Samples>> {
    let figure = "leader SIGKILLed to first accepted write";
    let name = |round| format!("kill{round}");
    let values = rounds(side, count(side), 1, name, Machine::kill, to_first)?;
    Ok(vec![Samples::new(figure, Goal::Seconds(1.0), values)])
}

/// SIGKILL for the leader and for another manager, at once.
pub(super) fn two_lost(side: &mut Side) -> Result<Vec<Samples>> {
    let figure = "leader and another of five SIGKILLed to first accepted write";
    let name = |round| format!("two{round}");
    let values = rounds(side, count(side), 2, name, Machine::kill, to_first)?;
    Ok(vec![Samples::new(figure, Goal::Seconds(1.0), values)])
}

fn to_first(attempts: &[Attempt], gone: Instant) -> Option<Duration> {
    first_after(attempts, gone).map(|accepted| accepted - gone)
}

fn count(side: &Side) -> usize {
    if side.is_stock() { ROUNDS_STOCK } else { ROUNDS }
}

/// Lets the leader and those beside it go so many times, each time until the others take writes again and all is well.
fn rounds(
    side: &mut Side,
    count: usize,
    going: usize,
    name: impl Fn(usize) -> String,
    go: impl Fn(&mut Machine) + Sync,
    figure: impl Fn(&[Attempt], Instant) -> Option<Duration>,
) -> Result<Vec<f64>> {
    let (mut values, mut acknowledged) = (Vec::new(), Acknowledged::default());
    for round in 0..count {
        let leader = await_well(side)?;
        let (lost, others) = side.part(leader, going, round);
        let load = Load::start(side, &others, CLIENTS, &name(round));
        std::thread::sleep(CALM);
        let gone = Instant::now();
        side.at_once(|index, machine| lost.contains(&index).then(|| go(machine)));
        await_successor(side, others[0], &lost)?;
        std::thread::sleep(CALM);
        let attempts = load.end()?;
        let value = figure(&attempts, gone).context("no write was accepted")?;
        values.push(value.as_secs_f64());
        acknowledged.note(attempts);
        side.at_once(|index, machine| lost.contains(&index).then(|| machine.restart()));
    }
    await_well(side)?;
    acknowledged.check(side)?;
    Ok(values)
}
