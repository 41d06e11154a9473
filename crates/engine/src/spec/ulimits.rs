//! Resource limits (`--ulimit`) by Docker's names.

use bollard_stubs::models::HostConfig;
use oci_spec::runtime::{PosixRlimit, PosixRlimitBuilder, PosixRlimitType};

use super::built;
use crate::error::{Error, Result};

const NAMES: [(&str, PosixRlimitType); 16] = [
    ("core", PosixRlimitType::RlimitCore),
    ("cpu", PosixRlimitType::RlimitCpu),
    ("data", PosixRlimitType::RlimitData),
    ("fsize", PosixRlimitType::RlimitFsize),
    ("locks", PosixRlimitType::RlimitLocks),
    ("memlock", PosixRlimitType::RlimitMemlock),
    ("msgqueue", PosixRlimitType::RlimitMsgqueue),
    ("nice", PosixRlimitType::RlimitNice),
    ("nofile", PosixRlimitType::RlimitNofile),
    ("nproc", PosixRlimitType::RlimitNproc),
    ("rss", PosixRlimitType::RlimitRss),
    ("rtprio", PosixRlimitType::RlimitRtprio),
    ("rttime", PosixRlimitType::RlimitRttime),
    ("sigpending", PosixRlimitType::RlimitSigpending),
    ("stack", PosixRlimitType::RlimitStack),
    ("as", PosixRlimitType::RlimitAs),
];

/// The limits of the specification.
pub(crate) fn rlimits(host: &HostConfig) -> Result<Vec<PosixRlimit>> {
    let wanted = host.ulimits.iter().flatten();
    wanted
        .map(|limit| {
            let name = limit.name.as_deref().unwrap_or_default();
            let known = NAMES.iter().find(|(known, _)| *known == name);
            let (_, kind) =
                known.ok_or_else(|| Error::invalid(format!("invalid ulimit type: {name}")))?;
            let soft = value(limit.soft);
            let hard = limit.hard.map_or(soft, |hard| value(Some(hard)));
            if soft > hard {
                return Err(Error::invalid(format!(
                    "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
                )));
            }
            built(PosixRlimitBuilder::default().typ(*kind).soft(soft).hard(hard).build())
        })
        .collect()
}

/// -1 means unlimited.
fn value(limit: Option<i64>) -> u64 {
    match limit {
        Some(limit) if limit < 0 => u64::MAX,
        Some(limit) => u64::try_from(limit).unwrap_or(u64::MAX),
        None => 0,
    }
}
