//! Which objects of a list a client wants: by name, prefix of name or ID, and labels.

use std::collections::HashMap;

use swarm_proto::v1::{Annotations, Cluster, Config, Network, Secret, Service};
use swarm_store::Object;

type Labels = HashMap<String, String>;

/// The filters that all lists have. An empty one admits everything.
pub(super) struct Selection<'a> {
    pub(super) names: &'a [String],
    pub(super) name_prefixes: &'a [String],
    pub(super) id_prefixes: &'a [String],
    pub(super) labels: &'a Labels,
}

/// Makes a [`Selection`] of a list request's filters, whose types differ and whose fields don't.
macro_rules! selection {
    ($filters:expr) => {
        $crate::control::selection::Selection {
            names: &$filters.names,
            name_prefixes: &$filters.name_prefixes,
            id_prefixes: &$filters.id_prefixes,
            labels: &$filters.labels,
        }
    };
}
pub(super) use selection;

impl Selection<'_> {
    /// Whether an object passes every filter, as for services, networks and clusters.
    pub(super) fn admits<T: Labelled>(&self, object: &T) -> bool {
        contains(self.names, object.name())
            && contains_prefix(self.name_prefixes, object.name())
            && contains_prefix(self.id_prefixes, object.id())
            && match_labels(object.labels(), self.labels)
    }

    /// Whether an object passes the labels and any of the others, as for secrets and configs.
    pub(super) fn admits_any<T: Labelled>(&self, object: &T) -> bool {
        let (name, id) = (object.name(), object.id());
        let unnamed =
            [self.names, self.name_prefixes, self.id_prefixes].iter().all(|f| f.is_empty());
        let named = self.names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
            || self.name_prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()))
            || self.id_prefixes.iter().any(|prefix| id.starts_with(prefix.as_str()));
        (unnamed || named) && match_labels(object.labels(), self.labels)
    }
}

/// Whether the value is wanted.
pub(super) fn contains(wanted: &[String], value: &str) -> bool {
    wanted.is_empty() || wanted.iter().any(|candidate| candidate == value)
}

/// Whether the value begins with one of the prefixes.
pub(super) fn contains_prefix(prefixes: &[String], value: &str) -> bool {
    prefixes.is_empty() || prefixes.iter().any(|prefix| value.starts_with(prefix.as_str()))
}

/// Whether the number, of an enum, is wanted.
pub(super) fn contains_number(wanted: &[i32], value: i32) -> bool {
    wanted.is_empty() || wanted.contains(&value)
}

/// Whether all wanted labels are there; a wanted label without value matches any value.
pub(super) fn match_labels(labels: Option<&Labels>, wanted: &Labels) -> bool {
    wanted.iter().all(|(key, value)| {
        let found = labels.and_then(|labels| labels.get(key));
        found.is_some_and(|found| value.is_empty() || found == value)
    })
}

/// An object with labels.
pub(super) trait Labelled: Object {
    fn annotations(&self) -> Option<&Annotations>;

    fn labels(&self) -> Option<&Labels> {
        self.annotations().map(|annotations| &annotations.labels)
    }
}

macro_rules! labelled {
    ($($kind:ident)*) => {
        $(impl Labelled for $kind {
            fn annotations(&self) -> Option<&Annotations> {
                self.spec.as_ref()?.annotations.as_ref()
            }
        })*
    };
}

labelled! { Cluster Config Network Secret Service }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_match_by_key_or_value() {
        let labels = |pairs: &[(&str, &str)]| -> Labels {
            pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
        };
        let have = labels(&[("a", "1"), ("b", "")]);
        for (wanted, expect) in [
            (labels(&[]), true),
            (labels(&[("a", "1")]), true),
            (labels(&[("a", "")]), true),
            (labels(&[("a", "2")]), false),
            (labels(&[("c", "")]), false),
            (labels(&[("a", "1"), ("c", "")]), false),
        ] {
            assert_eq!(match_labels(Some(&have), &wanted), expect, "{wanted:?}");
        }
        assert!(match_labels(None, &labels(&[])));
        assert!(!match_labels(None, &labels(&[("a", "")])));
    }
}
