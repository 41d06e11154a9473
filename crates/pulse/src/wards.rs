//! Whom a manager invited, and what it makes of their beats: decided without I/O.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Invitation;
use crate::datagram::{DATAGRAM_BYTES, Datagram, Kind, Name, is_signed};
use crate::key::Key;
use crate::listener::Beats;

/// Who beat before and was silent for so long is asked, again and again.
pub(crate) const SILENCE: Duration = Duration::from_millis(1000);

/// The nodes of one term that may beat. Shared by the dispatcher, which invites, and the listener.
#[derive(Debug, Default)]
pub struct Wards {
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    /// What nodes' keys are made from; none while this manager does not lead.
    secret: Option<Vec<u8>>,
    /// The invitation and number of the newest beat of each node that this manager did not invite.
    strangers: HashMap<String, (u64, u64)>,
    by_id: HashMap<u64, Ward>,
    by_node: HashMap<String, u64>,
}

#[derive(Debug)]
struct Ward {
    node_id: String,
    session_id: String,
    node: Name,
    key: Key,
    heard: u64,
    heard_at: Instant,
    asked: u64,
    /// Where its newest beat came from; none before the first.
    from: Option<SocketAddr>,
}

impl All {
    /// Whether a beat that answers no invitation of this term comes from the node that it names, and is no old one;
    /// none outside of a term.
    fn take_stranger(&mut self, beat: &Datagram, bytes: &[u8]) -> Option<bool> {
        let secret = self.secret.as_ref()?;
        let node_id = beat.node.as_str();
        // An earlier invitation of a node that has a newer one proves nothing.
        if self.by_node.contains_key(node_id) || !is_signed(bytes, &Key::derive(secret, node_id)) {
            return Some(false);
        }
        let newest = (beat.invitation, beat.number);
        let known = self.strangers.get(node_id);
        let is_news = known.is_none_or(|(id, number)| *id != newest.0 || *number < newest.1);
        if is_news {
            self.strangers.insert(node_id.to_owned(), newest);
        }
        Some(is_news)
    }
}

impl Ward {
    fn ask(&mut self, id: u64) -> Option<(SocketAddr, [u8; DATAGRAM_BYTES])> {
        let from = self.from?;
        self.asked += 1;
        Some((from, Datagram::new(Kind::Ask, self.node, id, self.asked).encode(Some(&self.key))))
    }
}

impl Wards {
    /// A term begins; `secret` is the one that all managers have.
    pub fn begin(&self, secret: Vec<u8>) {
        *self.all() = All { secret: Some(secret), ..All::default() };
    }

    /// Lets the node beat in this session, to `addr`; what it was invited to before is over. None outside of a term.
    pub fn invite(&self, node_id: &str, session_id: &str, addr: &str) -> Option<Invitation> {
        let mut all = self.all();
        let node = Name::new(node_id)?;
        let invitation = Invitation::new(addr, Key::derive(all.secret.as_ref()?, node_id));
        let ward = Ward {
            node_id: node_id.to_owned(),
            session_id: session_id.to_owned(),
            node,
            key: invitation.key.clone(),
            heard: 0,
            heard_at: Instant::now(),
            asked: 0,
            from: None,
        };
        all.strangers.remove(node_id);
        if let Some(old) = all.by_node.insert(node_id.to_owned(), invitation.id) {
            all.by_id.remove(&old);
        }
        all.by_id.insert(invitation.id, ward);
        Some(invitation)
    }

    /// The session is over.
    pub fn dismiss(&self, node_id: &str, session_id: &str) {
        let mut all = self.all();
        let Some(id) = all.by_node.get(node_id).copied() else { return };
        if all.by_id.get(&id).is_some_and(|ward| ward.session_id == session_id) {
            all.by_node.remove(node_id);
            all.by_id.remove(&id);
        }
    }

    /// The term is over.
    pub fn clear(&self) {
        *self.all() = All::default();
    }

    /// Its connection broke: it is asked at the listener's next turn.
    pub fn suspect(&self, node_id: &str) {
        let mut all = self.all();
        let Some(id) = all.by_node.get(node_id).copied() else { return };
        if let Some(ward) = all.by_id.get_mut(&id) {
            ward.heard_at = ward.heard_at.checked_sub(SILENCE).unwrap_or(ward.heard_at);
        }
    }

    /// Takes a datagram; what to answer, if anything.
    pub(crate) fn take(
        &self,
        now: Instant,
        bytes: &[u8],
        from: SocketAddr,
        beats: &dyn Beats,
    ) -> Option<[u8; DATAGRAM_BYTES]> {
        let beat = Datagram::read(bytes).filter(|datagram| datagram.kind == Kind::Beat)?;
        let unknown =
            Datagram::new(Kind::Unknown, beat.node, beat.invitation, beat.number).encode(None);
        let (node_id, session_id, key) = {
            let mut all = self.all();
            let Some(ward) = all.by_id.get_mut(&beat.invitation) else {
                let is_genuine = all.take_stranger(&beat, bytes)?;
                drop(all);
                if is_genuine {
                    beats.stranger(beat.node.as_str());
                }
                return Some(unknown);
            };
            if beat.number <= ward.heard || !is_signed(bytes, &ward.key) {
                return None;
            }
            ward.heard = beat.number;
            ward.heard_at = now;
            ward.from = Some(from);
            (ward.node_id.clone(), ward.session_id.clone(), ward.key.clone())
        };
        match beats.beat(&node_id, &session_id) {
            Some(period) => {
                let answer = Datagram::new(Kind::Answer, beat.node, beat.invitation, beat.number);
                Some(Datagram { period, ..answer }.encode(Some(&key)))
            }
            None => Some(unknown),
        }
    }

