//! What a node makes of a manager's silence: it asks the others before it turns away, and turns away at once from one
//! that no longer leads.
//!
//! ```text
//!   no answer for a while ──> a heartbeat through the next manager, on a new connection, every 300 ms
//!        "no such session" ──> the leader has changed: begin anew with it
//!        an answer, but none on the session's own connection ──> resume through that manager
//!        no answer at all ──> choose another manager
//! ```
//!
//! The heartbeats that ask count as signs of life themselves, so that a cut of two seconds is no death: TCP would wait
//! longer than the cut took before it tries the old connection again. Any manager passes them on to the leader. SwarmKit
//! ends a session when a heartbeat was not answered for five seconds.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use swarm_proto::v1::HeartbeatRequest;
use swarm_proto::v1::dispatcher_client::DispatcherClient;
use swarm_pulse::Pulse;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::agent::{Connection, Connector};

/// Beyond the period, so much silence makes a node ask around.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often it asks then. Each time on a new connection, as lost packets hold up the others.
const ASK_EVERY: Duration = Duration::from_millis(300);
/// Where the manager lives and only the session's connection is silent, there is no hurry.
const ASK_SELDOM: Duration = Duration::from_secs(1);
/// So long after an answer nobody is asked again because of a doubt, which anybody could have sown.
const DOUBT_EVERY: Duration = Duration::from_secs(1);
/// So long the session's connection may be silent before it is given up for one that works.
const STUCK: Duration = Duration::from_millis(1500);
/// Beyond the period, so much silence of all managers ends the session.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// A question that is not answered in this time is given up.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Questions under way at once.
const QUESTIONS_MAX: usize = 10;
/// How often the signs are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// When which manager gave signs of life in this session.
pub(crate) struct Signs {
    pulse: Option<watch::Receiver<Pulse>>,
    beats: Mutex<Beats>,
}

/// Heartbeats on the session's connection.
#[derive(Debug, Clone, Copy)]
struct Beats {
    period: Duration,
    /// Since when one waits for its answer.
    asked_at: Option<Instant>,
    answered_at: Instant,
}

impl Signs {
    /// Registration was an answer too.
    pub(crate) fn new(pulse: Option<watch::Receiver<Pulse>>) -> Self {
        let beats = Beats { period: Duration::ZERO, asked_at: None, answered_at: Instant::now() };
        Self { pulse, beats: Mutex::new(beats) }
    }

    pub(crate) fn asked(&self) {
        self.beats().asked_at = Some(Instant::now());
    }

    pub(crate) fn answered(&self, period: Duration) {
        *self.beats() = Beats { period, asked_at: None, answered_at: Instant::now() };
    }

    /// Whether beats on their own path are answered.
    pub(crate) fn has_pulse(&self, period: Duration) -> bool {
        let answered_at = self.pulse().answered_at.map(Instant::from_std);
        answered_at.is_some_and(|at| at.elapsed() <= period * 2)
    }

    fn pulse(&self) -> Pulse {
        self.pulse.as_ref().map(|pulse| *pulse.borrow()).unwrap_or_default()
    }

    fn beats(&self) -> MutexGuard<'_, Beats> {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All that counts at one moment.
#[derive(Debug, Clone, Copy)]
struct Moment {
    now: Instant,
    beats: Beats,
    pulse: Pulse,
    /// When a question was last answered that some manager takes the session for its leader's.
    confirmed_at: Option<Instant>,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judgement {
    /// All is well.
    Content,
    /// Ask around, with so much time in between.
    Ask(Duration),
    /// Nobody answers.
    GiveUp,
}

impl Moment {
    fn judge(&self) -> Judgement {
        let pulse = self.pulse.answered_at.map(Instant::from_std);
        let newest = [Some(self.beats.answered_at), pulse, self.confirmed_at];
        let newest = newest.into_iter().flatten().max().unwrap_or(self.now);
        let silence = self.now.saturating_duration_since(newest);
        if silence > self.beats.period + SILENCE_MAX {
            return Judgement::GiveUp;
        }
        if silence > self.beats.period + PATIENCE {
            return Judgement::Ask(ASK_EVERY);
        }
        let is_settled =
            self.confirmed_at.is_some_and(|at| self.now.duration_since(at) < DOUBT_EVERY);
        if self.pulse.doubted_at.is_some() && !is_settled {
            return Judgement::Ask(ASK_EVERY);
        }
        if self.is_stuck() {
            return Judgement::Ask(ASK_SELDOM);
        }
        Judgement::Content
    }

