//! `swarm.restart.backoff`: each failure in a row doubles the delay before the next restart, up to this.

use std::time::Duration;

use swarm_proto::timestamp::to_duration;
use swarm_proto::v1::{Service, ServiceSpec};

use super::value::{duration, refused};
use super::{Labels, OptionError};
use crate::defaults::RESTART_DELAY;

/// The label.
const BACKOFF: &str = "swarm.restart.backoff";
/// All of them.
pub(super) const LABELS: [&str; 1] = [BACKOFF];
/// The longest that may be asked for: what waits longer is forgotten.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest delay before a restart, where a service asks for one that grows.
pub(crate) fn longest(service: &Service) -> Option<Duration> {
    let spec = service.spec.as_ref()?;
    read(spec, &spec.annotations.as_ref()?.labels).ok().flatten()
}

/// Refuses bad values, and a longest delay that is below the first.
pub(super) fn check(spec: &ServiceSpec, labels: &Labels) -> Result<(), OptionError> {
    read(spec, labels).map(|_| ())
}

fn read(spec: &ServiceSpec, labels: &Labels) -> Result<Option<Duration>, OptionError> {
    let Some(longest) = duration(labels, BACKOFF)? else { return Ok(None) };
    let policy = spec.task.as_ref().and_then(|task| task.restart.as_ref());
    let delay = policy.and_then(|policy| policy.delay.as_ref()).map_or(RESTART_DELAY, to_duration);
    let problem = if longest.is_zero() {
        "it is the longest delay, more than zero"
    } else if longest > LONGEST {
        "it is the longest delay, 24h at most"
    } else if longest < delay {
        "it is the longest delay, and must not be below the restart delay, which is the first"
    } else {
        return Ok(Some(longest));
    };
    let value = labels.get(BACKOFF).map_or("", String::as_str);
    Err(refused(BACKOFF, value, problem))
}

#[cfg(test)]
mod tests {
    use swarm_proto::timestamp::from_duration;
    use swarm_proto::v1::{RestartPolicy, TaskSpec};

    use super::*;

    #[test]
    fn values_are_read_or_refused() {
        for (delay, value, expect) in [
            (None, "5m", Ok(Some(300))),
            (None, "5s", Ok(Some(5))),
            (Some(0), "1s", Ok(Some(1))),
            (Some(60), "1h30m", Ok(Some(5400))),
            (None, "4s", Err("and must not be below the restart delay, which is the first")),
            (Some(60), "59s", Err("and must not be below the restart delay, which is the first")),
            (None, "0s", Err("more than zero")),
            (None, "25h", Err("24h at most")),
            (None, "5 minutes", Err("it is a length of time, such as 90s, 1m30s or 250ms")),
            (None, "", Err("it is a length of time, such as 90s, 1m30s or 250ms")),
        ] {
            let delay = delay.map(|delay| from_duration(Duration::from_secs(delay)));
            let restart = Some(RestartPolicy { delay, ..RestartPolicy::default() });
            let task = TaskSpec { restart, ..TaskSpec::default() };
            let spec = ServiceSpec { task: Some(task.into()), ..ServiceSpec::default() };
            let labels: Labels = [(BACKOFF.to_owned(), value.to_owned())].into();
            match (read(&spec, &labels), expect) {
                (Ok(longest), Ok(expect)) => {
                    assert_eq!(longest, expect.map(Duration::from_secs), "{value}");
                }
                (Err(error), Err(expect)) => {
                    let said = error.to_string();
                    assert!(said.starts_with(&format!("label {BACKOFF}={value:?}: ")), "{said}");
                    assert!(said.ends_with(expect), "{said}");
                }
                (read, expect) => panic!("{value}: {read:?} instead of {expect:?}"),
            }
        }
    }
}
