//! Linux capabilities: names, Docker's default set, and how `--cap-add` and `--cap-drop` change it.
//!
//! Mirrors moby's `oci/caps`. Which thread drops what is in the shim's executor.

use crate::error::{Error, Result};

/// Every capability in the kernel's order: the index is the bit.
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// What a container has unless told otherwise.
const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// A set of capabilities as the kernel's bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CapabilitySet(pub(crate) u64);

impl CapabilitySet {
    /// Whether the set has the capability of this full name.
    pub(crate) fn has(self, name: &str) -> bool {
        bit(name).is_some_and(|bit| self.0 & bit != 0)
    }

    /// The names in the kernel's order.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.iter().enumerate().filter(move |(n, _)| self.0 & (1 << n) != 0).map(|(_, name)| *name)
    }
}

/// The capabilities of a container.
pub(crate) fn effective(
    privileged: bool,
    add: &[String],
    drop: &[String],
) -> Result<CapabilitySet> {
    let all = (1u64 << NAMES.len()) - 1;
    let added = parse(add).map_err(|name| unknown("CapAdd", &name))?;
    let dropped = parse(drop).map_err(|name| unknown("CapDrop", &name))?;
    let base = match (&added, &dropped) {
        _ if privileged => return Ok(CapabilitySet(all)),
        (Named::All, Named::All) => 0,
        (Named::All, Named::Some(dropped)) => all & !dropped,
        (Named::Some(added), Named::All) => *added,
        (Named::Some(added), Named::Some(dropped)) => (default_bits() & !dropped) | added,
    };
    Ok(CapabilitySet(base))
}

enum Named {
    All,
    Some(u64),
}

fn parse(names: &[String]) -> std::result::Result<Named, String> {
    let mut bits = 0;
    let mut all = false;
    for name in names {
        let upper = name.trim().to_ascii_uppercase();
        if upper == "ALL" || upper == "CAP_ALL" {
            all = true;
            continue;
        }
        let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
        match bit(&full) {
            Some(bit) => bits |= bit,
            None => return Err(full),
        }
    }
    Ok(if all { Named::All } else { Named::Some(bits) })
}

fn bit(name: &str) -> Option<u64> {
    NAMES.iter().position(|known| *known == name).map(|at| 1 << at)
}

fn default_bits() -> u64 {
    DEFAULT.iter().filter_map(|name| bit(name)).sum()
}

fn unknown(field: &str, name: &str) -> Error {
    Error::invalid(format!("invalid {field}: unknown capability: \"{name}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(add: &[&str], drop: &[&str]) -> std::result::Result<Vec<&'static str>, String> {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        effective(false, &own(add), &own(drop))
            .map(|set| set.names().collect())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn tweaks_the_default_set() {
        assert_eq!(names(&[], &[]).map(|n| n.len()), Ok(14));
        assert_eq!(names(&["net_admin"], &["all"]), Ok(vec!["CAP_NET_ADMIN"]));
        assert_eq!(names(&["ALL"], &["SYS_ADMIN"]).map(|n| n.len()), Ok(40));
        assert_eq!(names(&["SYS_TIME"], &["CAP_MKNOD"]).map(|n| n.len()), Ok(14));
        let message = "invalid CapAdd: unknown capability: \"CAP_FOO\"";
        assert_eq!(names(&["foo"], &[]), Err(message.to_owned()));
    }
}