    /// Whether the session's own connection is silent.
    fn is_stuck(&self) -> bool {
        let waits = self.beats.asked_at.map(|at| self.now.saturating_duration_since(at));
        waits.is_some_and(|waits| waits > STUCK)
    }
}

/// Why a session was given up.
pub(crate) struct GivenUp {
    pub(crate) status: Status,
    /// Who has just answered.
    pub(crate) better: Option<String>,
}

/// Watches over one session.
pub(crate) struct Vigil<'a> {
    pub(crate) session_id: &'a str,
    /// The session's manager, which is asked last.
    pub(crate) address: &'a str,
    pub(crate) connector: &'a dyn Connector,
    pub(crate) signs: &'a Signs,
}

impl Vigil<'_> {
    /// Resolves when the session is to be given up.
    pub(crate) async fn keep(&self) -> GivenUp {
        let mut questions = FuturesUnordered::new();
        let mut ways: Vec<Connection> = Vec::new();
        let (mut asked_at, mut confirmed_at) = (None::<Instant>, None);
        loop {
            let moment = self.moment(confirmed_at);
            match moment.judge() {
                Judgement::Content => {
                    questions.clear();
                    ways.clear();
                }
                Judgement::GiveUp => {
                    let status = Status::deadline_exceeded("no manager answers");
                    return GivenUp { status, better: None };
                }
                Judgement::Ask(every) => {
                    let is_due = asked_at.is_none_or(|at| at + every <= moment.now);
                    if is_due && questions.len() < QUESTIONS_MAX {
                        asked_at = Some(moment.now);
                        if ways.is_empty() {
                            ways = self.ways();
                        }
                        questions.extend(ways.pop().map(|way| self.ask(way)));
                    }
                }
            }
            let look = tokio::time::sleep(LOOK_EVERY);
            tokio::select! {
                () = look => {}
                Some((address, answer)) = questions.next() => {
                    if answer.is_ok() {
                        confirmed_at = Some(Instant::now());
                    }
                    if let Some(status) = verdict(answer, self.moment(confirmed_at).is_stuck()) {
                        return GivenUp { status, better: Some(address) };
                    }
                }
            }
        }
    }

    fn moment(&self, confirmed_at: Option<Instant>) -> Moment {
        let beats = *self.signs.beats();
        Moment { now: Instant::now(), beats, pulse: self.signs.pulse(), confirmed_at }
    }

    /// Whom to ask, the last first.
    fn ways(&self) -> Vec<Connection> {
        let mut ways = self.connector.ways();
        ways.sort_by_key(|way| way.address != self.address);
        ways
    }

    async fn ask(&self, way: Connection) -> (String, Result<(), Status>) {
        let mut client = DispatcherClient::new(way.channel);
        let beat = client.heartbeat(HeartbeatRequest { session_id: self.session_id.to_owned() });
        let answer = match tokio::time::timeout(ANSWER_MAX, beat).await {
            Ok(answer) => answer.map(drop),
            Err(_) => Err(Status::deadline_exceeded("a heartbeat was not answered")),
        };
        (way.address, answer)
    }
}

/// Why the session is over by this answer, if it is.
fn verdict(answer: Result<(), Status>, is_stuck: bool) -> Option<Status> {
    match answer {
        Ok(()) if is_stuck => {
            Some(Status::deadline_exceeded("the session's connection is silent, another is not"))
        }
        // The leader, whoever passed this on, has another session of this node or none.
        Err(status)
            if matches!(
                status.code(),
                Code::NotFound | Code::InvalidArgument | Code::PermissionDenied
            ) =>
        {
            Some(status)
        }
        // It may not be reached itself, or know no leader yet.
        Ok(()) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_judged_by_whoever_was_heard_last() {
        let now = Instant::now() + Duration::from_secs(60);
        let ago = |seconds: f64| now - Duration::from_secs_f64(seconds);
        let eager = Judgement::Ask(ASK_EVERY);
        // Period, then seconds ago: answered, asked, pulse, doubt, confirmed.
        for (period, answered, asked, pulse, doubted, confirmed, expect) in [
            (0.5, 0.4, None, None, None, None, Judgement::Content),
            (0.5, 1.1, Some(0.6), None, None, None, eager),
            (0.5, 1.1, Some(0.6), Some(0.4), None, None, Judgement::Content),
            (0.5, 2.0, Some(1.6), Some(0.4), None, None, Judgement::Ask(ASK_SELDOM)),
            (0.5, 2.0, Some(1.6), Some(1.9), None, Some(0.1), Judgement::Ask(ASK_SELDOM)),
            (0.5, 0.4, None, Some(0.3), Some(0.1), None, eager),
            (0.5, 0.4, None, Some(0.3), Some(0.1), Some(0.5), Judgement::Content),
            (0.5, 6.0, Some(5.0), Some(5.6), None, None, Judgement::GiveUp),
            (5.0, 5.3, Some(0.2), None, None, None, Judgement::Content),
            (5.0, 5.8, Some(0.7), None, None, None, eager),
            (5.0, 10.1, Some(5.0), None, None, None, Judgement::GiveUp),
        ] {
            let moment = Moment {
                now,
                beats: Beats {
                    period: Duration::from_secs_f64(period),
                    asked_at: asked.map(ago),
                    answered_at: ago(answered),
                },
                pulse: Pulse {
                    answered_at: pulse.map(|at| ago(at).into_std()),
                    doubted_at: doubted.map(|at| ago(at).into_std()),
                },
                confirmed_at: confirmed.map(ago),
            };
            assert_eq!(moment.judge(), expect, "{moment:?}");
        }
    }

    #[test]
    fn only_the_leaders_word_ends_a_session() {
        for (answer, is_stuck, ends) in [
            (Ok(()), false, false),
            (Ok(()), true, true),
            (Err(Status::not_found("node not registered")), false, true),
            (Err(Status::invalid_argument("session invalid")), false, true),
            (Err(Status::unknown("The swarm does not have a leader.")), true, false),
            (Err(Status::unavailable("no route")), true, false),
            (Err(Status::aborted("dispatcher is stopped")), true, false),
        ] {
            assert_eq!(verdict(answer.clone(), is_stuck).is_some(), ends, "{answer:?}");
        }
    }
}