    /// The questions to those that are silent.
    pub(crate) fn asks(&self, now: Instant) -> Vec<(SocketAddr, [u8; DATAGRAM_BYTES])> {
        let mut all = self.all();
        all.by_id
            .iter_mut()
            .filter(|(_, ward)| now.saturating_duration_since(ward.heard_at) >= SILENCE)
            .filter_map(|(id, ward)| ward.ask(*id))
            .collect()
    }

    // The maps are whole between any two statements that could panic.
    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rhythm::{Heard, Rhythm};

    /// Knows session `s1` of node `n`.
    struct One;

    impl Beats for One {
        fn beat(&self, node_id: &str, session_id: &str) -> Option<Duration> {
            (node_id == "n" && session_id == "s1").then_some(Duration::from_millis(500))
        }

        fn stranger(&self, node_id: &str) {
            panic!("{node_id} was invited");
        }
    }

    /// Hears strangers only.
    #[derive(Default)]
    struct Strangers(Mutex<Vec<String>>);

    impl Beats for Strangers {
        fn beat(&self, _: &str, _: &str) -> Option<Duration> {
            None
        }

        fn stranger(&self, node_id: &str) {
            self.0.lock().expect("not poisoned").push(node_id.to_owned());
        }
    }

    fn leading() -> Wards {
        let wards = Wards::default();
        wards.begin(b"secret".to_vec());
        wards
    }

    fn invited(wards: &Wards, session_id: &str, now: Instant) -> Rhythm {
        let invitation = wards.invite("n", session_id, "a").expect("a term");
        Rhythm::new(invitation, Name::new("n").expect("short"), now)
    }

    #[test]
    fn a_new_leader_hears_who_was_invited_by_the_old_one() {
        let now = Instant::now();
        let mut rhythm = invited(&leading(), "s1", now);
        let (follower, next, strangers) = (Wards::default(), leading(), Strangers::default());
        let heard = || strangers.0.lock().expect("not poisoned").len();
        let beat = rhythm.beat(now);
        assert_eq!(follower.take(now, &beat, here(), &strangers), None, "it does not lead");
        for expect in [1, 1] {
            let answer = next.take(now, &beat, here(), &strangers).expect("an answer");
            assert_eq!(rhythm.take(now, &answer), Heard::Unknown);
            assert_eq!(heard(), expect);
        }
        let mut forged = rhythm.beat(now);
        forged[30] ^= 1;
        assert!(next.take(now, &forged, here(), &strangers).is_some());
        assert_eq!(heard(), 1);
        next.take(now, &rhythm.beat(now), here(), &strangers);
        assert_eq!(heard(), 2);
        invited(&next, "s2", now);
        next.take(now, &rhythm.beat(now), here(), &strangers);
        assert_eq!(heard(), 2, "it has a session by now");
    }

    fn here() -> SocketAddr {
        ([127, 0, 0, 1], 9).into()
    }

    #[test]
    fn a_beat_counts_once_and_only_in_its_session() {
        let wards = leading();
        let now = Instant::now();
        let mut rhythm = invited(&wards, "s1", now);
        let beat = rhythm.beat(now);
        let answer = wards.take(now, &beat, here(), &One).expect("an answer");
        assert_eq!(rhythm.take(now, &answer), Heard::Answer);
        assert_eq!(wards.take(now, &beat, here(), &One), None, "a repeated datagram");
        let mut forged = rhythm.beat(now);
        forged[72] ^= 1;
        assert_eq!(wards.take(now, &forged, here(), &One), None, "a stranger's");

        let mut next = invited(&wards, "s2", now);
        for rhythm in [&mut rhythm, &mut next] {
            let beat = rhythm.beat(now);
            let answer = wards.take(now, &beat, here(), &One).expect("an answer");
            assert_eq!(rhythm.take(now, &answer), Heard::Unknown);
        }
    }

    #[test]
    fn the_silent_are_asked() {
        let wards = leading();
        let now = Instant::now();
        let mut rhythm = invited(&wards, "s1", now);
        assert!(wards.asks(now + SILENCE).is_empty(), "it never beat: nobody knows where it is");
        let beat = rhythm.beat(now);
        wards.take(now, &beat, here(), &One);
        assert!(wards.asks(now).is_empty());
        wards.suspect("n");
        for _ in 0..2 {
            let asks = wards.asks(now + SILENCE);
            let [(to, ask)] = &asks[..] else { panic!("one question, not {}", asks.len()) };
            assert_eq!(*to, here());
            assert_eq!(rhythm.take(now, ask), Heard::Ask);
        }
        wards.dismiss("n", "s0");
        assert!(!wards.asks(now + SILENCE).is_empty());
        wards.dismiss("n", "s1");
        assert!(wards.asks(now + SILENCE).is_empty());
    }
}
