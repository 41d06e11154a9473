//! Every acknowledged vote is counted, and none twice, while each part in turn is killed and started again.
//!
//! `VOTES` says how many votes (5,000 unless told), so that the same is a measurement:
//! `VOTES=100000 cargo test --release -p swarm-voting-app --test votes loss -- --nocapture`.

#![expect(clippy::print_stdout, reason = "figures are what a measurement is for")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use swarm_testkit::wait_until;
use swarm_voting_app::crowd::{self, Outcome, Plan, Target, Verdict};
use tokio::runtime::Runtime;

use crate::stack::{PATIENCE, Stack, can_run};

/// The order in which they die.
const VICTIMS: [&str; 6] = ["frontend01", "redis02", "worker01", "frontend02", "redis01", "pg"];
/// One death in so many votes, if there are many.
const VOTES_PER_DEATH: u64 = 2500;

#[test]
fn acknowledged_votes_survive_every_part() {
    if !can_run() {
        return;
    }
    let votes = std::env::var("VOTES").ok().and_then(|votes| votes.parse().ok()).unwrap_or(5000);
    let mut stack = Stack::start();
    let runtime = Runtime::new().expect("start a runtime");
    let acknowledged = Arc::new(AtomicU64::new(0));
    let crowd = runtime.spawn(vote(plan(&runtime, &stack, votes), Arc::clone(&acknowledged)));
    let deaths = kill_in_turn(&mut stack, votes, &acknowledged);
    let outcome = runtime.block_on(crowd).expect("the crowd comes back");
    let verdict = runtime.block_on(check(&outcome, &stack));
    println!("killed        {deaths} times: {}, and again", VICTIMS.join(", "));
    println!("{}\n{verdict}", outcome.report);
    assert_eq!(outcome.report.gave_up, 0);
    assert_eq!(outcome.report.votes() as u64, votes);
    assert!(outcome.report.broken > 0 && !outcome.report.refused.is_empty(), "nobody noticed");
    assert!(verdict.is_clean(), "{verdict}");
    for number in 1..=2 {
        wait_until(PATIENCE, "the queues to be empty", || {
            (left(&stack, number) == 0).then_some(())
        });
    }
}

fn plan(runtime: &Runtime, stack: &Stack, votes: u64) -> Plan {
    let addresses = [1, 2].map(|number| stack.front_end(number).to_string());
    let target = runtime.block_on(Target::new("http://votingapp.local/", &addresses));
    let target = target.expect("addresses need no resolver");
    Plan { target, votes, at_once: 200, change_every: 5, patience: 2 * PATIENCE }
}

async fn vote(plan: Plan, acknowledged: Arc<AtomicU64>) -> Outcome {
    crowd::run(&plan, &acknowledged).await
}

async fn check(outcome: &Outcome, stack: &Stack) -> Verdict {
    let postgres = stack.postgres().parse().expect("a URL");
    crowd::check(outcome, &postgres, 2 * PATIENCE).await.expect("Postgres answers")
}

/// Kills one part after the other, spread over the run. Each stays dead until the others have done something.
fn kill_in_turn(stack: &mut Stack, votes: u64, acknowledged: &AtomicU64) -> u64 {
    let deaths = (votes / VOTES_PER_DEATH).max(VICTIMS.len() as u64);
    let reach = |count: u64| {
        wait_until(10 * PATIENCE, &format!("{count} votes"), || {
            (acknowledged.load(Ordering::Relaxed) >= count).then_some(())
        });
    };
    let pause = votes / deaths / 2;
    for (death, victim) in (0..deaths).zip(VICTIMS.iter().cycle()) {
        let at = votes * death / deaths + pause;
        reach(at);
        stack.kill(victim);
        reach(at + pause / 2);
        stack.restart(victim);
    }
    deaths
}

/// Entries in a queue.
fn left(stack: &Stack, number: u8) -> u64 {
    let client = redis::Client::open(stack.redis(number)).expect("a URL");
    let mut connection = client.get_connection().expect("connect to Redis");
    redis::cmd("XLEN").arg("votes").query(&mut connection).expect("ask Redis")
}
