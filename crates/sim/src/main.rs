//! `swarm-sim --seeds 0..` runs seed after seed until a check fails or it is stopped; `swarm-sim --seed N` replays one
//! and tells everything that happens.
#![expect(clippy::print_stdout, reason = "a command's output")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use swarm_sim::{Bug, Options, Report, run};

const USAGE: &str = "\
Simulates whole clusters in one thread, each from a seed.

Usage: swarm-sim [--seeds FROM..[TO] | --seed N] [--seconds N] [--bug NAME] [--labels] [--keep-going] [--quiet]

  --seeds FROM..TO  Runs these seeds, or all from FROM on until it is stopped; 0..20 where nothing is asked for
  --seed N          Replays one seed, and tells what happens on the standard error
  --seconds N       How long faults happen in each run, in virtual time; 60 where nothing is asked for
  --bug NAME        Plants a bug, to see it found
  --labels          Lets clients ask for what Docker does not know, such as schedules
  --keep-going      Goes on after a failure
  --quiet           Replays without telling";

/// What the command line asks for.
struct Wanted {
    from: u64,
    to: u64,
    options: Options,
    keeps_going: bool,
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
    let Wanted { from, to, options, keeps_going } = wanted(std::env::args().skip(1))?;
    let mut failures = 0;
    for seed in from..to {
        let start = Instant::now();
        match run(seed, options) {
            Ok(report) => println!("{} in {:.1?}", describe(&report), start.elapsed()),
            Err(failure) if options.is_loud => bail!("{}", failure.violation),
            Err(failure) if keeps_going => {
                failures += 1;
                println!("{failure}");
            }
            Err(failure) => bail!("{failure}"),
        }
    }
    match failures {
        0 => Ok(()),
        _ => bail!("{failures} seeds failed"),
    }
}

fn wanted(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Wanted> {
    let mut wanted = Wanted { from: 0, to: 20, options: Options::default(), keeps_going: false };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} wants a value"));
        match argument.as_str() {
            "--seed" => {
                wanted.from = value()?.parse().context("a seed is a number")?;
                wanted.to = wanted.from.saturating_add(1);
                wanted.options.is_loud = true;
            }
            "--seeds" => (wanted.from, wanted.to) = range(&value()?)?,
            "--seconds" => {
                let seconds = value()?.parse().context("seconds are a number")?;
                wanted.options.stormy = Duration::from_secs(seconds);
            }
            "--bug" => {
                wanted.options.bug = Some(value()?.parse::<Bug>().map_err(anyhow::Error::msg)?);
            }
            "--labels" => wanted.options.has_labels = true,
            "--keep-going" => wanted.keeps_going = true,
            "--quiet" => wanted.options.is_loud = false,
            _ => bail!("{USAGE}"),
        }
    }
    Ok(wanted)
}

/// `FROM..TO`, or `FROM..` for all that follow.
fn range(text: &str) -> anyhow::Result<(u64, u64)> {
    let (from, to) = text.split_once("..").context("seeds are given as FROM..TO or FROM..")?;
    let number = |text: &str| text.parse::<u64>().context("a seed is a number");
    let to = if to.is_empty() { u64::MAX } else { number(to)? };
    Ok((number(from)?, to))
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
