//! Whole groups in one thread: members over logs in memory, a network that can be cut, time that is told.
//!
//! Election timeouts differ by member and never by chance, so each test replays exactly.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use raft::StateRole;
use raft::eraftpb::{ConfChangeType, EntryType, HardState, Message, MessageType};

use super::{Command, Member, MemberOptions};
use crate::error::RaftError;
use crate::log::{LogBatch, LogStore, MemoryLog};
use crate::wire::{self, Peer};

/// One member with its disk, its state machine and what it still owes the disk.
struct Host {
    id: u64,
    member: Option<Member>,
    log: MemoryLog,
    /// The numbers applied, in order.
    state: Vec<u64>,
    restores: u32,
    reads: Vec<u64>,
    unflushed: Option<HardState>,
}

impl Host {
    fn start(&mut self) {
        let recovered = self.log.recover().expect("memory");
        self.state = numbers(&recovered.snapshot.data);
        self.unflushed = None;
        let ticks = 10 + usize::try_from(self.id).expect("small");
        let options = MemberOptions {
            id: self.id,
            election_ticks: ticks,
            heartbeat_ticks: 1,
            election_ticks_max: ticks + 1,
            election_seed: None,
        };
        self.member = Some(Member::new(&options, &recovered).expect("starts"));
    }

    fn pump(&mut self, sent: &mut VecDeque<Message>) {
        let Some(mut member) = self.member.take() else { return };
        loop {
            let commands = member.ready();
            if commands.is_empty() {
                break;
            }
            for command in commands {
                self.carry_out(&mut member, command, sent);
            }
        }
        self.member = Some(member);
    }

    fn carry_out(&mut self, member: &mut Member, command: Command, sent: &mut VecDeque<Message>) {
        match command {
            Command::Send(messages) => sent.extend(messages),
            Command::Persist(mut persist) => {
                persist.hard_state = persist.hard_state.or_else(|| self.unflushed.take());
                if persist.must_sync {
                    self.log.write(persist.batch()).expect("memory");
                    // As in the driver: an older state must never be written after a newer one.
                    self.unflushed = None;
                } else {
                    self.unflushed = persist.hard_state.take();
                }
                member.persisted(persist.number);
            }
            Command::Restore(snapshot) => {
                self.state = numbers(&snapshot.data);
                self.restores += 1;
                member.applied(snapshot.get_metadata().index);
            }
            Command::Apply(entries) => {
                let normal =
                    entries.iter().filter(|entry| entry.get_entry_type() == EntryType::EntryNormal);
                self.state.extend(normal.flat_map(|entry| numbers(&entry.data)));
                member.applied(entries.last().expect("not empty").index);
            }
            Command::Membership { .. } => {}
            Command::Read { index, .. } => self.reads.push(index),
            Command::MakeSnapshot => {
                let snapshot = member.snapshot_of(bytes(&self.state));
                member.offer_snapshot(snapshot);
            }
        }
    }

    fn compact(&mut self, keep: u64) {
        let member = self.member.as_mut().expect("runs");
        let snapshot = member.snapshot_of(bytes(&self.state));
        let compact = Some(member.compact(member.applied_index().saturating_sub(keep)));
        self.log
            .write(LogBatch { snapshot: Some(&snapshot), compact, ..LogBatch::default() })
            .expect("memory");
    }
}

/// A group and the network between its members.
struct Group {
    hosts: BTreeMap<u64, Host>,
    cut: BTreeSet<u64>,
    sent: VecDeque<Message>,
    /// Which member led which term.
    leaders: BTreeMap<u64, u64>,
}

impl Group {
    fn of(count: u64) -> Self {
        let mut group = Self {
            hosts: BTreeMap::new(),
            cut: BTreeSet::new(),
            sent: VecDeque::new(),
            leaders: BTreeMap::new(),
        };
        let peers: Vec<Peer> = (1..=count).map(|id| Peer { id, context: Vec::new() }).collect();
        let (entries, state) = wire::founding_log(&peers);
        for id in 1..=count {
            group.join(
                id,
                LogBatch { entries: &entries, hard_state: Some(&state), ..LogBatch::default() },
            );
        }
        group
    }

