//! State machine safety: every member applies the same entries in the same order (Raft, figure 3).

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prost::Message as _;
use swarm_proto::v1::RaftMember;
use swarm_raft::{
    Capture, Committed, Leadership, MachineError, MemberChange, Members, StateMachine,
};
use swarm_store::{Commit, Store};

use super::roles::{Certified, check_leave};

/// What is committed, as the first member that applied it saw it; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct CommittedLog {
    content: Arc<Mutex<Content>>,
}

#[derive(Debug, Default)]
struct Content {
    entries: BTreeMap<u64, (u64, u64)>,
    certified: Certified,
    violation: Option<String>,
}

impl CommittedLog {
    pub(crate) fn violation(&self) -> Option<String> {
        self.content().violation.clone()
    }

    /// How many entries were applied by anybody.
    pub(crate) fn len(&self) -> usize {
        self.content().entries.len()
    }

    /// A machine that is watched.
    pub(crate) fn watch(
        &self,
        member: u64,
        machine: Box<dyn StateMachine>,
        store: Store,
        members: Members,
    ) -> Box<dyn StateMachine> {
        Box::new(Watched { log: self.clone(), member, applied: 0, machine, store, members })
    }

    /// Takes note of the certificates that a commit issues.
    pub(crate) fn certify(&self, commit: &Commit) {
        self.content().certified.see(commit);
    }

    /// A member learns that another joins.
    fn check_join(&self, joins: &RaftMember, store: &Store) {
        let content = &mut *self.content();
        if let Err(violation) = content.certified.check_join(&store.view(), joins) {
            content.violation.get_or_insert(violation);
        }
    }

    fn see(&self, member: u64, entry: &Committed<'_>) {
        let mut hasher = DefaultHasher::new();
        entry.data.hash(&mut hasher);
        let seen = (entry.term, hasher.finish());
        let content = &mut *self.content();
        let first = *content.entries.entry(entry.index).or_insert(seen);
        if first != seen {
            let violation = format!(
                "committed logs agree: member {member} applies another entry at {} (term {}, first seen in term {})",
                entry.index, entry.term, first.0
            );
            content.violation.get_or_insert(violation);
        }
    }

    fn fail(&self, violation: String) {
        self.content().violation.get_or_insert(violation);
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Watched {
    log: CommittedLog,
    member: u64,
    applied: u64,
    machine: Box<dyn StateMachine>,
    store: Store,
    members: Members,
}

impl StateMachine for Watched {
    fn apply(&mut self, entry: Committed<'_>) -> Result<(), MachineError> {
        self.log.see(self.member, &entry);
        if entry.index <= self.applied {
            self.log.fail(format!(
                "entries are applied once and in order: member {} applies {} after {}",
                self.member, entry.index, self.applied
            ));
        }
        self.applied = entry.index;
        let before = self.store.view();
        self.machine.apply(entry)?;
        if let Err(violation) = check_leave(&before, &self.store.view(), &self.members) {
            self.log.fail(violation);
        }
        Ok(())
    }

    fn membership(&mut self, index: u64, change: MemberChange) {
        if let MemberChange::Added { context, .. } = &change
            && let Ok(member) = RaftMember::decode(context.as_slice())
        {
            self.log.check_join(&member, &self.store);
        }
        self.machine.membership(index, change);
    }

    fn leadership(&mut self, leadership: Leadership) {
        self.machine.leadership(leadership);
    }

    fn snapshot(&mut self) -> Capture {
        self.machine.snapshot()
    }

    fn restore(&mut self, body: &[u8]) -> Result<(), MachineError> {
        self.machine.restore(body)
    }
}
