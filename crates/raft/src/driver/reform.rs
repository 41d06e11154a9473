//! A new group of one member out of the log of an old group: what `--force-new-cluster` appends.
//!
//! ```text
//!   ... old entries | add self | remove each other member |   all of it committed, in a term of its own
//! ```
//!
//! Beyond SwarmKit's `loadAndStart`, which drops entries that were not known to be committed, they are kept: one that
//! a lost majority acknowledged may be among them, and nobody is left to ask. Only a removal of this very member that
//! was not committed, and what follows it, goes.

use std::collections::BTreeSet;

use protobuf::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeType, Entry, EntryType, HardState, Snapshot};

use super::Seed;
use crate::error::RaftError;
use crate::log::{Compact, LogBatch, LogStore, Recovered, position};
use crate::wire;

/// What is written to a log so that it goes on with this member alone.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reform {
    pub(super) entries: Vec<Entry>,
    pub(super) hard_state: HardState,
}

/// Plans the new group of the member `id`, about which `context` is told.
///
/// # Errors
/// [`RaftError::NothingToReform`] where the log is empty or holds a committed removal of this member.
pub(super) fn plan(recovered: &Recovered, id: u64, context: Vec<u8>) -> Result<Reform, RaftError> {
    let snapshot = position(&recovered.snapshot);
    let commit = recovered.hard_state.commit.max(snapshot.index);
    let refused = |why| Err(RaftError::NothingToReform { why });
    if recovered.is_empty() {
        return refused("its log is empty");
    }
    let state = recovered.snapshot.get_metadata().get_conf_state();
    let mut members: BTreeSet<u64> = state.voters.iter().chain(&state.learners).copied().collect();
    let (mut last, mut term) = (recovered.compacted.index, recovered.hard_state.term);
    for entry in &recovered.entries {
        if entry.index > snapshot.index
            && let Some(change) = change_of(entry)
        {
            match change.get_change_type() {
                ConfChangeType::RemoveNode if change.node_id == id => {
                    if entry.index <= commit {
                        return refused("it was removed from its group");
                    }
                    break;
                }
                ConfChangeType::RemoveNode => members.remove(&change.node_id),
                ConfChangeType::AddNode | ConfChangeType::AddLearnerNode => {
                    members.insert(change.node_id)
                }
            };
        }
        (last, term) = (entry.index, term.max(entry.term));
    }
    members.remove(&id);
    // No entry of the old group has this term, wherever it goes on.
    let term = term + 1;
    let own = wire::conf_change(ConfChangeType::AddNode, id, context);
    let others = members
        .into_iter()
        .map(|other| wire::conf_change(ConfChangeType::RemoveNode, other, Vec::new()));
    let entries: Vec<Entry> = (last + 1..)
        .zip(std::iter::once(own).chain(others))
        .map(|(index, change)| wire::change_entry(index, term, &change))
        .collect();
    let commit = last + entries.len() as u64;
    let hard_state = HardState { term, vote: id, commit, ..HardState::default() };
    Ok(Reform { entries, hard_state })
}

/// Begins an empty log with a state of another group, in which this member is alone.
pub(super) fn plant(log: &mut dyn LogStore, id: u64, seed: &Seed) -> Result<(), RaftError> {
    let mut snapshot = Snapshot { data: seed.body.clone().into(), ..Snapshot::default() };
    let metadata = snapshot.mut_metadata();
    (metadata.index, metadata.term) = (seed.at.index, seed.at.term);
    metadata.mut_conf_state().voters = vec![id];
    let hard_state =
        HardState { term: seed.at.term, commit: seed.at.index, ..HardState::default() };
    log.write(LogBatch {
        snapshot: Some(&snapshot),
        hard_state: Some(&hard_state),
        compact: Some(Compact { to: seed.at, all: true }),
        ..LogBatch::default()
    })?;
    Ok(())
}

