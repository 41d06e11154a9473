//! Side by side: three stock Docker Engines and three of our daemons, each a swarm of one manager and two workers, then
//! of three managers, on hosts of their own, measured in turns in one run by the same client. `pool.rs` measures standalone
//! Swarm, which has nobody beside it: its original is published figures only.
//!
//! What is measured is in `measure/`, a room per question; what they are measured against is `side.rs`. Figures that
//! need other machines, other versions of Docker or hours are deliberately not here.

mod api;
mod crowd;
mod in_memory;
mod interrupt;
mod machine;
mod measure;
mod pool;
mod process;
mod service;
mod side;
mod simulated;
mod table;

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Result, anyhow};
use clap::Parser;

use crate::measure::{SUITES, Suite};
use crate::side::Side;
use crate::table::{Row, Table};

/// Runs the benchmarks against stock Docker and prints us, Docker and the ratio.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Arguments {
    /// Only the measurements whose name contains this (repeatable).
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Leaves stock Docker out.
    #[arg(long)]
    ours_only: bool,
    /// Makes up a part of a crowd: the bench starts itself so.
    #[arg(long, hide = true)]
    crowd: Option<String>,
    /// Simulates engines: the bench starts itself so.
    #[arg(long, hide = true, num_args = 1)]
    engines: Option<String>,
}

impl Arguments {
    fn asks_for(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.contains(only))
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(part) = &arguments.crowd {
        return crowd::run(part);
    }
    if let Some(part) = &arguments.engines {
        let mut words = part.rsplitn(3, ' ');
        let mut number = || -> Result<usize> { Ok(words.next().unwrap_or_default().parse()?) };
        let (containers, engines) = (number()?, number()?);
        return simulated::run(words.next().unwrap_or_default(), engines, containers);
    }
    interrupt::watch()?;
    let mut table = Table::default();
    if arguments.asks_for(in_memory::NAME) {
        table::progress(in_memory::NAME);
        table.extend(Row::merge(in_memory::NAME, contained(in_memory::scheduler), None));
    }
    if arguments.asks_for(pool::NAME) {
        table::progress(pool::NAME);
        table.extend(Row::merge(pool::NAME, contained(pool::measure), None));
    }
    for suite in &SUITES {
        run(suite, &arguments, &mut table);
    }
    table.print()
}

/// All that is asked for of one suite, on two swarms of its form.
fn run(suite: &Suite, arguments: &Arguments, table: &mut Table) {
    if !suite.measures.iter().any(|(name, _)| arguments.asks_for(name)) {
        return;
    }
    let mut ours = contained(|| Side::ours(suite.form));
    let mut stock = match arguments.ours_only {
        true => Err(anyhow!("left out")),
        false => contained(|| Side::stock(suite.form)),
    };
    for (name, measure) in suite.measures.iter().filter(|(name, _)| arguments.asks_for(name)) {
        let of = |side: &mut Result<Side>| match side {
            Ok(side) => contained(|| measure(side)),
            Err(error) => Err(anyhow!("no swarm to measure: {error:#}")),
        };
        table::progress(&format!("{name}: ours"));
        let ours = of(&mut ours);
        if !arguments.ours_only {
            table::progress(&format!("{name}: Docker"));
        }
        table.extend(Row::merge(name, ours, (!arguments.ours_only).then(|| of(&mut stock))));
    }
}

/// Does something whose failure, by panic too, must not end the run: the other measurements go on.
fn contained<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    interrupt::check()?;
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(anyhow!(text.unwrap_or_else(|| "it panicked".into())))
    })
}
