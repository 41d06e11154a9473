//! Device rules on cgroup v2, which has no devices controller: an eBPF program on the container's cgroup decides.
//!
//! libcontainer leaves this out without libbpf. Mirrors what runc generates: rules are tried from the last to the first,
//! the first that fits answers, and what no rule names is refused. Building the program is pure; loading is in `sys`.

use std::fs::File;
use std::io;
use std::path::Path;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use super::sys;

/// Kinds and accesses as the kernel passes them (`linux/bpf.h`).
const KIND_BLOCK: i32 = 1;
const KIND_CHARACTER: i32 = 2;
const ACCESS_MAKE: i32 = 1;
const ACCESS_READ: i32 = 2;
const ACCESS_WRITE: i32 = 4;
const ACCESS_ALL: i32 = ACCESS_MAKE | ACCESS_READ | ACCESS_WRITE;

/// Opcodes of the instructions used (`linux/bpf_common.h`).
const LOAD_WORD: u8 = 0x61;
const MOVE_REGISTER: u8 = 0xbf;
const MOVE: u8 = 0xb7;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP_UNEQUAL: u8 = 0x55;
const JUMP_UNEQUAL_REGISTER: u8 = 0x5d;
const EXIT: u8 = 0x95;

/// Registers: the answer, the context and then scratch, and what the program looks at.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// Puts a program for `rules` on a cgroup of the unified hierarchy.
pub(super) fn apply(cgroup: &Path, rules: &[LinuxDeviceCgroup]) -> io::Result<()> {
    let program = sys::load_device_program(&program(rules))?;
    sys::attach_device_program(&program, &File::open(cgroup)?)
}

/// One instruction in the kernel's form.
fn instruction(opcode: u8, to: u8, from: u8, offset: i16, immediate: i32) -> [u8; 8] {
    let [o0, o1] = offset.to_ne_bytes();
    let [i0, i1, i2, i3] = immediate.to_ne_bytes();
    [opcode, to | from << 4, o0, o1, i0, i1, i2, i3]
}

fn program(rules: &[LinuxDeviceCgroup]) -> Vec<[u8; 8]> {
    let mut all = vec![
        instruction(LOAD_WORD, KIND, CONTEXT, 0, 0),
        instruction(MOVE_REGISTER, ACCESS, KIND, 0, 0),
        instruction(AND, KIND, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        let block = block(rule);
        let fits_all = block.len() == answer(true).len();
        all.extend(block);
        // The kernel refuses programs with instructions that are never reached.
        if fits_all {
            return all;
        }
    }
    all.extend(answer(false));
    all
}

/// The tests of one rule; a test that fails jumps behind the block.
fn block(rule: &LinuxDeviceCgroup) -> Vec<[u8; 8]> {
    let mut tests: Vec<[u8; 8]> = Vec::new();
    let unequal = |register, value| instruction(JUMP_UNEQUAL, register, 0, 0, value);
    match rule.typ() {
        Some(LinuxDeviceType::B) => tests.push(unequal(KIND, KIND_BLOCK)),
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => tests.push(unequal(KIND, KIND_CHARACTER)),
        _ => {}
    }
    let access = access(rule.access().as_deref().unwrap_or("rwm"));
    if access != ACCESS_ALL {
        tests.push(instruction(MOVE_REGISTER, CONTEXT, ACCESS, 0, 0));
        tests.push(instruction(AND, CONTEXT, 0, 0, access));
        tests.push(instruction(JUMP_UNEQUAL_REGISTER, CONTEXT, ACCESS, 0, 0));
    }
    for (register, number) in [(MAJOR, rule.major()), (MINOR, rule.minor())] {
        if let Some(number) = number.and_then(|n| i32::try_from(n).ok()).filter(|n| *n >= 0) {
            tests.push(unequal(register, number));
        }
    }
    tests.extend(answer(rule.allow()));
    let length = tests.len();
    for (at, test) in tests.iter_mut().enumerate() {
        if test[0] == JUMP_UNEQUAL || test[0] == JUMP_UNEQUAL_REGISTER {
            let behind = i16::try_from(length - at - 1).unwrap_or(i16::MAX);
            test[2..4].copy_from_slice(&behind.to_ne_bytes());
        }
    }
    tests
}

fn answer(allow: bool) -> [[u8; 8]; 2] {
    [instruction(MOVE, ANSWER, 0, 0, i32::from(allow)), instruction(EXIT, 0, 0, 0, 0)]
}

fn access(letters: &str) -> i32 {
    let bit = |letter| match letter {
        'm' => ACCESS_MAKE,
        'r' => ACCESS_READ,
        'w' => ACCESS_WRITE,
        _ => 0,
    };
    letters.chars().map(bit).fold(0, |all, bit| all | bit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::LinuxDeviceCgroupBuilder;

    fn rule(allow: bool, numbers: Option<(i64, i64)>, access: &str) -> LinuxDeviceCgroup {
        let builder = LinuxDeviceCgroupBuilder::default().allow(allow).access(access);
        let builder = match numbers {
            Some((major, minor)) => builder.typ(LinuxDeviceType::C).major(major).minor(minor),
            None => builder,
        };
        builder.build().expect("rule")
    }

    #[test]
    fn jumps_end_behind_the_rule() {
        let block = block(&rule(true, Some((1, 3)), "r"));
        // kind, three for access, major, minor, two for the answer
        assert_eq!(block.len(), 8);
        let offset = |at: usize| i16::from_ne_bytes([block[at][2], block[at][3]]);
        assert_eq!([offset(0), offset(3), offset(4), offset(5)], [7, 4, 3, 2]);
    }

    #[test]
    #[expect(clippy::print_stderr, reason = "a test that is skipped says why")]
    fn kernel_follows_the_rules() {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let unified = mounts.lines().find(|l| l.split(' ').nth(2) == Some("cgroup2"));
        let unified = unified.and_then(|line| line.split(' ').nth(1));
        let (true, Some(unified)) = (nix::unistd::geteuid().is_root(), unified) else {
            assert!(std::env::var_os("CI").is_none(), "needs root and a cgroup v2 mount");
            eprintln!("skipped: needs root and a cgroup v2 mount");
            return;
        };
        let cgroup = Path::new(unified).join(format!("swarm-device-{}", std::process::id()));
        std::fs::create_dir(&cgroup).expect("cgroup");
        let rules = [
            rule(false, None, "rwm"),
            rule(true, Some((1, 3)), "rwm"),
            rule(true, Some((1, 5)), "r"),
        ];
        let applied = apply(&cgroup, &rules);
        let script = "echo 0 > $1/cgroup.procs; : < /dev/null && echo -n n; : < /dev/zero && echo -n z; \
                      (: > /dev/zero) || echo -n w; (: < /dev/full) || echo -n f";
        let output =
            std::process::Command::new("sh").args(["-c", script, "sh"]).arg(&cgroup).output();
        std::fs::remove_dir(&cgroup).expect("remove the cgroup");
        applied.expect("attach");
        assert_eq!(String::from_utf8_lossy(&output.expect("sh").stdout), "nzwf");
    }
}
