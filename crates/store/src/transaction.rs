//! A transaction: writes on a state of the tables, checked, numbered and collected for the log.

use std::ops::Deref;
use std::time::SystemTime;

use swarm_proto::timestamp::from_system_time;
use swarm_proto::v1::{Network, Node, Service, Task};

use crate::change::{Change, Write};
use crate::error::Error;
use crate::feed::{Feed, FeedBatch};
use crate::object::{Kind, Object};
use crate::outcome::Outcome;
use crate::tables::Tables;

/// A log entry takes no further object of a batch when it has so many bytes: tasks carry their specification, which
/// may be large.
const BYTES_PER_ENTRY_MAX: usize = 1 << 20;

/// Writes in progress; its own are visible through the tables that it dereferences to. Dropped unless committed.
#[derive(Debug)]
pub struct Transaction<'a> {
    tables: Tables,
    outcome: Outcome,
    /// The last change, for whoever follows them one by one.
    last: Option<Change>,
    /// The version index that every object written here gets.
    version: u64,
    now: SystemTime,
    feed: &'a mut Feed,
    /// Set by a control-loop driver, which has shown these changes to its loops already.
    pub(crate) unfed: bool,
}

impl Deref for Transaction<'_> {
    type Target = Tables;

    fn deref(&self) -> &Tables {
        &self.tables
    }
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(tables: Tables, now: SystemTime, feed: &'a mut Feed) -> Self {
        let version = tables.version + 1;
        Self { tables, outcome: Outcome::default(), last: None, version, now, feed, unfed: false }
    }

    /// Adds an object; its version and times are set here.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NameConflict`]; nothing is changed then.
    pub fn create<T: Object>(&mut self, mut object: T) -> Result<(), Error> {
        let now = from_system_time(self.now);
        let meta = object.meta_mut();
        meta.version.get_or_insert_default().index = self.version;
        meta.created_at = Some(now);
        meta.updated_at = Some(now);
        let change = self.tables.create(object)?;
        self.record(change);
        Ok(())
    }

    /// Replaces an object that nobody changed since the caller read it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NameConflict`], and [`Error::OutOfSequence`] where the object's version is not
    /// the stored one's; nothing is changed then.
    pub fn update<T: Object>(&mut self, mut object: T) -> Result<(), Error> {
        let id = object.id();
        let (key, stored) = self.tables.get_key_value::<T>(id)?;
        if stored.version() != object.version() {
            return Err(Error::OutOfSequence { kind: T::KIND, id: id.to_owned() });
        }
        let key = key.clone();
        let created_at = stored.meta().and_then(|meta| meta.created_at);
        let now = from_system_time(self.now);
        let meta = object.meta_mut();
        meta.version.get_or_insert_default().index = self.version;
        meta.created_at = created_at;
        meta.updated_at = Some(now);
        let change = self.tables.update_as(&key, object)?;
        self.record(change);
        Ok(())
    }

    /// Removes an object.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn delete<T: Object>(&mut self, id: &str) -> Result<(), Error> {
        let change = self.tables.delete::<T>(id)?;
        self.tables.version = self.version;
        self.record(change);
        Ok(())
    }

    /// Makes one planned write.
    ///
    /// # Errors
    /// As the operation that it stands for.
    pub fn write(&mut self, write: Write) -> Result<(), Error> {
        match write {
            Write::CreateTask(task) => self.create(*task),
            Write::UpdateTask(task) => self.update(*task),
            Write::DeleteTask(id) => self.delete::<Task>(&id),
            Write::UpdateService(service) => self.update(*service),
            Write::DeleteService(id) => self.delete::<Service>(&id),
            Write::UpdateNode(node) => self.update(*node),
            Write::DeleteNode(id) => self.delete::<Node>(&id),
            Write::UpdateNetwork(network) => self.update(*network),
            Write::DeleteNetwork(id) => self.delete::<Network>(&id),
            Write::UpdateCluster(cluster) => self.update(*cluster),
        }
    }

    /// The tables with this transaction's writes in them.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// How many objects this transaction changed so far.
    pub(crate) fn objects_changed(&self) -> usize {
        self.outcome.len()
    }

    /// Whether its log entry has bytes enough (1 MiB): what can wait goes into the next.
    pub fn is_full(&self) -> bool {
        self.outcome.bytes() >= BYTES_PER_ENTRY_MAX
    }

    /// Whether it changed this object.
    pub(crate) fn concerns(&self, object: (Kind, &str)) -> bool {
        self.outcome.concerns(object)
    }

    /// The newest of its changes.
    pub(crate) fn last(&self) -> Option<&Change> {
        self.last.as_ref()
    }

    fn record(&mut self, change: Change) {
        self.last = Some(change.clone());
        self.outcome.add(change);
    }

    /// When this transaction began, by the store's clock.
    pub fn now(&self) -> SystemTime {
        self.now
    }

    /// Takes what other transactions changed since the last call, for the control loops' driver; this transaction's
    /// own changes will not come back to it.
    pub fn drain_feed(&mut self) -> FeedBatch {
        self.unfed = true;
        self.feed.drain()
    }

    pub(crate) fn into_parts(self) -> (Tables, Vec<Change>, u64, bool) {
        (self.tables, self.outcome.into_changes(), self.version, self.unfed)
    }
}
