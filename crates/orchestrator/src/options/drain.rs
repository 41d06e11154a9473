//! `swarm.drain`: what happens to a service's tasks when their node is drained.

use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::{Service, ServiceSpec};

use super::value::{refused, value};
use super::{Labels, OptionError};

const DRAIN: &str = "swarm.drain";
/// All of them.
pub(super) const LABELS: [&str; 1] = [DRAIN];

/// How a service's tasks leave a node that is drained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Drain {
    /// All at once, and each is replaced: Docker's way.
    #[default]
    StopFirst,
    /// Each once its replacement runs elsewhere, at the pace of the service's updates.
    StartFirst,
}

impl Drain {
    /// What a service asks for; Docker's way where that can't be followed.
    pub(crate) fn of(service: &Service) -> Self {
        let spec = service.spec.as_ref();
        let labels = spec.and_then(|spec| Some((spec, &spec.annotations.as_ref()?.labels)));
        labels.and_then(|(spec, labels)| read(spec, labels).ok()).unwrap_or_default()
    }
}

/// Refuses bad values, and services whose tasks can't be moved.
pub(super) fn check(spec: &ServiceSpec, labels: &Labels) -> Result<(), OptionError> {
    read(spec, labels).map(|_| ())
}

fn read(spec: &ServiceSpec, labels: &Labels) -> Result<Drain, OptionError> {
    let problem = "it is either \"start-first\" or \"stop-first\"";
    let drain = value(labels, DRAIN, problem, |text| match text {
        "start-first" => Some(Drain::StartFirst),
        "stop-first" => Some(Drain::StopFirst),
        _ => None,
    })?
    .unwrap_or_default();
    if drain == Drain::StartFirst && !matches!(spec.mode, Some(Mode::Replicated(_))) {
        let problem = "only tasks of replicated services can be moved between nodes";
        return Err(refused(DRAIN, "start-first", problem));
    }
    Ok(drain)
}

#[cfg(test)]
mod tests {
    use swarm_proto::v1::{GlobalJob, ReplicatedService};

    use super::*;

    #[test]
    fn values_are_read_or_refused() {
        let replicated = Mode::Replicated(ReplicatedService::default());
        let job = Mode::GlobalJob(GlobalJob {});
        for (mode, value, expect) in [
            (replicated, None, Ok(Drain::StopFirst)),
            (replicated, Some("stop-first"), Ok(Drain::StopFirst)),
            (job, Some("stop-first"), Ok(Drain::StopFirst)),
            (replicated, Some("start-first"), Ok(Drain::StartFirst)),
            (
                replicated,
                Some("true"),
                Err("label swarm.drain=\"true\": it is either \"start-first\" or \"stop-first\""),
            ),
            (
                job,
                Some("start-first"),
                Err(
                    "label swarm.drain=\"start-first\": only tasks of replicated services can be moved between nodes",
                ),
            ),
        ] {
            let labels: Labels =
                value.iter().map(|value| (DRAIN.to_owned(), (*value).to_owned())).collect();
            let spec = ServiceSpec { mode: Some(mode), ..ServiceSpec::default() };
            let read = read(&spec, &labels).map_err(|error| error.to_string());
            assert_eq!(read, expect.map_err(str::to_owned), "{value:?}");
        }
    }
}
