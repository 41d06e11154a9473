//! One member's state machine: `raft::RawNode` over a [`Window`], its orders made explicit.
//!
//! Call any input method, then [`Member::ready`] until it answers nothing, carrying out each order.

use protobuf::Message as _;
use raft::eraftpb::{
    ConfChange, ConfChangeType, ConfState, Entry, EntryType, Message, MessageType, Snapshot,
};
use raft::{Config, RawNode, ReadOnlyOption, SnapshotStatus, StateRole, Storage as _};

use super::command::{Change, Command, Persist};
use super::window::Window;
use crate::error::RaftError;
use crate::log::{Compact, Position, Recovered, position};
use crate::wire;

/// An append message's entries, together: far below gRPC's 4 MiB for one message.
const MESSAGE_BYTES_MAX: u64 = 1 << 20;
/// Append messages on the way to one follower; together with the size above it bounds the transport's queue.
const MESSAGES_IN_FLIGHT_MAX: usize = 64;
/// Entries handed out to be applied at once: so that heartbeats go out between batches.
const APPLY_BYTES_MAX: u64 = 4 << 20;
/// Proposals that are not committed yet; beyond it the leader takes none, so that memory stays bounded.
const UNCOMMITTED_BYTES_MAX: u64 = 64 << 20;

/// How a member behaves.
#[derive(Debug, Clone)]
pub struct MemberOptions {
    /// Its raft ID, never 0.
    pub id: u64,
    /// Ticks without a leader until a member may ask for votes.
    pub election_ticks: usize,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: usize,
    /// Election timeouts lie in `election_ticks..election_ticks_max`.
    pub election_ticks_max: usize,
    /// Where set, timeouts follow from this and the term, instead of from the process's randomness: how a simulation
    /// takes the chance out of them.
    pub election_seed: Option<u64>,
}

impl MemberOptions {
    /// SwarmKit's settings: an election after 10 to 20 ticks, a heartbeat each tick.
    pub fn new(id: u64) -> Self {
        Self {
            id,
            election_ticks: 10,
            heartbeat_ticks: 1,
            election_ticks_max: 20,
            election_seed: None,
        }
    }

    fn config(&self, applied: u64) -> Config {
        Config {
            id: self.id,
            election_tick: self.election_ticks,
            heartbeat_tick: self.heartbeat_ticks,
            max_election_tick: self.election_ticks_max,
            applied,
            max_size_per_msg: MESSAGE_BYTES_MAX,
            max_inflight_msgs: MESSAGES_IN_FLIGHT_MAX,
            check_quorum: true,
            pre_vote: true,
            read_only_option: ReadOnlyOption::Safe,
            max_uncommitted_size: UNCOMMITTED_BYTES_MAX,
            max_committed_size_per_ready: APPLY_BYTES_MAX,
            // Proposals that are appended together travel together; the transport cuts what is too large.
            batch_append: true,
            // Followers learn of a commit with the next append or heartbeat: half as many messages. Nobody waits for
            // it: reads ask for the index that they need.
            skip_bcast_commit: true,
            ..Config::default()
        }
    }
}

/// A member of the group.
pub struct Member {
    raw: RawNode<Window>,
    /// Ticks for which a snapshot was offered and no follower took it.
    offer_idle_ticks: usize,
    /// The ticks after which it is dropped: a follower asks again within a few heartbeats, or it is gone.
    offer_idle_ticks_max: usize,
    timeouts: Option<Timeouts>,
}

/// Election timeouts without chance; see [`MemberOptions::election_seed`].
struct Timeouts {
    seed: u64,
    ticks_min: u64,
    ticks_max: u64,
}

impl Timeouts {
    fn of(options: &MemberOptions) -> Option<Self> {
        let (ticks_min, ticks_max) =
            (options.election_ticks as u64, options.election_ticks_max as u64);
        options.election_seed.map(|seed| Self { seed, ticks_min, ticks_max })
    }

