//! What a service asks for that Docker does not know, by labels of its own that begin with `swarm.`.
//!
//! Each feature has a file of its own that reads its labels; here they are only gathered, so that a manager can refuse
//! a bad value before it is stored. A service may hold a bad value all the same, written by a stock manager: the loops
//! then take the label as absent. Labels that no feature knows are their users' own, unless
//! they are misspelt.

pub(crate) mod backoff;
pub(crate) mod cron;
mod drain;
mod duration;
pub(crate) mod loss;
pub(crate) mod node_history;
mod rebalance;
mod spelling;
mod value;

use std::collections::HashMap;

use swarm_proto::v1::{NodeSpec, Service, ServiceSpec};

pub(crate) use drain::Drain;
pub(crate) use rebalance::Rebalance;

/// A service's labels, by name.
pub(crate) type Labels = HashMap<String, String>;

/// A feature's reading of its labels, for what it refuses.
type Check = fn(&ServiceSpec, &Labels) -> Result<(), OptionError>;

const CHECKS: &[Check] =
    &[backoff::check, cron::check, drain::check, loss::check, rebalance::check, spelling::check];

/// A label that can't be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("label {name}={value:?}: {problem}")]
pub struct OptionError {
    /// The label's name.
    pub name: String,
    /// What was given.
    pub value: String,
    /// What is wrong with it, and what it may be.
    pub problem: String,
}

impl OptionError {
    fn new(name: &str, value: &str, problem: impl Into<String>) -> Self {
        Self { name: name.to_owned(), value: value.to_owned(), problem: problem.into() }
    }
}

/// Refuses a service whose labels ask for what can't be done.
///
/// # Errors
/// The first label that has a bad value or contradicts the specification.
pub fn check(spec: &ServiceSpec) -> Result<(), OptionError> {
    let Some(annotations) = &spec.annotations else { return Ok(()) };
    CHECKS.iter().try_for_each(|check| check(spec, &annotations.labels))
}

/// Logs what a service asks for in vain: a stock manager has let it in.
pub(crate) fn tell(service: &Service) {
    if let Some(Err(refused)) = service.spec.as_ref().map(check) {
        tracing::warn!(service.id = service.id, %refused, "a label is not followed");
    }
}

/// Refuses a node whose labels ask for what can't be done.
///
/// # Errors
/// The first label that has a bad value.
pub fn check_node(spec: &NodeSpec) -> Result<(), OptionError> {
    let Some(annotations) = &spec.annotations else { return Ok(()) };
    node_history::read(&annotations.labels).map(|_| ())
}
