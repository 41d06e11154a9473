//! A machine's place in the cluster: its certificate, and whether a manager runs on it. What it does about them is that
//! of `swarm_node`'s follower and post, in polls; the calls it makes are the real authority's, but for the signature.

use std::time::Duration;

use swarm_ca::Role;
use swarm_manager::roles;
use swarm_proto::v1::{Node, RaftMember};
use swarm_raft::{MemberChange, RaftError};
use swarm_store::Error;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::certificate::Wanted;
use crate::group::context;
use crate::net::Place;
use crate::options::Bug;
use crate::world::{Event, World};

/// As the group's own: a change of the members takes no longer, or is given up.
const CHANGE_MAX: Duration = Duration::from_secs(5);
/// The pause after a manager was not admitted.
const REFUSED_PAUSE: Duration = Duration::from_millis(500);
/// As the post's own: a manager that was removed waits for its new certificate first.
const ROLE_CHANGE_MAX: Duration = Duration::from_secs(5);
/// Raft IDs of a machine: its number times this, and the count of its managers.
const MANAGERS_PER_MACHINE_MAX: u64 = 1000;

/// What a machine keeps in files, and what it is waiting for.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    /// The role that its certificate is for.
    pub(crate) certificate: Option<Role>,
    /// The raft ID, beside the log.
    pub(crate) raft_id: Option<u64>,
    /// The role for whose token it has to join.
    pub(crate) token: Option<Role>,
    /// The certificate that it waits for.
    pub(crate) request: Option<Wanted>,
    /// How many it asked for.
    pub(crate) requests: u64,
    joining: Option<Joining>,
    managers: u64,
    rests_until: Duration,
    /// The others said that it was removed.
    pub(crate) is_told_removed: bool,
}

#[derive(Debug)]
struct Joining {
    raft_id: u64,
    admitted: oneshot::Receiver<Result<u64, RaftError>>,
    until: Duration,
}

/// The machine of a raft ID.
pub(crate) fn machine_of(raft_id: u64) -> u64 {
    raft_id / MANAGERS_PER_MACHINE_MAX
}

/// A machine's node.
pub(crate) fn node_id(machine: u64) -> String {
    format!("m{machine}")
}

impl Seat {
    /// The founder's, who needs nobody to be admitted.
    pub(crate) fn founder(machine: u64) -> Self {
        let mut seat = Self { certificate: Some(Role::Manager), ..Self::default() };
        seat.raft_id = Some(seat.next_raft_id(machine));
        seat
    }

    /// A machine's that has a token for this role.
    pub(crate) fn newcomer(token: Role) -> Self {
        Self { token: Some(token), ..Self::default() }
    }

    /// A raft ID that was never used.
    fn next_raft_id(&mut self, machine: u64) -> u64 {
        self.managers += 1;
        machine * MANAGERS_PER_MACHINE_MAX + self.managers
    }
}

impl World {
    /// A machine looks after its certificate and its manager, and will again soon.
    pub(crate) fn attend(&mut self, id: u64) {
        let pause = self.env.random.millis(100, 400);
        self.after(pause, Event::Attend { machine: id });
        if self.managers.get(&id).is_some_and(|machine| machine.is_up) {
            self.follow_certificate(id);
            self.present(id);
            self.follow_post(id);
        }
    }

    /// The leader, as a machine gets through to it: by any manager, which passes calls on. Its clock is the turn's.
    fn reach(&mut self, id: u64) -> Option<u64> {
        let running = self.managers.values().filter(|machine| machine.process.is_some());
        let running: Vec<u64> = running.map(|machine| machine.id).collect();
        let by = self.env.random.pick(&running)?;
        let status = self.process(by)?.status();
        let to = if status.serving { by } else { machine_of(status.leader?) };
        let hops = [(id, by), (by, to), (to, by), (by, id)];
        let is_through = hops.into_iter().filter(|(from, to)| from != to).all(|(from, to)| {
            let (from, to) = (Place::Manager(from), Place::Manager(to));
            !self.net.datagram(self.env.now, &mut self.env.random, from, to).is_empty()
        });
        let ahead_ms = self.managers.get(&to)?.ahead_ms;
        crate::clock::set(self.env.now, ahead_ms);
        self.process(to).filter(|process| is_through && process.status().serving)?;
        Some(to)
    }

    /// The certificate follows the role that the cluster gives this node.
    fn follow_certificate(&mut self, id: u64) {
        let Some(leader) = self.reach(id) else { return };
        let Some(store) = self.process(leader).map(|process| process.store()) else { return };
        let now = self.env.now;
        let Some(seat) = self.managers.get_mut(&id).map(|machine| &mut machine.seat) else {
            return;
        };
        let role = store.view().get::<Node>(&node_id(id)).map(|node| node.role);
        match (role, seat.request.as_ref()) {
            (None, _) => seat.admit(id, &store, now),
            (Some(_), Some(wanted)) if wanted.until > now => {
                let got = seat.fetch(id, &store);
                if let Some(role) = got {
                    self.env.note(format_args!("machine {id} has a certificate for a {role}"));
                }
            }
            (Some(role), _) if seat.certificate.is_none_or(|own| own.to_proto() as i32 != role) => {
                seat.renew(id, &store, now);
            }
            _ => seat.request = None,
        }
        self.turn(leader, false);
    }

