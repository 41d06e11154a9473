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

#[test]
fn refuses_a_configuration_file_that_it_does_not_understand() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("daemon.json");
    let file = file.to_str().expect("a plain path");
    for (content, arguments, expect) in [
        (r#"{"nope": 1}"#, &[][..], "don't match any configuration option: nope"),
        (r#"{"mtu": 1400}"#, &["--mtu=1300"], "both as a flag and in the configuration file: mtu"),
        (r#"{"log-level": "chatty"}"#, &[], "invalid logging level: chatty"),
        (r#"{"live-restore": false}"#, &[], "--live-restore=false is not supported"),
        (r#"{"mtu": "wide"}"#, &[], "wide"),
        ("{", &[], "EOF"),
    ] {
        std::fs::write(file, content).expect("written");
        let output = swarm(&[&["daemon", "--config-file", file], arguments].concat());
        assert!(!output.status.success(), "{content}");
        assert!(said(&output).contains(expect), "{content}: {}", said(&output));
    }
}
