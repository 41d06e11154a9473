//! A crowd of voters that votes through whatever dies meanwhile, and knows afterwards what must have been counted.
//!
//! So many voters vote at once; each repeats a vote until it is acknowledged, at the next address when one fails, as
//! people do. Some change their vote. The last acknowledged choice of each voter is what Postgres has to say in the
//! end ([`check`]), no more and no less. Voters of one run share the beginning of their IDs, so that runs may follow
//! each other on one database.

mod check;
mod line;
mod report;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use tokio::task::JoinSet;

use crate::ballot::{Choice, VoterId};
use crate::cookie::Voter;

pub use check::{Verdict, check};
pub use line::{PlanError, Target};
pub use report::Report;

use line::Line;

/// Between attempts of one voter: nobody presses a button faster.
const PAUSE: Duration = Duration::from_millis(50);

/// What a crowd does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where to vote.
    pub target: Target,
    /// Votes to be acknowledged in all.
    pub votes: u64,
    /// Voters at once.
    pub at_once: u64,
    /// Each vote of that number, counted over the whole crowd, changes an earlier one. 0: nobody changes a vote.
    pub change_every: u64,
    /// For how long a voter tries before giving up.
    pub patience: Duration,
}

/// Who voted for what in the end.
pub type Choices = BTreeMap<VoterId, Choice>;

/// What a run of a crowd knows.
#[derive(Debug)]
pub struct Outcome {
    /// With what the IDs of its voters begin.
    pub prefix: String,
    /// What must be counted.
    pub choices: Choices,
    /// How it went.
    pub report: Report,
}

/// Votes until the plan is fulfilled. `acknowledged` counts along.
pub async fn run(plan: &Plan, acknowledged: &Arc<AtomicU64>) -> Outcome {
    let plan = Arc::new(plan.clone());
    let run = rand::random::<u32>();
    let next = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let mut members = JoinSet::new();
    for seat in 0..plan.at_once {
        let member = Seat::new(seat, run, &plan, acknowledged);
        members.spawn(member.vote(Arc::clone(&next)));
    }
    let mut outcome = Outcome {
        prefix: format!("{run:08x}"),
        choices: Choices::new(),
        report: Report::default(),
    };
    while let Some(member) = members.join_next().await {
        // A member that panicked is a defect of ours; its votes are missing from what is expected.
        let Ok((choices, report)) = member else { continue };
        outcome.choices.extend(choices);
        outcome.report.add(report);
    }
    outcome.report.took = started.elapsed();
    outcome
}

/// A place that one voter after the other votes from.
struct Seat {
    number: u64,
    run: u32,
    plan: Arc<Plan>,
    line: Line,
    choices: Choices,
    report: Report,
    acknowledged: Arc<AtomicU64>,
}

impl Seat {
    fn new(number: u64, run: u32, plan: &Arc<Plan>, acknowledged: &Arc<AtomicU64>) -> Self {
        Self {
            number,
            run,
            plan: Arc::clone(plan),
            line: Line::new(plan.target.clone(), number),
            choices: Choices::new(),
            report: Report::default(),
            acknowledged: Arc::clone(acknowledged),
        }
    }

    async fn vote(mut self, next: Arc<AtomicU64>) -> (Choices, Report) {
        let mut last: Option<Voter> = None;
        loop {
            let vote = next.fetch_add(1, Ordering::Relaxed);
            if vote >= self.plan.votes {
                return (self.choices, self.report);
            }
            let changes = vote.is_multiple_of(self.plan.change_every);
            let (voter, choice) = match last.take() {
                Some(voter) if changes => {
                    // At another front end: which of the two votes counts must not depend on who is drained first.
                    self.line.next_address();
                    self.report.changes += 1;
                    let choice = other(voter.choice);
                    (voter, choice)
                }
                _ => (self.newcomer(vote), first_choice(vote)),
            };
            last = self.until_acknowledged(voter, choice).await;
        }
    }

    fn newcomer(&self, vote: u64) -> Voter {
        let id = format!("{:08x}{:08x}{vote:016x}", self.run, self.number);
        let id = id.parse().unwrap_or_else(|_| VoterId::random());
        Voter { id, number: 0, choice: None }
    }

    /// Tries until the vote is acknowledged; what became of the voter of a vote that never was can't be known.
    async fn until_acknowledged(&mut self, mut voter: Voter, choice: Choice) -> Option<Voter> {
        let started = Instant::now();
        while started.elapsed() < self.plan.patience {
            let asked = Instant::now();
            match self.line.cast(&voter, choice).await {
                Ok((StatusCode::SEE_OTHER, cookie)) => {
                    self.acknowledged.fetch_add(1, Ordering::Relaxed);
                    self.report.acknowledged(asked.elapsed(), started.elapsed());
                    voter.number = cookie.map_or(voter.number + 1, |cookie| cookie.number);
                    voter.choice = Some(choice);
                    self.choices.insert(voter.id.clone(), choice);
                    return Some(voter);
                }
                Ok((status, cookie)) => {
                    self.report.refused(status);
                    if let Some(cookie) = cookie {
                        voter.number = cookie.number;
                    }
                }
                Err(_) => self.report.broken += 1,
            }
            self.line.next_address();
            tokio::time::sleep(PAUSE).await;
        }
        self.choices.remove(&voter.id);
        self.report.gave_up += 1;
        None
    }
}

/// One in three is for cats.
fn first_choice(vote: u64) -> Choice {
    if vote.is_multiple_of(3) { Choice::Cats } else { Choice::Dogs }
}

fn other(choice: Option<Choice>) -> Choice {
    match choice {
        Some(Choice::Cats) => Choice::Dogs,
        _ => Choice::Cats,
    }
}

/// An address, by name or number.
pub async fn resolve(address: &str) -> Result<Vec<SocketAddr>, PlanError> {
    let resolved = tokio::net::lookup_host(address).await;
    let resolved = resolved.map(Iterator::collect::<Vec<_>>);
    resolved.map_err(|source| PlanError::Resolve { address: address.into(), source })
}