    /// A manager that is no voter as far as it knows makes itself known to the leader, which may know that it was
    /// removed: as `swarm_manager`'s presence.
    fn present(&mut self, id: u64) {
        let Some(process) = self.process(id) else { return };
        let raft_id = process.raft_id();
        if process.status().voters.contains(&raft_id) {
            return;
        }
        let Some(leader) = self.reach(id) else { return };
        let is_removed =
            |process: &mut crate::manager::Process| process.members().is_removed(raft_id);
        if self.process(leader).is_some_and(is_removed)
            && let Some(machine) = self.managers.get_mut(&id)
        {
            machine.seat.is_told_removed = true;
        }
    }

    /// The manager follows the certificate.
    pub(crate) fn follow_post(&mut self, id: u64) {
        let now = self.env.now;
        let Some(machine) = self.managers.get_mut(&id) else { return };
        let is_manager = machine.seat.certificate == Some(Role::Manager);
        let removed = |process: &crate::manager::Process| process.is_removed();
        let is_removed =
            machine.seat.is_told_removed || machine.process.as_ref().is_some_and(removed);
        match (is_manager, machine.seat.raft_id) {
            (false, None) => {}
            (false, Some(_)) => self.vacate(id),
            (true, Some(_)) if is_removed => {
                self.vacate(id);
                if let Some(machine) = self.managers.get_mut(&id) {
                    machine.seat.rests_until = now + ROLE_CHANGE_MAX;
                }
            }
            (true, Some(_)) => self.start_manager(id),
            (true, None) if machine.seat.joining.is_some() => self.follow_joining(id),
            (true, None) if machine.seat.rests_until <= now => self.join(id),
            (true, None) => {}
        }
    }

    fn follow_joining(&mut self, id: u64) {
        let now = self.env.now;
        let Some(seat) = self.managers.get_mut(&id).map(|machine| &mut machine.seat) else {
            return;
        };
        let Some(joining) = &mut seat.joining else { return };
        match joining.admitted.try_recv() {
            Ok(Ok(_)) => {
                seat.raft_id = Some(joining.raft_id);
                seat.joining = None;
                self.start_manager(id);
            }
            Err(TryRecvError::Empty) if joining.until > now => {}
            _ => {
                seat.joining = None;
                seat.rests_until = now + REFUSED_PAUSE;
            }
        }
    }

    /// Asks the leader to be admitted to the group; what it does is what the service `RaftMembership` does.
    fn join(&mut self, id: u64) {
        let (now, is_lax) = (self.env.now, self.env.options.bug == Some(Bug::AdmitAnybody));
        let Some(leader) = self.reach(id) else { return };
        let Some(machine) = self.managers.get_mut(&id) else { return };
        machine.seat.rests_until = now + REFUSED_PAUSE;
        let fresh = machine.seat.next_raft_id(id);
        let Some(process) = self.process(leader) else { return };
        let node = node_id(id);
        if !is_lax && !roles::may_join(&process.tables(), &node) {
            return;
        }
        let known = process.members().list().into_iter().find(|member| member.node_id == node);
        if let Some(lost) = known {
            if process.can_remove(now, lost.raft_id) {
                drop(process.change(MemberChange::Removed { id: lost.raft_id }));
            }
            return self.turn(leader, false);
        }
        let admitted = process.change(MemberChange::Added { id: fresh, context: context(fresh) });
        self.env.note(format_args!("machine {id} asks manager {leader} to be admitted as {fresh}"));
        if let Some(machine) = self.managers.get_mut(&id) {
            let until = now + CHANGE_MAX;
            machine.seat.joining = Some(Joining { raft_id: fresh, admitted, until });
        }
        self.turn(leader, false);
    }

    /// The manager stops for good, and its log goes.
    fn vacate(&mut self, id: u64) {
        self.env.note(format_args!("machine {id} has no manager any more"));
        let bug = self.env.options.bug;
        if let Some(machine) = self.managers.get_mut(&id) {
            machine.process = None;
            machine.disk = crate::disk::Disk::new(bug);
            machine.seat.raft_id = None;
            machine.seat.is_told_removed = false;
        }
        self.break_conns(Place::Manager(id), false);
    }
}

/// What the leader does about a node whose machine is to be a manager, or a worker; refused as the control service does.
pub(crate) fn set_role(
    process: &mut crate::manager::Process,
    now: Duration,
    machine: u64,
    role: Role,
) -> Result<(), Error> {
    let node = node_id(machine);
    let tables = process.tables();
    let Some(stored) = tables.get::<Node>(&node) else { return Ok(()) };
    if roles::desired(stored) == role.to_proto() as i32 {
        return Ok(());
    }
    let member = process.members().list().into_iter().find(|member| member.node_id == node);
    let can_go = |member: RaftMember| process.can_remove(now, member.raft_id);
    if role == Role::Worker && !member.is_some_and(can_go) {
        return Ok(());
    }
    let mut changed = Node::clone(stored);
    changed.spec.get_or_insert_default().desired_role = role.to_proto() as i32;
    process.store().propose(|transaction| transaction.update(changed)).map(|_| ())
}
