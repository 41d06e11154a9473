//! From an OCI seccomp section to BPF programs, with seccompiler.
//!
//! seccompiler knows one action per filter, so a profile becomes several that the kernel runs one after another; the
//! strictest answer wins (seccomp(2)). Programs of another architecture are killed, which is stricter than Docker.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, OnceLock, PoisonError};

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};
use seccompiler::{BpfProgram, TargetArch, compile_from_json};
use serde_json::{Value, json};

use super::profile::default_profile;
use crate::error::{Error, Result};
use crate::spec::capabilities::CapabilitySet;

/// Compiled profiles kept; nearly all containers share one.
const CACHE_MAX: usize = 16;

/// Compiles a profile into the shim's file format: filters one after another, each with its length before it.
pub(crate) fn compile(profile: &LinuxSeccomp) -> Result<Vec<u8>> {
    static CACHE: OnceLock<Mutex<HashMap<String, Vec<u8>>>> = OnceLock::new();
    let key = serde_json::to_string(profile).map_err(failed)?;
    let cache = CACHE.get_or_init(Mutex::default);
    if let Some(known) = cache.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return Ok(known.clone());
    }
    let mut bytes = Vec::new();
    for filter in filters(profile)? {
        write_filter(&compile_one(&filter)?, &mut bytes);
    }
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    if cache.len() < CACHE_MAX {
        cache.insert(key, bytes.clone());
    }
    Ok(bytes)
}

/// Compiles the default profile for Docker's default capabilities, so that the first container need not wait.
pub(crate) fn warm_up(capabilities: CapabilitySet) -> Result<()> {
    default_profile(capabilities).and_then(|profile| compile(&profile)).map(drop)
}

/// The profile as seccompiler's JSON filters.
fn filters(profile: &LinuxSeccomp) -> Result<Vec<Value>> {
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    let mut groups: BTreeMap<String, (Value, Vec<Value>)> = BTreeMap::new();
    let mut permitted = Vec::new();
    for rule in profile.syscalls().iter().flatten() {
        let group = action(rule.action(), rule.errno_ret())?;
        let rules = rules(rule);
        if group == "allow" {
            permitted.extend(rules);
        } else if group != default {
            let names = rules.iter().map(|rule| json!({ "syscall": rule["syscall"] }));
            permitted.extend(names);
            groups.entry(group.to_string()).or_insert((group, Vec::new())).1.extend(rules);
        }
    }
    let filter = |mismatch: &Value, matched: &Value, rules: &[Value]| json!({ "main": { "mismatch_action": mismatch, "match_action": matched, "filter": rules } });
    let allow = json!("allow");
    let mut all: Vec<Value> =
        groups.values().map(|(group, rules)| filter(&allow, group, rules)).collect();
    if default != allow {
        all.push(filter(&default, &allow, &permitted));
    }
    Ok(all)
}

/// One seccompiler rule per known system call; what this architecture lacks can't be called anyway.
fn rules(rule: &LinuxSyscall) -> Vec<Value> {
    let args: Vec<Value> = rule.args().iter().flatten().map(condition).collect();
    let known = rule.names().iter().filter(|name| is_known(name));
    known
        .map(|name| match args.is_empty() {
            true => json!({ "syscall": name }),
            false => json!({ "syscall": name, "args": args }),
        })
        .collect()
}

fn condition(arg: &LinuxSeccompArg) -> Value {
    use LinuxSeccompOperator as Op;
    let (operator, value) = match arg.op() {
        Op::ScmpCmpNe => (json!("ne"), arg.value()),
        Op::ScmpCmpLt => (json!("lt"), arg.value()),
        Op::ScmpCmpLe => (json!("le"), arg.value()),
        Op::ScmpCmpEq => (json!("eq"), arg.value()),
        Op::ScmpCmpGe => (json!("ge"), arg.value()),
        Op::ScmpCmpGt => (json!("gt"), arg.value()),
        // libseccomp has the mask first and the wanted bits second.
        Op::ScmpCmpMaskedEq => {
            (json!({ "masked_eq": arg.value() }), arg.value_two().unwrap_or_default())
        }
    };
    json!({ "index": arg.index(), "type": "qword", "op": operator, "val": value })
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<Value> {
    use LinuxSeccompAction as Action;
    let eperm = nix::errno::Errno::EPERM as u32;
    Ok(match action {
        Action::ScmpActAllow => json!("allow"),
        Action::ScmpActErrno => json!({ "errno": errno.unwrap_or(eperm) }),
        Action::ScmpActTrace => json!({ "trace": errno.unwrap_or(eperm) }),
        Action::ScmpActKill | Action::ScmpActKillThread => json!("kill_thread"),
        Action::ScmpActKillProcess => json!("kill_process"),
        Action::ScmpActTrap => json!("trap"),
        Action::ScmpActLog => json!("log"),
        Action::ScmpActNotify => {
            let message = "seccomp profiles with SCMP_ACT_NOTIFY are not supported by this engine";
            return Err(Error::invalid(message));
        }
    })
}

/// Whether seccompiler knows the system call on this architecture. It keeps its table to itself, so each name is asked
/// about once.
fn is_known(name: &str) -> bool {
    static KNOWN: OnceLock<Mutex<(HashSet<String>, HashSet<String>)>> = OnceLock::new();
    let cache = KNOWN.get_or_init(Mutex::default);
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    if cache.0.contains(name) || cache.1.contains(name) {
        return cache.0.contains(name);
    }
    let probe = json!({ "main": {
        "mismatch_action": "log", "match_action": "allow", "filter": [{ "syscall": name }],
    } });
    let known = compile_one(&probe).is_ok();
    let list = if known { &mut cache.0 } else { &mut cache.1 };
    list.insert(name.to_owned());
    known
}

fn compile_one(filter: &Value) -> Result<BpfProgram> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(failed)?;
    let text = filter.to_string();
    let compiled = compile_from_json(text.as_bytes(), architecture).map_err(failed)?;
    Ok(compiled.into_values().next().unwrap_or_default())
}

fn write_filter(program: &BpfProgram, out: &mut Vec<u8>) {
    let length = u32::try_from(program.len() * 8).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    for instruction in program {
        out.extend_from_slice(&instruction.code.to_ne_bytes());
        out.extend_from_slice(&[instruction.jt, instruction.jf]);
        out.extend_from_slice(&instruction.k.to_ne_bytes());
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::invalid(format!("compiling the seccomp profile: {error}")).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiles_the_default_profile() {
        let profile = default_profile(CapabilitySet(0)).expect("the default profile");
        // One filter answers ENOSYS to clone3, the other permits what is listed.
        assert_eq!(filters(&profile).map(|f| f.len()).ok(), Some(2));
        let bytes = compile(&profile).expect("compiles");
        assert!(bytes.len() > 1000);
        assert!(is_known("read") && !is_known("no_such_call"));
    }
}
