//! What the demonstration needs of this machine. All that is missing is named at once, before anything is touched.

use std::fs;

use anyhow::{Context as _, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use swarm_network::nft;

use super::cgroups;
use super::keeper::on_scratch_thread;

/// Capabilities by their bit in /proc/self/status (capabilities(7)).
const CAPABILITIES: [(&str, u32); 2] = [("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21)];

/// Refuses with everything that is missing.
pub(super) fn check() -> anyhow::Result<()> {
    let mut missing = rights();
    if missing.is_empty() {
        missing.extend(features());
    }
    if !missing.is_empty() {
        bail!("the demonstration can't run here:\n  - {}", missing.join("\n  - "));
    }
    Ok(())
}

fn rights() -> Vec<String> {
    if !nix::unistd::geteuid().is_root() {
        return vec!["it needs root to make hosts and containers: run it with sudo".to_owned()];
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let has = effective_capabilities(&status);
    CAPABILITIES
        .iter()
        .filter(|(_, bit)| has & (1 << bit) == 0)
        .map(|(name, _)| {
            format!("it needs the capability {name}, which root lacks here (in a container?)")
        })
        .collect()
}

fn effective_capabilities(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}

fn features() -> Vec<String> {
    let checks = [
        ("nftables", packet_rules()),
        ("overlayfs", overlay()),
        ("cgroups", cgroups::available().then_some(()).context("no hierarchy is mounted")),
    ];
    let missing = checks.into_iter().filter_map(|(what, result)| {
        result.err().map(|error| format!("it needs {what}: {error:#}"))
    });
    missing.collect()
}

/// Both the command and the kernel's part, in a network that nobody sees.
fn packet_rules() -> anyhow::Result<()> {
    on_scratch_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET)?;
        Ok(nft::apply("add table ip probe\n")?)
    })
}

/// Whether the folder for temporary files can carry overlays, in a mount namespace that nobody sees.
fn overlay() -> anyhow::Result<()> {
    let parent = std::env::temp_dir();
    let folder = nix::unistd::mkdtemp(&parent.join("swarm-probe-XXXXXX"))?;
    let mounted = on_scratch_thread(|| {
        // Threads share their root and working folders until told otherwise.
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
        for name in ["lower", "upper", "work", "merged"] {
            fs::create_dir(folder.join(name))?;
        }
        let at = |name: &str| folder.join(name).display().to_string();
        let options =
            format!("lowerdir={},upperdir={},workdir={}", at("lower"), at("upper"), at("work"));
        mount(
            Some("overlay"),
            &folder.join("merged"),
            Some("overlay"),
            MsFlags::empty(),
            Some(options.as_str()),
        )?;
        Ok(())
    });
    let removed = fs::remove_dir_all(&folder);
    mounted.with_context(|| {
        format!("an overlay can't be mounted in {} (TMPDIR names another place)", parent.display())
    })?;
    Ok(removed?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_capabilities() {
        for (status, expect) in [
            ("Name:\tx\nCapEff:\t0000000000201000\n", (1 << 21) | (1 << 12)),
            ("CapPrm:\tffff\n", 0),
            ("CapEff:\tnone\n", 0),
        ] {
            assert_eq!(effective_capabilities(status), expect, "{status}");
        }
    }
}
