//! The managers that a node knows, and which of them to talk to next: those that behaved well first.
//!
//! Mirrors SwarmKit's package `remotes`, with a failure count in place of weights.

use std::collections::BTreeMap;

/// A manager as a node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    node_id: String,
    failures: u32,
}

/// The managers by address.
#[derive(Debug, Default)]
pub(crate) struct Remotes {
    managers: BTreeMap<String, Known>,
}

impl Remotes {
    /// Takes the managers that the cluster names; those that it no longer names are forgotten.
    pub(crate) fn replace(&mut self, managers: &[(String, String)]) {
        let mut next = BTreeMap::new();
        for (node_id, address) in managers {
            let failures = self.managers.get(address).map_or(0, |known| known.failures);
            next.insert(address.clone(), Known { node_id: node_id.clone(), failures });
        }
        self.managers = next;
    }

    /// The manager to try: one of those that failed least, by `chance` (any number).
    pub(crate) fn choose(&self, chance: u64) -> Option<String> {
        let least = self.managers.values().map(|known| known.failures).min()?;
        let best: Vec<&String> = self
            .managers
            .iter()
            .filter(|(_, known)| known.failures == least)
            .map(|(address, _)| address)
            .collect();
        let index = usize::try_from(chance % best.len() as u64).unwrap_or_default();
        Some(best[index].clone())
    }

    /// Takes note of how a manager behaved.
    pub(crate) fn observe(&mut self, address: &str, well: bool) {
        if let Some(known) = self.managers.get_mut(address) {
            known.failures = if well { 0 } else { known.failures.saturating_add(1) };
        }
    }

    /// All managers: node ID and address.
    pub(crate) fn list(&self) -> Vec<(String, String)> {
        self.managers
            .iter()
            .map(|(address, known)| (known.node_id.clone(), address.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefers_managers_that_answer() {
        let mut remotes = Remotes::default();
        assert_eq!(remotes.choose(7), None);
        remotes.replace(&[("a".into(), "1:1".into()), ("b".into(), "2:2".into())]);
        assert_eq!(remotes.choose(0).as_deref(), Some("1:1"));
        assert_eq!(remotes.choose(1).as_deref(), Some("2:2"));
        remotes.observe("1:1", false);
        assert_eq!(remotes.choose(0).as_deref(), Some("2:2"));
        remotes.replace(&[("a".into(), "1:1".into())]);
        assert_eq!(remotes.choose(5).as_deref(), Some("1:1"));
        assert_eq!(remotes.list(), [("a".to_owned(), "1:1".to_owned())]);
    }
}
