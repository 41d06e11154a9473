//! Many elections from seeds: candidates that are suspended, cut off and killed, answers that are late or lost, a store
//! that is away. Never are two the primary at once, and once all is well there is one soon.

use std::collections::VecDeque;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::{Action, Election, Event};
use crate::clock::Moment;
use crate::store::Holding;

const TTL: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(25);
const CANDIDATES: usize = 3;
/// More of them by the variable `ELECTION_SEEDS`.
const SEEDS: u64 = 12;
/// Faults happen for so long, then all is well for so long.
const STORM: Duration = Duration::from_secs(300);
const CALM: Duration = Duration::from_secs(30);

/// A lock as etcd has it: it goes with its session, which lives for the time after its last renewal.
#[derive(Debug, Default)]
struct FakeStore {
    /// The holder's session, by the candidate's number and its own.
    holder: Option<(usize, u64)>,
    fence: u64,
    /// Sessions with their ends.
    sessions: Vec<(u64, Moment)>,
    next_session: u64,
}

impl FakeStore {
    fn expire(&mut self, now: Moment) {
        self.sessions.retain(|(_, end)| *end > now);
        let lives = |session: u64| self.sessions.iter().any(|(id, _)| *id == session);
        if self.holder.is_some_and(|(_, session)| !lives(session)) {
            self.holder = None;
        }
    }

    fn hold(&mut self, now: Moment, candidate: usize, session: &mut Option<u64>) -> Holding {
        self.expire(now);
        let known = session.filter(|id| self.sessions.iter().any(|(own, _)| own == id));
        let id = known.unwrap_or_else(|| {
            self.next_session += 1;
            self.next_session
        });
        *session = Some(id);
        self.sessions.retain(|(own, _)| *own != id);
        self.sessions.push((id, now + TTL));
        if self.holder.is_none() {
            self.holder = Some((candidate, id));
            self.fence += 1;
        }
        match self.holder {
            Some((_, holder)) if holder == id => Holding::Ours { fence: self.fence, sure: TTL },
            _ => Holding::Others,
        }
    }
}

/// A request or an answer on its way, or what a candidate has yet to take in.
#[derive(Debug)]
enum Message {
    Ask { asked_at: Moment },
    Tell(Event),
}

#[derive(Debug)]
struct Candidate {
    election: Election,
    session: Option<u64>,
    /// With the times when they arrive; nothing overtakes.
    under_way: VecDeque<(Moment, Message)>,
    told: Option<Option<usize>>,
    /// It runs again then.
    suspended_until: Moment,
    /// The store can be reached again then.
    cut_until: Moment,
    asked_at: Option<Moment>,
}

fn name(candidate: usize) -> String {
    format!("manager{candidate}:4000")
}

impl Candidate {
    fn new(number: usize) -> Self {
        Self {
            election: Election::new(name(number)),
            session: None,
            under_way: VecDeque::new(),
            told: None,
            suspended_until: Moment::ZERO,
            cut_until: Moment::ZERO,
            asked_at: None,
        }
    }

    /// What others see who ask it now: it answers only while it runs, but what it began goes on by the deadline alone.
    fn leads(&self, now: Moment) -> bool {
        self.election.standing().until.is_some_and(|until| now < until)
    }

    fn step(&mut self, now: Moment, event: Event, delay: Duration) {
        for action in self.election.step(now, event) {
            if action == Action::Attempt {
                self.asked_at = Some(now);
                self.send(now + delay, Message::Ask { asked_at: now });
            }
        }
    }

    fn send(&mut self, at: Moment, message: Message) {
        let at = self.under_way.back().map_or(at, |(last, _)| at.max(*last));
        self.under_way.push_back((at, message));
    }
}

struct World {
    rng: StdRng,
    store: FakeStore,
    candidates: Vec<Candidate>,
    store_away_until: Moment,
    terms: u64,
}

impl World {
    fn delay(&mut self) -> Duration {
        let slow = if self.rng.random_ratio(1, 20) { 8_000 } else { 30 };
        Duration::from_millis(self.rng.random_range(1..slow))
    }

