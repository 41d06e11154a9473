//! What a vote is, and which of a voter's votes counts.
//!
//! A voter's votes may go through different front ends and arrive in any order, more than once. They are ordered by
//! the number that the voter's browser carries from vote to vote; votes of the same number are attempts at one vote,
//! made while an answer was lost, and the later attempt wins. Order of arrival decides nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What one can vote for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// Cats.
    Cats,
    /// Dogs.
    Dogs,
}

/// Random, 32 hexadecimal digits: who holds it is that voter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VoterId(String);

/// A vote as it was cast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    /// Who cast it.
    pub voter: VoterId,
    /// Which vote of this voter it is, from 1.
    pub number: i64,
    /// When a front end took it, in microseconds since 1970.
    pub cast_at_us: i64,
    /// For what.
    pub choice: Choice,
}

/// Text that is no choice, no voter or no vote.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not {expected}: {text:?}")]
pub struct ParseError {
    expected: &'static str,
    text: String,
}

impl ParseError {
    fn new(expected: &'static str, text: &str) -> Self {
        // Only the beginning: the text is somebody else's.
        Self { expected, text: text.chars().take(80).collect() }
    }
}

impl Choice {
    /// Its name in forms, cookies and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cats => "cats",
            Self::Dogs => "dogs",
        }
    }

    /// Its name in a sentence.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Cats => "Cats",
            Self::Dogs => "Dogs",
        }
    }
}

impl FromStr for Choice {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        [Self::Cats, Self::Dogs]
            .into_iter()
            .find(|choice| choice.as_str() == text)
            .ok_or_else(|| ParseError::new("cats or dogs", text))
    }
}

impl VoterId {
    /// A voter nobody has seen before.
    #[must_use]
    pub fn random() -> Self {
        Self(format!("{:032x}", rand::random::<u128>()))
    }

    /// As in tables.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VoterId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        match text.len() == 32 && text.bytes().all(is_digit) {
            true => Ok(Self(text.into())),
            false => Err(ParseError::new("a voter's ID", text)),
        }
    }
}

impl Vote {
    /// What decides between two votes of a voter: the greater counts. The choice is only there so that two votes which
    /// nothing else tells apart end the same way everywhere.
    fn rank(&self) -> (i64, i64, Choice) {
        (self.number, self.cast_at_us, self.choice)
    }
}

impl fmt::Display for VoterId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// As it lies in Redis: voter, number, time and choice.
impl fmt::Display for Vote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { voter, number, cast_at_us, choice } = self;
        write!(formatter, "{voter} {number} {cast_at_us} {}", choice.as_str())
    }
}

impl FromStr for Vote {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("a vote", text);
        let words: Vec<&str> = text.split(' ').take(5).collect();
        let [voter, number, cast_at_us, choice] = words[..] else { return Err(error()) };
        Ok(Self {
            voter: voter.parse()?,
            number: number.parse().map_err(|_| error())?,
            cast_at_us: cast_at_us.parse().map_err(|_| error())?,
            choice: choice.parse()?,
        })
    }
}

/// Of each voter the vote that counts, by voter: who writes them in this order never waits in a circle with others.
#[must_use]
pub fn newest(votes: impl IntoIterator<Item = Vote>) -> Vec<Vote> {
    let mut newest: BTreeMap<VoterId, Vote> = BTreeMap::new();
    for vote in votes {
        match newest.get(&vote.voter) {
            Some(known) if known.rank() >= vote.rank() => {}
            _ => drop(newest.insert(vote.voter.clone(), vote)),
        }
    }
    newest.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(voter: u8, number: i64, cast_at_us: i64, choice: Choice) -> Vote {
        let voter = format!("{voter:032x}").parse().expect("a voter");
        Vote { voter, number, cast_at_us, choice }
    }

    #[test]
    fn the_newest_counts_whatever_the_order_of_arrival() {
        use Choice::{Cats, Dogs};
        let (first, retried) = (vote(1, 1, 50, Cats), vote(1, 1, 60, Dogs));
        // Taken by a front end whose clock is behind.
        let changed = vote(1, 2, 40, Cats);
        let other = vote(2, 1, 10, Dogs);
        let all = [&first, &retried, &changed, &other];
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 2, 3, 0]] {
            let votes = order.map(|index| all[index].clone());
            assert_eq!(newest(votes), [changed.clone(), other.clone()]);
        }
        assert_eq!(newest([retried.clone(), first.clone(), first]), [retried]);
        assert_eq!(newest([]), []);
    }

    #[test]
    fn votes_are_read_as_they_are_written() {
        let cast = vote(7, 3, 1_700_000_000_000_000, Choice::Dogs);
        assert_eq!(cast.to_string().parse(), Ok(cast.clone()));
        let voter = cast.voter.as_str();
        for text in [
            String::new(),
            voter.into(),
            format!("{voter} 1 2 birds"),
            format!("{voter} one 2 cats"),
            format!("{voter} 1 2 cats 3"),
            format!("{} 1 2 cats", &voter[1..]),
            format!("{}G 1 2 cats", &voter[1..]),
        ] {
            assert!(text.parse::<Vote>().is_err(), "{text}");
        }
    }
}
