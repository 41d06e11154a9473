//! Sets of CPUs and memory nodes (`--cpuset-cpus`, `--cpuset-mems`) against what the machine has.
//!
//! The text is the kernel's list format: numbers and ranges between commas. Mirrors moby's `sysinfo` checks.

use std::collections::BTreeSet;
use std::fs;

use bollard_stubs::models::HostConfig;

use crate::error::{Error, Result};

const CPUS_ONLINE: &str = "/sys/devices/system/cpu/online";
const MEMORY_NODES_ONLINE: &str = "/sys/devices/system/node/online";
/// A machine without memory nodes in its `sysfs` has the one.
const ONE_MEMORY_NODE: &str = "0";
/// No machine has more; a longer range is a slip, and would take long to list.
const NUMBER_MAX: u32 = 8192;

/// Checks the sets of a container against this machine's.
pub(super) fn check(host: &HostConfig) -> Result<()> {
    let online = |path, otherwise: &str| {
        fs::read_to_string(path).map_or_else(|_| otherwise.to_owned(), |text| text.trim().into())
    };
    if let Some(cpus) = host.cpuset_cpus.as_deref().filter(|text| !text.is_empty()) {
        check_set(cpus, "cpuset cpus", "Requested CPUs are not available", || {
            online(CPUS_ONLINE, cpus)
        })?;
    }
    if let Some(nodes) = host.cpuset_mems.as_deref().filter(|text| !text.is_empty()) {
        check_set(nodes, "cpuset mems", "Requested memory nodes are not available", || {
            online(MEMORY_NODES_ONLINE, ONE_MEMORY_NODE)
        })?;
    }
    Ok(())
}

fn check_set(
    wanted: &str,
    field: &str,
    refusal: &str,
    available: impl FnOnce() -> String,
) -> Result<()> {
    let Some(numbers) = parse(wanted) else {
        return Err(Error::invalid(format!("Invalid value {wanted} for {field}")));
    };
    let available = available();
    match numbers.is_subset(&parse(&available).unwrap_or_default()) {
        true => Ok(()),
        false => {
            Err(Error::invalid(format!("{refusal} - requested {wanted}, available: {available}")))
        }
    }
}

fn parse(text: &str) -> Option<BTreeSet<u32>> {
    let number = |text: &str| text.trim().parse().ok().filter(|number| *number < NUMBER_MAX);
    let mut numbers = BTreeSet::new();
    for part in text.split(',') {
        match part.split_once('-') {
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last)?);
                if first > last {
                    return None;
                }
                numbers.extend(first..=last);
            }
            None => {
                numbers.insert(number(part)?);
            }
        }
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::check_set;

    #[test]
    fn sets_that_the_machine_lacks_are_refused() {
        let unknown = "Requested CPUs are not available - requested";
        for (wanted, available, refusal) in [
            ("0", "0-1", None),
            ("0-1", "0-1", None),
            ("0,3", "0-1,3", None),
            ("2", "0-1", Some(format!("{unknown} 2, available: 0-1"))),
            ("1-99", "0-1", Some(format!("{unknown} 1-99, available: 0-1"))),
            ("1-0", "0-1", Some("Invalid value 1-0 for cpuset cpus".to_owned())),
            ("a", "0-1", Some("Invalid value a for cpuset cpus".to_owned())),
            ("0,", "0-1", Some("Invalid value 0, for cpuset cpus".to_owned())),
            ("0-4000000000", "0-1", Some("Invalid value 0-4000000000 for cpuset cpus".to_owned())),
        ] {
            let checked =
                check_set(wanted, "cpuset cpus", "Requested CPUs are not available", || {
                    available.to_owned()
                });
            assert_eq!(checked.err().map(|error| error.to_string()), refusal, "{wanted}");
        }
    }
}
