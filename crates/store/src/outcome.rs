//! What a transaction comes to: one change per object, from how it was before to how it is after.
//!
//! A transaction of the control loops makes a task, completes it and gives it a node; the log and whoever watches need
//! the outcome only. Objects keep the order in which they were first changed.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::change::Change;
use crate::object::Kind;

/// The changes of a transaction, an object at a time.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Places in `changes`, by their objects.
    places: HashTable<usize>,
    hasher: DefaultHashBuilder,
    changes: Vec<Entry>,
    bytes: usize,
}

/// What came of one object.
#[derive(Debug)]
struct Entry {
    change: Change,
    /// Made and removed again: the change tells no more than which object it was.
    is_void: bool,
}

impl Outcome {
    /// Adds the newest change, which comes after all others.
    pub(crate) fn add(&mut self, change: Change) {
        let object = (change.kind(), change.id());
        let Some(place) = self.place(object) else {
            let Self { places, hasher, changes, .. } = &mut *self;
            let rehash = |place: &usize| hash(hasher, object_at(changes, *place));
            places.insert_unique(hash(hasher, object), changes.len(), rehash);
            self.bytes += change.weight();
            self.changes.push(Entry { change, is_void: false });
            return;
        };
        if let Some(entry) = self.changes.get_mut(place) {
            entry.add(change);
        }
    }

    /// How many objects were changed.
    pub(crate) fn len(&self) -> usize {
        self.changes.len()
    }

    /// How many bytes the log entry has, roughly: objects as they were when they were first changed.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether this object was changed.
    pub(crate) fn concerns(&self, object: (Kind, &str)) -> bool {
        self.place(object).is_some()
    }

    pub(crate) fn into_changes(self) -> Vec<Change> {
        self.changes.into_iter().filter(|entry| !entry.is_void).map(|entry| entry.change).collect()
    }

    fn place(&self, object: (Kind, &str)) -> Option<usize> {
        let is_it = |place: &usize| object_at(&self.changes, *place) == object;
        self.places.find(hash(&self.hasher, object), is_it).copied()
    }
}

impl Entry {
    fn add(&mut self, later: Change) {
        if std::mem::take(&mut self.is_void) {
            self.change = later;
            return;
        }
        match self.change.clone().then(later) {
            Some(change) => self.change = change,
            None => self.is_void = true,
        }
    }
}

fn object_at(changes: &[Entry], place: usize) -> (Kind, &str) {
    let change = &changes[place].change;
    (change.kind(), change.id())
}

fn hash(hasher: &DefaultHashBuilder, object: (Kind, &str)) -> u64 {
    hasher.hash_one(object)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use swarm_proto::v1::{Node, Task};

    use super::*;
    use crate::change::Delta;

    fn task(slot: u64) -> Arc<Task> {
        Arc::new(Task { id: "t".into(), slot, ..Task::default() })
    }

    /// Slots before and after.
    type Slots = (Option<u64>, Option<u64>);

    fn slots(outcome: Outcome) -> Vec<Slots> {
        let slot = |task: Option<Arc<Task>>| task.map(|task| task.slot);
        let delta = |change| match change {
            Change::Task(Delta { old, new }) => Some((slot(old), slot(new))),
            _ => None,
        };
        outcome.into_changes().into_iter().filter_map(delta).collect()
    }

    #[test]
    fn an_object_changes_once() {
        let table: [(&[Slots], &[Slots]); 5] = [
            (&[(None, Some(1))], &[(None, Some(1))]),
            (&[(None, Some(1)), (Some(1), Some(2)), (Some(2), Some(3))], &[(None, Some(3))]),
            (&[(Some(1), Some(2)), (Some(2), None)], &[(Some(1), None)]),
            (&[(None, Some(1)), (Some(1), None)], &[]),
            (&[(None, Some(1)), (Some(1), None), (None, Some(2))], &[(None, Some(2))]),
        ];
        for (changes, expect) in table {
            let mut outcome = Outcome::default();
            for (old, new) in changes.iter().copied() {
                outcome.add(Change::Task(Delta { old: old.map(task), new: new.map(task) }));
            }
            assert_eq!(outcome.len(), 1);
            assert!(outcome.bytes() > 0 && outcome.bytes() < 20, "an object weighs once");
            assert_eq!(slots(outcome), expect, "{changes:?}");
        }
    }

    #[test]
    fn objects_of_other_tables_may_have_the_same_identifier() {
        let mut outcome = Outcome::default();
        let node = Arc::new(Node { id: "t".into(), ..Node::default() });
        outcome.add(Change::Node(Delta { old: None, new: Some(node) }));
        assert!(!outcome.concerns((Kind::Task, "t")));
        outcome.add(Change::Task(Delta { old: None, new: Some(task(1)) }));
        assert!(outcome.concerns((Kind::Task, "t")));
        assert!(matches!(&outcome.into_changes()[..], [Change::Node(_), Change::Task(_)]));
    }
}
