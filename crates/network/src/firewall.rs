//! Living with another firewall on the host: letting the bridge's traffic pass an iptables FORWARD policy of DROP.
//!
//! A dockerd that ran here leaves that policy behind, and a packet that one table drops is dropped, whatever ours
//! say. So when the policy is found at start, accept rules for the bridge go in front of that chain; a dockerd
//! that starts later needs a restart of this daemon. Nothing is done to a firewall that lets packets pass.

use std::fs;
use std::process::{Command, Stdio};

use crate::{Result, nft};

const LEGACY_TABLES: &str = "/proc/net/ip_tables_names";

/// Adds accept rules for the bridge in front of a FORWARD chain that drops by default.
pub fn admit(bridge: &str) -> Result<()> {
    admit_nft(bridge)?;
    if legacy_in_use() {
        for direction in ["-i", "-o"] {
            let rule = ["FORWARD", direction, bridge, "-j", "ACCEPT"];
            if !legacy("-C", &rule) && legacy_policy_drops() && !legacy("-I", &rule) {
                tracing::warn!(
                    bridge,
                    "iptables drops forwarded packets and could not be told to let containers pass"
                );
            }
        }
    }
    Ok(())
}

/// Takes those rules away again.
pub fn expel(bridge: &str) -> Result<()> {
    let chain = forward_chain(true);
    let handles = chain.lines().filter(|line| line.contains(&comment(bridge))).filter_map(handle);
    let script: String =
        handles.map(|handle| format!("delete rule ip filter FORWARD handle {handle}\n")).collect();
    if !script.is_empty() {
        nft::apply(&script)?;
    }
    if legacy_in_use() {
        for direction in ["-i", "-o"] {
            legacy("-D", &["FORWARD", direction, bridge, "-j", "ACCEPT"]);
        }
    }
    Ok(())
}

fn admit_nft(bridge: &str) -> Result<()> {
    let chain = forward_chain(false);
    if !chain.contains("policy drop") || chain.contains(&comment(bridge)) {
        return Ok(());
    }
    let comment = comment(bridge);
    nft::apply(&format!(
        "insert rule ip filter FORWARD iifname \"{bridge}\" counter accept {comment}\n\
         insert rule ip filter FORWARD oifname \"{bridge}\" counter accept {comment}\n"
    ))
}

/// The chain that iptables calls FORWARD as `nft` lists it; empty if there is none.
fn forward_chain(with_handles: bool) -> String {
    let flags: &[&str] = if with_handles { &["-a"] } else { &[] };
    nft::run(&[flags, &["list", "chain", "ip", "filter", "FORWARD"]].concat(), "")
        .unwrap_or_default()
}

fn comment(bridge: &str) -> String {
    format!("comment \"swarm bridge {bridge}\"")
}

/// The number at the end of a line of `nft -a`.
fn handle(line: &str) -> Option<u64> {
    line.rsplit_once("# handle ").and_then(|(_, number)| number.trim().parse().ok())
}

fn legacy_in_use() -> bool {
    fs::read_to_string(LEGACY_TABLES)
        .is_ok_and(|tables| tables.lines().any(|table| table == "filter"))
}

fn legacy_policy_drops() -> bool {
    Command::new("iptables-legacy")
        .args(["-w", "-S", "FORWARD"])
        .output()
        .is_ok_and(|output| output.stdout.starts_with(b"-P FORWARD DROP"))
}

fn legacy(action: &str, rule: &[&str]) -> bool {
    Command::new("iptables-legacy")
        .args(["-w", action])
        .args(rule)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handle_of_a_line() {
        for (line, expect) in [
            ("\t\tiifname \"swarm0\" accept comment \"swarm bridge swarm0\" # handle 12", Some(12)),
            ("\t\tiifname \"swarm0\" accept", None),
            ("\tchain FORWARD { # handle x", None),
        ] {
            assert_eq!(handle(line), expect, "{line}");
        }
    }
}
