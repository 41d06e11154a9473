//! Which of a store's hosts is asked: the one that answered last, and where it fails the next.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The hosts of a store, with the one to ask.
#[derive(Debug)]
pub(super) struct Hosts<T> {
    all: Vec<T>,
    next: AtomicUsize,
}

/// A host that is being asked; unless it is said to answer, the next request goes to the one after it.
#[derive(Debug)]
pub(super) struct Asked<'h, T> {
    hosts: &'h Hosts<T>,
    number: usize,
}

impl<T> Hosts<T> {
    /// There must be one at least.
    pub(super) fn new(all: Vec<T>) -> Self {
        Self { all, next: AtomicUsize::new(0) }
    }

    /// The host to ask now.
    pub(super) fn ask(&self) -> Asked<'_, T> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Asked { hosts: self, number }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }
}

impl<T> Asked<'_, T> {
    /// It answers: it is asked the next time, too.
    pub(super) fn answers(&self) {
        self.hosts.next.store(self.number, Ordering::Relaxed);
    }
}

impl<T> std::ops::Deref for Asked<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.hosts.all[self.number % self.hosts.all.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_answers_is_asked_again() {
        let hosts = Hosts::new(vec!["a", "b", "c"]);
        let asked = [false, true, true, false, false, false, true].map(|answers| {
            let asked = hosts.ask();
            if answers {
                asked.answers();
            }
            *asked
        });
        assert_eq!(asked, ["a", "b", "b", "b", "c", "a", "b"]);
    }
}
