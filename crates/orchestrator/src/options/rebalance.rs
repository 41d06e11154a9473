//! `swarm.rebalance`: tasks move to nodes that joined or came back, until the service is spread evenly again.

use std::time::Duration;

use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::{Service, ServiceSpec};

use super::value::{count, duration, refused, switch};
use super::{Labels, OptionError};

const REBALANCE: &str = "swarm.rebalance";
const PARALLELISM: &str = "swarm.rebalance.parallelism";
const DELAY: &str = "swarm.rebalance.delay";
const COOLDOWN: &str = "swarm.rebalance.cooldown";
/// All of them.
pub(super) const LABELS: [&str; 4] = [REBALANCE, PARALLELISM, DELAY, COOLDOWN];

/// How long a node must have been there before tasks are moved to it, unless the service says so: longer than a machine
/// takes that is started twice in a row.
const COOLDOWN_DEFAULT: Duration = Duration::from_secs(30);

/// How a service's tasks may be moved for an even spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rebalance {
    /// How many moves may be under way at a time.
    pub(crate) parallelism: usize,
    /// How long after a move the next begins.
    pub(crate) delay: Duration,
    /// How long a node must have been up and active before tasks are moved to it.
    pub(crate) cooldown: Duration,
}

impl Rebalance {
    /// What a service asks for; none where it does not, or in a way that can't be followed.
    pub(crate) fn of(service: &Service) -> Option<Self> {
        let spec = service.spec.as_ref()?;
        read(spec, &spec.annotations.as_ref()?.labels).ok().flatten()
    }
}

/// Refuses bad values, and services whose tasks can't be moved.
pub(super) fn check(spec: &ServiceSpec, labels: &Labels) -> Result<(), OptionError> {
    read(spec, labels).map(|_| ())
}

fn read(spec: &ServiceSpec, labels: &Labels) -> Result<Option<Rebalance>, OptionError> {
    let is_on = switch(labels, REBALANCE)?;
    let rebalance = Rebalance {
        parallelism: count(labels, PARALLELISM)?.unwrap_or(1),
        delay: duration(labels, DELAY)?.unwrap_or_default(),
        cooldown: duration(labels, COOLDOWN)?.unwrap_or(COOLDOWN_DEFAULT),
    };
    if is_on && !matches!(spec.mode, Some(Mode::Replicated(_))) {
        return Err(refused(
            REBALANCE,
            "true",
            "only tasks of replicated services can be moved between nodes",
        ));
    }
    Ok(is_on.then_some(rebalance))
}

#[cfg(test)]
mod tests {
    use swarm_proto::v1::{GlobalService, ReplicatedService};

    use super::*;

    fn check_labels(mode: Mode, labels: &[(&str, &str)]) -> Result<Option<Rebalance>, String> {
        let labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let spec = ServiceSpec { mode: Some(mode), ..ServiceSpec::default() };
        read(&spec, &labels).map_err(|error| error.to_string())
    }

    #[test]
    fn labels_are_read() {
        let usual = Rebalance { parallelism: 1, delay: Duration::ZERO, cooldown: COOLDOWN_DEFAULT };
        let slow =
            Rebalance { parallelism: 2, delay: Duration::from_secs(90), cooldown: Duration::ZERO };
        for (labels, expect) in [
            (&[][..], None),
            (&[("swarm.rebalance", "false")], None),
            (&[("swarm.rebalance", "true")], Some(usual)),
            (
                &[
                    ("swarm.rebalance", "true"),
                    ("swarm.rebalance.parallelism", "2"),
                    ("swarm.rebalance.delay", "1m30s"),
                    ("swarm.rebalance.cooldown", "0s"),
                ],
                Some(slow),
            ),
            (&[("swarm.rebalance.parallelism", "2")], None),
        ] {
            let mode = Mode::Replicated(ReplicatedService::default());
            assert_eq!(check_labels(mode, labels), Ok(expect), "{labels:?}");
        }
    }

    #[test]
    fn bad_values_are_refused() {
        let replicated = Mode::Replicated(ReplicatedService::default());
        for (mode, name, value, expect) in [
            (
                replicated,
                "swarm.rebalance",
                "yes",
                "label swarm.rebalance=\"yes\": it is either \"true\" or \"false\"",
            ),
            (
                replicated,
                "swarm.rebalance.parallelism",
                "0",
                "label swarm.rebalance.parallelism=\"0\": it is a number of 1 or more",
            ),
            (
                replicated,
                "swarm.rebalance.delay",
                "10",
                "label swarm.rebalance.delay=\"10\": it is a length of time, such as 90s, 1m30s or 250ms",
            ),
            (
                Mode::Global(GlobalService {}),
                "swarm.rebalance",
                "true",
                "label swarm.rebalance=\"true\": only tasks of replicated services can be moved between nodes",
            ),
        ] {
            assert_eq!(check_labels(mode, &[(name, value)]), Err(expect.to_owned()));
        }
    }
}
