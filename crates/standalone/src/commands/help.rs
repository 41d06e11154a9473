//! What a command's `--help` prints, in the layout of the original's 1.2.8; in 1.2.9 it crashed.

use super::Command;
use super::flags::{Flag, Kind};

const DISCOVERY: &str = "Arguments:
   <discovery>    discovery service to use [$SWARM_DISCOVERY]
                   * consul://<ip>/<path>
                   * etcd://<ip1>,<ip2>/<path>
                   * file://path/to/file
                   * zk://<ip1>,<ip2>/<path>
                   * [nodes://]<ip1>,<ip2>

";

/// A command's help.
pub(super) fn of(command: &Command) -> String {
    let name = command.names[0];
    let options = if command.flags.is_empty() { "" } else { " [OPTIONS]" };
    let argument = if command.has_discovery { " <discovery>" } else { "" };
    let mut text = format!("Usage: swarm {name}{options}{argument}\n\n{}\n", command.usage);
    if command.has_discovery {
        text.push_str(&format!("\n{DISCOVERY}"));
    }
    if !command.flags.is_empty() {
        let shown: Vec<(String, String)> = command.flags.iter().map(row).collect();
        let width = shown.iter().map(|(flag, _)| flag.len()).max().unwrap_or_default();
        text.push_str("Options:\n");
        for (flag, usage) in shown {
            text.push_str(&format!("   {flag:<width$}  {usage}\n"));
        }
    }
    text
}

fn row(flag: &Flag) -> (String, String) {
    let dashed =
        |name: &&str| if name.len() > 1 { format!("--{name}") } else { format!("-{name}") };
    let names: Vec<String> = flag.names.iter().map(dashed).collect();
    let value = match flag.kind {
        Kind::Switch | Kind::Text("") => String::new(),
        Kind::Text(default) => format!(" {default:?}"),
        Kind::List => format!(" [{} option]", names[0]),
    };
    let env = if flag.env.is_empty() { String::new() } else { format!(" [${}]", flag.env) };
    (format!("{}{value}", names.join(", ")), format!("{}{env}", flag.usage))
}
