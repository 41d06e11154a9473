//! The tasks that wait for a node, grouped by what they demand.
//!
//! A group that found no room is stuck, with its reason: another task of the same demand would find none either. It is
//! judged again only when a node may have room for it, so that a new task costs the same however many others wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::affinity::Selector;
use crate::demand::Demand;
use hashbrown::HashMap;

/// All tasks that wait for a node.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    groups: BTreeMap<Arc<Demand>, Group>,
    of: HashMap<String, Arc<Demand>>,
    /// Groups with tasks that were never judged.
    fresh: BTreeSet<Arc<Demand>>,
    /// Stuck groups whose reason may no longer be the truth.
    stale: BTreeSet<Arc<Demand>>,
    /// Beside whom groups must be, with how many of them.
    sought: BTreeMap<Selector, usize>,
}

/// Tasks of one demand.
#[derive(Debug, Default)]
struct Group {
    fresh: BTreeSet<String>,
    stuck: BTreeSet<String>,
    /// Why the stuck ones are.
    reason: String,
}

impl Waiting {
    /// Whether this task waits.
    pub(crate) fn contains(&self, id: &str) -> bool {
        self.of.contains_key(id)
    }

    /// A task waits from now on.
    pub(crate) fn insert(&mut self, id: &str, demand: Demand) {
        self.remove(id);
        let demand = match self.groups.get_key_value(&demand) {
            Some((known, _)) => known.clone(),
            None => {
                for selector in demand.affinity.sought() {
                    *self.sought.entry(selector.clone()).or_default() += 1;
                }
                Arc::new(demand)
            }
        };
        self.of.insert(id.to_owned(), demand.clone());
        self.groups.entry(demand.clone()).or_default().fresh.insert(id.to_owned());
        self.fresh.insert(demand);
    }

    /// A task no longer waits.
    pub(crate) fn remove(&mut self, id: &str) {
        let Some(demand) = self.of.remove(id) else { return };
        let Some(group) = self.groups.get_mut(&demand) else { return };
        if !group.fresh.remove(id) {
            group.stuck.remove(id);
        }
        if group.fresh.is_empty() {
            self.fresh.remove(&demand);
            if group.stuck.is_empty() {
                self.groups.remove(&demand);
                self.stale.remove(&demand);
                self.forget_sought(&demand);
            }
        }
    }

    fn forget_sought(&mut self, demand: &Demand) {
        for selector in demand.affinity.sought() {
            if let Some(count) = self.sought.get_mut(selector) {
                *count -= 1;
                if *count == 0 {
                    self.sought.remove(selector);
                }
            }
        }
    }

    /// Beside whom groups must be.
    pub(crate) fn sought(&self) -> &BTreeMap<Selector, usize> {
        &self.sought
    }

    /// Groups that were never judged, `max` at most.
    pub(crate) fn unjudged(&self, max: usize) -> Vec<Arc<Demand>> {
        let is_new = |demand: &&Arc<Demand>| {
            self.groups.get(*demand).is_some_and(|group| group.stuck.is_empty())
        };
        self.fresh.iter().filter(is_new).take(max).cloned().collect()
    }

    /// Whether any tasks were never judged.
    pub(crate) fn has_unjudged(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// The stuck groups for which there `may_be_room` again.
    pub(crate) fn hopeful(&self, mut may_be_room: impl FnMut(&Demand) -> bool) -> Vec<Arc<Demand>> {
        let is_hopeful = |(demand, group): &(&Arc<Demand>, &Group)| {
            !group.stuck.is_empty() && may_be_room(demand)
        };
        self.groups.iter().filter(is_hopeful).map(|(demand, _)| demand.clone()).collect()
    }

    /// The groups of which some tasks wait for the first time, and others already in vain: with their reason.
    pub(crate) fn joined(&self) -> Vec<(Arc<Demand>, String)> {
        let stuck = |demand: &Arc<Demand>| {
            let group = self.groups.get(demand).filter(|group| !group.stuck.is_empty())?;
            Some((demand.clone(), group.reason.clone()))
        };
        self.fresh.iter().filter_map(stuck).collect()
    }

    /// The task of a group that is to be placed next.
    pub(crate) fn next(&self, demand: &Demand) -> Option<&String> {
        let group = self.groups.get(demand)?;
        group.stuck.first().or_else(|| group.fresh.first())
    }

    /// What is left of a group is stuck for this reason; returns tasks that do not say so yet, `max` at most. The others
    /// go on as those that [joined](Self::joined).
    pub(crate) fn give_up(
        &mut self,
        demand: &Arc<Demand>,
        reason: &str,
        max: usize,
    ) -> Vec<String> {
        self.stale.remove(demand);
        let Some(group) = self.groups.get_mut(demand) else { return Vec::new() };
        if group.reason != reason {
            reason.clone_into(&mut group.reason);
            let told = std::mem::take(&mut group.stuck);
            group.fresh.extend(told);
        }
        let untold: Vec<String> =
            std::iter::from_fn(|| group.fresh.pop_first()).take(max).collect();
        group.stuck.extend(untold.iter().cloned());
        if group.fresh.is_empty() {
            self.fresh.remove(demand);
        } else {
            self.fresh.insert(demand.clone());
        }
        untold
    }

    /// Something changed that the reasons tell.
    pub(crate) fn doubt_reasons(&mut self) {
        let stuck = self.groups.iter().filter(|(_, group)| !group.stuck.is_empty());
        self.stale.extend(stuck.map(|(demand, _)| demand.clone()));
    }

    /// The next groups whose reasons are in doubt, `max` at most.
    pub(crate) fn doubted(&self, max: usize) -> Vec<Arc<Demand>> {
        self.stale.iter().take(max).cloned().collect()
    }

    /// Whether any reason is in doubt.
    pub(crate) fn has_doubts(&self) -> bool {
        !self.stale.is_empty()
    }
}
