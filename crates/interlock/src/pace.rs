//! Pure: when hints are followed. A burst of them makes one look, and many bursts make few reloads: each reload leaves a
//! process of HAProxy behind for as long as its connections last.

use std::time::{Duration, Instant};

/// So long nothing new must have been heard,
const QUIET: Duration = Duration::from_millis(200);
/// but no hint waits longer than this.
const LONGEST: Duration = Duration::from_secs(1);
/// So many reloads may come close together,
const BURST: u32 = 3;
/// and then one in each such span.
const REFILL: Duration = Duration::from_secs(3);

/// What is known of hints and reloads.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    /// The first hint that was not followed yet, and the last.
    waiting: Option<(Instant, Instant)>,
    /// When the last of the reloads so far would be forgotten, if it were one each [`REFILL`].
    spent_until: Instant,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self { waiting: None, spent_until: now }
    }

    /// Something may have changed.
    pub(crate) fn hint(&mut self, now: Instant) {
        let first = self.waiting.map_or(now, |(first, _)| first);
        self.waiting = Some((first, now));
    }

    /// When to look; none while there is no reason to.
    pub(crate) fn due(&self) -> Option<Instant> {
        let (first, last) = self.waiting?;
        let settled = (last + QUIET).min(first + LONGEST);
        let credit = REFILL * (BURST - 1);
        let affordable = self.spent_until.checked_sub(credit).unwrap_or(settled);
        Some(settled.max(affordable))
    }

    /// The hints so far are being followed.
    pub(crate) fn looked(&mut self) {
        self.waiting = None;
    }

    /// That ended in a reload.
    pub(crate) fn reloaded(&mut self, now: Instant) {
        self.spent_until = self.spent_until.max(now) + REFILL;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reloads at these milliseconds, for hints at those, when every look finds a change.
    fn reloads(hints: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let mut pace = Pace::new(begin);
        let mut hints = hints.into_iter().peekable();
        let mut done = Vec::new();
        loop {
            let due = pace.due();
            match hints.peek().copied() {
                Some(hint) if due.is_none_or(|due| at(hint) <= due) => {
                    pace.hint(at(hint));
                    hints.next();
                }
                _ => {
                    let Some(due) = due else { return done };
                    pace.looked();
                    pace.reloaded(due);
                    done.push(u64::try_from((due - begin).as_millis()).expect("short"));
                }
            }
        }
    }

    #[test]
    fn one_change_is_taken_up_at_once() {
        assert_eq!(reloads([1000]), [1200]);
        assert_eq!(reloads([1000, 5000, 60_000]), [1200, 5200, 60_200]);
    }

    #[test]
    fn bursts_make_few_reloads() {
        assert_eq!(reloads((0..100).map(|hint| hint * 5)), [695]);
        // A hundred containers that are started one after the other, in half a minute.
        let slow = reloads((0..100).map(|hint| hint * 300));
        assert_eq!(slow.len(), 13, "{slow:?}");
        assert!(slow.last().is_some_and(|last| *last < 33_000), "{slow:?}");
    }
}
