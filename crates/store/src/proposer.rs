//! The border to consensus: who makes a proposed transaction durable.

use std::sync::{Arc, OnceLock, Weak};

use crate::error::Error;
use crate::store::Store;

/// A transaction on its way to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Names the transaction to [`Store::committed`]; also the `id` inside `body`.
    pub ticket: u64,
    /// An encoded `InternalRaftRequest`: what the log entry holds.
    pub body: Vec<u8>,
}

/// Why a proposal was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This member does not lead.
    #[error("node is not the leader")]
    NotLeader,
    /// The member is shutting down or its log failed.
    #[error("the log is closed: {0}")]
    Closed(String),
}

impl From<ProposeError> for Error {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NotLeader => Self::NotLeader,
            ProposeError::Closed(why) => Self::Log(why),
        }
    }
}

/// Takes proposals in the order of the calls, and answers each later through [`Store::committed`] in the same order,
/// or all that are out through [`Store::lost_leadership`]. `propose` is called under the writer's lock: it must only
/// queue or commit; from inside, no call of the store but [`Store::committed`] is allowed.
pub trait Proposer: Send + Sync {
    /// Queues a proposal for the log.
    ///
    /// # Errors
    /// [`ProposeError`]; nothing was queued then.
    fn propose(&self, proposal: Proposal) -> Result<(), ProposeError>;
}

/// Commits at once and keeps nothing: for tests of rooms that need a store but no log.
#[derive(Debug, Default)]
pub struct ImmediateProposer {
    store: OnceLock<Weak<crate::store::Shared>>,
}

impl ImmediateProposer {
    /// A store that leads and commits every transaction at once.
    pub fn store() -> Store {
        let proposer = Arc::new(Self::default());
        let store = Store::new(proposer.clone());
        // The cell is empty: it was made two lines up.
        let _ = proposer.store.set(store.downgrade());
        store.became_leader(0);
        store
    }
}

impl Proposer for ImmediateProposer {
    fn propose(&self, proposal: Proposal) -> Result<(), ProposeError> {
        let store = self.store.get().and_then(Weak::upgrade).map(Store::from_shared);
        store.ok_or(ProposeError::NotLeader)?.committed(proposal.ticket);
        Ok(())
    }
}