    fn join(&mut self, id: u64, founding: LogBatch<'_>) {
        let mut log = MemoryLog::default();
        log.write(founding).expect("memory");
        let mut host = Host {
            id,
            member: None,
            log,
            state: Vec::new(),
            restores: 0,
            reads: Vec::new(),
            unflushed: None,
        };
        host.start();
        self.hosts.insert(id, host);
        self.settle();
    }

    /// Delivers messages until none is on the way.
    fn settle(&mut self) {
        loop {
            for host in self.hosts.values_mut() {
                host.pump(&mut self.sent);
                if let Some(member) = host.member.as_ref().filter(|member| member.is_leader()) {
                    let leader = *self.leaders.entry(member.term()).or_insert(host.id);
                    assert_eq!(leader, host.id, "one leader in term {}", member.term());
                }
            }
            let Some(message) = self.sent.pop_front() else { return };
            self.deliver(&message);
        }
    }

    fn deliver(&mut self, message: &Message) {
        let lost = self.cut.contains(&message.to) || self.cut.contains(&message.from);
        let arrives = |host: &mut Host| {
            let decoded = wire::decode(&wire::encode(message)).expect("what was encoded");
            if let Some(member) = host.member.as_mut() {
                member.step(decoded);
            }
        };
        if !lost && let Some(host) = self.hosts.get_mut(&message.to) {
            arrives(host);
        }
        if message.get_msg_type() == MessageType::MsgSnapshot
            && let Some(sender) =
                self.hosts.get_mut(&message.from).and_then(|host| host.member.as_mut())
        {
            sender.report_snapshot(message.to, !lost);
        }
    }

    fn tick(&mut self, times: usize) {
        for _ in 0..times {
            self.hosts.values_mut().filter_map(|host| host.member.as_mut()).for_each(Member::tick);
            self.settle();
        }
    }

    fn leader(&self) -> Option<u64> {
        let leads = |host: &&Host| host.member.as_ref().is_some_and(Member::is_leader);
        self.hosts
            .values()
            .filter(leads)
            .max_by_key(|host| host.member.as_ref().map(Member::term))
            .map(|host| host.id)
    }

    fn elect(&mut self) -> u64 {
        self.tick(40);
        self.leader().expect("a leader after two election timeouts")
    }

    fn member(&mut self, id: u64) -> &mut Member {
        self.hosts.get_mut(&id).and_then(|host| host.member.as_mut()).expect("runs")
    }

    fn propose(&mut self, at: u64, number: u64) -> Result<(), RaftError> {
        let result = self.member(at).propose(bytes(&[number])).map(|_| ());
        self.settle();
        result
    }

    fn states(&self) -> Vec<Vec<u64>> {
        self.hosts
            .values()
            .filter(|host| host.member.is_some())
            .map(|host| host.state.clone())
            .collect()
    }

    fn all_have(&self, expected: &[u64]) {
        for host in self.hosts.values() {
            assert_eq!(host.state, expected, "member {}", host.id);
        }
    }
}