    fn faults(&mut self, now: Moment) {
        let rng = &mut self.rng;
        if rng.random_ratio(1, 2_400) {
            self.store_away_until = now + Duration::from_millis(rng.random_range(100..60_000));
        }
        for (number, candidate) in self.candidates.iter_mut().enumerate() {
            if rng.random_ratio(1, 800) {
                candidate.suspended_until =
                    now + Duration::from_millis(rng.random_range(10..40_000));
            }
            if rng.random_ratio(1, 800) {
                candidate.cut_until = now + Duration::from_millis(rng.random_range(10..40_000));
            }
            if rng.random_ratio(1, 4_000) {
                // Killed, and started again with nothing in mind.
                let cut_until = candidate.cut_until;
                *candidate = Candidate { cut_until, ..Candidate::new(number) };
            }
        }
    }

    fn turn(&mut self, now: Moment) {
        let is_away = now < self.store_away_until;
        if !is_away {
            self.store.expire(now);
        }
        for number in 0..self.candidates.len() {
            let (out, back) = (self.delay(), self.delay());
            let holder = self.store.holder.map(|(holder, _)| holder);
            let candidate = &mut self.candidates[number];
            let reaches = !is_away && now >= candidate.cut_until;
            // What the store tells by itself.
            if reaches && candidate.told != Some(holder) {
                candidate.told = Some(holder);
                candidate.send(now + back, Message::Tell(Event::Seen(holder.map(name))));
            }
            if now < candidate.suspended_until {
                continue;
            }
            while let Some((_, message)) = candidate.under_way.pop_front_if(|(at, _)| *at <= now) {
                match message {
                    // A request that meets nobody is lost, and its answer too.
                    Message::Ask { .. } if !reaches => {}
                    Message::Ask { asked_at } => {
                        let mut session = candidate.session;
                        let holding = self.store.hold(now, number, &mut session);
                        candidate.session = session;
                        let event = Event::Answer { asked_at, holding: Some(holding) };
                        candidate.send(now + back, Message::Tell(event));
                    }
                    Message::Tell(event) => {
                        if let Event::Answer { asked_at, .. } = &event {
                            if candidate.asked_at != Some(*asked_at) {
                                continue;
                            }
                            candidate.asked_at = None;
                        }
                        candidate.step(now, event, out);
                    }
                }
            }
            // An attempt without an answer is given up.
            if let Some(asked_at) = candidate.asked_at.filter(|at| now >= *at + TTL / 8) {
                candidate.asked_at = None;
                candidate.step(now, Event::Answer { asked_at, holding: None }, out);
            }
            if candidate.election.next_wake().is_some_and(|wake| wake <= now) {
                candidate.step(now, Event::Woken, out);
            }
        }
    }

    fn leaders(&self, now: Moment) -> Vec<usize> {
        (0..self.candidates.len()).filter(|number| self.candidates[*number].leads(now)).collect()
    }
}

fn run(seed: u64) -> u64 {
    let mut world = World {
        rng: StdRng::seed_from_u64(seed),
        store: FakeStore::default(),
        candidates: (0..CANDIDATES).map(Candidate::new).collect(),
        store_away_until: Moment::ZERO,
        terms: 0,
    };
    let mut now = Moment::ZERO;
    while now < STORM + CALM + TTL {
        if now < STORM {
            world.faults(now);
        } else if now < STORM + STEP {
            world.store_away_until = now;
            for candidate in &mut world.candidates {
                candidate.suspended_until = now;
                candidate.cut_until = now;
            }
        }
        world.turn(now);
        let leaders = world.leaders(now);
        assert!(leaders.len() < 2, "seed {seed}: {leaders:?} lead at {now:?}");
        now += STEP;
    }
    world.terms = world.store.fence;
    assert_eq!(world.leaders(now).len(), 1, "seed {seed}: nobody leads when all is well");
    world.terms
}

#[test]
fn never_two_primaries_and_one_when_all_is_well() {
    let wanted = std::env::var("ELECTION_SEEDS").ok().and_then(|text| text.parse().ok());
    let seeds = wanted.unwrap_or(SEEDS);
    let terms: u64 = (0..seeds).map(run).sum();
    // Else nothing was tested.
    assert!(terms > seeds * 3, "only {terms} terms in {seeds} runs");
}
