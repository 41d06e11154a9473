//! Side by side: three stock Docker Engines and three of our daemons, each a swarm of one manager and two workers on
//! hosts of their own, measured in turns in one run by the same client.
//!
//! What is measured is in `measure/`, a room per question; what they are measured against is `side.rs`. Figures that
//! need other machines, other versions of Docker or hours are deliberately not here.

mod api;
mod interrupt;
mod measure;
mod process;
mod service;
mod side;
mod table;

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Result, anyhow};
use clap::Parser;

use crate::measure::MEASURES;
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
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    interrupt::watch()?;
    let ours = contained(Side::ours);
    let stock = if arguments.ours_only { Err(anyhow!("left out")) } else { contained(Side::stock) };
    let mut table = Table::default();
    for (name, measure) in MEASURES {
        if !arguments.only.is_empty() && !arguments.only.iter().any(|only| name.contains(only)) {
            continue;
        }
        let of = |side: &Result<Side>| match side {
            Ok(side) => contained(|| measure(side)),
            Err(error) => Err(anyhow!("no swarm to measure: {error:#}")),
        };
        table::progress(&format!("{name}: ours"));
        let ours = of(&ours);
        if !arguments.ours_only {
            table::progress(&format!("{name}: Docker"));
        }
        table.extend(Row::merge(name, ours, (!arguments.ours_only).then(|| of(&stock))));
    }
    table.print()
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