fn bytes(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn numbers(bytes: &[u8]) -> Vec<u64> {
    bytes
        .chunks_exact(8)
        .map(|chunk| u64::from_be_bytes(chunk.try_into().expect("eight bytes")))
        .collect()
}

#[test]
fn groups_elect_one_leader_and_replicate() {
    for count in [1, 3, 5, 9] {
        let mut group = Group::of(count);
        let leader = group.elect();
        for number in 0..20 {
            group.propose(leader, number).expect("leads");
        }
        group.tick(1);
        group.all_have(&(0..20).collect::<Vec<_>>());
        for id in (1..=count).filter(|id| *id != leader) {
            let refused = group.propose(id, 99);
            assert!(
                matches!(refused, Err(RaftError::NotLeader { leader: Some(known) }) if known == leader)
            );
        }
    }
}

#[test]
fn a_group_of_one_leads_without_waiting() {
    let mut group = Group::of(1);
    assert!(group.member(1).is_alone());
    group.member(1).campaign();
    group.settle();
    group.propose(1, 5).expect("leads");
    group.all_have(&[5]);
}

#[test]
fn a_cut_off_leader_steps_down_and_its_proposals_are_dropped() {
    let mut group = Group::of(5);
    let old = group.elect();
    group.propose(old, 1).expect("leads");
    group.cut.insert(old);
    group.propose(old, 666).expect("it does not know yet");
    group.tick(60);
    let new = group.leader().expect("the majority goes on");
    assert_ne!(new, old);
    assert_ne!(group.member(old).role(), StateRole::Leader, "CheckQuorum, thesis 6.2");
    group.propose(new, 2).expect("leads");
    group.cut.clear();
    group.tick(5);
    assert_eq!(group.leader(), Some(new));
    group.all_have(&[1, 2]);
}

#[test]
fn a_member_that_comes_back_disturbs_nobody() {
    let mut group = Group::of(3);
    let leader = group.elect();
    let (term, other) = (group.member(leader).term(), leader % 3 + 1);
    group.cut.insert(other);
    group.tick(200);
    group.cut.clear();
    group.tick(30);
    assert_eq!(group.leader(), Some(leader), "PreVote, thesis 9.6");
    assert_eq!(group.member(leader).term(), term);
}

#[test]
fn members_go_on_from_their_logs() {
    let mut group = Group::of(3);
    let leader = group.elect();
    (0..30).for_each(|number| group.propose(leader, number).expect("leads"));
    group.tick(1);
    group.hosts.get_mut(&leader).expect("is there").compact(7);
    group.hosts.values_mut().for_each(Host::start);
    let leader = group.elect();
    group.propose(leader, 30).expect("leads");
    group.tick(1);
    group.all_have(&(0..=30).collect::<Vec<_>>());
}

#[test]
fn a_follower_behind_the_log_gets_a_snapshot() {
    let mut group = Group::of(3);
    let leader = group.elect();
    let slow = leader % 3 + 1;
    group.cut.insert(slow);
    (0..100).for_each(|number| group.propose(leader, number).expect("leads"));
    group.hosts.values_mut().filter(|host| host.id != slow).for_each(|host| host.compact(5));
    group.cut.clear();
    group.tick(5);
    group.propose(leader, 100).expect("leads");
    group.tick(1);
    group.all_have(&(0..=100).collect::<Vec<_>>());
    assert_eq!(group.hosts[&slow].restores, 1);
    group.hosts.values_mut().for_each(Host::start);
    group.elect();
    group.all_have(&(0..=100).collect::<Vec<_>>());
}

#[test]
fn a_group_grows_from_one_to_three_and_shrinks() {
    let mut group = Group::of(1);
    group.elect();
    group.propose(1, 1).expect("leads");
    for id in [2, 3] {
        group
            .member(1)
            .propose_change(ConfChangeType::AddNode, id, Vec::new())
            .expect("alone in progress");
        let second = group.member(1).propose_change(ConfChangeType::AddNode, 9, Vec::new());
        assert!(matches!(second, Err(RaftError::ConfChangePending)));
        group.settle();
        group.join(id, LogBatch::default());
        group.tick(5);
    }
    group.propose(1, 2).expect("leads");
    group.tick(1);
    group.all_have(&[1, 2]);

    group.member(1).transfer_leader(3);
    group.tick(2);
    assert_eq!(group.leader(), Some(3));
    group.member(3).propose_change(ConfChangeType::RemoveNode, 1, Vec::new()).expect("leads");
    group.tick(2);
    group.hosts.remove(&1);
    group.propose(3, 3).expect("leads");
    group.tick(1);
    group.all_have(&[1, 2, 3]);
    let mut voters = group.member(3).members().voters;
    voters.sort_unstable();
    assert_eq!(voters, [2, 3]);
}

#[test]
fn a_leader_that_is_removed_steps_down() {
    let mut group = Group::of(3);
    let leader = group.elect();
    let member = group.member(leader);
    member.propose_change(ConfChangeType::RemoveNode, leader, Vec::new()).expect("leads");
    // What is behind the removal is committed by the others, and must not be by the removed one.
    member.propose(bytes(&[1])).expect("leads");
    member.propose(bytes(&[2])).expect("leads");
    group.settle();
    assert!(!group.member(leader).is_leader());
    group.tick(40);
    let next = group.leader().expect("the others elect another");
    assert_ne!(next, leader);
    group.propose(next, 3).expect("leads");
    assert_eq!(group.hosts[&next].state, [1, 2, 3]);
}

#[test]
fn a_snapshot_for_one_newcomer_is_not_offered_to_the_next() {
    let mut group = Group::of(1);
    group.elect();
    (0..20).for_each(|number| group.propose(1, number).expect("leads"));
    group.hosts.get_mut(&1).expect("is there").compact(0);
    for id in [2, 3] {
        group.member(1).propose_change(ConfChangeType::AddNode, id, Vec::new()).expect("leads");
        group.settle();
        group.join(id, LogBatch::default());
        // Well before the offer to the one before is dropped.
        group.tick(4);
    }
    group.all_have(&(0..20).collect::<Vec<_>>());
    assert_eq!(group.hosts[&3].restores, 1);
}

#[test]
fn reads_are_confirmed_by_a_majority() {
    let mut group = Group::of(3);
    let leader = group.elect();
    group.propose(leader, 1).expect("leads");
    let follower = leader % 3 + 1;
    for id in [leader, follower] {
        group.member(id).read_index(vec![1]);
        group.settle();
        let committed = group.member(leader).committed_index();
        assert_eq!(group.hosts[&id].reads, [committed]);
    }
    group.cut.insert(leader);
    group.member(leader).read_index(vec![2]);
    group.tick(3);
    assert_eq!(group.hosts[&leader].reads.len(), 1, "nobody confirms");
}

#[test]
fn a_member_whose_log_was_set_back_notices() {
    let mut group = Group::of(3);
    let leader = group.elect();
    group.propose(leader, 1).expect("leads");
    group.settle();
    let follower = group.member(leader % 3 + 1);
    let (last, term) = (follower.last().index, follower.term());
    for (kind, term, commit, expect) in [
        (MessageType::MsgHeartbeat, term, last, true),
        (MessageType::MsgHeartbeat, term, last + 1, false),
        (MessageType::MsgHeartbeat, term + 1, last + 1, false),
        // One of a leader that is no more, which knows nothing of what came after it.
        (MessageType::MsgHeartbeat, term - 1, last + 1, true),
        (MessageType::MsgAppend, term, last + 9, true),
    ] {
        let mut message = Message { from: leader, term, commit, ..Message::default() };
        message.set_msg_type(kind);
        let found = follower.must_have(&message);
        assert_eq!(found.is_ok(), expect, "{kind:?} {term} {commit}");
    }
}

/// Crashes, cuts, compactions and proposals in an order that a seed decides; then everything heals.
fn storm(seed: u64) {
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut dice = move |sides: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % sides
    };
    let mut group = Group::of(3 + 2 * (seed % 2));
    let count = group.hosts.len() as u64;
    let mut next = 0;
    let mut history: Vec<u64> = Vec::new();
    for _ in 0..200 {
        let id = 1 + dice(count);
        match dice(8) {
            0 => drop(group.cut.insert(id)),
            1 => drop(group.cut.remove(&id)),
            2 => group.hosts.get_mut(&id).expect("is there").member = None,
            3 => group.hosts.get_mut(&id).expect("is there").start(),
            4 if group.hosts[&id].member.is_some() => {
                group.hosts.get_mut(&id).expect("is there").compact(dice(20))
            }
            _ => {
                if let Some(leader) = group.leader() {
                    next += 1;
                    // Dropped where the leader was cut off: the oracle below asks for order only.
                    let _ = group.propose(leader, next);
                }
            }
        }
        group.tick(usize::try_from(dice(12)).expect("small"));
        let states = group.states();
        for state in states {
            let (short, long) =
                if state.len() < history.len() { (&state, &history) } else { (&history, &state) };
            assert!(long.starts_with(short), "seed {seed}: {state:?} after {history:?}");
            history = long.clone();
        }
    }
    group.cut.clear();
    group.hosts.values_mut().filter(|host| host.member.is_none()).for_each(Host::start);
    group.tick(60);
    let leader = group.elect();
    group.propose(leader, u64::MAX).expect("leads");
    group.tick(10);
    let state = group.hosts[&leader].state.clone();
    assert_eq!(state.last(), Some(&u64::MAX), "seed {seed}");
    assert!(state.starts_with(&history), "seed {seed}: nothing that was applied is lost");
    group.all_have(&state);
}

#[test]
fn storms_leave_one_history() {
    (0..60).for_each(storm);
}
