//! Who may run beside whom: what services say of each other, and what comes of it for one demand.
//!
//! A constraint on other services holds both ways: `service.name!=web` keeps the service's tasks away from those of
//! `web`, and those of `web` away from its. What counts of other services is their newest specification. Where no service
//! says anything, nothing here is looked at.

use std::collections::{BTreeMap, BTreeSet};

use swarm_proto::v1::{Annotations, Service};
use swarm_store::{Delta, Tables};

use crate::affinity::{Affinity, Selector, may_concern};
use crate::constraint;
use crate::demand::Demand;
use crate::filter::Refusal;
use crate::node::NodeInfo;
use crate::nodes::{Nodes, Place};
use crate::waiting::Waiting;

/// What all services say of each other; derived from them.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    /// What each says, by service: those that say anything.
    rules: BTreeMap<String, Affinity>,
    /// The services that must not be beside those selected.
    refusers: BTreeMap<Selector, BTreeSet<String>>,
    /// The services that must be beside one of those selected.
    seekers: BTreeMap<Selector, BTreeSet<String>>,
    /// How many rules have a label, and the services that are labelled so.
    labelled: BTreeMap<Selector, (usize, BTreeSet<String>)>,
}

/// What a demand asks for of other services, and they of it: by the services that are meant now.
#[derive(Debug, Default)]
pub(crate) struct Around {
    /// Services beside which it must not be, and what is said then.
    apart: Vec<(String, Refusal)>,
    /// Of each of these, one must be there.
    beside: Vec<(Selector, BTreeSet<String>)>,
    /// Of each of these, one should be there, or none.
    preferred: Vec<(bool, BTreeSet<String>)>,
    /// Whether it is the first of those that keep together, and chooses a node for all of them.
    pub(crate) is_first: bool,
}

impl Neighbours {
    pub(crate) fn new(tables: &Tables) -> Self {
        let mut neighbours = Self::default();
        for service in tables.iter::<Service>() {
            neighbours.set_rules(tables, service);
        }
        neighbours
    }

    /// Takes note of a service that changed; whether a task that waits may have a place for that.
    pub(crate) fn observe(&mut self, tables: &Tables, delta: &Delta<Service>) -> bool {
        let was_used = !self.rules.is_empty();
        let before = delta.old.as_ref().and_then(|old| self.remove_rules(old));
        if let Some(new) = &delta.new {
            self.set_rules(tables, new);
            self.set_labels(new);
        }
        let Some(old) = &delta.old else { return false };
        let Some(new) = &delta.new else { return was_used };
        before.as_ref() != self.rules.get(&new.id)
            || (was_used && annotations(old) != annotations(new))
    }

    /// Whether other tasks may be waiting for one of this service to be on a node.
    pub(crate) fn is_sought(&self, tables: &Tables, service: &str, waiting: &Waiting) -> bool {
        // Tasks may be of an older specification than the rules.
        if self.seekers.is_empty() && waiting.sought().is_empty() {
            return false;
        }
        let names = tables.get::<Service>(service).and_then(|service| annotations(service));
        names.is_some_and(|names| {
            Selector::of(names).any(|selector| {
                self.seekers.contains_key(&selector) || waiting.sought().contains_key(&selector)
            })
        })
    }

    /// What there is around a demand.
    pub(crate) fn around(&self, tables: &Tables, nodes: &Nodes, demand: &Demand) -> Around {
        let mut around = Around::default();
        if self.rules.is_empty() && demand.affinity.is_empty() {
            return around;
        }
        let own = &demand.service.service_id;
        for company in &demand.affinity.required {
            let services = self.selected(tables, &company.services);
            if !company.wanted {
                let refusal = |id: &String| match id == own {
                    true => Refusal::ApartFromOwn,
                    false => Refusal::Apart(company.services.to_string()),
                };
                around.apart.extend(services.iter().map(|id| (id.clone(), refusal(id))));
            } else if services.contains(own) && !is_anywhere(nodes, &services) {
                around.is_first = true;
            } else {
                around.beside.push((company.services.clone(), services));
            }
        }
        for company in &demand.affinity.preferred {
            around.preferred.push((company.wanted, self.selected(tables, &company.services)));
        }
        if let Some(names) = tables.get::<Service>(own).and_then(|service| annotations(service)) {
            self.add_refusers(tables, own, names, &mut around);
        }
        around
    }

    /// The services that must not be beside this one, for what they say.
    fn add_refusers(&self, tables: &Tables, own: &str, names: &Annotations, around: &mut Around) {
        if self.refusers.is_empty() {
            return;
        }
        let refusers: BTreeSet<&String> = Selector::of(names)
            .filter_map(|selector| self.refusers.get(&selector))
            .flatten()
            .collect();
        for id in refusers.into_iter().filter(|id| *id != own) {
            let refuser = tables.get::<Service>(id).and_then(|service| annotations(service));
            let name = refuser.map(|refuser| refuser.name.clone()).unwrap_or_default();
            around.apart.push((id.clone(), Refusal::ApartBy(name)));
        }
        // By name, not by identifier.
        around.apart.sort_by(|(_, one), (_, other)| one.cmp(other));
    }

