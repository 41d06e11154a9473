//! What a leader does about nodes' roles: it signs certificates that are asked for, and brings roles and members in
//! line. The decisions are `swarm_manager`'s; the signature is a name here.

use std::time::Duration;

use swarm_ca::Role;
use swarm_manager::roles;
use swarm_proto::v1::issuance_status::State;
use swarm_proto::v1::node_spec::{Availability, Membership};
use swarm_proto::v1::{Certificate, IssuanceStatus, Node, NodeSpec};
use swarm_raft::{MemberChange, RaftError};
use swarm_store::{Error, Store};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::env::Env;
use crate::group::Peers;

/// The certificates' organization.
pub(crate) const CLUSTER: &str = "cluster";
/// As the role manager's own.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// One term's.
#[derive(Default)]
pub(crate) struct Authority {
    signing: Option<oneshot::Receiver<Result<(), Error>>>,
    correcting: Option<oneshot::Receiver<Result<(), Error>>>,
    removing: Option<oneshot::Receiver<Result<u64, RaftError>>>,
    rests_until: Duration,
}

/// Whether an answer is still awaited.
fn waits<T>(answer: &mut Option<oneshot::Receiver<T>>) -> bool {
    let is_due =
        |answer: &mut oneshot::Receiver<T>| matches!(answer.try_recv(), Err(TryRecvError::Empty));
    let waits = answer.as_mut().is_some_and(is_due);
    if !waits {
        *answer = None;
    }
    waits
}

impl Authority {
    /// Whatever can be done now; whether something was proposed.
    pub(crate) fn work(&mut self, env: &mut Env, store: &Store, peers: &Peers<'_>) -> bool {
        let signed = self.sign(store);
        self.bring_in_line(env, store, peers) || signed
    }

    /// As `swarm_manager`'s signer, without keys.
    fn sign(&mut self, store: &Store) -> bool {
        if waits(&mut self.signing) {
            return false;
        }
        let tables = store.view();
        let unsigned: Vec<Node> = tables
            .iter::<Node>()
            .filter(|node| is_unsigned(node))
            .map(|node| Node::clone(node))
            .collect();
        if unsigned.is_empty() {
            return false;
        }
        let written = store.propose(|transaction| {
            unsigned.into_iter().try_for_each(|node| {
                let newest = transaction.get::<Node>(&node.id);
                let is_same = newest.is_some_and(|newest| newest.certificate == node.certificate);
                let (true, Some(newest)) = (is_same, newest) else { return Ok(()) };
                transaction.update(signed(Node::clone(newest)))
            })
        });
        self.signing = written.ok().and_then(|((), committed)| committed);
        self.signing.is_some()
    }

    /// As `swarm_manager`'s role manager.
    fn bring_in_line(&mut self, env: &mut Env, store: &Store, peers: &Peers<'_>) -> bool {
        let is_busy = waits(&mut self.correcting) || waits(&mut self.removing);
        if is_busy || env.now < self.rests_until {
            return false;
        }
        let tables = store.view();
        if let Some(member) = roles::leaving(&tables, peers.members.list()).first() {
            self.rests_until = env.now + RETRY_INTERVAL;
            return self.remove(env, peers, member.raft_id);
        }
        let wrong = roles::wrong(&tables, &peers.members.list());
        if wrong.is_empty() {
            return false;
        }
        env.note(format_args!("roles of {wrong:?} change"));
        let written = store.propose(|transaction| roles::correct(transaction, &wrong));
        self.correcting = written.ok().and_then(|((), committed)| committed);
        self.correcting.is_some()
    }

    fn remove(&mut self, env: &mut Env, peers: &Peers<'_>, raft_id: u64) -> bool {
        let own = peers.node.status().id;
        if raft_id == own
            && let Some(heir) = peers.heir(env.now)
        {
            return peers.node.transfer_leadership(heir).is_ok();
        }
        if !peers.can_remove(env.now, raft_id) {
            return false;
        }
        env.note(format_args!("{own} removes {raft_id} from the group"));
        self.removing = Some(peers.node.propose_change(MemberChange::Removed { id: raft_id }));
        true
    }
}

fn is_unsigned(node: &Node) -> bool {
    let status = node.certificate.as_ref().and_then(|certificate| certificate.status.as_ref());
    status.is_some_and(|status| matches!(status.state(), State::Pending | State::Renew))
}

fn signed(mut node: Node) -> Node {
    if let Some(certificate) = &mut node.certificate {
        certificate.certificate = format!("{} {}", certificate.cn, certificate.role).into_bytes();
        certificate.status = Some(issuance(State::Issued));
    }
    node
}

fn issuance(state: State) -> IssuanceStatus {
    IssuanceStatus { state: state.into(), ..IssuanceStatus::default() }
}

/// A node that joins, as the authority records it. Managers run no tasks here: their machines have no agent.
pub(crate) fn new_node(id: &str, role: Role, csr: Vec<u8>) -> Node {
    let role = role.to_proto() as i32;
    let certificate = Certificate {
        csr,
        cn: id.to_owned(),
        role,
        status: Some(issuance(State::Pending)),
        ..Certificate::default()
    };
    let spec = NodeSpec {
        desired_role: role,
        membership: Membership::Accepted.into(),
        availability: Availability::Drain.into(),
        ..NodeSpec::default()
    };
    Node {
        id: id.to_owned(),
        role,
        certificate: Some(certificate),
        spec: Some(spec),
        ..Node::default()
    }
}

/// The founder's node, which signed its own certificate.
pub(crate) fn founder(id: &str) -> Node {
    signed(new_node(id, Role::Manager, Vec::new()))
}