    /// The timeout of a member in a term: spread by SplitMix64's mixing function.
    fn ticks(&self, id: u64, term: u64) -> u64 {
        let mut mixed = self.seed ^ id.rotate_left(32) ^ term.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.ticks_min + (mixed ^ (mixed >> 31)) % (self.ticks_max - self.ticks_min).max(1)
    }
}

impl Member {
    /// A member that goes on from what its log held. The state machine must be at the recovered snapshot; all that
    /// was applied after it is commanded again.
    ///
    /// # Errors
    /// [`RaftError::Raft`], when options and log do not fit.
    pub fn new(options: &MemberOptions, recovered: &Recovered) -> Result<Self, RaftError> {
        let config = options.config(position(&recovered.snapshot).index);
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&config, Window::new(recovered), &logger)?;
        let mut member = Self {
            raw,
            offer_idle_ticks: 0,
            offer_idle_ticks_max: options.election_ticks,
            timeouts: Timeouts::of(options),
        };
        member.set_timeout();
        Ok(member)
    }

    /// Puts the timeout of this term in place of one that came about by chance. An input draws one at most, and none
    /// is looked at before the next input.
    fn set_timeout(&mut self) {
        if let Some(timeouts) = &self.timeouts {
            let ticks = timeouts.ticks(self.id(), self.term());
            self.raw.raft.set_randomized_election_timeout(ticks as usize);
        }
    }

    /// Time passes.
    pub fn tick(&mut self) {
        self.raw.tick();
        self.set_timeout();
        let sending =
            self.raw.raft.prs().iter().any(|(_, peer)| peer.state == raft::ProgressState::Snapshot);
        self.offer_idle_ticks = if sending { 0 } else { self.offer_idle_ticks + 1 };
        if self.offer_idle_ticks > self.offer_idle_ticks_max {
            self.raw.mut_store().set_offer(None);
        }
    }

    /// Refuses to go on with a log that lacks what this member acknowledged: a leader counts as committed here only what
    /// it was told is on disk. An older copy of the log was put in place, or the disk forgot what it had flushed.
    ///
    /// # Errors
    /// [`RaftError::Forgot`].
    pub fn must_have(&self, message: &Message) -> Result<(), RaftError> {
        let last = self.last().index;
        let is_told = message.get_msg_type() == MessageType::MsgHeartbeat
            && message.term >= self.term()
            && message.commit > last;
        match is_told {
            true => Err(RaftError::Forgot { acknowledged: message.commit, last }),
            false => Ok(()),
        }
    }

    /// A message of another member arrives. Messages that Raft has no use for are dropped.
    pub fn step(&mut self, message: Message) {
        if message.from != self.id() {
            // Unknown peers and outdated terms: both are part of a changing group, and Raft repeats what matters.
            let _ = self.raw.step(message);
            self.set_timeout();
        }
    }

    /// Asks for an election now, without waiting for the timeout.
    pub fn campaign(&mut self) {
        // Refused while unapplied membership changes are committed; the timeout tries again.
        let _ = self.raw.campaign();
        self.set_timeout();
    }

    /// Appends a proposal to the leader's log and tells its place there.
    ///
    /// # Errors
    /// [`RaftError::NotLeader`]; [`RaftError::ProposalDropped`] while leadership is handed over.
    pub fn propose(&mut self, data: Vec<u8>) -> Result<Position, RaftError> {
        self.must_lead()?;
        self.raw.propose(Vec::new(), data)?;
        Ok(self.last())
    }

    /// Appends a change of membership. One at a time: a second one is refused until the first is applied.
    ///
    /// # Errors
    /// As [`Member::propose`]; [`RaftError::ConfChangePending`].
    pub fn propose_change(
        &mut self,
        kind: ConfChangeType,
        id: u64,
        context: Vec<u8>,
    ) -> Result<Position, RaftError> {
        self.must_lead()?;
        if self.raw.raft.has_pending_conf() {
            return Err(RaftError::ConfChangePending);
        }
        self.raw.propose_conf_change(Vec::new(), wire::conf_change(kind, id, context))?;
        Ok(self.last())
    }

    /// Hands leadership to another member, when it has caught up.
    pub fn transfer_leader(&mut self, to: u64) {
        self.raw.transfer_leader(to);
    }

    /// Asks for the index that a linearizable read must wait for; the answer is a [`Command::Read`], or none, when
    /// messages were lost or nobody leads: ask again then.
    pub fn read_index(&mut self, context: Vec<u8>) {
        self.raw.read_index(context);
    }

    /// The transport could not reach `peer`.
    pub fn report_unreachable(&mut self, peer: u64) {
        self.raw.report_unreachable(peer);
    }

    /// The transport has sent a snapshot to `peer`, or failed.
    pub fn report_snapshot(&mut self, peer: u64, sent: bool) {
        let status = if sent { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        self.raw.report_snapshot(peer, status);
    }

    /// The batch of this number, and so every one before it, is on disk.
    pub fn persisted(&mut self, number: u64) {
        self.raw.on_persist_ready(number);
    }

    /// Entries up to `index` are applied.
    pub fn applied(&mut self, index: u64) {
        self.raw.advance_apply_to(index);
    }

    /// A snapshot with this body, of the state as applied now.
    pub fn snapshot_of(&self, body: Vec<u8>) -> Snapshot {
        let index = self.applied_index();
        let mut snapshot = Snapshot { data: body.into(), ..Snapshot::default() };
        let metadata = snapshot.mut_metadata();
        metadata.index = index;
        metadata.term = self.raw.raft.raft_log.term(index).unwrap_or_default();
        metadata.set_conf_state(self.members());
        snapshot
    }

    /// Makes a snapshot available to followers that need one.
    pub fn offer_snapshot(&mut self, snapshot: Snapshot) {
        self.offer_idle_ticks = 0;
        self.raw.mut_store().set_offer(Some(snapshot));
    }

    /// The last entry that may go where a snapshot stands for all up to `index`: so many entries stay behind it for
    /// followers, of so many bytes at most; none where there is nobody to follow.
    pub fn surplus(&self, index: u64, entries_max: u64, bytes_max: u64) -> u64 {
        let members = self.members();
        if members.voters.len() + members.learners.len() <= 1 {
            return index;
        }
        self.raw.store().surplus(index, entries_max, bytes_max)
    }

    /// Drops entries up to `upto`, for which a snapshot stands; what the log must drop too.
    pub fn compact(&mut self, upto: u64) -> Compact {
        Compact { to: self.raw.mut_store().compact(upto), all: false }
    }

    /// What is to be done now, in this order; nothing, when the core waits.
    pub fn ready(&mut self) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.raw.has_ready() {
            self.collect(&mut commands);
        }
        if self.raw.store().take_wanted() {
            commands.push(Command::MakeSnapshot);
        }
        commands
    }

    fn collect(&mut self, commands: &mut Vec<Command>) {
        let mut ready = self.raw.ready();
        let (messages, after) = (ready.take_messages(), ready.take_persisted_messages());
        let committed = ready.take_committed_entries();
        let reads = ready.take_read_states();
        let snapshot = (!ready.snapshot().is_empty()).then(|| Box::new(ready.snapshot().clone()));
        let persist = Persist {
            number: ready.number(),
            // A change of membership is applied only when its commit is known on disk, so that a restarted member
            // never campaigns under the members of before.
            must_sync: ready.must_sync() || committed.iter().any(is_change),
            hard_state: ready.hs().cloned(),
            entries: ready.take_entries(),
            snapshot: snapshot.clone(),
        };
        let window = self.raw.mut_store();
        if let Some(snapshot) = &persist.snapshot {
            window.restore(snapshot);
        }
        window.append(&persist.entries);
        if let Some(state) = &persist.hard_state {
            window.set_hard_state(state);
        }
        self.raw.advance_append_async(ready);
        // Before the flush, so that the leader's disk works while its followers' do (thesis, 10.2.1).
        if !messages.is_empty() {
            commands.push(Command::Send(messages));
        }
        // What is committed is on disk already. A leader's callers need not wait for the next flush; a follower
        // flushes first, as the leader waits for that.
        let applies_first =
            self.is_leader() && snapshot.is_none() && !committed.iter().any(is_change);
        let (now, later) =
            if applies_first { (committed, Vec::new()) } else { (Vec::new(), committed) };
        self.apply(now, commands);
        commands.push(Command::Persist(persist));
        if !after.is_empty() {
            commands.push(Command::Send(after));
        }
        commands.extend(snapshot.map(Command::Restore));
        commands.extend(
            reads
                .into_iter()
                .map(|read| Command::Read { context: read.request_ctx, index: read.index }),
        );
        self.apply(later, commands);
    }

    /// Splits what is committed at changes of membership, which the core applies to itself at once.
    fn apply(&mut self, committed: Vec<Entry>, commands: &mut Vec<Command>) {
        let mut batch = Vec::with_capacity(committed.len());
        for entry in committed {
            let change = is_change(&entry).then(|| self.change(&entry)).flatten();
            let index = entry.index;
            batch.push(entry);
            if let Some(change) = change {
                commands.push(Command::Apply(std::mem::take(&mut batch)));
                commands.push(Command::Membership { index, change: Box::new(change) });
            }
        }
        if !batch.is_empty() {
            commands.push(Command::Apply(batch));
        }
    }

    fn change(&mut self, entry: &Entry) -> Option<Change> {
        // An entry that no version of ours or etcd's wrote changes nothing, on every member alike.
        let change = ConfChange::parse_from_bytes(&entry.data).ok()?;
        let members = self.raw.apply_conf_change(&change).ok()?;
        if self.is_leader() && !members.voters.contains(&self.id()) {
            // The `raft` crate leaves a removed leader in office, and panics when that commits another entry. It need
            // not have asked for it itself: the entry may be an earlier leader's.
            self.raw.raft.bcast_append();
            self.raw.raft.become_follower(self.term(), raft::INVALID_ID);
        }
        Some(Change { change, members })
    }

    fn must_lead(&self) -> Result<(), RaftError> {
        if self.is_leader() { Ok(()) } else { Err(RaftError::NotLeader { leader: self.leader() }) }
    }

    /// The member's raft ID.
    pub fn id(&self) -> u64 {
        self.raw.raft.id
    }

    /// The leader's raft ID, where one is known.
    pub fn leader(&self) -> Option<u64> {
        Some(self.raw.raft.leader_id).filter(|id| *id != raft::INVALID_ID)
    }

    /// The current term.
    pub fn term(&self) -> u64 {
        self.raw.raft.term
    }

    /// Follower, candidate or leader.
    pub fn role(&self) -> StateRole {
        self.raw.raft.state
    }

    /// Whether this member leads.
    pub fn is_leader(&self) -> bool {
        self.role() == StateRole::Leader
    }

    /// The members as far as changes were applied.
    pub fn members(&self) -> ConfState {
        self.raw.raft.prs().conf().to_conf_state()
    }

    /// Whether this member alone decides.
    pub fn is_alone(&self) -> bool {
        self.raw.raft.promotable() && self.raw.raft.prs().is_singleton()
    }

    /// The last entry that was applied.
    pub fn applied_index(&self) -> u64 {
        self.raw.raft.raft_log.applied()
    }

    /// The last entry that is known to be committed.
    pub fn committed_index(&self) -> u64 {
        self.raw.raft.raft_log.committed
    }

    /// The entries that are kept in memory: all that are not compacted.
    pub fn window_entries(&self) -> Vec<Entry> {
        self.raw.store().all()
    }

    /// The bytes of the entries that are kept in memory.
    pub fn window_bytes(&self) -> u64 {
        self.raw.store().bytes()
    }

    /// The first entry that is not compacted.
    pub fn first_index(&self) -> u64 {
        self.raw.store().first_index().unwrap_or_default()
    }

    /// The end of this member's log.
    pub fn last(&self) -> Position {
        let log = &self.raw.raft.raft_log;
        Position { index: log.last_index(), term: log.last_term() }
    }
}

fn is_change(entry: &Entry) -> bool {
    entry.get_entry_type() == EntryType::EntryConfChange
}
