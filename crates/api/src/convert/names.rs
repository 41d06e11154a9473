//! Names for services that were created without one: an adjective and a noun, as Docker makes them.

use std::hash::{BuildHasher, RandomState};

const LEFT: [&str; 32] = [
    "amber", "bold", "brave", "bright", "calm", "clever", "crisp", "eager", "fair", "gentle",
    "glad", "happy", "humble", "keen", "kind", "lively", "lucid", "merry", "mild", "modest",
    "neat", "noble", "patient", "proud", "quick", "quiet", "steady", "sunny", "tidy", "vivid",
    "warm", "witty",
];

const RIGHT: [&str; 32] = [
    "badger", "beaver", "bison", "crane", "dolphin", "eagle", "falcon", "finch", "fox", "gecko",
    "heron", "ibis", "jackal", "koala", "lemur", "lynx", "marten", "newt", "orca", "osprey",
    "otter", "owl", "panda", "puffin", "raven", "robin", "salmon", "seal", "swift", "tapir",
    "walrus", "wren",
];

/// A random name; a clash is the control service's to refuse.
pub(crate) fn random_name() -> String {
    let seed = RandomState::new().hash_one(0_u8);
    let left = LEFT[(seed % 32) as usize];
    let right = RIGHT[(seed / 32 % 32) as usize];
    format!("{left}_{right}{}", seed / 1024 % 1000)
}
