//! Docker's seccomp profiles: rules that depend on the container's capabilities and the machine's architecture.
//!
//! Mirrors moby's `profiles/seccomp`: resolving a profile leaves a plain OCI `linux.seccomp`.

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompBuilder, LinuxSyscall,
    LinuxSyscallBuilder,
};
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::spec::capabilities::CapabilitySet;

const DEFAULT: &str = include_str!("default.json");
/// Go's name of this machine's architecture.
const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    syscalls: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    names: Vec<String>,
    /// The old form with one name per rule.
    name: Option<String>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    args: Option<Vec<LinuxSeccompArg>>,
    includes: Option<Condition>,
    excludes: Option<Condition>,
}

#[derive(Debug, Deserialize)]
struct Condition {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
}

/// Docker's default profile for a container with these capabilities.
pub(crate) fn default_profile(capabilities: CapabilitySet) -> Result<LinuxSeccomp> {
    parse(DEFAULT, capabilities)
}

/// Resolves a user's profile (its JSON text).
pub(crate) fn parse(text: &str, capabilities: CapabilitySet) -> Result<LinuxSeccomp> {
    let profile: Profile = serde_json::from_str(text).map_err(|e| {
        Error::invalid(format!("Decoding seccomp profile failed: {e}")).with_source(e)
    })?;
    let wanted = profile.syscalls.into_iter().filter(|rule| applies(rule, capabilities));
    let syscalls = wanted.map(resolve).collect::<std::result::Result<Vec<_>, _>>();
    let mut builder = LinuxSeccompBuilder::default().default_action(profile.default_action);
    if let Some(errno) = profile.default_errno_ret {
        builder = builder.default_errno_ret(errno);
    }
    syscalls
        .and_then(|syscalls| builder.syscalls(syscalls).build())
        .map_err(|e| Error::invalid(format!("Decoding seccomp profile failed: {e}")).with_source(e))
}

fn applies(rule: &Rule, capabilities: CapabilitySet) -> bool {
    let architecture = |list: &[String]| list.iter().any(|name| name == ARCHITECTURE);
    let included = rule.includes.as_ref().is_none_or(|condition| {
        condition.caps.iter().all(|cap| capabilities.has(cap))
            && (condition.arches.is_empty() || architecture(&condition.arches))
    });
    let excluded = rule.excludes.as_ref().is_some_and(|condition| {
        condition.caps.iter().any(|cap| capabilities.has(cap)) || architecture(&condition.arches)
    });
    included && !excluded
}

fn resolve(rule: Rule) -> std::result::Result<LinuxSyscall, OciSpecError> {
    let mut names = rule.names;
    names.extend(rule.name);
    let mut builder = LinuxSyscallBuilder::default().names(names).action(rule.action);
    if let Some(errno) = rule.errno_ret {
        builder = builder.errno_ret(errno);
    }
    if let Some(args) = rule.args.filter(|args| !args.is_empty()) {
        builder = builder.args(args);
    }
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_by_capability() {
        let permits = |bits: u64, name: &str| {
            let profile = default_profile(CapabilitySet(bits)).expect("the default profile");
            let rules = profile.syscalls().clone().unwrap_or_default();
            rules.iter().any(|rule| {
                rule.action() == LinuxSeccompAction::ScmpActAllow
                    && rule.args().is_none()
                    && rule.names().iter().any(|n| n == name)
            })
        };
        let sys_admin = 1 << 21;
        assert!(permits(0, "read") && !permits(0, "mount") && permits(sys_admin, "mount"));
        assert!(!permits(0, "clone3") && permits(sys_admin, "clone3"));
        let broken = parse("{", CapabilitySet(0)).map_err(|e| e.to_string());
        assert!(broken.is_err_and(|m| m.starts_with("Decoding seccomp profile failed")));
    }
}
