//! The executable `swarm`: arguments, output and wiring; the only place for `anyhow`.
//!
//! One file, several lives: `swarm manage`, `swarm join`, `swarm list` and `swarm interlock` of standalone Swarm, whose
//! words are read as the originals read them; `swarm daemon` on every node of swarm mode, `swarm backup` and `swarm restore`,
//! `swarm demo` to look around, and `swarm shim`, which the
//! daemon starts per container and which must stay a process of one thread, so it is served before anything else.

mod backup;
mod client;
mod daemon;
mod demo;
mod memory;
mod output;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Docker Swarm, rebuilt: cluster and container engine in one executable.
#[derive(Debug, Parser)]
#[command(name = "swarm", version, about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node: container engine, Docker API and swarm membership
    Daemon(Box<daemon::Flags>),
    /// Write the state of this manager's swarm to a file
    Backup(backup::BackupFlags),
    /// Make a new swarm with the state in a backup, with this node as its only manager
    Restore(backup::RestoreFlags),
    /// Show a whole cluster on this one machine, and remove it again
    Demo(demo::Flags),
    /// The process that a demonstration lives under
    #[command(name = demo::keeper::COMMAND, hide = true)]
    DemoKeeper,
    /// The web service that a demonstration runs
    #[command(hide = true)]
    HelloWeb(demo::hello::Flags),
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|command| command == "shim") {
        return exit_code(swarm_engine::shim::main(&arguments[2..]));
    }
    // Options may come first.
    if arguments.iter().any(|word| ["manage", "m", "interlock"].contains(&word.as_str())) {
        memory::keep_trimmed();
    }
    let of_standalone = swarm_interlock::run(&arguments[1..]);
    if let Some(code) = of_standalone.or_else(|| swarm_standalone::run(&arguments[1..])) {
        return code;
    }
    let result = match Arguments::parse().command {
        Command::Daemon(flags) => daemon::run(*flags, &arguments[1..]),
        Command::Backup(flags) => backup::back_up(&flags),
        Command::Restore(flags) => backup::restore(&flags),
        Command::Demo(flags) => demo::run(&flags),
        Command::DemoKeeper => demo::keeper::run(),
        Command::HelloWeb(flags) => demo::hello::run(&flags),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
