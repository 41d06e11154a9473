//! What a service says of other services: `service.name!=web`, `service.labels.tier==db`.
//!
//! As a constraint it is a condition on what else runs on a node, as the descriptor of a `spread` preference a wish.
//! Docker knows neither; to a stock manager the keys are unknown, so that it places no task with such a constraint, and
//! ignores such a preference. Not here: which services are meant at the moment and where they are (`neighbours`).

use std::fmt;
use std::sync::Arc;

use swarm_proto::v1::placement_preference::Preference;
use swarm_proto::v1::{Annotations, Placement, Service, Task};
use swarm_store::Tables;

use crate::constraint::{self, Constraint, ParseError};
use crate::node::{is_active, is_placed};

/// What every key begins with that speaks of services.
const PREFIX: &str = "service.";

/// Which services are meant. Names and values are in lower case, as they are compared without regard to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Selector {
    /// The one of this name.
    Name(String),
    /// Those with this label (name, value).
    Label(String, String),
}

/// What is asked for of some services.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Company {
    pub(crate) services: Selector,
    /// To be beside one of their tasks, or beside none.
    pub(crate) wanted: bool,
}

/// Everything that a placement asks for of other services.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Affinity {
    pub(crate) required: Vec<Company>,
    /// What decides among the nodes that fit.
    pub(crate) preferred: Vec<Company>,
}

impl Selector {
    pub(crate) fn name(name: &str) -> Self {
        Self::Name(name.to_lowercase())
    }

    pub(crate) fn label(name: &str, value: &str) -> Self {
        Self::Label(name.to_owned(), value.to_lowercase())
    }

    /// All selectors that mean a service with these annotations.
    pub(crate) fn of(annotations: &Annotations) -> impl Iterator<Item = Self> {
        let labels = annotations.labels.iter().map(|(name, value)| Self::label(name, value));
        std::iter::once(Self::name(&annotations.name)).chain(labels)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "service {name}"),
            Self::Label(name, value) => write!(f, "services labelled {name}={value}"),
        }
    }
}

impl Affinity {
    /// What `placement` asks for, with its constraints as they were parsed. A preference that is malformed is none, as to
    /// Docker any descriptor is that it doesn't know.
    pub(crate) fn new(placement: &Placement, constraints: &[Constraint]) -> Self {
        let preference = |preference: &swarm_proto::v1::PlacementPreference| {
            let Some(Preference::Spread(spread)) = &preference.preference else { return None };
            parse_preference(&spread.spread_descriptor).ok()?
        };
        Self {
            required: constraints.iter().filter_map(Constraint::company).collect(),
            preferred: placement.preferences.iter().filter_map(preference).collect(),
        }
    }

    /// Beside whom it must be.
    pub(crate) fn sought(&self) -> impl Iterator<Item = &Selector> {
        self.required.iter().filter(|company| company.wanted).map(|company| &company.services)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.required.is_empty() && self.preferred.is_empty()
    }
}

/// Whether a placement asks for anything of other services by its constraints.
pub fn is_required(placement: &Placement) -> bool {
    let parse = || constraint::parse(&placement.constraints).unwrap_or_default();
    placement.constraints.iter().any(|constraint| may_concern(constraint))
        && parse().iter().any(|constraint| constraint.company().is_some())
}

/// Whether a task is beside whom `placement` wants beside it, and no others, where it is. One of its own service that is
/// wanted is the task itself.
pub fn suits(tables: &Tables, placement: &Placement, task: &Task) -> bool {
    if !placement.constraints.iter().any(|constraint| may_concern(constraint)) {
        return true;
    }
    let constraints = constraint::parse(&placement.constraints).unwrap_or_default();
    let companies = constraints.iter().filter_map(Constraint::company);
    companies.into_iter().all(|company| {
        let is_meant = |service: &Service| {
            let annotations = service.spec.as_ref().and_then(|spec| spec.annotations.as_ref());
            annotations.is_some_and(|own| Selector::of(own).any(|own| own == company.services))
        };
        let counts = |other: &&Arc<Task>| {
            is_placed(other)
                && tables.get::<Service>(&other.service_id).is_some_and(|of| is_meant(of))
                && (company.wanted || other.id != task.id)
                && (is_active(other) || !(company.wanted || other.service_id == task.service_id))
        };
        tables.tasks_by_node(&task.node_id).any(|other| counts(&other)) == company.wanted
    })
}

/// Checks a constraint, or the descriptor of a `spread` preference, that begins like a condition on services. Any other
/// is whatever Docker takes it for.
///
/// # Errors
/// It begins like a condition on services and is none.
pub fn check(descriptor: &str) -> Result<(), ParseError> {
    parse_preference(descriptor).map(|_| ())
}

fn parse_preference(descriptor: &str) -> Result<Option<Company>, ParseError> {
    if !may_concern(descriptor) {
        return Ok(None);
    }
    let company = Constraint::parse(descriptor)?.company();
    let key = || descriptor.split(['=', '!']).next().unwrap_or_default().trim().to_owned();
    company.map(Some).ok_or_else(|| ParseError::Key(key()))
}

/// Whether an expression may speak of services: a cheap look before it is parsed.
pub(crate) fn may_concern(expression: &str) -> bool {
    let head = expression.trim_start().as_bytes().get(..PREFIX.len());
    head.is_some_and(|head| head.eq_ignore_ascii_case(PREFIX.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preference_is_docker_s_or_a_condition_on_services() {
        for (descriptor, expect) in [
            ("node.labels.zone", Ok(None)),
            ("anything at all", Ok(None)),
            ("service", Ok(None)),
            ("service.name!=Web", Ok(Some((Selector::name("web"), false)))),
            ("Service.Name == web", Ok(Some((Selector::name("web"), true)))),
            ("service.labels.tier==DB", Ok(Some((Selector::label("tier", "db"), true)))),
            ("service.name", Err("constraint expected one operator from ==, !=")),
            ("service.nam!=web", Err("key 'service.nam' is invalid")),
            ("service.labels.!=web", Err("key 'service.labels.' is invalid")),
            ("service.name==", Err("value '' is invalid")),
        ] {
            let parsed = parse_preference(descriptor)
                .map(|company| company.map(|company| (company.services, company.wanted)))
                .map_err(|error| error.to_string());
            assert_eq!(parsed, expect.map_err(str::to_owned), "{descriptor}");
        }
    }

    #[test]
    fn constraints_on_services_are_told_from_others() {
        for (constraints, expect) in [
            (&[][..], false),
            (&["node.labels.service.name==x"], false),
            (&["service.id==x"], false),
            (&["node.role==worker", " service.name != web"], true),
        ] {
            let constraints = constraints.iter().map(|text| (*text).to_owned()).collect();
            let placement = Placement { constraints, ..Placement::default() };
            assert_eq!(is_required(&placement), expect, "{placement:?}");
        }
    }
}
