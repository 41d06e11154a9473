//! Leader election among managers: one primary by a lock with a time to live, pure.
//!
//! ```text
//!  Seen (who has the lock) ──>┐           ┌──> Attempt (take the lock, or confirm it)
//!  Answer (to an attempt) ───>│ Election  ├──> Acquired, Lost, Elected (for the log)
//!  Woken (time has passed) ──>┘           └──> standing: the primary until when
//! ```
//!
//! A manager leads from the answer to an attempt until nine tenths of the time that the store holds the lock for it,
//! measured from *before the attempt was sent*; each confirmation moves this end. So its leadership is over before the
//! store gives the lock to another one, whatever happened in between: it was suspended, the network was cut, the store is
//! away. Its session outlives its leadership: when the store is back and still holds the lock for it, it leads again.
//!
//! Mirrors docker's `leadership`, which had no end by the clock.

mod drive;
#[cfg(test)]
mod simulation;

use std::time::Duration;

pub(crate) use drive::campaign;

use crate::clock::Moment;
use crate::leadership::Standing;
use crate::store::Holding;

/// An attempt that came to nothing is made again after so long.
const RETRY: Duration = Duration::from_millis(300);
/// Renewals in the time of a lock: two may fail.
const RENEWALS: u32 = 3;

/// What happens to a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The store tells who has the lock.
    Seen(Option<String>),
    /// The attempt that was made then has an answer; none where it failed.
    Answer { asked_at: Moment, holding: Option<Holding> },
    /// Time has passed.
    Woken,
}

/// What is to be done, or said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Take the lock, or confirm it. One at a time.
    Attempt,
    /// This manager is the primary now.
    Acquired,
    /// It is no more.
    Lost,
    /// This one has the lock now.
    Elected(String),
}

/// A time of being the primary.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    /// The store's number for it.
    fence: u64,
    until: Moment,
}

/// A candidate.
#[derive(Debug)]
pub(crate) struct Election {
    own: String,
    /// Who has the lock, as far as was told; none where nothing was told yet.
    seen: Option<Option<String>>,
    announced: Option<String>,
    term: Option<Term>,
    /// When the store told last that the lock is another's, or nobody's. Until an attempt that was made later shows
    /// whether this is news or history, nothing is done.
    doubted_at: Option<Moment>,
    is_attempting: bool,
    /// Not before then.
    next_attempt: Moment,
}

impl Election {
    /// A candidate that others know by this address.
    pub(crate) fn new(own: String) -> Self {
        Self {
            own,
            seen: None,
            announced: None,
            term: None,
            doubted_at: None,
            is_attempting: false,
            next_attempt: Moment::ZERO,
        }
    }

    /// Takes in what happened.
    pub(crate) fn step(&mut self, now: Moment, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.term.as_ref().is_some_and(|term| term.until <= now) {
            self.lose(&mut actions);
        }
        match event {
            Event::Seen(holder) => self.see(now, holder, &mut actions),
            Event::Answer { asked_at, holding } => {
                self.is_attempting = false;
                self.answered(now, asked_at, holding, &mut actions);
            }
            Event::Woken => {}
        }
        if !self.is_attempting && self.wants() && self.next_attempt <= now {
            self.is_attempting = true;
            actions.push(Action::Attempt);
        }
        actions
    }

    /// What the candidate may do, and who leads else.
    pub(crate) fn standing(&self) -> Standing {
        let is_certain = self.doubted_at.is_none();
        let until = self.term.as_ref().filter(|_| is_certain).map(|term| term.until);
        let holder = self.seen.clone().flatten();
        Standing { until, primary: holder.filter(|holder| *holder != self.own) }
    }

    /// When to wake the candidate, if nothing happens before.
    pub(crate) fn next_wake(&self) -> Option<Moment> {
        let end = self.term.as_ref().map(|term| term.until);
        let attempt = (self.wants() && !self.is_attempting).then_some(self.next_attempt);
        end.into_iter().chain(attempt).min()
    }

    /// Whether there is something to take or to confirm. A lock under our own name may be ours from before.
    fn wants(&self) -> bool {
        let is_free = match &self.seen {
            None => false,
            Some(None) => true,
            Some(Some(holder)) => *holder == self.own,
        };
        self.term.is_some() || is_free
    }

    fn see(&mut self, now: Moment, holder: Option<String>, actions: &mut Vec<Action>) {
        if holder.is_some() && holder != self.announced {
            self.announced.clone_from(&holder);
            actions.extend(holder.clone().map(Action::Elected));
        }
        if holder.as_ref() != Some(&self.own) {
            self.doubted_at = Some(now);
            self.next_attempt = now;
        }
        self.seen = Some(holder);
    }