fn change_of(entry: &Entry) -> Option<ConfChange> {
    (entry.get_entry_type() == EntryType::EntryConfChange)
        .then(|| ConfChange::parse_from_bytes(&entry.data).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{MemoryLog, Position};

    const ME: u64 = 7;

    fn added(index: u64, id: u64) -> Entry {
        let change = wire::conf_change(ConfChangeType::AddNode, id, b"c".to_vec());
        wire::change_entry(index, 2, &change)
    }

    fn removed(index: u64, id: u64) -> Entry {
        let change = wire::conf_change(ConfChangeType::RemoveNode, id, Vec::new());
        wire::change_entry(index, 2, &change)
    }

    fn normal(index: u64) -> Entry {
        Entry { index, term: 3, data: b"x".to_vec().into(), ..Entry::default() }
    }

    fn log(snapshot: u64, voters: &[u64], entries: Vec<Entry>, commit: u64) -> Recovered {
        let mut taken = Snapshot::default();
        if snapshot > 0 {
            let metadata = taken.mut_metadata();
            (metadata.index, metadata.term) = (snapshot, 2);
            metadata.mut_conf_state().voters = voters.to_vec();
        }
        let first = entries.first().map_or(snapshot + 1, |entry| entry.index);
        let hard_state = HardState { term: 3, vote: 9, commit, ..HardState::default() };
        let compacted = Position { index: first - 1, term: 2 };
        Recovered { hard_state, snapshot: taken, compacted, entries }
    }

    /// What is appended, as `index@term +id` and `-id`.
    fn check(recovered: &Recovered, expect: Result<&str, &str>) {
        let said = plan(recovered, ME, b"new".to_vec()).map(|reform| {
            let last = reform.entries.last().expect("itself at least");
            let state = reform.hard_state;
            assert_eq!((state.commit, state.term, state.vote), (last.index, last.term, ME));
            let entries = reform.entries.iter().map(|entry| {
                let change = change_of(entry).expect("a change");
                let sign = match change.get_change_type() {
                    ConfChangeType::AddNode => {
                        assert_eq!(change.context.as_ref(), b"new");
                        '+'
                    }
                    _ => '-',
                };
                format!("{}@{} {sign}{}", entry.index, entry.term, change.node_id)
            });
            entries.collect::<Vec<_>>().join(", ")
        });
        let said = said.map_err(|error| error.to_string());
        match expect {
            Ok(expect) => assert_eq!(said.as_deref(), Ok(expect)),
            Err(part) => assert!(said.as_ref().is_err_and(|said| said.contains(part)), "{said:?}"),
        }
    }

    #[test]
    fn the_others_go_and_the_log_stays() {
        let founded = vec![added(1, ME), added(2, 8), added(3, 9), normal(4), normal(5)];
        // All of the log counts, whatever was known to be committed.
        check(&log(0, &[], founded.clone(), 4), Ok("6@4 +7, 7@4 -8, 8@4 -9"));
        check(&log(0, &[], founded, 5), Ok("6@4 +7, 7@4 -8, 8@4 -9"));
        check(&log(0, &[], vec![added(1, ME), normal(2)], 2), Ok("3@4 +7"));
        // The snapshot knows what the entries behind it say; those after it are news.
        check(&log(10, &[ME, 8], Vec::new(), 10), Ok("11@4 +7, 12@4 -8"));
        check(
            &log(10, &[ME, 8], vec![added(9, 8), removed(10, 5), normal(11)], 11),
            Ok("12@4 +7, 13@4 -8"),
        );
        check(&log(10, &[ME, 8], vec![removed(11, 8), added(12, 5)], 12), Ok("13@4 +7, 14@4 -5"));
        // One that was not added yet when its group was lost.
        check(&log(10, &[8, 9], vec![normal(11)], 11), Ok("12@4 +7, 13@4 -8, 14@4 -9"));
    }

    #[test]
    fn a_state_of_another_group_is_gone_on_from() {
        let mut log = MemoryLog::default();
        let at = Position { index: 40, term: 6 };
        plant(&mut log, ME, &Seed { at, body: b"state".to_vec() }).expect("written");
        let recovered = log.recover().expect("is sound");
        assert_eq!((position(&recovered.snapshot), recovered.compacted), (at, at));
        assert_eq!(recovered.snapshot.data.as_ref(), b"state");
        let reform = plan(&recovered, ME, b"new".to_vec()).expect("a new group");
        let last = reform.entries.last().expect("itself");
        assert_eq!((reform.entries.len(), last.index, last.term), (1, 41, 7));
    }

    #[test]
    fn who_was_removed_founds_nothing() {
        check(&Recovered::default(), Err("its log is empty"));
        let removal = vec![normal(11), removed(12, ME), normal(13)];
        check(&log(10, &[ME, 8], removal.clone(), 12), Err("it was removed from its group"));
        // A removal that was not committed is undone, with what follows it.
        check(&log(10, &[ME, 8], removal, 11), Ok("12@4 +7, 13@4 -8"));
    }
}