    /// The services that are meant.
    fn selected(&self, tables: &Tables, selector: &Selector) -> BTreeSet<String> {
        if let Selector::Name(name) = selector {
            return tables
                .by_name::<Service>(name)
                .map(|service| service.id.clone())
                .into_iter()
                .collect();
        }
        match self.labelled.get(selector) {
            Some((_, services)) => services.clone(),
            // What a task asks for whose service no longer does.
            None => with_label(tables, selector),
        }
    }

    fn set_rules(&mut self, tables: &Tables, service: &Service) {
        let Some(rules) = rules(service) else { return };
        for company in &rules.required {
            let index = if company.wanted { &mut self.seekers } else { &mut self.refusers };
            index.entry(company.services.clone()).or_default().insert(service.id.clone());
        }
        for company in rules.required.iter().chain(&rules.preferred) {
            if matches!(company.services, Selector::Label(..)) {
                let labelled = self.labelled.entry(company.services.clone());
                labelled.or_insert_with_key(|selector| (0, with_label(tables, selector))).0 += 1;
            }
        }
        self.rules.insert(service.id.clone(), rules);
    }

    fn remove_rules(&mut self, service: &Service) -> Option<Affinity> {
        for (_, services) in self.labelled.values_mut() {
            services.remove(&service.id);
        }
        let rules = self.rules.remove(&service.id)?;
        for company in &rules.required {
            let index = if company.wanted { &mut self.seekers } else { &mut self.refusers };
            if let Some(services) = index.get_mut(&company.services) {
                services.remove(&service.id);
                if services.is_empty() {
                    index.remove(&company.services);
                }
            }
        }
        for company in rules.required.iter().chain(&rules.preferred) {
            if let Some((count, _)) = self.labelled.get_mut(&company.services) {
                *count -= 1;
                if *count == 0 {
                    self.labelled.remove(&company.services);
                }
            }
        }
        Some(rules)
    }

    fn set_labels(&mut self, service: &Service) {
        if self.labelled.is_empty() {
            return;
        }
        for selector in annotations(service).into_iter().flat_map(Selector::of) {
            if let Some((_, services)) = self.labelled.get_mut(&selector) {
                services.insert(service.id.clone());
            }
        }
    }
}

impl Around {
    /// Why a node can't take a task for what else is on it.
    pub(crate) fn refusal(&self, demand: &Demand, node: &NodeInfo) -> Option<Refusal> {
        let is_there = |id: &String| match *id == demand.service.service_id {
            // A task of its own that is to go is most often the one that it replaces.
            true => node.active_of(id) > 0,
            false => node.placed_of(id) > 0,
        };
        if let Some((_, refusal)) = self.apart.iter().find(|(id, _)| is_there(id)) {
            return Some(refusal.clone());
        }
        let is_missing =
            |services: &BTreeSet<String>| services.iter().all(|id| node.active_of(id) == 0);
        let (selector, _) = self.beside.iter().find(|(_, services)| is_missing(services))?;
        Some(Refusal::NotBeside(selector.to_string()))
    }

    /// How many preferences a node doesn't meet.
    pub(crate) fn unmet(&self, node: &NodeInfo) -> usize {
        let is_unmet = |(wanted, services): &&(bool, BTreeSet<String>)| {
            services.iter().any(|id| node.active_of(id) > 0) != *wanted
        };
        self.preferred.iter().filter(is_unmet).count()
    }

    pub(crate) fn has_preferences(&self) -> bool {
        !self.preferred.is_empty()
    }

    /// The only nodes that may do, where there are such.
    pub(crate) fn candidates(&self, nodes: &Nodes) -> Option<BTreeSet<Place>> {
        let (_, services) = self.beside.first()?;
        Some(services.iter().flat_map(|id| nodes.with_service(id)).collect())
    }
}

/// What a service says of others by its newest specification, if anything.
fn rules(service: &Service) -> Option<Affinity> {
    let placement = service.spec.as_ref()?.task.as_ref()?.placement.as_ref()?;
    let may_constrain = placement.constraints.iter().any(|constraint| may_concern(constraint));
    if !may_constrain && placement.preferences.is_empty() {
        return None;
    }
    let constraints = constraint::parse(&placement.constraints).unwrap_or_default();
    let affinity = Affinity::new(placement, &constraints);
    (!affinity.is_empty()).then_some(affinity)
}

fn annotations(service: &Service) -> Option<&Annotations> {
    service.spec.as_ref()?.annotations.as_ref()
}

fn with_label(tables: &Tables, selector: &Selector) -> BTreeSet<String> {
    let has_label = |service: &Service| {
        annotations(service)
            .is_some_and(|annotations| Selector::of(annotations).any(|own| own == *selector))
    };
    let services = tables.iter::<Service>().filter(|service| has_label(service));
    services.map(|service| service.id.clone()).collect()
}

/// Whether any task of these services is to run on any node.
fn is_anywhere(nodes: &Nodes, services: &BTreeSet<String>) -> bool {
    services.iter().any(|id| nodes.with_service(id).next().is_some())
}
