//! The report: medians of us and Docker, the ratio, the goal and whether it was reached. Written as Markdown.

use std::io::Write;

use anyhow::{Result, ensure};

use crate::measure::{Goal, Samples};

/// So many samples have a distribution that is worth more than their range.
const DISTRIBUTION_MIN: usize = 10;

/// All figures.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

/// One figure.
#[derive(Debug)]
pub(crate) struct Row {
    figure: String,
    goal: Option<Goal>,
    ours: Result<Figure, String>,
    stock: Option<Result<Figure, String>>,
}

#[derive(Debug, Clone)]
struct Figure {
    median: f64,
    range: String,
    note: String,
}

/// Says on standard error what is being done.
#[expect(clippy::print_stderr, reason = "progress is for the user who waits")]
pub(crate) fn progress(text: &str) {
    eprintln!("{text} ...");
}

impl Row {
    /// The rows of one measurement of both sides; one row if it failed on both.
    pub(crate) fn merge(
        name: &str,
        ours: Result<Vec<Samples>>,
        stock: Option<Result<Vec<Samples>>>,
    ) -> Vec<Self> {
        let heads: Vec<(String, Option<Goal>)> = [Some(&ours), stock.as_ref()]
            .into_iter()
            .flatten()
            .flatten()
            .next()
            .map(|found| found.iter().map(|one| (one.figure.into(), Some(one.goal))).collect())
            .unwrap_or_else(|| vec![(name.into(), None)]);
        let figure = |side: &Result<Vec<Samples>>, index: usize| match side {
            Ok(samples) => Ok(Figure::of(&samples[index])),
            Err(error) => Err(format!("{error:#}")),
        };
        heads
            .into_iter()
            .enumerate()
            .map(|(index, (name, goal))| Self {
                figure: name,
                goal,
                ours: figure(&ours, index),
                stock: stock.as_ref().map(|stock| figure(stock, index)),
            })
            .collect()
    }

    fn line(&self) -> String {
        let cell = |side: &Result<Figure, String>| match side {
            Ok(figure) => format!("{}{}{}", self.number(figure.median), figure.range, figure.note),
            Err(_) => "failed".into(),
        };
        let stock = self.stock.as_ref().map_or_else(|| "-".into(), cell);
        let ratio = self.ratio().map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}"));
        let (goal, verdict) = self.verdict(self.ratio());
        format!(
            "| {} | {} | {stock} | {ratio} | {goal} | {verdict} |",
            self.figure,
            cell(&self.ours)
        )
    }

    /// Ours by Docker's.
    fn ratio(&self) -> Option<f64> {
        match (&self.ours, &self.stock) {
            (Ok(ours), Some(Ok(stock))) => Some(ours.median / stock.median),
            _ => None,
        }
    }

    fn number(&self, value: f64) -> String {
        match self.goal {
            Some(Goal::Seconds(_)) => format!("{value:.3} s"),
            Some(Goal::Megabytes(_)) => format!("{value:.1} MB"),
            _ => format!("{value:.0}"),
        }
    }

    fn verdict(&self, ratio: Option<f64>) -> (String, &'static str) {
        let reached = |reached| if reached { "reached" } else { "missed" };
        let ours = self.ours.as_ref().ok().map(|ours| ours.median);
        let (goal, met) = match self.goal {
            Some(Goal::Seconds(most)) => (format!("<= {most} s"), ours.map(|ours| ours <= most)),
            Some(Goal::Megabytes(most)) => (format!("<= {most} MB"), ours.map(|ours| ours <= most)),
            Some(Goal::TimesDocker(times)) => {
                (format!(">= {times}x"), ratio.map(|ratio| ratio >= times))
            }
            Some(Goal::PerSecond(least)) => {
                (format!(">= {least} per second"), ours.map(|ours| ours >= least))
            }
            Some(Goal::AtLeast(least)) => (format!(">= {least}"), ours.map(|ours| ours >= least)),
            None => ("-".into(), None),
        };
        (goal, met.map_or("not known", reached))
    }

    fn failures(&self) -> impl Iterator<Item = String> {
        let of = |side: &str, result: Option<&Result<Figure, String>>| match result {
            Some(Err(error)) => Some(format!("{}, {side}: {error}", self.figure)),
            _ => None,
        };
        [of("ours", Some(&self.ours)), of("Docker", self.stock.as_ref())].into_iter().flatten()
    }
}

impl Figure {
    fn of(samples: &Samples) -> Self {
        let mut sorted = samples.values.clone();
        sorted.sort_by(f64::total_cmp);
        let range = match sorted.as_slice() {
            [first, .., last] if sorted.len() < DISTRIBUTION_MIN => {
                format!(" ({first:.3} to {last:.3})")
            }
            [first, .., last] => {
                format!(" ({first:.3} to {last:.3}, p90 {:.3})", percentile(&sorted, 90))
            }
            _ => String::new(),
        };
        let note = samples.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
        Self { median: median(&sorted), range, note }
    }
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// The smallest of the samples that is not below so many percent of them.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

impl Table {
    /// Adds figures.
    pub(crate) fn extend(&mut self, rows: Vec<Row>) {
        self.rows.extend(rows);
    }

    /// Prints it; fails if any measurement did.
    pub(crate) fn print(&self) -> Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "| figure (median, range) | ours | Docker | ours / Docker | goal | |")?;
        writeln!(out, "|---|---|---|---|---|---|")?;
        for row in &self.rows {
            writeln!(out, "{}", row.line())?;
        }
        let failures: Vec<String> = self.rows.iter().flat_map(Row::failures).collect();
        ensure!(failures.is_empty(), "measurements failed:\n{}", failures.join("\n"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{median, percentile};

    #[test]
    fn medians() {
        for (sorted, expected) in [(&[1.0][..], 1.0), (&[1.0, 2.0], 1.5), (&[1.0, 2.0, 9.0], 2.0)] {
            assert!((median(sorted) - expected).abs() < f64::EPSILON, "{sorted:?}");
        }
    }

    #[test]
    fn percentiles() {
        let ten: Vec<f64> = (1..=10).map(f64::from).collect();
        for (percent, expected) in [(1, 1.0), (50, 5.0), (90, 9.0), (91, 10.0), (100, 10.0)] {
            let found = percentile(&ten, percent);
            assert!((found - expected).abs() < f64::EPSILON, "{percent}: {found}");
        }
    }
}
