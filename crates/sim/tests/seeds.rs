//! A fixed set of seeds, each a cluster's bad minute; what it takes to trust them: that a seed replays, and that
//! planted bugs are found.

use std::time::Duration;

use swarm_sim::{Bug, Options, Report, run};

fn expect(seed: u64, options: Options) -> Report {
    run(seed, options).unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn every_check_holds() {
    let (mut terms, mut acknowledged, mut tasks) = (0, 0, 0);
    for seed in 0..150 {
        let report = expect(seed, Options::default());
        terms += report.terms;
        acknowledged += report.acknowledged;
        tasks += report.tasks;
    }
    // A simulation in which nothing happens passes every check.
    assert!(terms > 600, "{terms} terms");
    assert!(acknowledged > 2000, "{acknowledged} acknowledged writes");
    assert!(tasks > 2500, "{tasks} tasks");
}

#[test]
fn regressions_stay_fixed() {
    // 14, 1015: a leader that was removed committed another entry, which the `raft` crate takes for impossible.
    for seed in [14, 1015] {
        expect(seed, Options::default());
    }
}

#[test]
fn a_seed_replays() {
    let options = Options { stormy: Duration::from_secs(30), ..Options::default() };
    let digests = |seed| expect(seed, options).digest;
    for seed in 1000..1010 {
        assert_eq!(digests(seed), digests(seed), "seed {seed}");
    }
    assert_ne!(digests(1000), digests(1001));
}

#[test]
fn planted_bugs_are_found() {
    for (bug, checks) in [
        (
            Bug::AcknowledgeBeforeFlush,
            &["acknowledged writes survive", "committed logs agree", "no room panics"][..],
        ),
        (Bug::ForgetVote, &["one leader a term", "committed logs agree"]),
        (Bug::DropStatus, &["services converge"]),
        (Bug::StatusGoesBack, &["task states move forward"]),
        (Bug::SendToWrongNode, &["a task runs on one node"]),
        (Bug::BlindToPorts, &["a port is given once"]),
    ] {
        let options = Options { bug: Some(bug), ..Options::default() };
        let failure = (0..100).find_map(|seed| run(seed, options).err());
        let failure = failure.unwrap_or_else(|| panic!("{bug:?} is not found"));
        let is_by = |check: &&str| failure.violation.contains(*check);
        assert!(checks.iter().any(is_by), "{bug:?} is found by another check: {failure}");
    }
}
