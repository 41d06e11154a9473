//! The figures of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hyper::StatusCode;

/// How a run went.
#[derive(Debug, Default)]
pub struct Report {
    /// Of each acknowledged vote, how long the attempt took that was acknowledged.
    answers: Vec<Duration>,
    /// The longest that a voter had to try.
    longest: Duration,
    /// Votes that changed an earlier one.
    pub changes: u64,
    /// Attempts that were answered by something else than an acknowledgement, by status.
    pub refused: BTreeMap<u16, u64>,
    /// Attempts that were not answered.
    pub broken: u64,
    /// Voters that lost patience.
    pub gave_up: u64,
    /// From the first vote to the last.
    pub took: Duration,
}

impl Report {
    pub(super) fn acknowledged(&mut self, answer: Duration, tried: Duration) {
        self.answers.push(answer);
        self.longest = self.longest.max(tried);
    }

    pub(super) fn refused(&mut self, status: StatusCode) {
        *self.refused.entry(status.as_u16()).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: Self) {
        self.answers.extend(other.answers);
        self.longest = self.longest.max(other.longest);
        self.changes += other.changes;
        for (status, count) in other.refused {
            *self.refused.entry(status).or_default() += count;
        }
        self.broken += other.broken;
        self.gave_up += other.gave_up;
    }

    /// Votes that were acknowledged.
    #[must_use]
    pub fn votes(&self) -> usize {
        self.answers.len()
    }

    /// How long an answer took that so many of a hundred were not slower than.
    fn percentile(&self, percent: usize) -> Duration {
        let mut answers = self.answers.clone();
        let at = (answers.len() * percent / 100).min(answers.len().saturating_sub(1));
        match answers.is_empty() {
            true => Duration::ZERO,
            false => *answers.select_nth_unstable(at).1,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let votes = self.votes();
        let rate = u128::try_from(votes).unwrap_or(0) * 1000 / self.took.as_millis().max(1);
        writeln!(formatter, "acknowledged  {votes} votes in {:.1?}, {rate} a second", self.took)?;
        writeln!(formatter, "changed       {} of them changed an earlier one", self.changes)?;
        writeln!(
            formatter,
            "answers       {:.1?} median, {:.1?} at 99 %; the most patient voter tried for {:.1?}",
            self.percentile(50),
            self.percentile(99),
            self.longest
        )?;
        let refused: Vec<String> =
            self.refused.iter().map(|(status, count)| format!("{count} with {status}")).collect();
        let refused = if refused.is_empty() { "none".into() } else { refused.join(", ") };
        writeln!(formatter, "refused       {refused}; not answered: {}", self.broken)?;
        write!(formatter, "gave up       {}", self.gave_up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_all_seats() {
        let mut report = Report::default();
        for tenths in 1..=10 {
            let mut seat = Report::default();
            seat.acknowledged(Duration::from_millis(tenths), Duration::from_millis(2 * tenths));
            seat.refused(StatusCode::SERVICE_UNAVAILABLE);
            report.add(seat);
        }
        report.took = Duration::from_secs(2);
        let text = report.to_string();
        for expect in
            ["10 votes in 2.0s, 5 a second", "6.0ms median, 10.0ms at", "20.0ms", "10 with 503"]
        {
            assert!(text.contains(expect), "{expect} is missing: {text}");
        }
        assert!(Report::default().to_string().contains("refused       none"));
    }
}
