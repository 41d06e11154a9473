//! The store of a manager: committed tables for readers, proposed tables for the writer, and what lies between.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use prost::Message as _;
use swarm_proto::v1::{InternalRaftRequest, StoreSnapshot};
use tokio::sync::{Notify, oneshot, watch};
use tracing::debug;

use crate::change::Change;
use crate::entry;
use crate::error::Error;
use crate::feed::Feed;
use crate::metrics;
use crate::object::Kind;
use crate::proposer::{Proposal, Proposer};
use crate::tables::Tables;
use crate::transaction::Transaction;
use crate::watch::{Commit, Watch, Watchers};

/// A transaction that takes longer is told.
const LONG_WRITE: Duration = Duration::from_millis(100);

/// A handle to the manager's store; clones share it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

/// What the handles share.
pub(crate) struct Shared {
    committed: ArcSwap<Tables>,
    /// Lock order: `writer` before `pending`. Appliers take `pending` alone, so a long plan never holds up commits.
    writer: Mutex<Writer>,
    /// Taken before `writer` by tasks, so that one at most of a runtime's threads waits for that.
    turn: tokio::sync::Mutex<()>,
    pending: Mutex<VecDeque<Pending>>,
    watchers: Watchers,
    fed: Notify,
    /// The version that the control loops have answered up to.
    settled: watch::Sender<u64>,
    proposer: Arc<dyn Proposer>,
    clock: fn() -> SystemTime,
}

/// The one writer's state.
#[derive(Default)]
struct Writer {
    proposed: Tables,
    leading: bool,
    ticket_last: u64,
    feed: Feed,
}

