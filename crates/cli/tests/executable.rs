//! The executable as a user meets it before any daemon runs. Its presence also makes `cargo test` build `swarm`,
//! which the end-to-end tests of other rooms start.

use std::process::{Command, Output};

fn swarm(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_swarm")).args(arguments).output().expect("it starts")
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].concat().iter().map(|&byte| char::from(byte)).collect()
}

#[test]
fn tells_its_version() {
    let output = swarm(&["--version"]);
    assert!(output.status.success());
    assert_eq!(said(&output).trim(), concat!("swarm ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn refuses_what_it_does_not_have_and_names_it() {
    for (arguments, expect) in [
        (&["daemon", "--selinux-enabled"][..], "--selinux-enabled"),
        (&["daemon", "--userns-remap=default"], "--userns-remap"),
        (&["daemon", "--log-level", "chatty"], "invalid logging level: chatty"),
        (&["daemon", "--bip", "300.1.1.1/24"], "300.1.1.1/24"),
        (&["deamon"], "deamon"),
    ] {
        let output = swarm(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(said(&output).contains(expect), "{arguments:?}: {}", said(&output));
    }
}
