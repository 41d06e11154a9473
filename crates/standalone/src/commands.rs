//! The commands of docker/swarm 1.2.9: `manage`, `join`, `list`, `create`, with its flags, variables, defaults and words.

mod create;
mod flags;
mod help;
mod join;
mod list;
mod manage;
mod serve;
mod tls;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use flags::{Flag, Given, Kind};

use crate::discovery::{Source, StoreUrl};
use crate::store::Store;
use crate::text::log_time;
use crate::{log, print, store};

/// Flags before the command.
const GLOBAL: [Flag; 5] = [
    Flag { names: &["debug"], kind: Kind::Switch, usage: "debug mode", env: "DEBUG" },
    Flag {
        names: &["log-level", "l"],
        kind: Kind::Text("info"),
        usage: "Log level (options: debug, info, warn, error, fatal, panic)",
        env: "",
    },
    Flag {
        names: &["experimental"],
        kind: Kind::Switch,
        usage: "enable experimental features",
        env: "",
    },
    Flag { names: &["help", "h"], kind: Kind::Switch, usage: "show help", env: "" },
    Flag { names: &["version", "v"], kind: Kind::Switch, usage: "print the version", env: "" },
];

/// Where the discovery argument may come from instead.
const DISCOVERY_VARIABLE: &str = "SWARM_DISCOVERY";

/// Options of discovery, for every command that has one.
const DISCOVERY_OPTIONS: Flag =
    Flag { names: &["discovery-opt"], kind: Kind::List, usage: "discovery options", env: "" };

/// A command.
#[derive(Debug)]
struct Command {
    /// Its name, and its short one.
    names: [&'static str; 2],
    usage: &'static str,
    flags: &'static [Flag],
    has_discovery: bool,
    run: fn(&Call) -> Result<(), Stop>,
}

const COMMANDS: [&Command; 4] =
    [&create::COMMAND, &list::COMMAND, &manage::COMMAND, &join::COMMAND];

/// How a command ends early.
#[derive(Debug)]
enum Stop {
    /// A last line in the log.
    Fatal(String),
    /// A last line on standard error, with the time.
    Plain(String),
}

/// A command as it was called.
#[derive(Debug)]
struct Call {
    flags: &'static [Flag],
    given: Given,
    is_debug: bool,
    is_experimental: bool,
}

impl Call {
    /// The one argument, or what stands in for it; empty where there is neither.
    fn discovery(&self) -> String {
        match self.given.arguments.as_slice() {
            [only] => only.clone(),
            _ => std::env::var(DISCOVERY_VARIABLE).unwrap_or_default(),
        }
    }

    /// What the discovery argument and its options name.
    fn source(&self, discovery: &str) -> Result<Source, String> {
        let mut options = BTreeMap::new();
        for option in self.given.list("discovery-opt") {
            let (key, value) =
                option.split_once('=').ok_or("--discovery-opt must contain key=value strings")?;
            options.insert(key.to_owned(), value.to_owned());
        }
        Source::parse(discovery, &options).map_err(|error| error.to_string())
    }

    fn text(&self, name: &str) -> String {
        self.given.text(self.flags, name)
    }
}

/// Runs what waits for others to its end.
fn run_async<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(work)
}

/// Opens a store, and says how it is spoken to.
fn open_store(url: &StoreUrl) -> Result<Arc<dyn Store>, String> {
    let with = if url.tls.is_some() { "with" } else { "without" };
    tracing::info!("Initializing discovery {with} TLS");
    store::open(url).map_err(|error| error.to_string())
}

/// Runs a command line of standalone Swarm; none where it is none of ours.
pub fn run(words: &[String]) -> Option<ExitCode> {
    let env = |name: &str| std::env::var(name).ok();
    let begin = words.iter().position(|word| !word.starts_with('-'))?;
    // `-l debug` has its value in a word of its own.
    let takes_value =
        |word: &String| ["-l", "--l", "-log-level", "--log-level"].contains(&word.as_str());
    let begin = match begin.checked_sub(1).and_then(|at| words.get(at)).is_some_and(takes_value) {
        true => {
            begin + 1 + words.get(begin + 1..)?.iter().position(|word| !word.starts_with('-'))?
        }
        false => begin,
    };
    let command =
        COMMANDS.into_iter().find(|command| command.names.contains(&words[begin].as_str()))?;
    let global = match Given::read(&GLOBAL, &words[..begin], env) {
        Ok(global) => global,
        Err(error) => return Some(fail(&error.to_string())),
    };
    let level = match global.is_on("debug") && !global.has("log-level") {
        true => "debug".to_owned(),
        false => global.text(&GLOBAL, "log-level"),
    };
    if let Err(error) = log::begin(&level) {
        return Some(fail(&error));
    }
    let own = &words[begin + 1..];
    if own.iter().any(|word| ["-h", "--h", "-help", "--help"].contains(&word.as_str())) {
        print(&help::of(command));
        return Some(ExitCode::SUCCESS);
    }
    let given = match Given::read(command.flags, own, env) {
        Ok(given) => given,
        Err(error) => {
            print(&format!("Incorrect Usage.\n\n{}", help::of(command)));
            return Some(fail(&error.to_string()));
        }
    };
    let call = Call {
        flags: command.flags,
        given,
        is_debug: global.is_on("debug"),
        is_experimental: global.is_on("experimental"),
    };
    Some(match (command.run)(&call) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop::Fatal(message)) => fail(&message),
        Err(Stop::Plain(message)) => {
            crate::print_error(&format!("{} {message}\n", log_time(SystemTime::now())));
            ExitCode::FAILURE
        }
    })
}

fn fail(message: &str) -> ExitCode {
    log::fatal(message);
    ExitCode::FAILURE
}
