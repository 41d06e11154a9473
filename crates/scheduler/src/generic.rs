//! Generic resources: what a node offers beyond CPU and memory, by name (`gpu=UUID1,UUID2`) or by number (`ssd=3`).
//!
//! A task always asks for a number; from a named set it is given that many of the names.
//! Mirrors SwarmKit's package `api/genericresource`.

use std::collections::{BTreeMap, BTreeSet};

use swarm_proto::v1::generic_resource::Resource;
use swarm_proto::v1::{DiscreteGenericResource, GenericResource, NamedGenericResource};

/// The generic resources that are free on a node, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pool {
    kinds: BTreeMap<String, Supply>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Supply {
    Discrete(i64),
    Named(BTreeSet<String>),
}

impl Pool {
    /// Everything that a node describes. Where one kind comes by number and by name, what comes first counts.
    pub fn new(described: &[GenericResource]) -> Self {
        let mut pool = Self::default();
        for resource in described {
            match &resource.resource {
                Some(Resource::DiscreteResourceSpec(discrete)) => {
                    let supply =
                        pool.kinds.entry(discrete.kind.clone()).or_insert(Supply::Discrete(0));
                    if let Supply::Discrete(value) = supply {
                        *value += discrete.value;
                    }
                }
                Some(Resource::NamedResourceSpec(named)) => {
                    let supply = pool
                        .kinds
                        .entry(named.kind.clone())
                        .or_insert(Supply::Named(BTreeSet::new()));
                    if let Supply::Named(values) = supply {
                        values.insert(named.value.clone());
                    }
                }
                None => {}
            }
        }
        pool
    }

    /// Whether `value` pieces of `kind` are free.
    pub fn has(&self, kind: &str, value: i64) -> bool {
        match self.kinds.get(kind) {
            Some(Supply::Discrete(free)) => value <= *free,
            Some(Supply::Named(free)) => {
                usize::try_from(value).is_ok_and(|value| value <= free.len())
            }
            None => false,
        }
    }

    /// Whether exactly this assignment could be taken from what is free.
    pub fn has_assigned(&self, resource: &GenericResource) -> bool {
        match &resource.resource {
            Some(Resource::DiscreteResourceSpec(discrete)) => {
                matches!(self.kinds.get(&discrete.kind), Some(Supply::Discrete(free)) if discrete.value <= *free)
            }
            Some(Resource::NamedResourceSpec(named)) => {
                matches!(self.kinds.get(&named.kind), Some(Supply::Named(free)) if free.contains(&named.value))
            }
            None => true,
        }
    }

    /// Chooses `value` pieces of `kind`, without taking them; names in their alphabetical order.
    pub fn choose(&self, kind: &str, value: i64) -> Vec<GenericResource> {
        match self.kinds.get(kind) {
            Some(Supply::Discrete(_)) if value > 0 => vec![discrete(kind, value)],
            Some(Supply::Named(free)) => {
                let count = usize::try_from(value).unwrap_or_default();
                free.iter().take(count).map(|name| named(kind, name)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Takes what a task was assigned. What the node no longer offers is ignored: the node may have changed since.
    pub fn take(&mut self, assigned: &[GenericResource]) {
        for resource in assigned {
            match &resource.resource {
                Some(Resource::DiscreteResourceSpec(discrete)) => {
                    if let Some(Supply::Discrete(free)) = self.kinds.get_mut(&discrete.kind) {
                        *free -= discrete.value;
                    }
                }
                Some(Resource::NamedResourceSpec(named)) => {
                    if let Some(Supply::Named(free)) = self.kinds.get_mut(&named.kind) {
                        free.remove(&named.value);
                    }
                }
                None => {}
            }
        }
    }

    /// Gives back what a task was assigned, as far as `described` (the whole node) still offers it.
    pub fn give_back(&mut self, assigned: &[GenericResource], described: &[GenericResource]) {
        for resource in assigned {
            match &resource.resource {
                Some(Resource::DiscreteResourceSpec(discrete)) => {
                    if let Some(Supply::Discrete(free)) = self.kinds.get_mut(&discrete.kind) {
                        *free += discrete.value;
                    }
                }
                Some(Resource::NamedResourceSpec(named)) if described.contains(resource) => {
                    if let Some(Supply::Named(free)) = self.kinds.get_mut(&named.kind) {
                        free.insert(named.value.clone());
                    }
                }
                _ => {}
            }
        }
    }
}

/// A number of pieces of `kind`.
pub fn discrete(kind: &str, value: i64) -> GenericResource {
    let discrete = DiscreteGenericResource { kind: kind.to_owned(), value };
    GenericResource { resource: Some(Resource::DiscreteResourceSpec(discrete)) }
}

/// One piece of `kind` by its name.
pub fn named(kind: &str, value: &str) -> GenericResource {
    let named = NamedGenericResource { kind: kind.to_owned(), value: value.to_owned() };
    GenericResource { resource: Some(Resource::NamedResourceSpec(named)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_and_gives_back() {
        let described =
            [discrete("ssd", 3), named("gpu", "b"), named("gpu", "a"), named("gpu", "c")];
        let mut pool = Pool::new(&described);
        for (kind, value, expect) in [
            ("ssd", 3, true),
            ("ssd", 4, false),
            ("gpu", 3, true),
            ("gpu", 4, false),
            ("fpga", 1, false),
        ] {
            assert_eq!(pool.has(kind, value), expect, "{kind}={value}");
        }

        let assigned = [pool.choose("ssd", 2), pool.choose("gpu", 2)].concat();
        assert_eq!(assigned, [discrete("ssd", 2), named("gpu", "a"), named("gpu", "b")]);
        pool.take(&assigned);
        assert!(pool.has("ssd", 1) && !pool.has("ssd", 2));
        assert!(pool.has("gpu", 1) && !pool.has("gpu", 2));
        assert!(!pool.has_assigned(&named("gpu", "a")) && pool.has_assigned(&named("gpu", "c")));

        pool.give_back(&assigned, &described);
        assert_eq!(pool, Pool::new(&described));
    }

    #[test]
    fn forgets_names_that_the_node_lost() {
        let mut pool = Pool::new(&[named("gpu", "b")]);
        pool.give_back(&[named("gpu", "a")], &[named("gpu", "b")]);
        assert!(pool.has("gpu", 1) && !pool.has("gpu", 2));
    }
}
