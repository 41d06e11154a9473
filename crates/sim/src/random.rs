//! All chance of a simulation: one generator, seeded once. What several rooms draw, they draw from forks.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use swarm_proto::id::{IdSource, format_id};

/// A seeded generator.
#[derive(Debug)]
pub(crate) struct Random(StdRng);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// A number below `end`; 0 where that is 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { self.0.random_range(0..end) }
    }

    /// Whether what happens so often in a thousand happens now.
    pub(crate) fn chance(&mut self, per_mille: usize) -> bool {
        self.below(1000) < per_mille
    }

    /// A duration of so many milliseconds, at least `from` and less than `to`.
    pub(crate) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_micros(self.0.random_range(from * 1000..to * 1000))
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        of.get(self.below(of.len())).copied()
    }

    pub(crate) fn seed(&mut self) -> u64 {
        self.0.random()
    }

    /// A generator of its own, whose draws change nothing here.
    pub(crate) fn fork(&mut self) -> Self {
        Self::new(self.seed())
    }

    /// A fresh identifier.
    pub(crate) fn id(&mut self) -> String {
        format_id(self.0.random())
    }

    /// A source of identifiers of its own.
    pub(crate) fn ids(&mut self) -> IdSource {
        let mut fork = self.fork();
        Box::new(move || fork.id())
    }
}
