//! Election safety: at most one leader per term (Raft, figure 3).

use std::collections::BTreeMap;

use swarm_raft::{Role, Status};

/// Who led which term.
#[derive(Debug, Default)]
pub(crate) struct Leaders {
    by_term: BTreeMap<u64, u64>,
}

impl Leaders {
    pub(crate) fn see(&mut self, status: &Status) -> Result<(), String> {
        if status.role != Role::Leader {
            return Ok(());
        }
        let leader = *self.by_term.entry(status.term).or_insert(status.id);
        if leader == status.id {
            return Ok(());
        }
        Err(format!("one leader a term: {leader} and {} lead term {}", status.id, status.term))
    }

    /// How many terms had a leader.
    pub(crate) fn terms(&self) -> usize {
        self.by_term.len()
    }
}
