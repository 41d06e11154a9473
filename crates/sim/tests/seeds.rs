//! A fixed set of seeds, each a cluster's bad minute; what it takes to trust them: that a seed replays, and that
//! planted bugs are found.

use std::time::Duration;

use swarm_sim::{Bug, Options, Report, run};

fn expect(seed: u64, options: Options) -> Report {
    run(seed, options).unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn every_check_holds() {
    let (mut terms, mut acknowledged, mut reads, mut tasks) = (0, 0, 0, 0);
    for seed in 0..50 {
        let report = expect(seed, Options::default());
        terms += report.terms;
        acknowledged += report.acknowledged;
        reads += report.reads;
        tasks += report.tasks;
    }
    // A simulation in which nothing happens passes every check.
    assert!(terms > 350, "{terms} terms");
    assert!(acknowledged > 1200, "{acknowledged} acknowledged writes");
    assert!(reads > 2500, "{reads} reads");
    assert!(tasks > 1500, "{tasks} tasks");
}

#[test]
fn every_check_holds_with_what_docker_does_not_know() {
    let options = Options { has_labels: true, ..Options::default() };
    for seed in 2000..2025 {
        expect(seed, options);
    }
}

#[test]
fn a_seed_replays() {
    let options = Options { stormy: Duration::from_secs(30), ..Options::default() };
    let digests = |seed| expect(seed, options).digest;
    for seed in 1000..1006 {
        assert_eq!(digests(seed), digests(seed), "seed {seed}");
    }
    assert_ne!(digests(1000), digests(1001));
}

/// Runs seeds until the bug is found, which must be by one of these checks.
fn find(bug: Bug, checks: &[&str]) {
    let has_labels = bug == Bug::ForgetTick;
    let options = Options { bug: Some(bug), has_labels, ..Options::default() };
    let failure = (0..100).find_map(|seed| run(seed, options).err());
    let failure = failure.unwrap_or_else(|| panic!("{bug:?} is not found"));
    let is_by = |check: &&str| failure.violation.contains(*check);
    assert!(checks.iter().any(is_by), "{bug:?} is found by another check: {failure}");
    let labels = if has_labels { " --labels" } else { "" };
    let replay = format!("--seed {}{labels} --bug {bug:?}", failure.seed);
    assert!(failure.to_string().ends_with(&replay), "a failure says how to replay it");
    assert_eq!(run(failure.seed, options).err(), Some(failure), "it replays");
}

#[test]
fn planted_bugs_of_the_log_are_found() {
    // Votes are lost with the rest.
    let lost = [
        "acknowledged writes survive",
        "committed logs agree",
        "one leader a term",
        "no room panics",
    ];
    find(Bug::AcknowledgeBeforeFlush, &lost);
    find(Bug::ForgetVote, &["one leader a term", "committed logs agree"]);
}

#[test]
fn planted_bugs_of_tasks_and_roles_are_found() {
    find(Bug::DropStatus, &["services converge"]);
    find(Bug::StatusGoesBack, &["task states move forward"]);
    find(Bug::SendToWrongNode, &["a task runs on one node"]);
    find(Bug::AdmitAnybody, &["roles have certificates"]);
    find(Bug::BlindToPorts, &["a port is given once"]);
    find(Bug::ForgetTick, &["a tick starts a job once"]);
}
