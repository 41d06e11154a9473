//! Durability: what a client was told to be done is in the state of every later leader.
//!
//! Every write of a client carries a revision, which counts up with each request for the same object; a client asks
//! for the next only when it has given up on the one before. So a leader's state must show the newest revision that was
//! acknowledged in an earlier term, or one that was asked for after it.

use std::collections::{BTreeMap, BTreeSet};

use swarm_proto::v1::update_status::UpdateState;
use swarm_proto::v1::{Annotations, Node, Service};
use swarm_store::Tables;

/// The label that carries the revision.
pub(crate) const REVISION_LABEL: &str = "revision";

/// What clients asked for and were told, by object.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    objects: BTreeMap<Key, History>,
}

/// An object: nodes by identifier, services by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Node(String),
    Service(String),
}

#[derive(Debug, Default)]
struct History {
    asked: BTreeSet<u64>,
    /// Those that asked for its removal.
    removals: BTreeSet<u64>,
    /// (term, revision).
    acknowledged: Vec<(u64, u64)>,
}

/// What was acknowledged at some moment.
#[derive(Debug)]
pub(crate) struct Mark(BTreeMap<Key, u64>);

impl Acknowledged {
    pub(crate) fn ask(&mut self, key: &Key, revision: u64, is_removal: bool) {
        let history = self.objects.entry(key.clone()).or_default();
        history.asked.insert(revision);
        if is_removal {
            history.removals.insert(revision);
        }
    }

    pub(crate) fn acknowledge(&mut self, key: &Key, revision: u64, term: u64) {
        self.objects.entry(key.clone()).or_default().acknowledged.push((term, revision));
    }

    /// How many writes were acknowledged.
    pub(crate) fn len(&self) -> usize {
        self.objects.values().map(|history| history.acknowledged.len()).sum()
    }

    /// What a linearizable read that begins now must see: the newest revision of each object that was acknowledged.
    pub(crate) fn mark(&self) -> Mark {
        let newest = |history: &History| history.acknowledged.iter().map(|(_, of)| *of).max();
        let marks = self.objects.iter();
        Mark(marks.filter_map(|(key, of)| Some((key.clone(), newest(of)?))).collect())
    }

    /// A linearizable read that began at `mark` is answered with these tables.
    pub(crate) fn check_read(&self, mark: &Mark, tables: &Tables) -> Result<(), String> {
        mark.0.iter().try_for_each(|(key, least)| match self.holds(key, *least, tables) {
            true => Ok(()),
            false => Err(format!(
                "reads see acknowledged writes: {key:?} was acknowledged at revision {least}, a read finds {:?}",
                key.revision(tables)
            )),
        })
    }

    /// Whether tables show this revision of an object, or one that was asked for later.
    fn holds(&self, key: &Key, least: u64, tables: &Tables) -> bool {
        let Some(history) = self.objects.get(key) else { return true };
        match key.revision(tables) {
            // Whoever wrote last asked for what was before, or for that if what came would fail.
            Some(revision) if key.is_rolled_back(tables) => history.asked.contains(&revision),
            Some(revision) => revision >= least && history.asked.contains(&revision),
            None => history.removals.range(least..).next().is_some(),
        }
    }

    /// A leader of `term` begins with these tables.
    pub(crate) fn check(&self, term: u64, tables: &Tables) -> Result<(), String> {
        self.objects.iter().try_for_each(|(key, history)| {
            let before = history.acknowledged.iter().filter(|(of, _)| *of < term);
            let Some(least) = before.map(|(_, revision)| *revision).max() else { return Ok(()) };
            if self.holds(key, least, tables) {
                return Ok(());
            }
            let found = key.revision(tables);
            Err(format!(
                "acknowledged writes survive: {key:?} was acknowledged at revision {least}, the leader of term {term} has {found:?}"
            ))
        })
    }
}

impl Key {
    pub(crate) fn revision(&self, tables: &Tables) -> Option<u64> {
        match self {
            Self::Node(id) => {
                let node = tables.get::<Node>(id)?;
                Some(revision(node.spec.as_ref().and_then(|spec| spec.annotations.as_ref())))
            }
            Self::Service(name) => {
                let service = tables.by_name::<Service>(name)?;
                Some(revision(service.spec.as_ref().and_then(|spec| spec.annotations.as_ref())))
            }
        }
    }
}

impl Key {
    fn is_rolled_back(&self, tables: &Tables) -> bool {
        let Self::Service(name) = self else { return false };
        let service = tables.by_name::<Service>(name);
        service.and_then(|service| service.update_status.as_ref()).is_some_and(|status| {
            matches!(
                status.state(),
                UpdateState::RollbackStarted
                    | UpdateState::RollbackPaused
                    | UpdateState::RollbackCompleted
            )
        })
    }
}

/// The revision that an object shows; 0 where no client has written it.
pub(crate) fn revision(annotations: Option<&Annotations>) -> u64 {
    let label = annotations.and_then(|annotations| annotations.labels.get(REVISION_LABEL));
    label.and_then(|label| label.parse().ok()).unwrap_or_default()
}
