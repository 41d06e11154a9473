//! Container names: which are legal, and making one up where the user gives none.

use crate::error::{Error, Result};

const ADJECTIVES: [&str; 32] = [
    "able", "brave", "bright", "calm", "clever", "cosy", "eager", "early", "fair", "gentle",
    "glad", "happy", "honest", "jolly", "keen", "kind", "light", "lively", "loyal", "lucky",
    "merry", "modest", "neat", "nimble", "patient", "proud", "quick", "quiet", "steady", "sunny",
    "warm", "wise",
];
const NOUNS: [&str; 32] = [
    "anchor", "apple", "badger", "beacon", "birch", "bridge", "canyon", "cedar", "comet", "crane",
    "delta", "ember", "falcon", "fjord", "garden", "harbor", "heron", "island", "lantern", "maple",
    "meadow", "otter", "pebble", "planet", "raven", "river", "robin", "summit", "thistle", "tulip",
    "valley", "willow",
];

/// Checks a name that a user gives.
pub(crate) fn validate(name: &str) -> Result<&str> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let mut characters = bare.chars();
    let legal = characters.next().is_some_and(|c| c.is_ascii_alphanumeric())
        && bare.len() > 1
        && characters.all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if legal {
        return Ok(bare);
    }
    Err(Error::invalid(format!(
        "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    )))
}

/// A made-up name; from the second attempt on with a number.
pub(crate) fn generate(attempt: u32) -> String {
    let pick = |words: &[&'static str]| words[rand::random_range(0..words.len())];
    let name = format!("{}_{}", pick(&ADJECTIVES), pick(&NOUNS));
    if attempt == 0 { name } else { format!("{name}{}", rand::random_range(0..10_u32)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_names() {
        for (name, legal) in
            [("/web.1", true), ("a", false), ("-a", false), ("a b", false), ("a_b-c.d", true)]
        {
            assert_eq!(validate(name).is_ok(), legal, "{name}");
        }
    }
}
