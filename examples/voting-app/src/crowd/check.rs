//! Whether what was acknowledged was counted.

use std::fmt;
use std::time::{Duration, Instant};

use tokio_postgres::Config;

use super::{Choices, Outcome};
use crate::ballot::{Choice, VoterId};
use crate::ledger::{Ledger, LedgerError};

/// Between looks at the table.
const PAUSE: Duration = Duration::from_millis(200);

/// What Postgres says beside what it should say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Voters that it should have.
    pub expected: usize,
    /// Those of them that it has not.
    pub missing: usize,
    /// Those that it has with another choice than the last acknowledged one.
    pub wrong: usize,
    /// Voters that were never acknowledged, or rows beyond one a voter.
    pub extra: usize,
    /// From the last acknowledgement to the last commit.
    pub took: Duration,
}

impl Verdict {
    /// Whether every acknowledged vote counts, and none twice.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.missing == 0 && self.wrong == 0 && self.extra == 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { expected, missing, wrong, extra, took } = self;
        write!(
            formatter,
            "counted       {expected} voters after {took:.1?}: {missing} missing, {wrong} wrong, {extra} too many"
        )
    }
}

/// Compares as soon as everything is counted, or when the patience is over.
pub async fn check(
    outcome: &Outcome,
    postgres: &Config,
    patience: Duration,
) -> Result<Verdict, LedgerError> {
    let started = Instant::now();
    loop {
        let is_over = started.elapsed() >= patience;
        match look(outcome, postgres).await {
            Ok(mut verdict) if verdict.is_clean() || is_over => {
                verdict.took = started.elapsed();
                return Ok(verdict);
            }
            Err(error) if is_over => return Err(error),
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn look(outcome: &Outcome, postgres: &Config) -> Result<Verdict, LedgerError> {
    let ledger = Ledger::open(postgres).await?;
    let rows = ledger.of_prefix(&outcome.prefix).await?;
    // Of a voter that gave up, nobody can say whether the vote was queued.
    let forgiven = usize::try_from(outcome.report.gave_up).unwrap_or(usize::MAX);
    let mut verdict = compare(&outcome.choices, &rows);
    verdict.extra = verdict.extra.saturating_sub(forgiven);
    Ok(verdict)
}

fn compare(choices: &Choices, rows: &[(String, String)]) -> Verdict {
    let mut verdict = Verdict { expected: choices.len(), ..Verdict::default() };
    let mut left = choices.clone();
    for (voter, choice) in rows {
        let expected = voter.parse::<VoterId>().ok().and_then(|voter| left.remove(&voter));
        match expected.map(Choice::as_str) {
            None => verdict.extra += 1,
            Some(expected) if expected != choice => verdict.wrong += 1,
            Some(_) => {}
        }
    }
    verdict.missing = left.len();
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_is_found() {
        let voter = |number: u8| format!("{number:032x}");
        let row = |number, choice: &str| (voter(number), choice.to_owned());
        let choices: Choices = [(1, Choice::Cats), (2, Choice::Dogs)]
            .map(|(number, choice)| (voter(number).parse().expect("a voter"), choice))
            .into();
        for (rows, expect) in [
            (vec![row(2, "dogs"), row(1, "cats")], (0, 0, 0)),
            (vec![row(1, "cats")], (1, 0, 0)),
            (vec![row(1, "dogs"), row(2, "dogs")], (0, 1, 0)),
            (vec![row(1, "cats"), row(2, "dogs"), row(2, "dogs"), row(3, "cats")], (0, 0, 2)),
        ] {
            let verdict = compare(&choices, &rows);
            assert_eq!((verdict.missing, verdict.wrong, verdict.extra), expect, "{rows:?}");
            assert_eq!(verdict.is_clean(), expect == (0, 0, 0));
        }
    }
}
