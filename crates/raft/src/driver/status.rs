//! What a member knows about itself and its group.

use raft::StateRole;

use crate::core::Member;

/// A member's role.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// It follows a leader, or waits for one.
    #[default]
    Follower,
    /// It asks for votes.
    Candidate,
    /// It leads.
    Leader,
}

impl From<StateRole> for Role {
    fn from(role: StateRole) -> Self {
        match role {
            StateRole::Follower => Self::Follower,
            StateRole::Candidate | StateRole::PreCandidate => Self::Candidate,
            StateRole::Leader => Self::Leader,
        }
    }
}

/// A member's view of the group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// The member's raft ID.
    pub id: u64,
    /// The leader's raft ID, where one is known.
    pub leader: Option<u64>,
    /// The current term.
    pub term: u64,
    /// The member's role.
    pub role: Role,
    /// Whether it leads and has applied all that was committed before: it takes writes.
    pub serving: bool,
    /// The raft IDs of the voters.
    pub voters: Vec<u64>,
    /// The raft IDs of the learners.
    pub learners: Vec<u64>,
    /// The last entry applied.
    pub applied: u64,
    /// The last entry known to be committed.
    pub committed: u64,
    /// The last entry in the log.
    pub last: u64,
    /// The first entry that is not compacted.
    pub first: u64,
    /// Whether the member has stopped, by request or because its log failed.
    pub stopped: bool,
    /// Why it stopped, where nobody asked it to: the whole chain of causes.
    pub failure: Option<String>,
}

impl Status {
    pub(super) fn of(member: &Member, serving: bool) -> Self {
        let members = member.members();
        Self {
            id: member.id(),
            leader: member.leader(),
            term: member.term(),
            role: member.role().into(),
            serving,
            voters: sorted(members.voters),
            learners: sorted(members.learners),
            applied: member.applied_index(),
            committed: member.committed_index(),
            last: member.last().index,
            first: member.first_index(),
            stopped: false,
            failure: None,
        }
    }

    /// Whether watchers want to hear of the step from `self` to `next`: progress alone wakes nobody.
    pub(super) fn is_news(&self, next: &Self) -> bool {
        let face = |status: &Self| {
            (
                status.leader,
                status.term,
                status.role,
                status.serving,
                status.stopped,
                status.voters.clone(),
                status.learners.clone(),
            )
        };
        face(self) != face(next)
    }
}

fn sorted(mut ids: Vec<u64>) -> Vec<u64> {
    ids.sort_unstable();
    ids
}
