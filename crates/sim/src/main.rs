//! `swarm-sim --seed N` replays a run, loudly; `swarm-sim --forever` runs until a check fails or it is stopped.
#![expect(clippy::print_stdout, reason = "a command's output")]

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, bail};
use swarm_sim::{Bug, Options, Report, run};

const USAGE: &str =
    "swarm-sim [--seed N] [--from N] [--count N | --forever] [--bug NAME] [--quiet]";

/// What the command line asks for.
struct Wanted {
    from: u64,
    count: u64,
    options: Options,
}

fn main() -> ExitCode {
    match command() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn command() -> anyhow::Result<()> {
    let Wanted { from, count, options } = wanted(std::env::args().skip(1))?;
    for seed in from..from.saturating_add(count) {
        let start = Instant::now();
        match run(seed, options) {
            Ok(report) => println!("{} in {:.1?}", describe(&report), start.elapsed()),
            Err(failure) if options.is_loud => bail!("{}", failure.violation),
            Err(failure) => bail!("{failure}"),
        }
    }
    Ok(())
}

fn wanted(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Wanted> {
    let mut wanted = Wanted { from: 0, count: 20, options: Options::default() };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} wants a value"));
        match argument.as_str() {
            "--seed" => {
                wanted.from = value()?.parse().context("a seed is a number")?;
                wanted.count = 1;
                wanted.options.is_loud = true;
            }
            "--from" => wanted.from = value()?.parse().context("a seed is a number")?,
            "--count" => wanted.count = value()?.parse().context("a count is a number")?,
            "--forever" => wanted.count = u64::MAX,
            "--bug" => {
                wanted.options.bug = Some(value()?.parse::<Bug>().map_err(anyhow::Error::msg)?);
            }
            "--quiet" => wanted.options.is_loud = false,
            _ => bail!("{USAGE}"),
        }
    }
    Ok(wanted)
}

fn describe(report: &Report) -> String {
    let Report { seed, digest, events, entries, terms, acknowledged, reads, tasks, virtual_time } =
        report;
    let seconds = virtual_time.as_secs();
    format!(
        "seed {seed}: {seconds} s of virtual time, {events} events, {terms} terms, {entries} entries, \
         {acknowledged} acknowledged writes, {reads} reads, {tasks} tasks, digest {digest:016x}"
    )
}
