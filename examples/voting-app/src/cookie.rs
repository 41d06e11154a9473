//! What a voter's browser remembers: who the voter is, how many votes were cast, and what for.
//!
//! One cookie, `voter=<id>-<number>-<choice>`. It is not signed: who changes it harms the own vote only.

use std::str::FromStr;

use crate::ballot::{Choice, VoterId};

/// Its name.
const NAME: &str = "voter";
/// For how long a browser keeps it: the survey is over by then.
const KEPT_SECONDS: u32 = 30 * 24 * 3600;

/// A voter as the browser knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voter {
    /// Who it is.
    pub id: VoterId,
    /// The number of the last vote; 0 before the first.
    pub number: i64,
    /// What was acknowledged last.
    pub choice: Option<Choice>,
}

impl Voter {
    /// Somebody who comes for the first time.
    #[must_use]
    pub fn newcomer() -> Self {
        Self { id: VoterId::random(), number: 0, choice: None }
    }

    /// From the value of a header `Cookie`. Whatever can't be read is a newcomer's.
    #[must_use]
    pub fn of_header(header: &str) -> Option<Self> {
        header.split(';').find_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == NAME).then(|| value.parse().ok())?
        })
    }

    /// The value of a header `Cookie`.
    #[must_use]
    pub fn header(&self) -> String {
        let choice = self.choice.map_or("", Choice::as_str);
        format!("{NAME}={}-{}-{choice}", self.id, self.number)
    }

    /// The value of a header `Set-Cookie`. Scripts don't see it, other sites' forms don't send it.
    #[must_use]
    pub fn set_header(&self) -> String {
        format!("{}; Path=/; Max-Age={KEPT_SECONDS}; HttpOnly; SameSite=Lax", self.header())
    }
}

/// Why a cookie's value is none of ours.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a voter's cookie")]
pub struct Unreadable;

impl FromStr for Voter {
    type Err = Unreadable;

    fn from_str(value: &str) -> Result<Self, Unreadable> {
        let mut parts = value.splitn(3, '-');
        let mut next = || parts.next().ok_or(Unreadable);
        let id = next()?.parse().map_err(|_| Unreadable)?;
        let number: i64 = next()?.parse().map_err(|_| Unreadable)?;
        let choice = match next()? {
            "" => None,
            choice => Some(choice.parse().map_err(|_| Unreadable)?),
        };
        match number >= 0 {
            true => Ok(Self { id, number, choice }),
            false => Err(Unreadable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_come_back_as_they_were_given() {
        let mut voter = Voter::newcomer();
        for choice in [None, Some(Choice::Cats), Some(Choice::Dogs)] {
            voter.choice = choice;
            voter.number += 1;
            let header = format!("theme=dark; {}; x", voter.header());
            assert_eq!(Voter::of_header(&header), Some(voter.clone()));
            assert!(voter.set_header().starts_with(&format!("{}; ", voter.header())));
        }
    }

    #[test]
    fn foreign_cookies_are_nobody_s() {
        let id = VoterId::random();
        for header in [
            String::new(),
            "voter".into(),
            "voter=".into(),
            format!("voter={id}"),
            format!("voter={id}-1"),
            format!("voter={id}--1-cats"),
            format!("voter={id}-99999999999999999999-cats"),
            format!("voter={id}-1-birds"),
            format!("voters={id}-1-cats"),
        ] {
            assert_eq!(Voter::of_header(&header), None, "{header}");
        }
    }
}