    fn answered(
        &mut self,
        now: Moment,
        asked_at: Moment,
        holding: Option<Holding>,
        actions: &mut Vec<Action>,
    ) {
        self.next_attempt = now + RETRY;
        match holding {
            Some(Holding::Ours { fence, sure }) => {
                let until = asked_at + sure / 10 * 9;
                if until <= now {
                    // It took too long to be worth anything.
                    self.next_attempt = now;
                    return;
                }
                if self.term.as_ref().is_none_or(|term| term.fence != fence) {
                    self.lose(actions);
                    actions.push(Action::Acquired);
                }
                self.term = Some(Term { fence, until });
                self.doubted_at = self.doubted_at.filter(|doubted_at| *doubted_at > asked_at);
                self.next_attempt = match self.doubted_at {
                    Some(_) => now,
                    None => asked_at + sure / RENEWALS,
                };
            }
            Some(Holding::Others) => self.lose(actions),
            None => {}
        }
    }

    fn lose(&mut self, actions: &mut Vec<Action>) {
        if self.term.take().is_some() {
            actions.push(Action::Lost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SURE: Duration = Duration::from_secs(10);

    fn at(seconds: f64) -> Moment {
        Duration::from_secs_f64(seconds)
    }

    fn ours(asked_at: f64, fence: u64) -> Event {
        let holding = Some(Holding::Ours { fence, sure: SURE });
        Event::Answer { asked_at: at(asked_at), holding }
    }

    fn seen(holder: &str) -> Event {
        Event::Seen((!holder.is_empty()).then(|| holder.to_owned()))
    }

    /// Events with their times, and what comes of each, with how long the candidate leads.
    fn check(script: &[(f64, Event, &str)]) {
        let mut election = Election::new("me:1".to_owned());
        for (time, event, expect) in script {
            let actions = election.step(at(*time), event.clone());
            let mut said: Vec<String> =
                actions.iter().map(|action| format!("{action:?}").to_lowercase()).collect();
            if let Some(until) = election.standing().until {
                said.push(format!("until {}", until.as_secs_f64()));
            }
            if let Some(primary) = election.standing().primary {
                said.push(format!("behind {primary}"));
            }
            assert_eq!(said.join(", "), *expect, "at {time}: {event:?}");
        }
    }

    fn failed(asked_at: f64) -> Event {
        Event::Answer { asked_at: at(asked_at), holding: None }
    }

    fn others(asked_at: f64) -> Event {
        Event::Answer { asked_at: at(asked_at), holding: Some(Holding::Others) }
    }

    #[test]
    fn a_lock_that_is_free_is_taken_and_renewed() {
        check(&[
            (0.0, Event::Woken, ""),
            (0.0, seen(""), "attempt"),
            (1.0, ours(0.5, 7), "acquired, until 9.5"),
            (1.1, seen("me:1"), "elected(\"me:1\"), until 9.5"),
            (3.0, Event::Woken, "until 9.5"),
            (4.0, Event::Woken, "attempt, until 9.5"),
            (4.2, failed(4.0), "until 9.5"),
            (4.6, Event::Woken, "attempt, until 9.5"),
            (4.7, ours(4.6, 7), "until 13.6"),
        ]);
    }

    #[test]
    fn leadership_ends_by_the_clock_and_may_begin_anew() {
        check(&[
            (0.0, seen(""), "attempt"),
            (0.0, ours(0.0, 7), "acquired, until 9"),
            (4.0, Event::Woken, "attempt, until 9"),
            (9.0, Event::Woken, "lost"),
            (9.5, failed(4.0), ""),
            // Nothing was seen since, so the lock may still be ours.
            (9.9, Event::Woken, "attempt"),
            (10.1, failed(9.9), ""),
            (30.0, seen("me:1"), "elected(\"me:1\"), attempt"),
            (30.1, ours(30.0, 7), "acquired, until 39"),
        ]);
    }

    #[test]
    fn an_answer_that_took_too_long_is_none() {
        check(&[
            (0.0, seen(""), "attempt"),
            (20.0, ours(0.0, 7), "attempt"),
            (20.1, ours(20.0, 7), "acquired, until 29"),
            (40.0, ours(20.2, 7), "lost, attempt"),
        ]);
    }

    #[test]
    fn who_has_the_lock_is_followed() {
        check(&[
            (0.0, seen("other:1"), "elected(\"other:1\"), behind other:1"),
            (5.0, Event::Woken, "behind other:1"),
            (6.0, seen(""), "attempt"),
            (6.1, others(6.0), ""),
            (6.2, seen("third:1"), "elected(\"third:1\"), behind third:1"),
            (6.5, Event::Woken, "behind third:1"),
        ]);
    }

    #[test]
    fn a_doubt_is_cleared_before_anything_is_done() {
        check(&[
            (0.0, seen(""), "attempt"),
            (0.0, ours(0.0, 7), "acquired, until 9"),
            // Told late, of the time before.
            (0.1, seen(""), "attempt"),
            (0.2, ours(0.1, 7), "until 9.1"),
            (0.3, seen("me:1"), "elected(\"me:1\"), until 9.1"),
            // Somebody took the key away, and another one was quicker, when a renewal was under way.
            (3.5, Event::Woken, "attempt, until 9.1"),
            (3.6, seen("other:1"), "elected(\"other:1\"), behind other:1"),
            (3.7, ours(3.5, 7), "attempt, behind other:1"),
            (3.8, others(3.7), "lost, behind other:1"),
            (5.0, Event::Woken, "behind other:1"),
        ]);
    }
}