/// A proposed transaction whose commit is awaited.
struct Pending {
    ticket: u64,
    /// The state after it: committing is swapping one pointer.
    tables: Tables,
    changes: Arc<[Change]>,
    answer: oneshot::Sender<Result<(), Error>>,
    /// For figures only.
    proposed: Instant,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("version", &self.view().version()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

impl Store {
    /// An empty store that follows: it takes writes once [`Store::became_leader`] was called.
    pub fn new(proposer: Arc<dyn Proposer>) -> Self {
        Self::with_clock(proposer, SystemTime::now)
    }

    /// As [`Store::new`], with the clock that dates objects.
    pub fn with_clock(proposer: Arc<dyn Proposer>, clock: fn() -> SystemTime) -> Self {
        let shared = Shared {
            committed: ArcSwap::default(),
            writer: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            pending: Mutex::default(),
            watchers: Watchers::default(),
            fed: Notify::new(),
            settled: watch::Sender::new(0),
            proposer,
            clock,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The committed state.
    pub fn view(&self) -> Tables {
        Tables::clone(&self.shared.committed.load())
    }

    /// Every commit from now on that changes one of these tables.
    pub fn watch(&self, tables: &'static [Kind]) -> Watch {
        self.shared.watchers.add(self.clone(), tables)
    }

    /// The committed state and every commit after it that changes one of these tables, with none missed in between.
    pub fn view_and_watch(&self, tables: &'static [Kind]) -> (Tables, Watch) {
        let pending = self.pending();
        let watch = self.watch(tables);
        let view = self.view();
        drop(pending);
        (view, watch)
    }

    /// Runs a transaction on the newest proposed state and waits until it is committed. A closure that fails, or
    /// changes nothing, leaves no trace in the log.
    ///
    /// # Errors
    /// The closure's; else [`Error::NotLeader`], [`Error::LeadershipLost`] or [`Error::Log`].
    pub async fn update<R, E: From<Error>>(
        &self,
        transact: impl FnOnce(&mut Transaction<'_>) -> Result<R, E>,
    ) -> Result<R, E> {
        let (result, committed) = self.propose_in_turn(transact).await?;
        if let Some(committed) = committed {
            committed.await.unwrap_or(Err(Error::LeadershipLost))?;
        }
        Ok(result)
    }

    /// As [`Store::propose`], behind those who asked before: tasks that wait for the writer hold no thread.
    ///
    /// # Errors
    /// As [`Store::propose`].
    pub async fn propose_in_turn<R, E: From<Error>>(
        &self,
        transact: impl FnOnce(&mut Transaction<'_>) -> Result<R, E>,
    ) -> Result<(R, Option<oneshot::Receiver<Result<(), Error>>>), E> {
        let _turn = self.shared.turn.lock().await;
        self.propose(transact)
    }

    /// As [`Store::update`], without waiting: the receiver tells the commit; none where nothing was changed.
    ///
    /// # Errors
    /// The closure's; else [`Error::NotLeader`] or [`Error::Log`].
    #[expect(clippy::type_complexity, reason = "the result and the news of its commit")]
    pub fn propose<R, E: From<Error>>(
        &self,
        transact: impl FnOnce(&mut Transaction<'_>) -> Result<R, E>,
    ) -> Result<(R, Option<oneshot::Receiver<Result<(), Error>>>), E> {
        let mut guard = self.writer();
        let writer = &mut *guard;
        if !writer.leading {
            return Err(Error::NotLeader.into());
        }
        let now = (self.shared.clock)();
        let begun = Instant::now();
        let mut transaction = Transaction::new(writer.proposed.clone(), now, &mut writer.feed);
        let result = transact(&mut transaction)?;
        let (tables, changes, version, unfed) = transaction.into_parts();
        if changes.is_empty() {
            return Ok((result, None));
        }
        let changes: Arc<[Change]> = changes.into();
        writer.ticket_last += 1;
        let ticket = writer.ticket_last;
        let body = entry::body(ticket, version, &changes);
        let (answer, committed) = oneshot::channel();
        let proposed = Instant::now();
        metrics::WRITE.observe((proposed - begun).as_secs_f64());
        if proposed - begun >= LONG_WRITE {
            debug!(took = ?proposed - begun, changes = changes.len(), "a transaction held up others");
        }
        self.pending().push_back(Pending {
            ticket,
            tables: tables.clone(),
            changes: changes.clone(),
            answer,
            proposed,
        });
        if let Err(error) = self.shared.proposer.propose(Proposal { ticket, body }) {
            self.pending().retain(|pending| pending.ticket != ticket);
            return Err(Error::from(error).into());
        }
        writer.proposed = tables;
        if !unfed {
            writer.feed.push(&changes);
            self.shared.fed.notify_one();
        }
        Ok((result, Some(committed)))
    }

    /// The log has committed this store's own proposal, which must be the oldest that is out.
    ///
    /// # Panics
    /// When commits come out of order: the tables could no longer be trusted.
    pub fn committed(&self, ticket: u64) {
        let mut pending = self.pending();
        let Some(first) = pending.pop_front() else {
            panic!("commit of ticket {ticket}, and none is out");
        };
        assert_eq!(first.ticket, ticket, "commits arrive in the order of their proposals");
        metrics::COMMIT.observe(first.proposed.elapsed().as_secs_f64());
        self.publish(first.tables, first.changes, false);
        drop(pending);
        // The caller may have gone; its write stands all the same.
        let _ = first.answer.send(Ok(()));
    }

    /// The log has committed an entry that is not this store's own: another leader's, or one from before a restart.
    ///
    /// # Errors
    /// [`Error::Undecodable`] where the body is not an `InternalRaftRequest` of known actions; nothing is changed.
    pub fn apply(&self, body: &[u8]) -> Result<(), Error> {
        let request = InternalRaftRequest::decode(body)
            .map_err(|_| Error::Undecodable { what: "log entry" })?;
        let mut writer = self.writer();
        let pending = self.pending();
        let mut tables = self.view();
        let mut changes = Vec::with_capacity(request.action.len());
        for action in request.action {
            changes.extend(tables.follow(action)?);
        }
        if pending.is_empty() {
            writer.proposed = tables.clone();
            writer.feed.restart();
        }
        self.publish(tables, changes.into(), false);
        Ok(())
    }

    /// Replaces the state by a snapshot's; watchers start anew.
    pub fn restore(&self, snapshot: StoreSnapshot) {
        let tables = Tables::from_snapshot(snapshot);
        let mut writer = self.writer();
        let pending = self.pending();
        writer.proposed = tables.clone();
        writer.feed.restart();
        self.publish(tables, Arc::new([]), true);
        drop(pending);
    }

    /// The member leads now and has applied all that was committed before. `index` is the last applied log index:
    /// versions go on from there, so that none is ever used twice.
    pub fn became_leader(&self, index: u64) {
        let mut writer = self.writer();
        let mut tables = self.view();
        tables.version = tables.version.max(index);
        writer.proposed = tables;
        writer.leading = true;
        writer.feed.restart();
        self.shared.fed.notify_one();
    }

    /// The member no longer leads: what is proposed and not committed is dropped, and its callers are told.
    pub fn lost_leadership(&self) {
        let mut writer = self.writer();
        let dropped: Vec<Pending> = self.pending().drain(..).collect();
        writer.leading = false;
        writer.proposed = self.view();
        writer.feed.restart();
        drop(writer);
        for pending in dropped {
            // A caller that has gone needs no answer.
            let _ = pending.answer.send(Err(Error::LeadershipLost));
        }
    }

    /// Whether writes are taken here.
    pub fn is_leading(&self) -> bool {
        self.writer().leading
    }

    /// Begins to collect changes for a control-loop driver, which takes them by [`Transaction::drain_feed`].
    pub fn attach_feed(&self) {
        self.writer().feed.attach();
        self.shared.fed.notify_one();
    }

    /// The proposed tables and the time, for loops that start from them; what is changed after them comes by
    /// [`Transaction::drain_feed`]. None where the loops know everything up to the feed, unless they `must` start anew.
    pub fn begin_feed(&self, must: bool) -> Option<(Tables, SystemTime)> {
        let mut writer = self.writer();
        if !must && !writer.feed.must_begin() {
            return None;
        }
        writer.feed.begin();
        Some((writer.proposed.clone(), (self.shared.clock)()))
    }

    /// Ends the collection that [`Store::attach_feed`] began.
    pub fn detach_feed(&self) {
        self.writer().feed.detach();
    }

    /// Waits until the feed has something new.
    pub async fn fed(&self) {
        self.shared.fed.notified().await;
    }

    /// The control loops have answered every change up to this version, and their answers are committed.
    pub fn note_settled(&self, version: u64) {
        self.shared.settled.send_if_modified(|settled| {
            let is_news = *settled < version;
            *settled = version.max(*settled);
            is_news
        });
    }

    /// Waits until the control loops have answered every change up to this version: for ever where there are none.
    pub async fn settled(&self, version: u64) {
        // The sender lives as long as this store.
        let _ = self.shared.settled.subscribe().wait_for(|settled| *settled >= version).await;
    }

    pub(crate) fn downgrade(&self) -> Weak<Shared> {
        Arc::downgrade(&self.shared)
    }

    pub(crate) fn from_shared(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Makes a state the committed one and tells the watchers; the caller holds `pending`, which orders commits.
    fn publish(&self, tables: Tables, changes: Arc<[Change]>, resync: bool) {
        self.shared.committed.store(Arc::new(tables.clone()));
        self.shared.watchers.tell(&Commit { tables, changes, resync });
    }

    // A panic inside a closure leaves both as they were before it: they are assigned after all that can fail.
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.shared.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pending(&self) -> MutexGuard<'_, VecDeque<Pending>> {
        self.shared.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
