//! The executable `swarm`.
fn main() {}
