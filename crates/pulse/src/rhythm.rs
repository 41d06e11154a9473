//! When a node beats, and what it makes of answers: decided without I/O.

use std::time::{Duration, Instant};

use crate::Invitation;
use crate::datagram::{DATAGRAM_BYTES, Datagram, Kind, Name, is_signed};

/// Between beats, until a manager tells otherwise.
const PERIOD_FIRST: Duration = Duration::from_millis(500);
/// Bounds for what a manager tells: no busy loop, no silence that is death.
const PERIOD_MIN: Duration = Duration::from_millis(50);
const PERIOD_MAX: Duration = Duration::from_secs(60);
/// A beat that is not answered is repeated after this; of half of the packets enough come through.
const REPEAT: Duration = Duration::from_millis(150);
/// So many beats without an answer: the other managers are told as well.
const UNANSWERED_MAX: u64 = 3;
/// Where nothing was answered for so long, datagrams probably don't get through.
const EAGER: Duration = Duration::from_secs(20);
/// What is tried then all the same.
const REPEAT_SLOW: Duration = Duration::from_secs(2);

/// What a datagram from the manager meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It heard the node.
    Answer,
    /// It wants to hear the node now.
    Ask,
    /// It may not know this invitation.
    Unknown,
    /// Nothing that counts.
    Nothing,
}

/// One invitation's beats.
#[derive(Debug)]
pub(crate) struct Rhythm {
    invitation: Invitation,
    node: Name,
    period: Duration,
    /// The newest beat's number and time.
    beaten: u64,
    beaten_at: Option<Instant>,
    answered: u64,
    answered_at: Instant,
    asked: u64,
    due: Instant,
}

impl Rhythm {
    pub(crate) fn new(invitation: Invitation, node: Name, now: Instant) -> Self {
        Self {
            invitation,
            node,
            period: PERIOD_FIRST,
            beaten: 0,
            beaten_at: None,
            answered: 0,
            answered_at: now,
            asked: 0,
            due: now,
        }
    }

    /// When the next beat is due.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Whether the manager seems to be gone.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.beaten >= self.answered + UNANSWERED_MAX
    }

    /// The next beat's bytes.
    pub(crate) fn beat(&mut self, now: Instant) -> [u8; DATAGRAM_BYTES] {
        self.beaten += 1;
        self.beaten_at = Some(now);
        let is_eager = now.saturating_duration_since(self.answered_at) < EAGER;
        self.due = now + if is_eager { REPEAT } else { REPEAT_SLOW };
        Datagram::new(Kind::Beat, self.node, self.invitation.id, self.beaten)
            .encode(Some(&self.invitation.key))
    }

    /// Takes a datagram.
    pub(crate) fn take(&mut self, now: Instant, bytes: &[u8]) -> Heard {
        let Some(datagram) = Datagram::read(bytes) else { return Heard::Nothing };
        if datagram.invitation != self.invitation.id {
            return Heard::Nothing;
        }
        if datagram.kind == Kind::Unknown {
            return Heard::Unknown;
        }
        if !is_signed(bytes, &self.invitation.key) {
            return Heard::Nothing;
        }
        match datagram.kind {
            Kind::Answer if (self.answered + 1..=self.beaten).contains(&datagram.number) => {
                self.answered = datagram.number;
                self.answered_at = now;
                self.period = datagram.period.clamp(PERIOD_MIN, PERIOD_MAX);
                self.due = self.beaten_at.unwrap_or(now) + self.period;
                Heard::Answer
            }
            Kind::Ask if datagram.number > self.asked => {
                self.asked = datagram.number;
                self.due = now;
                Heard::Ask
            }
            _ => Heard::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Key;

    fn node() -> Name {
        Name::new("n").expect("short")
    }

    fn invitation(secret: &str) -> Invitation {
        Invitation::new("a", Key::derive(secret.as_bytes(), "n"))
    }

    fn from_manager(invitation: &Invitation, kind: Kind, number: u64) -> [u8; DATAGRAM_BYTES] {
        let period = Duration::from_millis(400);
        Datagram { period, ..Datagram::new(kind, node(), invitation.id, number) }
            .encode(Some(&invitation.key))
    }

    #[test]
    fn beats_by_the_period_when_answered_and_repeats_when_not() {
        let invitation = self::invitation("secret");
        let start = Instant::now();
        let mut rhythm = Rhythm::new(invitation.clone(), node(), start);
        assert_eq!(rhythm.due(), start);
        rhythm.beat(start);
        assert_eq!(rhythm.due(), start + REPEAT);
        rhythm.beat(start + REPEAT);
        let answer = from_manager(&invitation, Kind::Answer, 1);
        assert_eq!(rhythm.take(start + REPEAT, &answer), Heard::Answer);
        assert_eq!(rhythm.due(), start + REPEAT + Duration::from_millis(400));
        assert_eq!(rhythm.take(start + REPEAT, &answer), Heard::Nothing, "an old answer");
        assert!(!rhythm.is_unanswered());
        for _ in 0..3 {
            rhythm.beat(start);
        }
        assert!(rhythm.is_unanswered());
        let late = start + EAGER * 2;
        rhythm.beat(late);
        assert_eq!(rhythm.due(), late + REPEAT_SLOW);
    }

    #[test]
    fn takes_nothing_from_strangers() {
        let invitation = self::invitation("secret");
        let now = Instant::now();
        let mut rhythm = Rhythm::new(invitation.clone(), node(), now);
        rhythm.beat(now);
        let other = self::invitation("other");
        for (bytes, expect) in [
            (from_manager(&other, Kind::Answer, 1), Heard::Nothing),
            (from_manager(&invitation, Kind::Answer, 2), Heard::Nothing),
            (from_manager(&invitation, Kind::Beat, 1), Heard::Nothing),
            (Datagram::new(Kind::Answer, node(), invitation.id, 1).encode(None), Heard::Nothing),
            (Datagram::new(Kind::Unknown, node(), invitation.id, 1).encode(None), Heard::Unknown),
            (from_manager(&invitation, Kind::Ask, 1), Heard::Ask),
            (from_manager(&invitation, Kind::Ask, 1), Heard::Nothing),
            (from_manager(&invitation, Kind::Answer, 1), Heard::Answer),
        ] {
            assert_eq!(rhythm.take(now, &bytes), expect);
        }
    }
}
