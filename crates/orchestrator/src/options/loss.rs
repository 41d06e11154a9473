//! What a service wants when a node of its tasks is lost: `swarm.hold` and `swarm.return`.
//!
//! ```text
//! swarm.hold    how long the tasks of a node that is down are taken to be alive: 0 to 24h; 0
//! swarm.return  who stays when the node is back and its task was replaced: newest, original; newest
//! ```

use std::time::Duration;

use swarm_proto::v1::ServiceSpec;
use swarm_proto::v1::service_spec::Mode;

use super::duration::duration;
use super::{Labels, OptionError};

const HOLD: &str = "swarm.hold";
const RETURN: &str = "swarm.return";
/// All of them.
pub(super) const LABELS: [&str; 2] = [HOLD, RETURN];

/// Then the dispatcher takes a node's tasks for lost, as in SwarmKit.
const HOLD_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Who stays when a node is back and its task was replaced meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Return {
    /// The replacement, as in Docker.
    Newest,
    /// The task that was there before.
    Original,
}

/// Refuses what can't be followed.
pub(super) fn check(spec: &ServiceSpec, labels: &Labels) -> Result<(), OptionError> {
    read_hold(labels)?;
    let reaction = read_return(labels)?;
    if reaction == Return::Original && !matches!(spec.mode, Some(Mode::Replicated(_))) {
        let problem = "only the tasks of replicated services are replaced on other nodes and may stay: leave the label out";
        return Err(OptionError::new(RETURN, &labels[RETURN], problem));
    }
    Ok(())
}

/// How long a service's tasks are taken to be alive when their node is down; zero where nothing is asked for.
pub(crate) fn hold(spec: Option<&ServiceSpec>) -> Duration {
    labels(spec).and_then(|labels| read_hold(labels).ok().flatten()).unwrap_or_default()
}

/// Who stays when a node is back.
pub(crate) fn reaction(spec: Option<&ServiceSpec>) -> Return {
    labels(spec).and_then(|labels| read_return(labels).ok()).unwrap_or(Return::Newest)
}

fn labels(spec: Option<&ServiceSpec>) -> Option<&Labels> {
    Some(&spec?.annotations.as_ref()?.labels)
}

fn read_hold(labels: &Labels) -> Result<Option<Duration>, OptionError> {
    duration(labels, HOLD, Duration::ZERO..=HOLD_MAX)
}

fn read_return(labels: &Labels) -> Result<Return, OptionError> {
    match labels.get(RETURN).map(String::as_str) {
        None | Some("newest") => Ok(Return::Newest),
        Some("original") => Ok(Return::Original),
        Some(other) => Err(OptionError::new(RETURN, other, "expected newest or original")),
    }
}

#[cfg(test)]
mod tests {
    use swarm_proto::v1::{Annotations, GlobalService, ReplicatedService};

    use super::*;

    #[test]
    fn takes_what_can_be_followed_and_nothing_else() {
        let replicated = || Mode::Replicated(ReplicatedService { replicas: 1 });
        let global = || Mode::Global(GlobalService {});
        let second = Duration::from_secs(1);
        for (mode, name, value, expect) in [
            (replicated(), HOLD, "30s", Ok((30 * second, Return::Newest))),
            (global(), HOLD, "24h", Ok((HOLD_MAX, Return::Newest))),
            (replicated(), HOLD, "0", Ok((Duration::ZERO, Return::Newest))),
            (replicated(), HOLD, "25h", Err("expected a duration from 0s to 24h")),
            (replicated(), HOLD, "-1s", Err("expected a duration")),
            (replicated(), HOLD, "", Err("expected a duration")),
            (replicated(), RETURN, "newest", Ok((Duration::ZERO, Return::Newest))),
            (global(), RETURN, "newest", Ok((Duration::ZERO, Return::Newest))),
            (replicated(), RETURN, "original", Ok((Duration::ZERO, Return::Original))),
            (replicated(), RETURN, "oldest", Err("expected newest or original")),
            (global(), RETURN, "original", Err("only the tasks of replicated services")),
        ] {
            let labels = [(name.to_owned(), value.to_owned())].into();
            let annotations = Some(Annotations { labels, ..Default::default() });
            let spec = ServiceSpec { annotations, mode: Some(mode), ..Default::default() };
            match (crate::options::check(&spec), expect) {
                (Ok(()), Ok(expect)) => {
                    assert_eq!((hold(Some(&spec)), reaction(Some(&spec))), expect, "{value}");
                }
                (Err(error), Err(problem)) => assert!(error.problem.contains(problem), "{error}"),
                (result, _) => panic!("{name}={value}: {result:?}"),
            }
        }
    }
}
